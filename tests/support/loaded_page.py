"""Pages in a real browser, and what it said about them."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Scheme = Literal["light", "dark"]
DESKTOP, PHONE = (1280, 900), (390, 844)

_PAINTED = """() => [...document.querySelectorAll('canvas')].map((canvas) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const data = copy.getImageData(0, 0, canvas.width, canvas.height).data;
  const counts = {};
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] !== 255) continue;
    const colour = '#' + [0, 1, 2].map((part) => data[i + part].toString(16).padStart(2, '0')).join('');
    counts[colour] = (counts[colour] || 0) + 1;
  }
  return counts;
})"""
"""The opaque pixels of each canvas by colour."""


@dataclass
class Opened:
    """An open page with everything that it complained about or asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def painted(self, *properties: str) -> list[list[int]]:
        """For each canvas how many of its pixels have the colours that the style sheet gives these names."""
        counts: list[dict[str, int]] = self.page.evaluate(_PAINTED)
        colours = [
            self.page.evaluate(
                "(name) => getComputedStyle(document.documentElement).getPropertyValue(name)", name
            ).strip()
            for name in properties
        ]
        return [[each.get(colour, 0) for colour in colours] for each in counts]

    def overflow(self) -> int:
        """By how many pixels it is wider than the window."""
        found: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, or a skip that says what to install."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no browser: apt-get install chromium fonts-dejavu-core")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("nothing to drive the browser with: pip install playwright")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser,
    file: Path,
    size: tuple[int, int] = DESKTOP,
    scheme: Scheme = "light",
    *,
    scripts: bool = True,
) -> Iterator[Opened]:
    """A page from a file, without any network."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        has_touch=size == PHONE,
        java_script_enabled=scripts,
        offline=True,
    )
    try:
        found = Opened(context.new_page())
        found.page.on("console", lambda message: found.complaints.append(message.text))
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.goto(file.as_uri())
        yield found
    finally:
        context.close()
