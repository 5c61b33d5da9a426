"""What `labctl runs` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from labctl.model.verdict import Judgement
from labctl.report.story import COLOURS
from labctl.report.wording import SYMBOLS


def render_runs(runs: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A row a run: when, on what, how long, how many promises came to what, and what it all comes to."""
    if not runs:
        return "There is no run yet. labctl drill SCENARIO makes one."
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("RUN", overflow="fold")
    table.add_column("STARTED", no_wrap=True)
    table.add_column("TOOK", justify="right", no_wrap=True)
    table.add_column("ENGINE", no_wrap=True)
    table.add_column("SEED", justify="right", no_wrap=True)
    table.add_column("PROMISES", no_wrap=True)
    table.add_column("VERDICT")
    for run in runs:
        table.add_row(*_row(run))
    return table


def _row(run: Mapping[str, Any]) -> tuple[RenderableType, ...]:
    started, took = run.get("started_unix_s"), run.get("duration_s")
    verdict = str(run["verdict"]) + (", aborted" if run.get("aborted") else "")
    return (
        Text.assemble((str(run["run"]), "bold"), (f"  {run['cell']}" if run.get("cell") else "", "dim")),
        "" if started is None else f"{datetime.fromtimestamp(started).astimezone():%b %d %H:%M}",
        "" if took is None else f"{took:.0f} s",
        str(run["engine"]),
        str(run.get("seed", "")),
        _promises(run.get("promises") or {}),
        Text(verdict, _style(str(run["verdict"]))),
    )


def _promises(counts: Mapping[str, int]) -> Text:
    """`9 ✓  3 △`: how many promises came to what."""
    text = Text()
    for judgement in Judgement:
        if count := counts.get(judgement.value):
            text.append(f"{count} {SYMBOLS[judgement]}  ", COLOURS[judgement])
    return text


def _style(verdict: str) -> str:
    return COLOURS[Judgement(verdict)] if verdict in list(Judgement) else "dim"
