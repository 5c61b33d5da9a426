"""What the page's script gets: plain numbers and names, small enough for one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from labctl.model.history import Int64
from labctl.report.buckets import Level
from labctl.report.compare import Comparison
from labctl.report.lanes import Lane
from labctl.report.losses import Losses
from labctl.report.measured import Chart, Curve
from labctl.report.moments import notable
from labctl.report.summary import PhaseSummary, RunSummary

COLOURS = 8
"""Colours of the page's palette; a ninth node shares one with the first."""

FIRST_LOSSES = 12
"""Lost writes that are told in the page's own text; the script shows the others."""

MOMENTS = 400
"""Moments that a page tells of a phase."""

_MOST_LANES = 30


def colour(index: int) -> int:
    """The place in the palette of the node with this number."""
    return index % COLOURS


def page(summary: RunSummary) -> dict[str, Any]:
    """The data of a page. Times are seconds since the phase began, latencies microseconds."""
    number = {name: index for index, name in enumerate(summary.nodes)}
    return {
        "nodes": list(summary.nodes),
        "phases": [_phase(phase, number) for phase in summary.phases],
    }


def _phase(phase: PhaseSummary, number: dict[str, int]) -> dict[str, Any]:
    return {
        "span": round(phase.span_s, 6),
        "levels": [_level(level, lost) for level, lost in zip(phase.levels, phase.lost, strict=True)],
        "lag": {
            name: [[round(p.at_s, 3) for p in points], [p.behind_bytes for p in points]]
            for name, points in phase.lag.items()
        },
        "measured": [_curves(chart, curves) for chart, curves in phase.measured.curves],
        "lanes": [_lane(lane, number) for lane in phase.lanes[:_MOST_LANES]],
        "faults": [[round(f.from_s, 3), None if f.to_s is None else round(f.to_s, 3), f.name] for f in phase.faults],
        "moments": [[round(m.at_s, 3), m.kind, m.text] for m in notable(phase.moments, MOMENTS) if m.kind != "load"],
        "losses": _losses(phase.losses),
    }


def _curves(chart: Chart, curves: Sequence[Curve]) -> dict[str, Any]:
    return {
        "title": chart.title,
        "unit": chart.unit,
        "nodes": {curve.node: [list(curve.at_s), [round(value, 3) for value in curve.values]] for curve in curves},
    }


def compared(comparison: Comparison) -> dict[str, Any]:
    """The data of a comparison: each phase's coarsest buckets, a line for each run."""
    return {
        "labels": list(comparison.labels),
        "phases": [
            {"runs": [None if phase is None else _outline(phase) for phase in each.runs]} for each in comparison.phases
        ],
    }


def _outline(phase: PhaseSummary) -> dict[str, Any]:
    level = phase.levels[0]
    total = sum(level.acked.values(), start=np.zeros(len(level), np.int64))
    return {"width": level.width_ns / 1e9, "acked": total.tolist(), "p99": _micro(level.p99_ns)}


def _level(level: Level, lost: Int64) -> dict[str, Any]:
    return {
        "width": level.width_ns / 1e9,
        "acked": {name: counts.tolist() for name, counts in level.acked.items()},
        "slowest": None if level.slowest is None else level.slowest.tolist(),
        "fastest": None if level.fastest is None else level.fastest.tolist(),
        "refused": _sparse(level.refused),
        "unknown": _sparse(level.unknown),
        "lost": _sparse(lost),
        "least": _micro(level.least_ns),
        "median": _micro(level.median_ns),
        "p99": _micro(level.p99_ns),
        "most": _micro(level.most_ns),
    }


def _sparse(counts: Int64) -> list[list[int]]:
    """Buckets that are not empty and what they count: most phases have few errors."""
    filled = np.flatnonzero(counts)
    return [filled.tolist(), counts[filled].tolist()]


def _micro(latency_ns: Int64) -> list[int]:
    """Microseconds, rounded up: 0 is left to mean none, and the largest is never shown smaller."""
    found: list[int] = (-(-latency_ns // 1000)).tolist()
    return found


def _lane(lane: Lane, number: dict[str, int]) -> dict[str, Any]:
    spans = [
        [round(s.from_s, 3), round(s.to_s, 3), number.get(s.primary or "", -1), s.state, s.text] for s in lane.spans
    ]
    return {"name": lane.name, "kind": lane.kind, "spans": spans}


def _losses(losses: Losses) -> dict[str, Any]:
    """Lost writes as columns."""
    told = losses.writes
    keys = list(dict.fromkeys(write.key for write in told))
    place = {key: index for index, key in enumerate(keys)}
    return {
        "total": losses.total,
        "groups": [[group.node, group.story] for group in losses.groups],
        "keys": keys,
        "key": [place[write.key] for write in told],
        "value": [write.value for write in told],
        "process": [write.process for write in told],
        "sent": [round(write.sent_s, 6) for write in told],
        "acked": [round(write.acked_s, 6) for write in told],
        "after": [write.after for write in told],
        "before": [write.before for write in told],
        "group": [write.group for write in told],
    }
