"""Deposed primaries: for how long does a node go on acknowledging writes after another one was made primary?

Model. A *promotion* is a node, an epoch and a moment: a `ROLE` event that carries an epoch, or, since Sentinels tell their
epoch only once the failover is over, the node's last `ROLE` event before the first Sentinel named it for that epoch (a
`sentinel` event). A node is deposed from the promotion of another node on, until its own next one in a higher epoch;
none of what it acknowledges meanwhile is protected. `deposed_ms` is the longest time from a promotion to the last write
that a node deposed by it acknowledged.

A primary that comes back and still believes in its role has no epoch, and deposes nobody.

Redis bounds it only where the configuration does: with `min-replicas-to-write` a primary without its replicas refuses
after `min-replicas-max-lag` seconds (redis.io, "Redis replication"). Hold `deposed_ms` against that bound. Events are
dated to within a poll (some 50 ms), so a measurement is that much too small at the most. For labs with one primary at a
time; a Cluster has one a shard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labctl.check.common import SHOWN, Anomaly, Deadline, Stats, milliseconds, never, unknown
from labctl.check.prose import tell
from labctl.model.history import ROLE, SENTINEL, History, Int64
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "deposed-writes"


def check(
    history: History,
    *,
    deadline: Deadline = never,
    writes: Sequence[str] = ("write", "add", "append", "cas", "incr"),
) -> Finding:
    """INVALID when a deposed node acknowledged a write; how long is in the stats.

    Args:
        history: The run with its role and Sentinel events.
        deadline: Not consulted.
        writes: Functions that only a primary acknowledges.
    """
    del deadline
    promotions = _promotions(history)
    acked = np.flatnonzero(history.ok & history.where(*writes) & (history.node >= 0))
    stats: Stats = {"writes": len(acked), "promotions": len(promotions), "deposed_writes": 0, "deposed_ms": 0.0}
    if not len(acked) or not promotions:
        return unknown(NAME, "no acknowledged write, or no primary with an epoch, to hold against each other", stats)
    worst: tuple[int, int, _Promotion] | None = None
    anomalies: list[Anomaly] = []
    for promotion in promotions:
        late = _by_others(history, acked, promotion, promotions)
        if not len(late):
            continue
        last = int(late[np.argmax(history.complete_ns[late])])
        length = int(history.complete_ns[last]) - promotion.at_ns
        anomalies.append(
            {
                "kind": "deposed",
                "by": promotion.node,
                "epoch": promotion.epoch,
                "writes": len(late),
                "deposed_ms": milliseconds(length),
            }
        )
        stats["deposed_writes"] = int(str(stats["deposed_writes"])) + len(late)
        if worst is None or length > worst[0]:
            worst = length, last, promotion
    if worst is None:
        return Finding(NAME, Outcome.VALID, "no node acknowledged a write after another was made primary", stats=stats)
    length, last, promotion = worst
    stats["deposed_ms"] = milliseconds(length)
    summary = f"{stats['deposed_writes']} writes acknowledged by a deposed primary, for {stats['deposed_ms']:g} ms"
    when = f"{promotion.node} was primary in epoch {promotion.epoch}"
    story = f"{when}; {milliseconds(length):g} ms later: {tell(history, last)}."
    return Finding(NAME, Outcome.INVALID, summary, story, (last,), stats, tuple(anomalies[:SHOWN]))


@dataclass(frozen=True, slots=True)
class _Promotion:
    node: str
    epoch: int
    at_ns: int


def _promotions(history: History) -> list[_Promotion]:
    """Each epoch's promotion, in order of epoch."""
    found: dict[int, _Promotion] = {}
    took_role: dict[str, int] = {}
    for event in history.events:
        node, epoch = event.node, _whole(event.detail.get("epoch"))
        if event.kind == ROLE and event.detail.get("role") == "primary" and node is not None:
            took_role[node] = event.at_ns
            if epoch:
                found.setdefault(epoch, _Promotion(node, epoch, event.at_ns))
        elif event.kind == ROLE and node is not None:
            took_role.pop(node, None)
        elif event.kind == SENTINEL and epoch and isinstance(primary := event.detail.get("primary"), str):
            found.setdefault(epoch, _Promotion(primary, epoch, took_role.get(primary, event.at_ns)))
    return [found[epoch] for epoch in sorted(found)]


def _by_others(history: History, acked: Int64, promotion: _Promotion, promotions: list[_Promotion]) -> Int64:
    """Acknowledgements by other nodes of writes sent after a promotion and before that other node's own next one."""
    sent_after = acked[history.invoke_ns[acked] > promotion.at_ns]
    found = []
    for code in np.unique(history.node[sent_after]):
        name = history.nodes[int(code)]
        if name == promotion.node:
            continue
        back = [p.at_ns for p in promotions if p.node == name and p.epoch > promotion.epoch]
        mine = sent_after[history.node[sent_after] == code]
        found.append(mine[history.complete_ns[mine] < min(back)] if back else mine)
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
