"""Recovery: how long one group of clients had no primary that took its writes.

Model. For each fault: *old* is the node that acknowledged the group's last write sent before the fault began, *new* the
first other node to acknowledge one of its writes afterwards. Recovery runs from the last write that the old one
acknowledged, before the new one did, to that first acknowledgement of the new one, on the clients' clock.

Only the group's own clients count: on the other side of a partition the old primary goes on acknowledging. It is what
clients saw, so it includes their discovery and retries, and with slow clients it can be longer than the system's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labctl.check.common import Anomaly, Deadline, Stats, milliseconds, never, unknown
from labctl.check.prose import moment
from labctl.model.history import CLIENTS, History, Int64
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labctl.model.history import FaultWindow

NAME = "recovery"


def check(
    history: History,
    *,
    deadline: Deadline = never,
    group: str | None = None,
    writes: Sequence[str] = ("write", "add", "append", "cas", "incr"),
) -> Finding:
    """Measure recovery after each fault; the longest is `recovery_ms`. UNKNOWN when no other node took over.

    Args:
        history: The run with its fault events, and `CLIENTS` events that say which processes form a group.
        deadline: Not consulted: the work is a few array operations per fault.
        group: Clients to look at; all when left out.
        writes: Functions that only a primary acknowledges.
    """
    del deadline
    acked = np.flatnonzero(history.ok & history.where(*writes) & (history.node >= 0))
    if group is not None:
        acked = acked[np.isin(history.process[acked], _processes(history, group))]
    acked = acked[np.argsort(history.complete_ns[acked], kind="stable")]
    found = [each for fault in history.faults() if (each := _after(history, acked, fault)) is not None]
    stats: Stats = {"writes": len(acked), "faults": len(history.faults()), "recoveries": len(found)}
    if not found:
        whose = f" of {group}" if group else ""
        return unknown(NAME, f"after no fault did another node acknowledge a write{whose}", stats)
    worst = max(found, key=lambda each: float(str(each["recovery_ms"])))
    stats["recovery_ms"] = float(str(worst["recovery_ms"]))
    story = (
        f"{worst['old']} acknowledged its last write at {worst['last_old']}; {worst['new']} acknowledged its first at "
        f"{worst['first_new']}, {worst['recovery_ms']:.0f} ms later."
    )
    summary = f"{worst['new']} took over from {worst['old']} after {worst['recovery_ms']:.0f} ms"
    return Finding(NAME, Outcome.VALID, summary, story, _witness(worst), stats, tuple(found))


def _processes(history: History, group: str) -> list[int]:
    listed = [event.detail.get("processes") for event in history.events if event.kind == CLIENTS]
    names = [event.detail.get("group") for event in history.events if event.kind == CLIENTS]
    return [
        int(p)
        for name, each in zip(names, listed, strict=True)
        if name == group and isinstance(each, list)
        for p in each
    ]


def _after(history: History, acked: Int64, fault: FaultWindow) -> Anomaly | None:
    """The change of primary that followed a fault, None when there was none."""
    before = acked[history.invoke_ns[acked] < fault.start_ns]
    if not len(before):
        return None
    old = int(history.node[before[-1]])
    later = acked[(history.complete_ns[acked] > fault.start_ns) & (history.node[acked] != old)]
    if not len(later):
        return None
    first_new = int(later[history.complete_ns[later].argmin()])
    earlier = acked[(history.node[acked] == old) & (history.complete_ns[acked] < history.complete_ns[first_new])]
    if not len(earlier):  # both acknowledged before: this was no change of primary
        return None
    last_old = int(earlier[history.complete_ns[earlier].argmax()])
    return {
        "fault": fault.name,
        "old": history.nodes[old],
        "new": history.nodes[int(history.node[first_new])],
        "recovery_ms": milliseconds(history.complete_ns[first_new] - history.complete_ns[last_old]),
        "last_old": moment(history, int(history.complete_ns[last_old])),
        "first_new": moment(history, int(history.complete_ns[first_new])),
        "positions": [last_old, first_new],
    }


def _witness(row: Anomaly) -> tuple[int, ...]:
    positions = row["positions"]
    assert isinstance(positions, list)
    return tuple(positions)
