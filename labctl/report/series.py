"""Several runs of one drill as tables: what each check came to in each cell, and how often it does when repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from labctl.model.verdict import Judgement
from labctl.report.story import COLOURS

Rows = Sequence[Mapping[str, Any]]
"""A run each, as `labctl drill -o json` states it: `run`, `cell`, `seed`, `engine`, `verdict` and `checks`."""


def render_series(runs: Rows) -> RenderableType:
    """A row for each run, then a row for each check that says how often it came to what."""
    names = " ".join(str(run["run"]) for run in runs)
    hint = Text(f"Side by side: labctl report --compare {names}")
    return Group(Text(), _runs(runs), Text(), *_rates(runs), Text(), hint)


def _runs(runs: Rows) -> Table:
    table = _table("RUN", "CELL", "ENGINE", "VERDICT")
    for run in runs:
        verdict = str(run["verdict"])
        table.add_row(run["run"], run["cell"] or "–", run["engine"], Text(verdict, _colour(verdict)))
    return table


def _rates(runs: Rows) -> list[RenderableType]:
    """For each cell how often each check found an anomaly, and what it came to."""
    cells = list(dict.fromkeys(str(run["cell"]) for run in runs))
    table = _table("CELL", "PHASE", "CHECK", "ANOMALY IN", "VERDICTS", "LAST MEASURED")
    for cell in cells:
        of_cell = [run for run in runs if run["cell"] == cell]
        for position, check in enumerate(of_cell[-1]["checks"]):
            same = [run["checks"][position] for run in of_cell if len(run["checks"]) > position]
            table.add_row(
                cell or "–", check["phase"], check["check"], reproduction(same), _verdicts(same), check["summary"]
            )
    return [table]


def _colour(verdict: str) -> str:
    return COLOURS[Judgement(verdict)] if verdict in list(Judgement) else ""


def reproduction(checks: Sequence[Mapping[str, str]]) -> str:
    """How often an anomaly was found, `3 of 10 runs`; runs that could not be judged are said to be so.

    >>> reproduction([{"outcome": "invalid"}, {"outcome": "valid"}, {"outcome": "unknown"}])
    '1 of 2 runs (1 not judged)'
    """
    outcomes = Counter(check["outcome"] for check in checks)
    judged = outcomes["valid"] + outcomes["invalid"]
    unknown = f" ({outcomes['unknown']} not judged)" if outcomes["unknown"] else ""
    return f"{outcomes['invalid']} of {judged} {'run' if judged == 1 else 'runs'}{unknown}"


def _verdicts(checks: Sequence[Mapping[str, str]]) -> Text:
    counted = Counter(check["verdict"] for check in checks)
    parts: list[Text] = []
    for verdict, count in counted.most_common():
        parts.append(Text(verdict if len(counted) == 1 else f"{count} × {verdict}", _colour(verdict)))
    return Text(", ").join(parts)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column)
    return table
