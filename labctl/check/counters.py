"""Counters: a number of the servers' own INFO held against bounds, over the views that were taken during a phase.

Model. Each view has, for each node that holds data, the numbers that it stated under INFO. A series is one node's
values of `field`, divided by those of `per` in the same view where that is asked for. What is judged is one number a
node: its last value, its greatest, its smallest, or by how much it rose over the phase. A counter begins at zero again
when its process does, so a rise is counted from zero after a change of `run_id`; what an ended process had counted
after the last view of it is not seen. Of a number that rises and falls between two views, the peak between is not seen
either (`used_memory_peak` is what the server itself saw).

A role is that of the view: `primary` takes a node's values only while it was one.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from labctl.check.common import SHOWN, Anomaly, Stats, unknown
from labctl.errors import UsageError
from labctl.model.topology import Role
from labctl.model.verdict import Finding, Outcome
from labctl.model.view import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from labctl.model.view import NodeView, View

NAME = "counters"
As = Literal["last", "max", "min", "delta"]
_ROLES = {"primary": Role.PRIMARY, "replicas": Role.REPLICA}


def check(
    views: Sequence[View],
    *,
    field: str = "",
    of: str = "all",
    per: str = "",
    as_: As = "last",
    at_most: float | None = None,
    at_least: float | None = None,
) -> Finding:
    """Hold a field of INFO against bounds: every node that `of` means, or with `delta` all of them together.

    Stats: `value_max` and `value_min` over the nodes, `value_sum`, `nodes`, `views`.

    Args:
        views: In order.
        field: One of `COUNTERS`.
        of: `all`, `primary`, `replicas`, or a node's name.
        per: Another field to divide by; views in which it is zero are left out.
        as_: Each node's `last` value, its `max`, its `min`, or the `delta` over the phase, added up over the nodes.
        at_most: Upper bound.
        at_least: Lower bound.

    Raises:
        UsageError: Parameters that mean nothing.
    """
    if wrong := problem(field, of, per, as_, at_most, at_least):
        raise UsageError(wrong)
    series = _series(views, field, of, per)
    stats: Stats = {"views": len(views), "nodes": len(series)}
    name = f"{field}/{per}" if per else field
    if not series:
        return unknown(NAME, f"no view has {name} of {of}", stats)
    values = {node: _reduced(entries, as_) for node, entries in series.items()}
    stats |= {
        "value_max": max(values.values()),
        "value_min": min(values.values()),
        "value_sum": sum(values.values()),
    }
    judged = {"all nodes together": sum(values.values())} if as_ == "delta" else values
    wrong_ones: list[Anomaly] = [
        {"kind": "counter", "node": node, "field": name, "as": as_, "value": value}
        for node, value in judged.items()
        if (at_most is not None and value > at_most) or (at_least is not None and value < at_least)
    ]
    said = _said(name, of, as_, judged, _bound(at_most, at_least))
    if not wrong_ones:
        return Finding(NAME, Outcome.VALID, said, stats=stats)
    return Finding(NAME, Outcome.INVALID, said, f"{said}: {_told(values)}.", (), stats, tuple(wrong_ones[:SHOWN]))


def problem(field: str, of: str, per: str, as_: str, at_most: float | None, at_least: float | None) -> str | None:
    """Why these parameters mean nothing; None if they do."""
    for name in (field, per) if per else (field,):
        if name not in COUNTERS:
            return f"`{name}` is no number that views keep; there are: {', '.join(sorted(COUNTERS))}"
    if as_ not in ("last", "max", "min", "delta"):
        return f"`as` is last, max, min or delta, not `{as_}`"
    if at_most is None and at_least is None:
        return "`at_most` or `at_least` must be stated"
    if not of:
        return "`of` is all, primary, replicas or a node"
    return None


def _series(views: Sequence[View], field: str, of: str, per: str) -> dict[str, list[tuple[str, float]]]:
    """By node: run id and value, one for each view that has them."""
    found: dict[str, list[tuple[str, float]]] = {}
    for view in views:
        for node in _meant(view, of):
            value, divisor = node.counters.get(field), node.counters.get(per) if per else 1.0
            if value is not None and divisor:
                found.setdefault(node.name, []).append((node.run_id, value / divisor))
    return found


def _meant(view: View, of: str) -> Iterator[NodeView]:
    for node in view.data_nodes:
        if of in ("all", node.name) or node.role is _ROLES.get(of):
            yield node


def _reduced(entries: Sequence[tuple[str, float]], as_: As) -> float:
    values = [value for _, value in entries]
    match as_:
        case "last":
            return values[-1]
        case "max":
            return max(values)
        case "min":
            return min(values)
        case "delta":
            return sum(
                now - before if run == run_before else now for (run_before, before), (run, now) in pairwise(entries)
            )


def _bound(at_most: float | None, at_least: float | None) -> str:
    words = [f"at least {at_least:g}"] if at_least is not None else []
    return " and ".join([*words, *([f"at most {at_most:g}"] if at_most is not None else [])])


def _said(name: str, of: str, as_: As, judged: dict[str, float], bound: str) -> str:
    what = {"last": "in the end", "max": "at most", "min": "at least", "delta": "more"}[as_]
    low, high = min(judged.values()), max(judged.values())
    shown = f"{high:.10g}" if low == high else f"{low:.10g} to {high:.10g}"
    return f"{name} of {of}: {shown} {what} (wanted {bound})"


def _told(values: dict[str, float]) -> str:
    return ", ".join(f"{node} {value:.10g}" for node, value in values.items())
