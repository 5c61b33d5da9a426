"""The page of a run: one file that needs nothing else, neither network nor server.

Charts are drawn by uPlot (assets/uplot, MIT), chosen for its size: 50 kB that draw tens of thousands of points with zoom and
a shared cursor, where general libraries bring a megabyte and would be half of the page. What it draws is there as tables
and sentences too, so that the page tells its story without scripts.

Everything that a server or a user chose (keys, values, titles) is data. Jinja escapes it in the text, and in the page's JSON
no character is left that could end a script. A content security policy with the hashes of our own style and script
forbids everything else, fetching included.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from labctl.model.verdict import Judgement
from labctl.report import page_data
from labctl.report.compare import Comparison
from labctl.report.diagram import draw
from labctl.report.moments import notable
from labctl.report.replay import replay
from labctl.report.scenario import plan_lines
from labctl.report.summary import RunSummary
from labctl.report.wording import CLOSING, SLUGS, SYMBOLS

_UNSAFE = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def render_page(summary: RunSummary, *, now: str = "") -> str:
    """The page of a run.

    Args:
        summary: The run.
        now: What to say about when the page was made; nothing when empty.
    """
    run = summary.run
    return _page(
        "page.html.j2",
        title=f"{run.scenario.title} · {run.scenario.name}",
        data=page_data.page(summary),
        scripts=("uplot/uPlot.iife.min.js", "page.js"),
        summary=summary,
        run=run,
        replay=replay(run),
        started=datetime.fromtimestamp(run.started_unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        closing=CLOSING[summary.judgement],
        counts=_counts(summary),
        colours={name: page_data.colour(index) for index, name in enumerate(summary.nodes)},
        first_losses=page_data.FIRST_LOSSES,
        most_moments=page_data.MOMENTS,
        now=now,
    )


def render_compared_page(comparison: Comparison) -> str:
    """The page of several runs side by side."""
    return _page(
        "compare.html.j2",
        title=f"{len(comparison.runs)} runs compared",
        data=page_data.compared(comparison),
        scripts=("uplot/uPlot.iife.min.js", "compare.js"),
        comparison=comparison,
        replays=[replay(run.run) for run in comparison.runs],
    )


def _page(template: str, *, title: str, data: Mapping[str, Any], scripts: Sequence[str], **context: object) -> str:
    style = "\n".join(asset(name) for name in ("uplot/uPlot.min.css", "page.css"))
    script = "\n".join(asset(name) for name in scripts)
    policy = (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    )
    page = (
        _environment()
        .get_template(template)
        .render(
            title=title,
            policy=policy,
            style=Markup(style),  # noqa: S704 - a file of this package
            script=Markup(script),  # noqa: S704 - a file of this package
            data=embedded(data),
            symbols=SYMBOLS,
            slugs=SLUGS,
            **context,
        )
    )
    return page.encode("utf-8", "replace").decode()  # half of a surrogate pair in a key is no text


def embedded(data: object) -> Markup:
    """`data` as JSON that can stand inside a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate(_UNSAFE))  # noqa: S704 - nothing of it can end an element


def asset(name: str) -> str:
    """The text of a file in `assets`."""
    return resources.files("labctl.report").joinpath("assets", *name.split("/")).read_text("utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _environment() -> Environment:
    env = Environment(
        loader=FunctionLoader(asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["seconds"] = lambda value: f"{value:.2f} s"
    env.filters["milliseconds"] = milliseconds
    env.filters["flat"] = lambda text: " ".join(str(text).split())
    env.filters["stat"] = _stat
    env.globals["draw"] = draw
    env.globals["notable"] = notable
    env.globals["plan_lines"] = plan_lines
    return env


def milliseconds(value: float) -> str:
    """A length of time in milliseconds, in the unit and with the digits that matter."""
    if value >= 10_000:
        return f"{value / 1000:,.1f} s"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def _stat(value: object) -> str:
    """A number of a finding with its thousands apart."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def _counts(summary: RunSummary) -> list[tuple[Judgement, int]]:
    judged = [verdict.judgement for phase in summary.judged for verdict in phase.verdicts]
    return [(judgement, judged.count(judgement)) for judgement in Judgement if judgement in judged]
