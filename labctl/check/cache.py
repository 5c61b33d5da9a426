"""Caches in front of a database: how old what they serve is, and how many load the same at once.

Model. `write` updates the database (unique values per key), whatever becomes of the cached copy then; `read` returns what
the application got, `load` notes that the read just before it in the same process had to ask the database. The database is
linearizable, the cache may serve old values, for `max_stale_ms` at most: a read is stale when a newer value was
certainly in place before it began (as in `register`, whose clusters are used here), and too old when that had been so
for longer than the bound.

Sound for the reason given there. `most_loading` counts reads of one key that were under way at once and all went to
the database: a stampede. Reads of values that nobody wrote, or that were refused, are wrong in themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.check.common import Deadline, Stats, milliseconds, never, refused_values, unknown
from labctl.check.register_zones import cluster, match, stale_reads
from labctl.check.tally import Tally
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from labctl.model.history import History, Int64

NAME: Final = "cache"
_KINDS: Final = {
    "phantom": "A read returned {value!r}, which nobody wrote.",
    "too_old": "A read returned {value!r}, {stale_ms} ms after {newer!r} took its place; {bound_ms:g} ms are allowed.",
    "stampede": "{loading} reads of {key} asked the database at once; {allowed} are allowed.",
}


def check(
    history: History,
    *,
    deadline: Deadline = never,
    max_stale_ms: float | None = None,
    max_loading: int | None = None,
) -> Finding:
    """Measure staleness and stampedes, and hold them against bounds where there are any.

    Args:
        history: Operations as in the model.
        deadline: Consulted once: the work is a few sorts.
        max_stale_ms: Longest staleness allowed; None only measures.
        max_loading: Most reads of a key that may ask the database at once; None only measures.
    """
    written = np.flatnonzero(history.where("write"))
    read = np.flatnonzero(history.where("read") & history.ok)
    stats: Stats = {"writes": len(written), "reads": len(read), "loads": int(history.where("load").sum())}
    if not len(read) or deadline():
        return unknown(NAME, "out of time" if len(read) else "no read was acknowledged: nothing to judge", stats)
    matched = match(history, written, read)
    if isinstance(matched, tuple):
        return refused_values(NAME, history, matched, stats)
    tally = Tally(history, _KINDS)
    for position in matched.position[matched.phantom | matched.refused]:
        tally.note("phantom", [position])
    clusters = cluster(history, written, matched)
    stale = stale_reads(history, clusters)
    bound_ns = np.inf if max_stale_ms is None else max_stale_ms * 1e6
    for row in np.argsort(-stale.age_ns, kind="stable")[: int((stale.age_ns > bound_ns).sum())]:
        newer = int(clusters.write[stale.newer[row]])
        told = {"newer": history.value_at(newer), "stale_ms": milliseconds(stale.age_ns[row])}
        tally.note("too_old", [newer, int(stale.position[row])], bound_ms=max_stale_ms, **told)
    most, at = _stampede(history)
    if max_loading is not None and most > max_loading:
        tally.note("stampede", at.tolist(), loading=most, allowed=max_loading)
    stats |= {
        **tally.counts,
        "stale_reads": len(stale),
        "stale_p99_ms": milliseconds(np.percentile(stale.age_ns, 99)) if len(stale) else None,
        "stale_max_ms": milliseconds(stale.age_ns.max(initial=0)),
        "hit_ratio": round(1 - int(history.where("load").sum()) / len(read), 4),
        "most_loading": most,
    }
    summary = (
        f"{len(stale)} of {len(read)} reads stale, {stats['stale_max_ms']} ms at most; {most} loads of a key at once"
    )
    if tally.any:
        return tally.invalid(NAME, f"{summary}: {tally.text}", stats)
    return Finding(NAME, Outcome.VALID, summary, "Nothing served was older than allowed.", stats=stats)


def _stampede(history: History) -> tuple[int, Int64]:
    """Most reads of one key under way at once that went to the database, and their positions."""
    notes = np.flatnonzero(history.where("load"))
    reads = np.flatnonzero(history.where("read"))
    order = reads[np.lexsort((history.invoke_ns[reads], history.process[reads]))]
    loading: list[int] = []
    for note in notes.tolist():
        mine = order[history.process[order] == history.process[note]]
        before = mine[(history.invoke_ns[mine] <= history.invoke_ns[note]) & (history.key[mine] == history.key[note])]
        loading += [int(before[-1])] if len(before) else []
    found, most = np.empty(0, np.int64), 0
    some = np.array(loading, np.int64)
    for key in np.unique(history.key[some]):
        rows = some[history.key[some] == key]
        begin, end = history.invoke_ns[rows], np.sort(history.complete_ns[rows])
        at_once = np.searchsorted(np.sort(begin), begin, side="right") - np.searchsorted(end, begin)
        if len(rows) and at_once.max() > most:
            most, moment = int(at_once.max()), int(begin[at_once.argmax()])
            found = rows[(begin <= moment) & (history.complete_ns[rows] >= moment)]
    return most, found
