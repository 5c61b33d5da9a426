"""The story of each lost write: who acknowledged it and when, at which offset, and what threw it away.

A write is lost by one of two ways. Its node became a replica of another and took over that one's data: then the write was
dropped by the failover that made the other one primary. Or its node went down and came back without it. Losses that share
node and way form a group; what is said of the group holds for each of its writes.

Offsets come from views, which are polls. A write's own offset lies between that of its node in the last view that was
complete before the write was sent and that in the first view begun after it was acknowledged.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from labctl.check import acked_writes
from labctl.check.prose import shorten
from labctl.model.history import ROLE, Event, History, Int64
from labctl.model.topology import Role
from labctl.model.verdict import Verdict
from labctl.model.view import View

TOLD = 6000
"""Lost writes that are told of one by one when there are more: enough for every stretch of a chart to have some."""

_FIRST = 12
_LISTED = 1_000_000
_NOBODY = "an unknown node"
_NODE_LOST = frozenset({"down", "exit"})


@dataclass(frozen=True, slots=True)
class LostWrite:
    """An acknowledged write that is gone; times in seconds since the phase began.

    Attributes:
        key, value, process, node: As recorded; the value shortened.
        sent_s, acked_s: Its invocation and its acknowledgement.
        after, before: Its node's replication offset before it was sent and after it was acknowledged, as far as known.
        group: Number of its group.
    """

    key: str
    value: str
    process: int
    node: str
    sent_s: float
    acked_s: float
    after: int | None
    before: int | None
    group: int


@dataclass(frozen=True, slots=True)
class LossGroup:
    """Lost writes that the same node acknowledged and the same turn of events dropped.

    Attributes:
        node: Who acknowledged them.
        count: How many.
        first_s, last_s: When the first and the last one was acknowledged.
        dropped_s: When they were dropped, as far as that was seen.
        story: What happened to them, in sentences.
    """

    node: str
    count: int
    first_s: float
    last_s: float
    dropped_s: float | None
    story: str


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """The lost writes of a phase in order of acknowledgement.

    Attributes:
        total: How many.
        writes: Those that are told of one by one.
        groups: What happened to them all.
        acked_ns: When each of them was acknowledged, since the phase began.
    """

    total: int = 0
    writes: tuple[LostWrite, ...] = ()
    groups: tuple[LossGroup, ...] = ()
    acked_ns: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True)
class _Fate:
    """What threw writes away: `dropped_ns` None when that was not seen."""

    dropped_ns: int | None
    taken_over_ns: int | None
    by: str | None
    came_back_ns: int | None = None


def losses(
    history: History,
    verdicts: Iterable[Verdict],
    views: Sequence[View],
    *,
    positions: Sequence[int] | None = None,
    told: int = TOLD,
) -> Losses:
    """The losses that the check of acknowledged writes found, all of them and not only those in its verdict.

    Args:
        history: The phase.
        verdicts: Of the phase.
        views: Of the phase, for offsets.
        positions: Of all lost writes, where they were kept; they are found again when left out or not as many as they were.
        told: How many writes are to be told of one by one.
    """
    finding = next((v.finding for v in verdicts if v.finding.check == acked_writes.NAME), None)
    total = int(finding.stats.get("lost") or 0) if finding else 0
    if finding is None or not total:
        return Losses()
    if positions is None or len(positions) != total or max(positions) >= len(history):
        anomalies = finding.anomalies
        if len(anomalies) < total:
            anomalies = acked_writes.check(history, listed=_LISTED).anomalies
        positions = [int(str(row["position"])) for row in anomalies if row["kind"] == "lost"]
    return tell_losses(history, positions, views, total, told)


def tell_losses(
    history: History, positions: Sequence[int], views: Sequence[View], total: int, told: int = TOLD
) -> Losses:
    """The losses at these positions of the history."""
    rows = np.asarray(positions, np.int64)
    rows = rows[np.argsort(history.complete_ns[rows], kind="stable")]
    acked_ns = history.complete_ns[rows]
    fates = _Fates(history.events)
    offsets = {name: _Offsets(name, views) for name in history.nodes}
    group = np.zeros(len(rows), np.int64)
    kinds: dict[tuple[str, _Fate], int] = {}
    for code in np.unique(history.node[rows]):
        mine = history.node[rows] == code
        node = history.nodes[code] if code >= 0 else _NOBODY
        place = fates.place(node, acked_ns[mine])
        numbers = {p: kinds.setdefault((node, fates.fate(node, int(p))), len(kinds)) for p in np.unique(place)}
        group[mine] = [numbers[p] for p in place]
    start = history.start_ns
    groups = []
    for number, (node, fate) in enumerate(kinds):
        at_s = (acked_ns[group == number] - start) / 1e9
        dropped_s = None if fate.dropped_ns is None else (fate.dropped_ns - start) / 1e9
        story = _story(node, fate, offsets, start)
        groups.append(LossGroup(node, len(at_s), float(at_s[0]), float(at_s[-1]), dropped_s, story))
    writes = tuple(_write(history, int(rows[i]), int(group[i]), offsets) for i in _choice(len(rows), told))
    return Losses(total, writes, tuple(groups), acked_ns - start)


def _choice(count: int, most: int) -> Int64:
    """The first few of them and an even choice over all, the last among them."""
    if count <= most:
        return np.arange(count)
    even = np.linspace(0, count - 1, most - _FIRST).astype(np.int64)
    return np.unique(np.concatenate([np.arange(_FIRST), even]))


def _write(history: History, position: int, group: int, offsets: Mapping[str, _Offsets]) -> LostWrite:
    op = history[position]
    node, acked = op.node or _NOBODY, op.complete_ns or op.invoke_ns
    after, before = offsets[node].around(op.invoke_ns, acked) if node in offsets else (None, None)
    sent_s, acked_s = (op.invoke_ns - history.start_ns) / 1e9, (acked - history.start_ns) / 1e9
    return LostWrite(op.key, shorten(op.value), op.process, node, sent_s, acked_s, after, before, group)


class _Fates:
    """What happened to a node's data after a moment: the first thing that could throw away what it had acknowledged."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self._turns: dict[str, list[Event]] = {}

    def _turns_of(self, node: str) -> list[Event]:
        if node not in self._turns:
            mine = (e for e in self._events if e.node == node)
            self._turns[node] = [e for e in mine if e.kind in _NODE_LOST or _is_replica(e)]
        return self._turns[node]

    def place(self, node: str, at_ns: Int64) -> Int64:
        """For each moment the number of the node's next turn; as many as there are when none follows."""
        turns = np.array([event.at_ns for event in self._turns_of(node)], np.int64)
        return np.searchsorted(turns, at_ns, side="right")

    def fate(self, node: str, place: int) -> _Fate:
        """What the turn with this number did to what was acknowledged before it."""
        turns = self._turns_of(node)
        if place >= len(turns):
            return _Fate(None, *self._takeover(node, turns[-1].at_ns if turns else 0))
        turn = turns[place]
        later = [e for e in self._events if e.at_ns >= turn.at_ns and e.node == node]
        replica = next((e for e in later if _is_replica(e)), None)
        back = next((e.at_ns for e in later if e.kind == "up"), None)
        if replica is not None:
            by = str(replica.detail.get("follows") or "") or None
            promoted = [e.at_ns for e in self._events if e.node == by and _is_primary(e) and e.at_ns <= replica.at_ns]
            return _Fate(replica.at_ns, promoted[-1] if promoted else None, by, back)
        taken_ns, by = self._takeover(node, turn.at_ns)
        return _Fate(None if by else turn.at_ns, taken_ns, by, back)

    def _takeover(self, node: str, at_ns: int) -> tuple[int | None, str | None]:
        """The first other node that became primary after a moment."""
        for event in self._events:
            if event.at_ns >= at_ns and event.node != node and _is_primary(event):
                return event.at_ns, event.node
        return None, None


def _is_replica(event: Event) -> bool:
    return event.kind == ROLE and event.detail.get("role") == Role.REPLICA


def _is_primary(event: Event) -> bool:
    return event.kind == ROLE and event.detail.get("role") == Role.PRIMARY


class _Offsets:
    """What polls said about one node's replication offset."""

    def __init__(self, name: str, views: Sequence[View]) -> None:
        self._rounds = [view.at_ns for view in views]
        seen = [
            (view.at_ns, node.offset, node.role)
            for view in views
            for node in view.nodes
            if node.name == name and node.up
        ]
        self._seen = seen
        self._times = [at for at, _, _ in seen]

    def around(self, sent_ns: int, acked_ns: int) -> tuple[int | None, int | None]:
        """An offset from before a write was sent, and one from after it was acknowledged."""
        complete = bisect_right(self._rounds, sent_ns) - 1  # this round began before, and those ahead of it were over
        earlier = bisect_left(self._times, self._rounds[complete]) - 1 if complete >= 0 else -1
        later = bisect_left(self._times, acked_ns)
        return (
            self._seen[earlier][1] if earlier >= 0 else None,
            self._seen[later][1] if later < len(self._seen) else None,
        )

    def as_replica(self, until_ns: int) -> tuple[int, int] | None:
        """When it was last seen as a replica before a moment, and with which offset."""
        seen = [(at, offset) for at, offset, role in self._seen if at <= until_ns and role is Role.REPLICA]
        return seen[-1] if seen else None


def _story(node: str, fate: _Fate, offsets: Mapping[str, _Offsets], start_ns: int) -> str:
    def at(moment_ns: int) -> str:
        return f"{(moment_ns - start_ns) / 1e9:.2f} s"

    if fate.by is None:
        if fate.dropped_ns is None:
            return f"Nothing that was observed afterwards explains why {node} does not have it any more."
        back = f", and at {at(fate.came_back_ns)} it answered again" if fate.came_back_ns else ""
        return f"{node} went down at {at(fate.dropped_ns)}{back}, without it: what it loaded from disk did not hold the write."
    by = fate.by
    if fate.taken_over_ns is None:
        told = f"{by} was primary"
    else:
        told = f"{by} became primary at {at(fate.taken_over_ns)}"
        seen = offsets[by].as_replica(fate.taken_over_ns) if by in offsets else None
        if seen:
            told += f"; when last seen as a replica, at {at(seen[0])}, it had applied {seen[1]:,} bytes of the stream"
    if fate.dropped_ns is None:
        return f"{told}, and did not have it. {node} was not seen to follow it within this phase."
    return f"{told}. {node} became its replica at {at(fate.dropped_ns)} and dropped what it had written on its own."
