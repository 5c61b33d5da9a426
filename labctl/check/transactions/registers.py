"""Dependencies between transactions that write unique values to registers and read them.

**Model.** Each key holds one value, at first none (None). A version of a key is made by the last write to it of a
committed transaction. Transactions are atomic: the committed ones are all those that ended `ok`, and an unknown one
once an `ok` transaction has read a value of it. A failed one was certainly not applied. Values are unique per key, so
a read shows which transaction it read from. It does not show what came before: the order of versions is inferred.

**Version order.** v < v' holds

1. PLAIN, where v is the initial version, which nobody wrote; and where a transaction read v and then wrote v': the
   version that it read was current when it committed under serializability, and older than its own under snapshot
   isolation and in every execution free of G1c.
2. SESSION, where a process met v in one transaction (read it, or wrote it last) and a different v' in a later one: in
   an order of transactions that agrees with the process, the register held v before it held v'.
3. REALTIME, where some transaction met v and completed before another, which met v', was invoked; by the same argument.
   For a version let *closed* be the earliest completion of a transaction that met it and *last* the latest invocation
   of one. Then v < v' if and only if closed(v) is before last(v'), Gibbons and Korach's zones. Only the versions that
   follow v directly become edges: v' with no v'' such that v < v'' < v'.

**Edges**, at the level of the version order that they use: ww from the writer of v to the writer of v' (of 2 and 3;
for 1 it equals a wr edge or has no source), rw from each reader of v to the writer of v', wr from the writer of v to
each reader of v. wr edges are PLAIN and need no version order. Two versions that were each met after the other get
no ww edge: the cycle is there without it, through a reader of the stale version, and is a read skew and no write cycle.

**Completeness.** Whether a history of register transactions is serializable is NP-complete to decide; these rules
don't. Versions of blind writes that no rule orders stay unordered, so a lack of cycles at level PLAIN proves little if
transactions do not read what they overwrite. The REALTIME rule makes up for it wherever writes rarely overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.check.transactions.columns import Function
from labctl.check.transactions.graph import Kind, Level, distinct, expand, is_in
from labctl.model.history import NIL

if TYPE_CHECKING:
    from labctl.check.transactions.columns import Transactions
    from labctl.check.transactions.graph import Dependencies
    from labctl.check.transactions.order import Timeline
    from labctl.check.transactions.program import Program, Writers
    from labctl.model.history import Int64, Mask

_WINDOW: Final = 256  # versions looked at behind each one in real time; more are concurrent only in damaged histories


@dataclass(frozen=True, slots=True, eq=False)
class Registers:
    """Register reads of `ok` transactions that do not come after a write of their own (r of them).

    Attributes:
        transactions: What was read and written.
        owner: (m,) the transaction of each micro-operation.
        program: Program order.
        read: (r,) micro-operations that read registers.
        seen: (r,) the micro-operation that wrote what was read; -1 for the initial version, -2 if nobody wrote it.
    """

    transactions: Transactions
    owner: Int64
    program: Program
    read: Int64
    seen: Int64

    @classmethod
    def of(cls, transactions: Transactions, owner: Int64, program: Program, writers: Writers) -> Registers:
        """Find what each read saw."""
        t = transactions
        read = np.flatnonzero((t.function == Function.READ) & t.ok[owner])
        read = read[program.reads_first(read)]
        writer = writers.find(t.key[read], t.value[read])
        seen = np.where(t.value[read] == NIL, -1, np.where(writer < 0, -2, writer))
        return cls(t, owner, program, read, seen)

    def observed(self) -> Mask:
        """(n,) the transactions of which an `ok` transaction has read a value."""
        observed = np.zeros(len(self.transactions), dtype=np.bool_)
        observed[self.owner[self.seen[self.seen >= 0]]] = True
        return observed

    def versions_made(self, committed: Mask) -> Int64:
        """The writes that make versions: the last one to each key of each committed transaction."""
        writes = np.flatnonzero((self.transactions.function == Function.WRITE) & committed[self.owner])
        return writes[self.program.is_last_write(writes)]

    def add_edges(self, committed: Mask, timeline: Timeline, dependencies: Dependencies) -> dict[str, int]:
        """Add the edges that the reads imply; returns numbers for the finding's stats."""
        t, owner = self.transactions, self.owner
        made = self.versions_made(committed)
        version = np.full(len(owner), -1, dtype=np.int64)  # of a micro-operation: the write that made it, or key - K
        version[made] = made
        known = (self.seen >= 0) & committed[owner[self.seen]]
        dependencies.add(owner[self.seen[known]], owner[self.read[known]], Kind.WR)

        is_version = known & (version[self.seen] >= 0)
        initial = self.seen == -1
        usable = is_version | initial
        read, seen = self.read[usable], self.seen[usable]
        reads = _Reads(read, owner[read], np.where(seen >= 0, seen, len(owner) + t.key[read]))

        overwrites = self.program.writes_later(reads.read)
        overwriter = self.program.micro[self.program.last_write[self.program.place[reads.read[overwrites]]]]
        first = len(owner) + t.key[made]
        followed = np.concatenate((reads.version[overwrites], first))
        follower = np.concatenate((overwriter, made))
        dependencies.add_product((reads.version, reads.reader), (followed, owner[follower]), Kind.RW)

        sessions = self._session_order(reads, made)
        zones = self._time_order(reads, made, timeline)
        for (before, after), level in ((sessions, Level.SESSION), (zones, Level.REALTIME)):
            one_way = ~is_in(before * len(owner) + after, np.sort(after * len(owner) + before))
            dependencies.add(owner[before[one_way]], owner[after[one_way]], Kind.WW, level)
            dependencies.add_product((reads.version, reads.reader), (before, owner[after]), Kind.RW, level)
        return {
            "register_versions_read": len(distinct(reads.version)),
            "register_versions_ordered": len(sessions[0]) + len(zones[0]),
        }

    def _session_order(self, reads: _Reads, made: Int64) -> tuple[Int64, Int64]:
        """Pairs of versions (by the write that made them) that one process met one after the other."""
        t, owner = self.transactions, self.owner
        micro = np.concatenate((reads.read, made))
        met = np.concatenate((reads.version, made))
        order = np.lexsort((micro, t.key[micro], t.process[owner[micro]]))
        micro, met = micro[order], met[order]
        certain = t.ok[owner[micro]]
        last_certain = np.maximum.accumulate(np.where(certain, np.arange(len(micro)), -1))
        earlier = np.concatenate(([-1], last_certain))[: len(micro)]
        later = np.flatnonzero(earlier >= 0)
        earlier = earlier[later]
        first, second = owner[micro[earlier]], owner[micro[later]]
        same = (t.key[micro[earlier]] == t.key[micro[later]]) & (t.process[first] == t.process[second])
        same &= first != second
        before, after = met[earlier[same]], met[later[same]]
        differ = (before != after) & (before < len(owner)) & (after < len(owner))
        return before[differ], after[differ]

    def _time_order(self, reads: _Reads, made: Int64, timeline: Timeline) -> tuple[Int64, Int64]:
        """Pairs of versions (by the write that made them) where the second directly follows the first in real time."""
        written = reads.version < len(self.owner)
        micro = np.concatenate((reads.read[written], made))
        met = np.concatenate((reads.version[written], made))
        closed = np.full(len(self.owner), np.iinfo(np.int64).max)
        last = np.zeros(len(self.owner), dtype=np.int64)
        np.minimum.at(closed, met, timeline.closed[self.owner[micro]])
        np.maximum.at(last, met, timeline.invoked[self.owner[micro]])
        order = made[np.lexsort((last[made], self.transactions.key[made]))]
        before, after = direct_successors(self.transactions.key[order], closed[order], last[order])
        return order[before], order[after]


@dataclass(frozen=True, slots=True, eq=False)
class _Reads:
    """Reads of known committed versions.

    Attributes:
        read: Micro-operations.
        reader: Their transactions.
        version: The write that made what was read; m + key for the initial version.
    """

    read: Int64
    reader: Int64
    version: Int64


def direct_successors(key: Int64, closed: Int64, last: Int64) -> tuple[Int64, Int64]:
    """Pairs (v, v') of versions of one key, as indices, with closed(v) <= last(v'), and mostly nothing in between.

    For each v a follower f that closed soonest is taken; whatever is last met after f closed follows f as well and
    needs no pair with v. So everything that follows v is reached through these pairs, unless they form a cycle; then
    the key is not linearizable, and the cycle is what is wanted. Behind `_WINDOW` concurrent versions pairs are left
    out.

    Args:
        key: Of each version; equal keys adjacent.
        closed: When the version was certainly made, counted in invocations.
        last: When it was last met, counted in invocations; never decreasing within a key.
    """
    count = len(key)
    if not count:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    version = np.arange(count)
    group = np.cumsum(np.diff(key, prepend=key[:1]) != 0)
    span = int(last.max()) + 2
    closed = np.minimum(closed, span - 1)  # nothing is met after the last moment
    # Moments of one key are below those of the next, so that one search and one running minimum serve all keys.
    base = group * span
    closed, last = base + closed, base + last
    end = np.searchsorted(group, group, side="right")
    soonest = np.minimum.accumulate(closed[::-1])[::-1]  # closing among this version and the later ones of its key
    is_soonest = np.where(closed == soonest, version, count)
    soonest_at = np.append(np.minimum.accumulate(is_soonest[::-1])[::-1], count)
    soonest = np.append(soonest, np.iinfo(np.int64).max)

    follow = np.searchsorted(last, closed)  # from here to `end` everything comes after v, v itself excepted
    follow = np.minimum(follow, end)
    # What is last met only after a follower of v has closed comes after that follower; v itself is no such follower.
    own = soonest_at[follow] == version
    rest = np.where(own, np.minimum(version + 1, end), follow)
    some = rest < end
    until = np.searchsorted(last, np.where(some, soonest[rest], 0))
    until = np.where(some, np.minimum(np.minimum(until, end), rest + _WINDOW), rest)
    ranges = [(np.where(own, np.maximum(follow, version - _WINDOW), rest), np.where(own, version, rest)), (rest, until)]
    rows, columns = [version[some]], [soonest_at[rest[some]]]
    for first, after in ranges:
        after = np.maximum(first, after)  # noqa: PLW2901
        rows.append(np.repeat(version, after - first))
        columns.append(expand(first, after))
    row, column = np.concatenate(rows), np.concatenate(columns)
    return row[row != column], column[row != column]
