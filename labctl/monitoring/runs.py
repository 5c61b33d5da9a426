"""Metrics of stored runs: when they were, what their checks said, and the numbers behind it.

A drill's verdicts come when its lab is down and its agent gone, so somebody else has to tell them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from labctl.errors import LabError
from labctl.metrics.exposition import Exposition
from labctl.model.run import PhaseVerdicts, Run
from labctl.model.verdict import Judgement, Verdict
from labctl.store.runs import RunFolder, run_names, runs

MOST_RUNS = 20
"""The newest ones; a year of nightly drills would be thousands of series."""


class Runs:
    """The newest runs of the state folder. Reads each again only when its files changed."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[tuple[float, ...], Run, tuple[PhaseVerdicts, ...]]] = {}
        self._turn = threading.Lock()

    def render(self) -> str:
        """All of them in Prometheus' text format. Threads take turns: a scrape that was given up may still be rendered."""
        with self._turn:
            return self._render()

    def _render(self) -> str:
        out = Exposition()
        names = run_names()
        out.gauge("labctl_runs", "Stored runs.", len(names))
        for run, verdicts in self._newest(names[-MOST_RUNS:]):
            _write(out.about(run=run.run_id, scenario=run.scenario.name, engine=run.engine), run, verdicts)
        return out.render()

    def _newest(self, names: list[str]) -> Iterator[tuple[Run, tuple[PhaseVerdicts, ...]]]:
        self._read = {name: read for name, read in self._read.items() if name in names}
        for name in names:
            folder = RunFolder(runs() / name)
            try:
                stamp = _stamp(folder)
                if name not in self._read or self._read[name][0] != stamp:
                    self._read[name] = stamp, folder.load_run(), folder.load_verdicts()
            except (LabError, OSError):
                continue  # being written, removed or edited; `labctl runs` says what is wrong with it
            _, run, verdicts = self._read[name]
            yield run, verdicts


def _stamp(folder: RunFolder) -> tuple[float, ...]:
    files = (folder.path / "run.json", folder.path / "verdicts.json")
    return tuple(file.stat().st_mtime for file in files if file.exists())


def _write(out: Exposition, run: Run, verdicts: tuple[PhaseVerdicts, ...]) -> None:
    out.gauge("labctl_run_start_time_seconds", "When a run began, Unix time.", run.started_unix_s)
    out.gauge("labctl_run_healthy_seconds", "From the first server's start to a healthy lab.", run.healthy_s)
    for phase in run.phases:
        text = "How long a phase of a run took, to its last final read."
        out.gauge("labctl_run_phase_seconds", text, (phase.ended_ns - phase.started_ns) / 1e9, phase=phase.name)
    for judged in verdicts:
        about = out.about(phase=judged.phase)
        for verdict in judged.verdicts:
            _verdict(about.about(check=verdict.finding.check), verdict)


def _verdict(out: Exposition, verdict: Verdict) -> None:
    for judgement in Judgement:
        text = "What a check said, against the promise: 1 for what it came to."
        out.gauge("labctl_run_verdict", text, float(verdict.judgement is judgement), judgement=judgement.value)
    for name, value in verdict.finding.stats.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            out.gauge("labctl_run_stat", "A number that a check measured.", value, stat=name)
    stats = verdict.finding.stats
    for stat, metric in (("judged", "acknowledged"), ("lost", "lost")):
        if verdict.finding.check == "acked-writes" and isinstance(count := stats.get(stat), int | float):
            text = f"{metric.capitalize()} writes, by the check of acknowledged writes."
            out.gauge(f"labctl_run_{metric}_writes", text, count)
