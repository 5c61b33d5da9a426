"""Availability: how long the system did not serve, and how fast and how reliably it served around each fault.

Model. An operation is *good* when it was acknowledged. Its latency runs from the moment it was due (open loop) or sent
(closed loop) to its acknowledgement, so that waiting in a stalled client counts. All numbers are computed from what
clients saw, on the history's own clock.

- *gap*: time between two acknowledgements that follow each other, while operations were being tried; or from the first
  attempt to the first acknowledgement, or from the last acknowledgement to when the last attempt was given up.
- *outage* of a fault: from the first operation that was sent after the fault began and did not succeed, to the first
  acknowledgement after that operation's client knew.
- *recovery* of a fault: from the last write acknowledged by the old primary to the first acknowledged by the new one.
  New is the first node to acknowledge a write after the fault began that had acknowledged none since the previous
  fault; old is the fault's own node, or else, of those that had acknowledged writes, the one that stopped first.
- *phases*: before (since the previous fault ended), during, and after (until the next begins), by the time an operation
  was due: good operations per second, failures, unknowns, latency percentiles of the good ones.

It measures; it judges only against bounds that it is given. It cannot see unavailability to which no operation was
exposed: a client that waits for its only answer tries nothing else, so use enough clients or an open loop. Reads at the
end (`final-read`), for which a run waits until the system has recovered, are no load and are left out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from labctl.check.common import SHOWN, Anomaly, Deadline, Stats, milliseconds, never, unknown
from labctl.check.prose import duration, moment, surroundings
from labctl.model.history import FINAL_READ, NEVER, History, Int64
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labctl.model.history import FaultWindow

NAME = "availability"
PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)


@dataclass(frozen=True, slots=True)
class Phase:
    """What clients got from the operations that were due in a span of time.

    Attributes:
        seconds: Length of the span.
        operations, good, failed, unknown: Counts.
        goodput_per_s: Good operations per second.
        latency_ms: Percentiles (`p50` … `p100`) of the good operations, from due to acknowledged.
    """

    seconds: float
    operations: int
    good: int
    failed: int
    unknown: int
    goodput_per_s: float
    latency_ms: dict[str, float]


def check(
    history: History,
    *,
    deadline: Deadline = never,
    max_gap_ms: float | None = None,
    max_recovery_ms: float | None = None,
    writes: Sequence[str] = ("write", "add", "append", "cas", "incr"),
) -> Finding:
    """Measure availability; INVALID only when a bound is given and exceeded.

    Args:
        history: The run with its fault events.
        deadline: Not consulted: the work is a few array operations per fault.
        max_gap_ms: Longest gap allowed.
        max_recovery_ms: Longest recovery allowed for each fault.
        writes: Functions that only a primary acknowledges.
    """
    del deadline
    of_load = np.flatnonzero(~history.where(FINAL_READ))
    history = history.select(of_load)
    good = np.flatnonzero(history.ok)
    if len(good) < 2:
        return unknown(NAME, f"only {len(good)} of {len(history)} operations were acknowledged: nothing to measure")
    gap_ns, edges = _longest_gap(history, good)
    gap_ms = milliseconds(gap_ns[1] - gap_ns[0])
    faults = [_around(history, window, rest, writes) for window, rest in _with_neighbours(history)]
    recoveries = [float(str(fault["recovery_ms"])) for fault in faults if fault["recovery_ms"] is not None]
    outages = [float(str(fault["outage_ms"])) for fault in faults if fault["outage_ms"] is not None]
    whole = _phase(history, history.start_ns, _end_ns(history) + 1)
    stats: Stats = {
        "operations": len(history),
        "good": len(good),
        "failed": int(history.failed.sum()),
        "unknown": int(history.unknown.sum()),
        "faults": len(faults),
        "longest_gap_ms": gap_ms,
        "longest_outage_ms": max(outages, default=None),
        "longest_recovery_ms": max(recoveries, default=None),
        **{f"latency_{name}_ms": value for name, value in whole.latency_ms.items()},
        "goodput_per_s": whole.goodput_per_s,
    }
    summary = f"longest gap {gap_ms:g} ms, {len(good)} of {len(history)} operations good"
    if recoveries:
        summary += f", recovery {max(recoveries):g} ms"
    start, end = (moment(history, at_ns) for at_ns in gap_ns)
    story = f"The longest time without an acknowledgement was {duration(gap_ms * 1e6)}, from {start} to {end}."
    story += surroundings(history, edges)
    exceeded = [
        f"the longest {what} was {measured:g} ms, {bound:g} ms is allowed"
        for what, measured, bound in (
            ("gap", gap_ms, max_gap_ms),
            ("recovery", max(recoveries, default=0.0), max_recovery_ms),
        )
        if bound is not None and measured > bound
    ]
    outcome = Outcome.INVALID if exceeded else Outcome.VALID
    if max_recovery_ms is not None and not recoveries and not exceeded:
        return unknown(NAME, f"{summary}; no change of primary was seen, so no recovery could be measured", stats)
    return Finding(
        NAME,
        outcome,
        "; ".join([summary, *exceeded]),
        story,
        tuple(int(of_load[edge]) for edge in edges) if exceeded else (),
        stats,
        tuple(faults[:SHOWN]),
    )


def _longest_gap(history: History, good: Int64) -> tuple[tuple[int, int], tuple[int, int]]:
    """The longest time without an acknowledgement: its begin and end in ns, and the operations at its edges."""
    order = good[np.argsort(history.complete_ns[good], kind="stable")]
    given_up = np.where(history.complete_ns == NEVER, history.invoke_ns, history.complete_ns)
    last = int(given_up.argmax())
    edges = [0, *order.tolist(), last]
    moments = np.array([history.invoke_ns[0], *history.complete_ns[order], given_up[last]])
    widest = int(np.diff(moments).argmax())
    return (int(moments[widest]), int(moments[widest + 1])), (edges[widest], edges[widest + 1])


def _end_ns(history: History) -> int:
    """When the last operation was sent or answered, or given up."""
    answered = history.complete_ns[history.complete_ns != NEVER]
    return max(int(history.invoke_ns[-1]), int(answered.max(initial=0)))


def _with_neighbours(history: History) -> list[tuple[FaultWindow, tuple[int, int]]]:
    """Each fault with the end of the one before and the start of the one after it."""
    faults = history.faults()
    end_ns = _end_ns(history)
    bounds = [history.start_ns, *(f.end_ns if f.end_ns is not None else end_ns for f in faults)]
    nexts = [*(f.start_ns for f in faults[1:]), end_ns + 1]
    return [(f, (min(before, f.start_ns), after)) for f, before, after in zip(faults, bounds, nexts, strict=False)]


def _around(history: History, fault: FaultWindow, neighbours: tuple[int, int], writes: Sequence[str]) -> Anomaly:
    end = fault.end_ns if fault.end_ns is not None else _end_ns(history) + 1
    before, after = neighbours
    phases = [(before, fault.start_ns), (fault.start_ns, end), (end, max(after, end))]
    return {
        "kind": "fault",
        "fault": fault.name,
        "node": fault.node,
        "start_ms": milliseconds(fault.start_ns - history.start_ns),
        "end_ms": None if fault.end_ns is None else milliseconds(fault.end_ns - history.start_ns),
        "outage_ms": _outage(history, fault),
        **_recovery(history, fault, before, writes),
        **{
            name: asdict(_phase(history, *span))
            for name, span in zip(("before", "during", "after"), phases, strict=True)
        },
    }


def _outage(history: History, fault: FaultWindow) -> float | None:
    """First operation sent during the fault that was not good, to the first acknowledgement after it; None if all good.

    Without a later acknowledgement it lasts to the end of the load.
    """
    sent = history.invoke_ns >= fault.start_ns
    if fault.end_ns is not None:
        sent &= history.invoke_ns <= fault.end_ns
    bad = np.flatnonzero(sent & ~history.ok)
    if not len(bad):
        return None
    known = int(history.complete_ns[bad[0]])
    later = history.complete_ns[history.ok & (history.complete_ns > known)] if known != NEVER else np.array([])
    end = int(later.min()) if len(later) else _end_ns(history)
    return milliseconds(end - int(history.invoke_ns[bad[0]]))


def _recovery(history: History, fault: FaultWindow, since: int, writes: Sequence[str]) -> Anomaly:
    """The change of primary that followed a fault, if clients saw one."""
    acked = np.flatnonzero(history.ok & history.where(*writes) & (history.node >= 0))
    at, node = history.complete_ns[acked], history.node[acked]
    old_nodes = np.unique(node[(at >= since) & (at < fault.start_ns)])
    newcomers = (at >= fault.start_ns) & ~np.isin(node, old_nodes)
    none: Anomaly = {"recovery_ms": None, "old_primary": None, "new_primary": None}
    if not len(old_nodes) or not newcomers.any():
        return none
    first = int(np.flatnonzero(newcomers)[at[newcomers].argmin()])
    last_ack = {int(n): int(at[(node == n) & (at <= at[first])].max()) for n in old_nodes}
    named = [n for n in last_ack if history.nodes[n] == fault.node]
    old = named[0] if named else min(last_ack, key=last_ack.__getitem__)
    return {
        "recovery_ms": milliseconds(at[first] - last_ack[old]),
        "old_primary": history.nodes[old],
        "new_primary": history.nodes[node[first]],
    }


def _phase(history: History, start: int, end: int) -> Phase:
    due = (history.due_ns >= start) & (history.due_ns < end)
    good = due & history.ok
    latency = history.complete_ns[good] - history.due_ns[good]
    values = np.percentile(latency, PERCENTILES) if len(latency) else []
    return Phase(
        seconds=round(max(end - start, 0) / 1e9, 6),
        operations=int(due.sum()),
        good=int(good.sum()),
        failed=int((due & history.failed).sum()),
        unknown=int((due & history.unknown).sum()),
        goodput_per_s=round(int(good.sum()) * 1e9 / (end - start), 3) if end > start else 0.0,
        latency_ms={f"p{p:g}": milliseconds(v) for p, v in zip(PERCENTILES, values, strict=False)},
    )
