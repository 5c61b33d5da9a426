"""Clusters and zones of registers with unique values; `register` says what they mean and why they decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labctl.check.common import pair_ids
from labctl.model.history import NIL

if TYPE_CHECKING:
    from labctl.model.history import History, Int32, Int64, Mask


@dataclass(frozen=True, slots=True)
class Reads:
    """The acknowledged reads.

    Attributes:
        position: Where in the history.
        write: Position of the write of the value, -1 for the initial None and for phantoms.
        phantom, refused, future: Reads of a value that nobody wrote, that was refused, that was written later.
    """

    position: Int64
    write: Int64
    phantom: Mask
    refused: Mask
    future: Mask

    @property
    def sane(self) -> Mask:
        """Which reads can be linearized at all."""
        return ~(self.phantom | self.refused | self.future)


@dataclass(frozen=True, slots=True)
class Axis:
    """One number for a moment of a key, such that all of one key lies before all of the next.

    Comparing such points compares times within a key and says nothing false across keys. An invocation and a
    completion at the same time are concurrent: the invocation comes first.
    """

    start_ns: int
    span: int
    times: Int64 | None  # ranks stand for times where times are too large to set keys apart

    @classmethod
    def of(cls, history: History) -> Axis:
        """The axis of a history; `NEVER` is a moment after its end, `start_ns - 1` one before its start."""
        start, span = history.start_ns - 1, history.end_ns - history.start_ns + 3
        if len(history.keys) * span < 2**61:
            return cls(start, span, None)
        times = np.unique(np.concatenate([history.invoke_ns, history.complete_ns]))
        return cls(start, len(times) + 2, times)

    def begin(self, key: Int32 | Int64, at_ns: Int64) -> Int64:
        """Points of invocations."""
        return self._offset(key, at_ns) * 2

    def end(self, key: Int32 | Int64, at_ns: Int64) -> Int64:
        """Points of completions."""
        return self._offset(key, at_ns) * 2 + 1

    def _offset(self, key: Int32 | Int64, at_ns: Int64) -> Int64:
        if self.times is None:
            offset = np.minimum(at_ns, self.start_ns + self.span - 1) - self.start_ns
        else:
            offset = np.searchsorted(self.times, at_ns) + (at_ns > self.start_ns)
        points: Int64 = key.astype(np.int64) * self.span + offset
        return points


@dataclass(frozen=True, slots=True)
class Clusters:
    """One row for each value that was certainly there: the writes first, then the initial None of each key read so.

    Attributes:
        write: Position of the write, -1 for an initial None.
        key: Key codes.
        first_end, last_begin: f and s on the axis.
        end_ns: f as a time.
        reads: Positions of the sane reads.
        of_read: The row of each one's cluster.
        axis: What the points mean.
    """

    write: Int64
    key: Int64
    first_end: Int64
    last_begin: Int64
    end_ns: Int64
    reads: Int64
    of_read: Int64
    axis: Axis

    def members(self, row: int) -> Int64:
        """Positions of the operations of one cluster."""
        reads = self.reads[self.of_read == row]
        return reads if self.write[row] < 0 else np.append(reads, self.write[row])


@dataclass(frozen=True, slots=True)
class StaleReads:
    """Reads that began when a newer value was certainly in place, in the history's order.

    Attributes:
        position: The reads.
        newer: Row of the cluster whose value was the first newer one in place.
        age_ns: For how long it had been.
        versions: How many newer values were in place at least.
    """

    position: Int64
    newer: Int64
    age_ns: Int64
    versions: Int64

    @classmethod
    def none(cls) -> StaleReads:
        """No stale reads."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty, empty)

    def __len__(self) -> int:
        return len(self.position)


def match(history: History, written: Int64, read: Int64) -> Reads | tuple[int, ...]:
    """Give each read the write of its value; or name the writes whose values are not unique or None."""
    nothing = written[history.value[written] == NIL]
    if len(nothing):
        return (int(nothing[0]),)
    if len(history.keys) > 1:
        columns = [(history.key[rows], history.value[rows]) for rows in (written, read)]
        write_id, read_id = pair_ids(*columns)
    else:
        write_id, read_id = history.value[written], history.value[read]
    order = np.argsort(write_id, kind="stable")
    ordered = write_id[order]
    repeated = np.flatnonzero(np.diff(ordered) == 0)
    if len(repeated):
        return int(written[order[repeated[0]]]), int(written[order[repeated[0] + 1]])
    initial = history.value[read] == NIL
    if not len(written):
        none = np.zeros(len(read), bool)
        return Reads(read, np.full(len(read), -1), ~initial, none, none)
    at = np.minimum(np.searchsorted(ordered, read_id), len(ordered) - 1)
    found = (ordered[at] == read_id) & ~initial
    write = written[order[at]]
    refused = found & history.failed[write]
    future = found & ~refused & (history.complete_ns[read] < history.invoke_ns[write])
    return Reads(read, np.where(found, write, -1), ~found & ~initial, refused, future)


def cluster(history: History, written: Int64, reads: Reads) -> Clusters:
    """Group the sane reads with their writes; leaves out writes that may never have happened."""
    sane = reads.sane
    read, write = reads.position[sane], reads.write[sane]
    was_read = np.zeros(len(history), bool)
    was_read[write[write >= 0]] = True
    writes = written[history.ok[written] | (history.unknown[written] & was_read[written])]
    row = np.zeros(len(history), np.int64)
    row[writes] = np.arange(len(writes))
    initial_keys, initial = np.unique(history.key[read[write < 0]], return_inverse=True)
    of_read = row[write]
    of_read[write < 0] = len(writes) + initial
    before = np.full(len(initial_keys), history.start_ns - 1)
    end = np.concatenate([history.latest_ns[writes], before])
    begin = np.concatenate([history.invoke_ns[writes], before])
    np.minimum.at(end, of_read, history.complete_ns[read])
    np.maximum.at(begin, of_read, history.invoke_ns[read])
    key = np.concatenate([history.key[writes], initial_keys])
    axis = Axis.of(history)
    return Clusters(
        write=np.concatenate([writes, np.full(len(initial_keys), -1)]),
        key=key,
        first_end=axis.end(key, end),
        last_begin=axis.begin(key, begin),
        end_ns=end,
        reads=read,
        of_read=of_read,
        axis=axis,
    )


def conflicts(clusters: Clusters) -> tuple[Int64, Int64]:
    """Pairs of clusters that each have to come before the other; empty exactly when the registers are linearizable.

    Forward zones are sorted by their beginning, and `reach` is how far they have come so far: one overlaps an earlier
    one, or a backward zone lies inside one, exactly when that reach goes past its own beginning, or the other's end.
    """
    f, s = clusters.first_end, clusters.last_begin
    forward, backward = np.flatnonzero(f < s), np.flatnonzero(f >= s)
    forward = forward[np.argsort(f[forward], kind="stable")]
    if not len(forward):
        return forward, forward
    reach = np.maximum.accumulate(s[forward])
    furthest = np.maximum.accumulate(np.where(s[forward] == reach, np.arange(len(forward)), 0))
    overlapping = np.flatnonzero(reach[:-1] > f[forward[1:]]) + 1
    begun = np.searchsorted(f[forward], s[backward])  # how many forward zones begin before the backward one
    inside = (begun > 0) & (reach[begun - 1] > f[backward])
    first = np.concatenate([furthest[overlapping - 1], furthest[begun[inside] - 1]])
    return forward[first], np.concatenate([forward[overlapping], backward[inside]])


def stale_reads(history: History, clusters: Clusters) -> StaleReads:
    """All reads that began when a newer value was certainly in place. Each is part of a conflict."""
    written = np.flatnonzero(clusters.write >= 0)
    if not len(written):
        return StaleReads.none()
    begin = clusters.axis.begin(clusters.key[written], history.invoke_ns[clusters.write[written]])
    order = np.argsort(begin, kind="stable")
    written, begin = written[order], begin[order]
    ends = clusters.first_end[written]
    earliest = np.minimum.accumulate(ends[::-1])[::-1]  # of the values whose write began then or later
    which = np.minimum.accumulate(np.where(ends == earliest, np.arange(len(ends)), len(ends))[::-1])[::-1]
    read_begin = clusters.axis.begin(history.key[clusters.reads], history.invoke_ns[clusters.reads])
    after = np.searchsorted(begin, clusters.first_end[clusters.of_read])  # the first write that is certainly newer
    exists = np.minimum(after, len(begin) - 1)
    stale = np.flatnonzero((after < len(begin)) & (earliest[exists] < read_begin))
    newer = written[which[after[stale]]]
    # Values in place before the read, less the writes that began before its own value was: those are not newer.
    behind = np.searchsorted(np.sort(ends), read_begin[stale]) - after[stale]
    return StaleReads(
        position=clusters.reads[stale],
        newer=newer,
        age_ns=history.invoke_ns[clusters.reads[stale]] - clusters.end_ns[newer],
        versions=np.maximum(behind, 1),
    )
