"""The terminal report of a run: what was done when, what clients saw, and each promise beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from labctl.model.history import History
from labctl.model.run import PhaseRun, PhaseVerdicts, Run, worst
from labctl.model.scenario import Phase
from labctl.model.verdict import Judgement, Outcome, Verdict
from labctl.report.buckets import ended
from labctl.report.moments import moments
from labctl.report.numbers import numbers
from labctl.report.replay import replay
from labctl.report.wording import CLOSING

COLOURS = {
    Judgement.HELD: "bold green",
    Judgement.DOCUMENTED_LOSS: "bold yellow",
    Judgement.BROKEN: "bold red",
    Judgement.INCONCLUSIVE: "bold magenta",
}
_STYLES = {"begin": "bold red", "end": "bold green", "strong": "bold", "": ""}
_EVENTS_SHOWN = 40
_LOST_SHOWN = 5


def render_run(
    run: Run, histories: Mapping[str, History], verdicts: Sequence[PhaseVerdicts], *, where: str, page: str = ""
) -> RenderableType:
    """The whole story.

    Args:
        run: What was run.
        histories: By phase.
        verdicts: In the order of the run's phases.
        where: How to name the run folder to the reader.
        page: Where its page is; empty when there is none.
    """
    scenario = run.scenario
    declared = {phase.name: phase for phase in scenario.phases}
    parts: list[RenderableType] = [
        Text(),
        Text(scenario.title, "bold"),
        Text(f"{scenario.name}{_cell(run)}{f' on {run.engine}' if run.engine else ''}, seed {run.seed}", "dim"),
        Text(),
        Text(scenario.description),
    ]
    if run.trouble:
        parts += [Text(), Text(run.trouble, "bold magenta")]
    for ran, judged in zip(run.phases, verdicts, strict=True):
        parts += [Text(), *_phase(declared[ran.name], ran, histories[ran.name], judged)]
    parts += [Text(), *_closing(run, tuple(verdicts), where, page)]
    return Group(*parts)


def _cell(run: Run) -> str:
    return f" ({run.scenario.cell})" if run.scenario.cell else ""


def _phase(declared: Phase, ran: PhaseRun, history: History, judged: PhaseVerdicts) -> Iterator[RenderableType]:
    yield Text(f"▌ {declared.title}", "bold cyan")
    if ran.trouble:
        yield Padding(Text(ran.trouble, "bold magenta"), (0, 0, 0, 2))
    yield Padding(_timeline(declared, history), (0, 0, 0, 2))
    yield Padding(Text(numbers(history, ended(history)).sentence()), (1, 0, 1, 2))
    yield Padding(_verdicts(judged.verdicts), (0, 0, 0, 2))
    for verdict in judged.verdicts:
        if verdict.finding.outcome is Outcome.INVALID or verdict.judgement is not Judgement.HELD:
            yield Padding(_evidence(verdict), (1, 0, 0, 2))


def _timeline(declared: Phase, history: History) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column()
    first, *told = moments(declared, history)
    for moment in [first, *told[:_EVENTS_SHOWN]]:
        table.add_row(f"{moment.at_s:.2f} s", Text(moment.text, _STYLES[moment.weight]))
    if len(told) > _EVENTS_SHOWN:
        more = f"… and {len(told) - _EVENTS_SHOWN} more events"
        table.add_row(f"{told[_EVENTS_SHOWN].at_s:.2f} s", Text(more, "dim"))
    return table


def _verdicts(verdicts: Sequence[Verdict]) -> Table:
    table = Table(header_style="dim", box=None, pad_edge=False, padding=(0, 2, 1, 0))
    table.add_column("CHECK", no_wrap=True)
    table.add_column("PROMISED", ratio=3)
    table.add_column("MEASURED", ratio=2)
    table.add_column("VERDICT", min_width=10, max_width=14)
    for verdict in verdicts:
        table.add_row(
            Text(verdict.finding.check, "bold"),
            " ".join(verdict.promise.split()),
            verdict.finding.summary,
            Text(verdict.judgement.value, COLOURS[verdict.judgement]),
        )
    return table


def _evidence(verdict: Verdict) -> Text:
    """Why, in prose, and the first few lost writes one by one."""
    finding = verdict.finding
    text = Text.assemble((f"{finding.check}: ", "bold"), finding.explanation or finding.summary)
    lost = [a for a in finding.anomalies if "lost" in (a.get("anomaly"), a.get("kind"))]
    for row in lost[:_LOST_SHOWN]:
        text.append(f"\n  lost: {_lost_write(row)}", "yellow")
    if len(lost) > _LOST_SHOWN:
        text.append(
            f"\n  … {finding.stats.get('lost', len(lost)):,} in all, each a line of PHASE.acked-writes.csv", "dim"
        )
    return text


def _lost_write(row: Mapping[str, object]) -> str:
    when = row.get("completed_ms")
    at = f" at {float(str(when)) / 1000:.3f} s" if when is not None else ""
    return (
        f"{row.get('value')} in {row.get('key')}, acknowledged by {row.get('node')} to client {row.get('process')}{at}"
    )


def _closing(run: Run, verdicts: tuple[PhaseVerdicts, ...], where: str, page: str) -> Iterator[RenderableType]:
    if run.scenario.learn:
        yield Text("What to take away", "bold")
        for sentence in run.scenario.learn:
            yield Padding(Text(f"• {sentence}"), (0, 0, 0, 2))
        yield Text()
    judgement = worst(verdicts)
    prefix = "Aborted. " if run.aborted else ""
    yield Text(f"{prefix}{CLOSING[judgement]}", COLOURS[judgement])
    if page:
        yield Text(f"Page:     {page}")
    yield Text(f"Evidence: {where}")
    yield Text(f"Again:    {replay(run)}    Check again: labctl check {run.run_id}")
