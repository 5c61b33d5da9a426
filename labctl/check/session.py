"""Session guarantees of registers with unique values: monotonic reads, and reading one's own writes.

Model. Registers as in `register`, but reads may be stale (replicas), as long as each process sees its own order
(Terry et al., Session Guarantees for Weakly Consistent Replicated Data, 1994):

- `monotonic-reads`: after a process has read a value, it does not read an older one of that key.
- `read-your-writes`: after a process's write was acknowledged, it does not read an older value of that key.

A value is *older* than another when it was certainly in place (its write or one of its reads had ended) before the
other's write was even sent: then no order of the writes, in any replica, puts it behind the other. The initial None is
older than everything. Sound for that reason; not complete, for the order of writes that overlap is not known. Reads of
values that nobody wrote, or that were refused, are left to `register`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.check.common import Deadline, Stats, milliseconds, never, refused_values, unknown
from labctl.check.register_zones import Clusters, cluster, match
from labctl.check.tally import Tally
from labctl.model.history import FINAL_READ, History, Int64
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

MONOTONIC_READS: Final = "monotonic-reads"
READ_YOUR_WRITES: Final = "read-your-writes"
_KINDS: Final = {
    MONOTONIC_READS: "A process read {newer!r} and then {value!r}, which is older by {older_ms} ms at least.",
    READ_YOUR_WRITES: "A process wrote {newer!r} and then read {value!r}, which is older by {older_ms} ms at least.",
}


def monotonic_reads(history: History, *, deadline: Deadline = never, writes: Sequence[str] = ("write",)) -> Finding:
    """Whether every process's reads of a key only ever go forward. Arguments as in `register`."""
    return _check(MONOTONIC_READS, history, deadline, writes)


def read_your_writes(history: History, *, deadline: Deadline = never, writes: Sequence[str] = ("write",)) -> Finding:
    """Whether no process reads what is older than its own last write. Arguments as in `register`."""
    return _check(READ_YOUR_WRITES, history, deadline, writes)


def _check(name: str, history: History, deadline: Deadline, writes: Sequence[str]) -> Finding:
    written = np.flatnonzero(history.where(*writes))
    read = np.flatnonzero(history.where("read", FINAL_READ) & history.ok)
    stats: Stats = {"writes": len(written), "reads": len(read), "processes": len(np.unique(history.process[read]))}
    if not len(read) or deadline():
        return unknown(name, "out of time" if len(read) else "no read was acknowledged: nothing to judge", stats)
    matched = match(history, written, read)
    if isinstance(matched, tuple):
        return refused_values(name, history, matched, stats)
    clusters = cluster(history, written, matched)
    row_of = np.full(len(history), -1, np.int64)
    row_of[clusters.reads] = clusters.of_read
    if name == MONOTONIC_READS:
        seen = clusters.reads
    else:
        row_of[clusters.write[clusters.write >= 0]] = np.flatnonzero(clusters.write >= 0)
        seen = written[history.ok[written]]
    compared, pairs = _older(history, clusters, row_of, seen)
    tally = Tally(history, {name: _KINDS[name]})
    for before, after in pairs:
        newer = int(clusters.write[row_of[before]])
        gap = int(history.invoke_ns[newer] - clusters.end_ns[row_of[after]])
        operations = sorted({newer, before, after, int(clusters.write[row_of[after]])} - {-1})
        told = {"newer": history.value_at(newer), "value": history.value_at(after), "older_ms": milliseconds(gap)}
        tally.note(name, operations, key=history[after].key, process=int(history.process[after]), **told)
    stats |= {"compared": compared, "violations": tally.counts[name]}
    summary = f"{compared} reads compared with what their process knew: {tally.text or 'none is older'}"
    if tally.any:
        return tally.invalid(name, summary, stats)
    if not compared:
        return unknown(name, "no process read a key after it knew a value of it: nothing to judge", stats)
    return Finding(name, Outcome.VALID, summary, "No process read anything older than it knew.", stats=stats)


def _older(history: History, clusters: Clusters, row_of: Int64, seen: Int64) -> tuple[int, list[tuple[int, int]]]:
    """How many reads follow something that their process knew of the key, and pairs (knew, read something older).

    Within each process and key, operations are in order of time. `newest` is, of all writes known so far, the latest
    moment of sending; a read is older when its value was in place before that.
    """
    rows = np.unique(np.concatenate([seen, clusters.reads]))
    if not len(rows):
        return 0, []
    group = history.process[rows].astype(np.int64) * len(history.keys) + history.key[rows]
    order = np.lexsort((history.invoke_ns[rows], group))
    rows, group = rows[order], np.unique(group[order], return_inverse=True)[1]
    known = np.isin(rows, seen) & (clusters.write[row_of[rows]] >= 0)
    sent = np.where(known, history.invoke_ns[clusters.write[row_of[rows]]] - history.start_ns + 1, 0)
    span = history.end_ns - history.start_ns + 3
    if len(history) * span >= 2**62:
        sent = np.searchsorted(np.unique(sent), sent)
    moment = group * (int(sent.max(initial=0)) + 1) + sent  # of later groups larger than all of earlier ones
    newest = np.maximum.accumulate(moment)
    which = np.maximum.accumulate(np.where(newest == moment, np.arange(len(rows)), 0))
    before = np.concatenate([[0], which[:-1]])  # the newest known before each operation
    same = np.concatenate([[False], group[1:] == group[:-1]]) & known[before]
    judged = np.flatnonzero(same & np.isin(rows, clusters.reads))
    newer_sent = history.invoke_ns[clusters.write[row_of[rows[before[judged]]]]]
    older = judged[clusters.end_ns[row_of[rows[judged]]] < newer_sent]
    return len(judged), [(int(rows[before[i]]), int(rows[i])) for i in older]
