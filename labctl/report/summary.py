"""A stored run, reduced to what its reports show. Everything here is small, whatever the size of the histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labctl.model.history import FAULT_START, History, Int64
from labctl.model.message import Heard
from labctl.model.run import PhaseRun, PhaseVerdicts, Run, worst
from labctl.model.scenario import Phase
from labctl.model.topology import Role
from labctl.model.verdict import Judgement, Verdict
from labctl.model.view import View
from labctl.report.buckets import Level, ended, levels
from labctl.report.lanes import Lane, lanes
from labctl.report.losses import TOLD, Losses, losses
from labctl.report.measured import NOTHING, Measured
from labctl.report.moments import Moment, moments
from labctl.report.numbers import Numbers, numbers
from labctl.report.sequence import Window, windows

_FINEST_BUCKETS = 16_000


@dataclass(frozen=True, slots=True)
class FaultSpan:
    """A fault on the timeline; `to_s` None while it lasts to the end."""

    name: str
    from_s: float
    to_s: float | None


@dataclass(frozen=True, slots=True)
class LagPoint:
    """How far a replica was behind its primary at a moment, as polls saw it."""

    at_s: float
    behind_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class PhaseSummary:
    """One phase.

    Attributes:
        declared, ran, verdicts: As stored.
        span_s: From the first event or operation to the last.
        numbers: What clients saw.
        moments: What happened.
        faults: In order of start.
        lanes: Who was what.
        levels: The load in buckets, coarse to fine.
        lost: For each level, how many writes acknowledged in each bucket were lost.
        losses: Each of them.
        lag: For each data node, how far behind it was while it was a replica.
        heard: What was said on the links, in windows of time.
        unheard: What of it could not be heard, in a sentence; empty when nothing is missing.
        measured: What Prometheus measured, where a snapshot of it was taken.
    """

    declared: Phase
    ran: PhaseRun
    verdicts: tuple[Verdict, ...]
    span_s: float
    numbers: Numbers
    moments: tuple[Moment, ...]
    faults: tuple[FaultSpan, ...]
    lanes: tuple[Lane, ...]
    levels: tuple[Level, ...]
    lost: tuple[Int64, ...]
    losses: Losses
    lag: dict[str, tuple[LagPoint, ...]]
    heard: tuple[Window, ...]
    unheard: str
    measured: Measured = NOTHING


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run. `judged` is empty, and so is each phase's `verdicts`, when the run ended before it was judged."""

    run: Run
    phases: tuple[PhaseSummary, ...]
    judged: tuple[PhaseVerdicts, ...]

    @property
    def judgement(self) -> Judgement:
        """What the whole run comes to."""
        return worst(self.judged)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every data node that a phase tells of, sorted: the order of colours."""
        found = {lane.name for phase in self.phases for lane in phase.lanes if lane.kind == "node"}
        return tuple(sorted(found, key=_natural))


def summarise(
    declared: Phase,
    ran: PhaseRun,
    verdicts: tuple[Verdict, ...],
    history: History,
    views: Sequence[View],
    *,
    heard: Heard | None = None,
    phases: int = 1,
    lost: Sequence[int] | None = None,
    measured: Measured = NOTHING,
) -> PhaseSummary:
    """Reduce one phase.

    Args:
        declared: What was to happen.
        ran: What was run of it.
        verdicts: What its checks said.
        history: What was recorded.
        views: What was observed meanwhile; may be empty.
        heard: What was said on the links meanwhile.
        phases: How many share a page; none may be larger than its part.
        lost: Positions of the lost writes, where they were kept.
        measured: What Prometheus measured meanwhile.
    """
    load = ended(history)
    made = levels(history, load, (400, 2000, max(2000, _FINEST_BUCKETS // max(phases, 2))))
    gone = losses(history, verdicts, views, positions=lost, told=max(TOLD // max(phases, 1), 100))
    told = tuple(moments(declared, history))
    start, span_ns = history.start_ns, max(history.end_ns - history.start_ns, 1)
    return PhaseSummary(
        declared=declared,
        ran=ran,
        verdicts=verdicts,
        span_s=span_ns / 1e9,
        numbers=numbers(history, load),
        moments=told,
        faults=_faults(history),
        lanes=lanes(history, load, views),
        levels=tuple(made),
        lost=tuple(
            np.bincount(np.minimum(gone.acked_ns // level.width_ns, len(level) - 1), minlength=len(level))
            for level in made
        ),
        losses=gone,
        lag=_lag(views, start, span_ns),
        heard=windows(heard, told, start, _speakers(views)) if heard else (),
        unheard=_unheard(heard) if heard else "",
        measured=measured,
    )


def _speakers(views: Sequence[View]) -> list[str]:
    """Every node, data nodes first."""
    return [node.name for view in views[:1] for node in view.nodes]


def _unheard(heard: Heard) -> str:
    if heard.why_not:
        return heard.why_not
    missing = []
    if heard.unreadable:
        missing.append(f"{len(heard.unreadable)} links are encrypted (TLS), and what they carry cannot be read.")
    if heard.dropped:
        missing.append(f"The oldest {heard.dropped:,} messages were given up to keep within memory.")
    return " ".join(missing)


def _faults(history: History) -> tuple[FaultSpan, ...]:
    """Faults by their pairs of events; named as whoever asked for them would."""
    targets = [str(e.detail.get("target", "")) for e in history.events if e.kind == FAULT_START]
    start = history.start_ns
    return tuple(
        FaultSpan(
            f"{window.name} {target}".strip(),
            (window.start_ns - start) / 1e9,
            None if window.end_ns is None else (window.end_ns - start) / 1e9,
        )
        for window, target in zip(history.faults(), targets, strict=True)
    )


def _lag(views: Sequence[View], start_ns: int, span_ns: int) -> dict[str, tuple[LagPoint, ...]]:
    points: dict[str, list[LagPoint]] = {}
    for view in views:
        at_ns = view.at_ns - start_ns
        if not 0 <= at_ns <= span_ns:
            continue
        for node in view.nodes:
            if node.role is Role.REPLICA and node.lag_bytes is not None:
                points.setdefault(node.name, []).append(LagPoint(at_ns / 1e9, node.lag_bytes))
    return {name: tuple(points[name]) for name in sorted(points, key=_natural)}


def _natural(name: str) -> tuple[str, int, str]:
    """`redis-10` after `redis-9`."""
    stem, _, number = name.rpartition("-")
    return (stem, int(number), "") if number.isdigit() else (name, 0, "")
