"""Linearizability of registers with unique values, in O(n log n): the zones of Gibbons and Korach.

Model. Each key is a register of its own that holds None until it is written. `write` stores a value that is written
once per key; `read` (and `final-read`) returns what is stored. The history is linearizable when each operation can be
given a moment between its invocation and its completion at which it takes effect.

Why it is sound and complete. A write and the reads of its value are a *cluster*, and in any linearization a cluster is
uninterrupted: the value is there from its write to the next. Let f be the earliest completion in a cluster and s the
latest invocation. Cluster A must come before B exactly when some operation of A ended before one of B began:
f(A) < s(B). In a cycle of such constraints let A be the cluster with the smallest f; then A precedes every other of the
cycle, the one before A in the cycle too, so a cycle always contains two clusters with f(A) < s(B) and f(B) < s(A).
Finding such a pair is finding two forward zones [f, s] that overlap, or a backward zone [s, f] inside a forward one.
Without a cycle, any order of the clusters that keeps the constraints, the write first in each, is a linearization.
(P. B. Gibbons and E. Korach, Testing Shared Memories, SIAM J. Comput. 26(4), 1997.)

Unknown operations. An unknown read says nothing. An unknown write that was read took effect, at the latest when its
first reader had it, which f says already; one that nobody read may never have happened and is left out, for leaving it
out can only remove constraints. A read of a refused value, or of one that nobody wrote, is a violation by itself.

Severity. A read is *stale* when a newer value was certainly in place before it began: one whose write began after the
value read was in place (its f). Its staleness counts from the first such value's f, in milliseconds, and in versions,
of which there may be more. Violations among concurrent writes (A, B, A read in turn) are not stale reads; they show as
`conflicts` only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labctl.check.common import SHOWN, Anomaly, Deadline, Stats, milliseconds, never, refused_values, unknown
from labctl.check.prose import sentence, surroundings, tell
from labctl.check.register_zones import Clusters, Reads, StaleReads, cluster, conflicts, match, stale_reads
from labctl.model.history import FINAL_READ, History, Int64
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "register"


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything that speaks against a history."""

    history: History
    reads: Reads
    clusters: Clusters
    conflicts: tuple[Int64, Int64]
    stale: StaleReads


def check(
    history: History,
    *,
    deadline: Deadline = never,
    writes: Sequence[str] = ("write",),
    reads: Sequence[str] = ("read", FINAL_READ),
) -> Finding:
    """Judge every key as a linearizable register.

    Args:
        history: Writes with values unique per key, none of them None.
        deadline: Consulted once: the work is a few sorts.
        writes: Functions that write.
        reads: Functions that read.
    """
    written = np.flatnonzero(history.where(*writes))
    read = np.flatnonzero(history.where(*reads) & history.ok)
    stats: Stats = {"writes": len(written), "reads": len(read), "keys": len(np.unique(history.key[read]))}
    if not len(read):
        return unknown(NAME, "no read was acknowledged: nothing to judge", stats)
    if deadline():
        return unknown(NAME, "out of time", stats)
    matched = match(history, written, read)
    if isinstance(matched, tuple):
        return refused_values(NAME, history, matched, stats)
    clusters = cluster(history, written, matched)
    pairs = conflicts(clusters)
    stale = stale_reads(history, clusters) if len(pairs[0]) else StaleReads.none()
    stats |= {
        "unknown_writes_read": int(history.unknown[clusters.write[clusters.write >= 0]].sum()),
        "phantom_reads": int(matched.phantom.sum()),
        "refused_reads": int(matched.refused.sum()),
        "future_reads": int(matched.future.sum()),
        "conflicts": len(pairs[0]),
        "stale_reads": len(stale),
        "longest_staleness_ms": milliseconds(stale.age_ns.max(initial=0)),
        "most_versions_behind": int(stale.versions.max(initial=0)),
    }
    if matched.sane.all() and not len(pairs[0]):
        summary = f"{len(read)} reads and {len(written)} writes of {stats['keys']} keys are linearizable"
        return Finding(NAME, Outcome.VALID, summary, "No two values constrain each other both ways.", stats=stats)
    case = _Case(history, matched, clusters, pairs, stale)
    story, witness = _story(case)
    full = story + surroundings(history, witness)
    return Finding(NAME, Outcome.INVALID, _summary(stats), full, witness, stats, tuple(_anomalies(case)))


def _summary(stats: Stats) -> str:
    kinds = {
        "stale": f"{stats['stale_reads']} stale reads (up to {stats['longest_staleness_ms']} ms)",
        "phantom": f"{stats['phantom_reads']} reads of values nobody wrote",
        "refused": f"{stats['refused_reads']} reads of refused values",
        "future": f"{stats['future_reads']} reads before the write",
    }
    counts = [text for name, text in kinds.items() if stats[f"{name}_reads"]]
    return ", ".join(counts) or f"{stats['conflicts']} pairs of values whose order contradicts itself"


def _anomalies(case: _Case) -> list[Anomaly]:
    """The stalest reads, then those that are wrong in themselves."""
    history = case.history
    reads, stale = case.reads, case.stale
    anomalies: list[Anomaly] = [
        {
            "kind": "stale-read",
            "position": int(stale.position[row]),
            "key": history[int(stale.position[row])].key,
            "value": history.value_at(int(stale.position[row])),
            "newer_value": history.value_at(int(case.clusters.write[stale.newer[row]])),
            "stale_ms": milliseconds(stale.age_ns[row]),
            "versions_behind": int(stale.versions[row]),
        }
        for row in np.argsort(-stale.age_ns, kind="stable")[:SHOWN]
    ]
    for kind, mask in (("phantom", reads.phantom), ("refused", reads.refused), ("future", reads.future)):
        for position in reads.position[mask][:SHOWN]:
            op = history[int(position)]
            anomalies.append({"kind": f"{kind}-read", "position": int(position), "key": op.key, "value": op.value})
    return anomalies


def _story(case: _Case) -> tuple[str, tuple[int, ...]]:
    """The first violation of the plainest kind, as prose with its operations."""
    history, reads = case.history, case.reads
    for mask, says in (
        (reads.phantom, "nobody ever wrote that value"),
        (reads.refused, "that value was refused as certainly not written"),
        (reads.future, "that value was written only later"),
    ):
        if mask.any():
            row = int(np.flatnonzero(mask)[0])
            read, write = int(reads.position[row]), int(reads.write[row])
            if write < 0:
                return f"{sentence(history, read)}, but {says}.", (read,)
            return f"{sentence(history, read)}, but {says}: {tell(history, write)}.", (write, read)
    return _stale_story(case) if len(case.stale) else _conflict_story(case)


def _stale_story(case: _Case) -> tuple[str, tuple[int, ...]]:
    """The first stale read: its value was settled, then a newer one was written and in place, then the read began."""
    history, clusters = case.history, case.clusters
    read, newer_row = int(case.stale.position[0]), int(case.stale.newer[0])
    own = int(clusters.of_read[np.flatnonzero(clusters.reads == read)[0]])
    newer, in_place = int(clusters.write[newer_row]), _first(case, newer_row)
    text = f"{sentence(history, read)}, but a newer value was in place: {tell(history, newer)}"
    if in_place != newer:
        text += f", and {tell(history, in_place)}"
    if clusters.write[own] < 0:
        return f"{text}. Nothing had been written before.", tuple(sorted({newer, in_place, read}))
    settled = _first(case, own)
    text += f". It is newer because it was sent after the older value was there: {tell(history, settled)}."
    return text, tuple(sorted({int(clusters.write[own]), settled, newer, in_place, read}))


def _conflict_story(case: _Case) -> tuple[str, tuple[int, ...]]:
    """Two clusters that each come before the other: at most four operations and the two writes.

    Neither is an initial None, for a conflict with that one is a stale read.
    """
    history, clusters = case.history, case.clusters
    first, second = case.conflicts
    pick = int(np.maximum(clusters.last_begin[first], clusters.last_begin[second]).argmin())
    a, b = int(first[pick]), int(second[pick])
    was, became = (history.value_at(int(clusters.write[row])) for row in (a, b))
    ends, begins = (_first(case, a), _first(case, b)), (_last(case, a), _last(case, b))
    text = (
        f"{history.keys[clusters.key[a]]} must have been {was!r} before it was {became!r}, because "
        f"{tell(history, ends[0])}, before {tell(history, begins[1])}. And it must have been {became!r} before it was "
        f"{was!r}, because {tell(history, ends[1])}, before {tell(history, begins[0])}. Each value was written once, "
        "so both cannot be."
    )
    return text, tuple(sorted({*ends, *begins, int(clusters.write[a]), int(clusters.write[b])}))


def _first(case: _Case, row: int) -> int:
    """The operation of a cluster that ended first."""
    members = case.clusters.members(row)
    return int(members[case.history.latest_ns[members].argmin()])


def _last(case: _Case, row: int) -> int:
    """The operation of a cluster that began last."""
    members = case.clusters.members(row)
    return int(members[case.history.invoke_ns[members].argmax()])
