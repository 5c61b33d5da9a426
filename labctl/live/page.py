"""The web view's page: one document without a reference to anything, and the policy that holds it to that."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

_SCRIPTS = ("layout.js", "draw.js", "side.js", "control.js", "main.js")


@dataclass(frozen=True, slots=True)
class Page:
    """The document and its Content-Security-Policy."""

    html: str
    policy: str


@cache
def page() -> Page:
    """Style and scripts stand in the document; the policy allows these by their hashes, the feed, and nothing else."""
    folder = files("labctl.live") / "web"
    style = (folder / "style.css").read_text("utf-8")
    script = "\n".join((folder / name).read_text("utf-8") for name in _SCRIPTS)
    html = (folder / "page.html").read_text("utf-8")
    html = html.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script)
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "connect-src 'self'",
            "img-src data:",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ]
    )
    return Page(html, policy)


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
