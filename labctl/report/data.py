"""A run as JSON values, for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from labctl.model.run import PhaseVerdicts, Run, worst
from labctl.report.replay import replay
from labctl.report.summary import PhaseSummary, RunSummary
from labctl.store.codec import to_data


def verdict_data(run: Run, verdicts: tuple[PhaseVerdicts, ...], folder: str) -> dict[str, Any]:
    """What a drill or a check answers."""
    return {
        "run": run.run_id,
        "folder": folder,
        "seed": run.seed,
        "engine": run.engine,
        "aborted": run.aborted,
        "verdict": worst(verdicts).value,
        "phases": [to_data(phase) for phase in verdicts],
    }


def as_data(summary: RunSummary, folder: str) -> dict[str, Any]:
    """The verdicts, and beside them what clients saw, what happened and what was lost."""
    return {
        **verdict_data(summary.run, summary.judged, folder),
        "scenario": summary.run.scenario.name,
        "started_unix_s": summary.run.started_unix_s,
        "replay": replay(summary.run),
        "measured": [_phase(phase) for phase in summary.phases],
    }


def _phase(phase: PhaseSummary) -> dict[str, Any]:
    return {
        "phase": phase.ran.name,
        "span_s": phase.span_s,
        "trouble": phase.ran.trouble,
        "clients": {**asdict(phase.numbers), "operations": phase.numbers.operations, "per_s": phase.numbers.per_s},
        "moments": [asdict(moment) for moment in phase.moments],
        "faults": [asdict(fault) for fault in phase.faults],
        "lanes": [asdict(lane) for lane in phase.lanes],
        "losses": {"total": phase.losses.total, "groups": [asdict(group) for group in phase.losses.groups]},
    }
