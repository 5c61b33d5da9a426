"""Runs side by side: what differs between them, each promise's verdicts, and what clients saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from labctl.model.verdict import Judgement, Verdict
from labctl.report.numbers import Numbers
from labctl.report.story import COLOURS
from labctl.report.summary import PhaseSummary, RunSummary
from labctl.report.wording import SYMBOLS
from labctl.store.codec import to_data


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a comparison: a value for each run, None where a run has none; `differs` when they are not all equal."""

    name: str
    values: tuple[str | None, ...]

    @property
    def differs(self) -> bool:
        """Whether the runs are not all the same here."""
        return len(set(self.values)) > 1


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """One check of one phase across the runs; None where a run has no such check."""

    check: str
    verdicts: tuple[Verdict | None, ...]

    @property
    def differs(self) -> bool:
        """Whether the judgements are not all the same."""
        return len({None if v is None else v.judgement for v in self.verdicts}) > 1


@dataclass(frozen=True, slots=True)
class ComparedPhase:
    """A phase by name, with every run that has it."""

    name: str
    title: str
    runs: tuple[PhaseSummary | None, ...]
    verdicts: tuple[VerdictRow, ...]
    numbers: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several runs side by side.

    Attributes:
        runs: In the order asked for.
        labels: A short name for each: by what it differs from the others, or by number.
        facts: What was set up differently.
        phases: Every phase that any of them has, in order.
    """

    runs: tuple[RunSummary, ...]
    labels: tuple[str, ...]
    facts: tuple[Row, ...]
    phases: tuple[ComparedPhase, ...]


_NUMBERS: tuple[tuple[str, Callable[[Numbers], str | None]], ...] = (
    ("acknowledged", lambda n: f"{n.acknowledged:,}"),
    ("acknowledged a second", lambda n: f"{n.per_s:,.0f}"),
    ("refused", lambda n: f"{n.refused:,}"),
    ("unknown outcome", lambda n: f"{n.unknown:,}"),
    ("median latency", lambda n: f"{n.latency.median:,.2f} ms" if n.latency else None),
    ("99th percentile", lambda n: f"{n.latency.p99:,.2f} ms" if n.latency else None),
    ("longest latency", lambda n: f"{n.latency.most:,.1f} ms" if n.latency else None),
    ("longest silence", lambda n: None if n.silence_at_s is None else f"{n.silence_ms:,.0f} ms"),
)


def compare(runs: Sequence[RunSummary]) -> Comparison:
    """Put runs side by side; the first is what the others are held against."""
    facts = tuple(_facts(runs))
    names = list(dict.fromkeys(phase.ran.name for run in runs for phase in run.phases))
    return Comparison(tuple(runs), _labels(facts, runs), facts, tuple(_phase(name, runs) for name in names))


def _facts(runs: Sequence[RunSummary]) -> Iterator[Row]:
    """Scenario, engine and every leaf of the topology that is not the same everywhere. The seed always."""
    tables = [_set_up(run) for run in runs]
    for name in dict.fromkeys(name for table in tables for name in table):
        row = Row(name, tuple(table.get(name) for table in tables))
        if row.differs or name == "seed":
            yield row


def _set_up(run: RunSummary) -> dict[str, str]:
    scenario = run.run.scenario
    topology = {
        name: value for name, value in _leaves(to_data(scenario.topology), "") if name not in ("name", "engine")
    }
    return {
        "scenario": scenario.name,
        "cell": scenario.cell or "–",
        "engine": run.run.engine,
        "topology": scenario.topology.name,
        **topology,
        "seed": str(run.run.seed),
    }


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _leaves(part, f"{path} {name}".strip())
    elif isinstance(value, list):
        yield path, ", ".join(str(part) for part in value)
    else:
        yield path, str(value)


def _labels(facts: Sequence[Row], runs: Sequence[RunSummary]) -> tuple[str, ...]:
    """The cells of a matrix, or what else tells all runs apart when that is one thing; else letters."""
    telling = [row for row in facts if len(set(row.values)) == len(runs) and row.name != "seed"]
    differing = sum(row.differs for row in facts if row.name != "seed")
    if telling and (telling[0].name == "cell" or differing == 1):
        return tuple(str(value) for value in telling[0].values)
    return tuple(chr(ord("A") + index) if index < 26 else str(index + 1) for index in range(len(runs)))


def _phase(name: str, runs: Sequence[RunSummary]) -> ComparedPhase:
    found = tuple(next((phase for phase in run.phases if phase.ran.name == name), None) for run in runs)
    checks = list(dict.fromkeys(v.finding.check for phase in found if phase for v in phase.verdicts))
    verdicts = tuple(
        VerdictRow(
            check,
            tuple(
                next((v for v in phase.verdicts if v.finding.check == check), None) if phase else None
                for phase in found
            ),
        )
        for check in checks
    )
    numbers = [Row(label, tuple(show(p.numbers) if p else None for p in found)) for label, show in _NUMBERS]
    numbers.append(Row("lost writes", tuple(f"{p.losses.total:,}" if p else None for p in found)))
    title = next(phase.declared.title for phase in found if phase)
    return ComparedPhase(name, title, found, verdicts, tuple(numbers))


def as_data(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON values."""
    return {
        "runs": [
            {"run": run.run.run_id, "label": label, "verdict": run.judgement.value}
            for run, label in zip(comparison.runs, comparison.labels, strict=True)
        ],
        "facts": {row.name: list(row.values) for row in comparison.facts},
        "phases": [
            {
                "phase": phase.name,
                "verdicts": {
                    row.check: [
                        v and {"judgement": v.judgement.value, "measured": v.finding.summary} for v in row.verdicts
                    ]
                    for row in phase.verdicts
                },
                "numbers": {row.name: list(row.values) for row in phase.numbers},
            }
            for phase in comparison.phases
        ],
    }


def render_comparison(comparison: Comparison) -> RenderableType:
    """The comparison for a terminal; what differs is bold."""
    parts: list[RenderableType] = [_runs(comparison)]
    for phase in comparison.phases:
        parts += [Text(), Text(f"▌ {phase.title}", "bold cyan"), _table(comparison, phase)]
    return Group(*parts)


def _runs(comparison: Comparison) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for label in comparison.labels:
        table.add_column(label)
    table.add_row("run", *(run.run.run_id for run in comparison.runs))
    for row in comparison.facts:
        table.add_row(row.name, *(Text(value or "–") for value in row.values))
    table.add_row("verdict", *(_judgement(run.judgement) for run in comparison.runs))
    return table


def _table(comparison: Comparison, phase: ComparedPhase) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("")
    for label in comparison.labels:
        table.add_column(label, ratio=1)
    for verdict_row in phase.verdicts:
        cells = [
            Text("–", "dim") if v is None else Text.assemble(_judgement(v.judgement), f"\n{v.finding.summary}")
            for v in verdict_row.verdicts
        ]
        table.add_row(Text(verdict_row.check, "bold" if verdict_row.differs else ""), *cells)
    table.add_section()
    for row in phase.numbers:
        table.add_row(Text(row.name), *(Text(value or "–", "bold" if row.differs else "") for value in row.values))
    return table


def _judgement(judgement: Judgement) -> Text:
    return Text(f"{SYMBOLS[judgement]} {judgement.value}", COLOURS[judgement])
