"""Convergence: after the faults are gone and writes have stopped, every replica holds its primary's data.

Model. Whoever ran the lab waited, with a deadline, for strict agreement and equal replication ids and offsets on every
shard, and noted the outcome as a `SETTLED` event: the reasons that were left (none when it converged), how long it took,
and whether Sentinels and primaries were told to hurry meanwhile (`labctl.recovery`), when the time says nothing about Redis'
own pace. This reads the last of them. The same replication id and offset mean the same data (redis.io, "Redis replication").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.check.common import Deadline, Stats, never, unknown
from labctl.model.history import SETTLED, History
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "convergence"


def check(history: History, *, deadline: Deadline = never) -> Finding:
    """What the last `SETTLED` event says. UNKNOWN without one, without its numbers, or when no node was seen.

    Args:
        history: The run.
        deadline: Not consulted.
    """
    del deadline
    settled = [event for event in history.events if event.kind == SETTLED]
    if not settled or not settled[-1].detail.get("nodes"):
        return unknown(NAME, "nobody looked at the replicas after the faults were gone")
    detail = settled[-1].detail
    reasons, waited_ms, nodes = detail.get("reasons"), detail.get("waited_ms"), detail["nodes"]
    if not isinstance(nodes, int) or not isinstance(waited_ms, int | float):
        return unknown(NAME, "the event `settled` lacks the number of nodes or how long was waited for them")
    stats: Stats = {"nodes": nodes, "waited_ms": float(waited_ms), "reasons": len(_list(reasons))}
    if not _list(reasons):
        pace = ", with Sentinels and primaries told to hurry" if detail.get("hastened") is True else ""
        summary = f"all {nodes} data nodes agree, {waited_ms:.0f} ms after the last fault ended{pace}"
        return Finding(NAME, Outcome.VALID, summary, stats=stats)
    told = "; ".join(map(str, _list(reasons)))
    return Finding(
        NAME, Outcome.INVALID, f"not converged after {waited_ms:.0f} ms", f"Still open: {told}.", stats=stats
    )


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()
