"""What Prometheus measured of a phase, for the page: curves of each node, and the alerts that fired."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from labctl.store.metrics import Kept, Series

ALERTS: Final = "ALERTS"
_NODE = "node"
_PLUMBING = frozenset({"alertname", "alertstate", "lab", "instance", "job", "severity", "exporter"})
_GAP = 2.5
"""An alert without a sample for so many times the usual interval has ended in between."""
_LONE_S = 1.0


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn of one metric.

    Attributes:
        title: Its heading.
        unit: `bytes`, `number`, or `rate`: how fast a counter grows, a second.
        metric: Whose.
    """

    title: str
    unit: str
    metric: str


CHARTS: Final = (
    Chart("Commands", "rate", "redis_commands_processed_total"),
    Chart("Memory", "bytes", "redis_memory_used_bytes"),
    Chart("Connected clients", "number", "redis_connected_clients"),
)
WANTED: Final = frozenset({ALERTS, *(chart.metric for chart in CHARTS)})


@dataclass(frozen=True, slots=True)
class Curve:
    """A node's numbers; times are seconds since the phase began."""

    node: str
    at_s: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert from when Prometheus said that it fires; `to_s` None while it still did at the end of the phase."""

    name: str
    about: str
    severity: str
    from_s: float
    to_s: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What there is; empty where no snapshot was taken.

    Attributes:
        curves: For each chart that has any.
        alerts: In order of time.
        why_not: Why there is nothing although a snapshot was taken.
    """

    curves: tuple[tuple[Chart, tuple[Curve, ...]], ...] = ()
    alerts: tuple[Firing, ...] = ()
    why_not: str = ""


NOTHING: Final = Measured()
"""Of a phase that nobody watched."""


def measured(kept: Kept, began_unix_s: float, span_s: float) -> Measured:
    """What falls into a phase.

    Args:
        kept: The series of a snapshot.
        began_unix_s: When the phase began.
        span_s: How long it is.
    """
    curves = []
    for chart in CHARTS:
        of_chart = tuple(_curves(chart, kept.series, began_unix_s, span_s))
        if of_chart:
            curves.append((chart, of_chart))
    firing = (each for series in kept.series for each in _firings(series, began_unix_s, span_s))
    return Measured(tuple(curves), tuple(sorted(firing, key=lambda f: (f.from_s, f.name, f.about))), kept.why_not)


def _curves(chart: Chart, every: Sequence[Series], began_unix_s: float, span_s: float) -> Iterable[Curve]:
    for series in sorted(every, key=lambda one: one.labels.get(_NODE, "")):
        if series.name != chart.metric or _NODE not in series.labels:
            continue
        points = [(at - began_unix_s, value) for at, value in zip(series.at_s, series.values, strict=True)]
        if chart.unit == "rate":
            points = _grows(points)
        inside = [(round(at, 3), value) for at, value in points if 0 <= at <= span_s]
        if inside:
            yield Curve(series.labels[_NODE], *map(tuple, zip(*inside, strict=True)))


def _grows(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """How fast a counter grew from each sample to the next; one that begins anew, after a restart, grew from nothing."""
    return [
        (at, (value - before if value >= before else value) / (at - since))
        for (since, before), (at, value) in pairwise(points)
        if at > since
    ]


def _firings(series: Series, began_unix_s: float, span_s: float) -> Iterable[Firing]:
    if series.name != ALERTS or series.labels.get("alertstate") != "firing":
        return
    name, severity = series.labels.get("alertname", "?"), series.labels.get("severity", "")
    about = " ".join(value for label, value in sorted(series.labels.items()) if label not in _PLUMBING and value)
    times = [at - began_unix_s for at in series.at_s]
    usual_s = min((b - a for a, b in pairwise(times)), default=_LONE_S)
    stretches = [[times[0], times[0]]]
    for at in times[1:]:
        if at - stretches[-1][1] > usual_s * _GAP:
            stretches.append([at, at])
        stretches[-1][1] = at
    for first, last in stretches:
        if first <= span_s and last >= 0:
            end = last + usual_s
            yield Firing(name, about, severity, round(max(first, 0.0), 3), None if end > span_s else round(end, 3))
