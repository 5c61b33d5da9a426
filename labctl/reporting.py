"""The reports of a stored run: its folder is read here, and everything else is rendering (`labctl.report`)."""

from __future__ import annotations

from pathlib import Path

from labctl.check import acked_writes
from labctl.errors import LabError, UsageError
from labctl.model.history import History
from labctl.model.run import PhaseVerdicts, Run
from labctl.report import measured
from labctl.report.summary import PhaseSummary, RunSummary, summarise
from labctl.store.folders import write_private
from labctl.store.history import read_header, read_history
from labctl.store.messages import read_messages
from labctl.store.metrics import Kept, read_metrics
from labctl.store.runs import RunFolder
from labctl.store.views import read_views

PAGE = "report.html"


def summary_of(folder: RunFolder) -> RunSummary:
    """A stored run, reduced phase by phase: no two histories are in memory at once.

    Raises:
        LabError: It was not judged, or a history is damaged.
        UsageError: The folder holds no run, or one that was edited.
    """
    run, verdicts = judged(folder)
    declared = {phase.name: phase for phase in run.scenario.phases}
    kept = read_metrics(folder.path, measured.WANTED)
    phases: list[PhaseSummary] = []
    for ran, each in zip(run.phases, verdicts, strict=True):
        if ran.name not in declared:
            raise UsageError(f"{folder.path} holds a phase `{ran.name}` that its scenario lacks.", "Was it edited?")
        path = folder.path / ran.history
        views = read_views(path.with_suffix(".views.gz"))
        history = read_history(path)
        lost = folder.load_positions(ran.name, acked_writes.NAME, "lost")
        phases.append(
            summarise(
                declared[ran.name],
                ran,
                each.verdicts,
                history,
                views,
                heard=read_messages(path.with_suffix(".messages.gz")),
                phases=len(verdicts),
                lost=lost,
                measured=_measured(kept, path, history),
            )
        )
    return RunSummary(run, tuple(phases), verdicts)


def _measured(kept: Kept, path: Path, history: History) -> measured.Measured:
    """A snapshot's times are Unix times; a history says at its head what its own clock was then."""
    if not kept.series:
        return measured.Measured(why_not=kept.why_not)
    header = read_header(path)
    began_ns = int(str(header["unix_ns"])) + history.start_ns - int(str(header["monotonic_ns"]))
    return measured.measured(kept, began_ns / 1e9, (history.end_ns - history.start_ns) / 1e9)


def judged(folder: RunFolder) -> tuple[Run, tuple[PhaseVerdicts, ...]]:
    """A stored run with the verdicts that were kept. Raises LabError when it ended before it was judged."""
    run, verdicts = folder.load_run(), folder.load_verdicts()
    if len(verdicts) != len(run.phases):
        raise LabError(f"Run {run.run_id} ended before it was judged.", f"labctl check {run.run_id}")
    return run, verdicts


def page_of(folder: RunFolder) -> str:
    """The page of a run. Raises as `summary_of`."""
    from labctl.report.html import render_page  # noqa: PLC0415 - Jinja, which other reports do without

    return render_page(summary_of(folder))


def write_page(folder: RunFolder) -> Path:
    """Make the page of a run, beside its evidence. Raises as `summary_of`."""
    path = folder.path / PAGE
    write_private(path, page_of(folder))
    return path
