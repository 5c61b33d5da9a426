"""Sets read while they grow: which elements stay, which vanish, and how long each takes to be seen.

Model. `add` puts a unique element into the set of a key, nothing is removed, `read` and `final-read` return the whole
set as a list. An element is *known* from the moment its addition was acknowledged or a read had returned it, whichever
came first: from then on every read that begins has to contain it. (This is Jepsen's set-full.)

- *lost*: known, and the last read that began afterwards lacks it.
- *stale*: known, lacking in some read that began afterwards, and there in the last. Its staleness runs from known to
  the beginning of the last read that lacks it. A violation of linearizability; replica reads do it by design, so that
  it only counts when `linearizable` is asked for.
- *never read*: known, and no read began afterwards. Nothing is said about it.
- *phantom*: read, and nobody added it. *refused*: read, though its addition was refused. *duplicated*: twice in a read.

Sound: an absence counts only in a read that began after the element was known, so that no order of concurrent
operations explains it. It cannot see what happened after the last read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.check.common import Deadline, Stats, milliseconds, never, refuse_duplicates, unknown
from labctl.check.tally import Tally
from labctl.model.history import FINAL_READ, NEVER, History, Int64, Mask
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME: Final = "set-full"
_KINDS: Final = {
    "lost": "An element was known to be in the set, and the last read that began afterwards lacks it.",
    "stale": "An element was known to be in the set, and a read that began afterwards lacks it.",
    "phantom": "A read returned {count} elements that nobody added.",
    "refused": "A read returned an element whose addition was refused.",
    "duplicated": "A read returned an element twice.",
}


@dataclass(slots=True)
class _Elements:
    """Per addition of one key, in order of invocation.

    Attributes:
        adds: Positions.
        known_ns: When the element was known; NEVER if not.
        last_absent, last_present: Position of the last read that began when it was known and lacks or has it; -1 none.
        first_absent: Position of the first that lacks it.
    """

    adds: Int64
    known_ns: Int64
    last_absent: Int64
    last_present: Int64
    first_absent: Int64

    @property
    def lost(self) -> Mask:
        return self.last_absent > self.last_present

    @property
    def stale(self) -> Mask:
        return (self.last_absent >= 0) & ~self.lost


def check(
    history: History,
    *,
    deadline: Deadline = never,
    linearizable: bool = False,
    adds: Sequence[str] = ("add",),
    reads: Sequence[str] = ("read", FINAL_READ),
) -> Finding:
    """Follow every element through all reads.

    Args:
        history: Additions of unique elements, reads of whole sets.
        deadline: Consulted before each read.
        linearizable: Whether an element that is missing for a while is a violation.
        adds: Functions that add.
        reads: Functions that read.
    """
    is_add, is_read = history.where(*adds), history.where(*reads) & history.ok
    if not is_read.any():
        return unknown(NAME, "no read was acknowledged: nothing to judge", {"adds": int(is_add.sum())})
    if refused := refuse_duplicates(NAME, history, is_add, "added elements"):
        return refused
    tally = Tally(history, _KINDS)
    parts: list[_Elements] = []
    for _, rows in history.by_key(is_add | is_read):
        part = _follow(history, rows[is_add[rows]], rows[is_read[rows]], tally, deadline)
        if part is None:
            return unknown(NAME, "out of time", {"adds": int(is_add.sum())})
        parts.append(part)
    every = _Elements(*(np.concatenate([getattr(p, name) for p in parts]) for name in _Elements.__slots__))
    for row in np.flatnonzero(every.lost):
        _note_lost(history, every, int(row), tally)
    for row in np.flatnonzero(every.stale) if linearizable else ():
        operations = [every.adds[row], every.first_absent[row]]
        tally.note("stale", operations, value=history.value_at(int(every.adds[row])))
    return _conclude(history, every, tally, is_read)


def _follow(history: History, adds: Int64, reads: Int64, tally: Tally, deadline: Deadline) -> _Elements | None:
    """What the reads of one key say about its elements; None when time is up."""
    order = np.argsort(history.value[adds], kind="stable")
    known = np.where(history.ok[adds], history.complete_ns[adds], NEVER)
    contents: list[Int64] = []
    for position in reads.tolist():
        if deadline():
            return None
        rows = _rows(history, position, adds[order], tally)
        contents.append(order[rows])
        np.minimum.at(known, contents[-1], history.complete_ns[position])
    none = np.full(len(adds), -1)
    found = _Elements(adds, known, none.copy(), none.copy(), none.copy())
    for position, rows in zip(reads.tolist(), contents, strict=True):
        if deadline():
            return None
        has = np.zeros(len(adds), bool)
        has[rows] = True
        after = known < history.invoke_ns[position]
        found.last_present[has & after] = position
        missing = ~has & after
        found.first_absent[missing & (found.first_absent < 0)] = position
        found.last_absent[missing] = position
    return found


def _rows(history: History, position: int, adds: Int64, tally: Tally) -> Int64:
    """Which additions, sorted by value, one read returned; notes what it should not have returned."""
    content = history.value_at(position)
    items = history.codes_of(content) if isinstance(content, list | tuple) else np.empty(0, np.int64)
    unique, counts = np.unique(items, return_counts=True)
    ordered = history.value[adds]
    at = np.searchsorted(ordered, unique)
    found = at < len(ordered)
    found[found] = ordered[at[found]] == unique[found]
    rows = at[found]
    if not found.all():
        tally.note("phantom", [position], count=int((~found).sum()))
    for add in adds[rows[history.failed[adds[rows]]]]:
        tally.note("refused", [add, position], value=history.value_at(int(add)))
    for add in adds[at[found & (counts > 1)]]:
        tally.note("duplicated", [add, position], value=history.value_at(int(add)))
    return rows


def _note_lost(history: History, every: _Elements, row: int, tally: Tally) -> None:
    add, present, absent = int(every.adds[row]), int(every.last_present[row]), int(every.last_absent[row])
    since = int(history.complete_ns[present]) if present >= 0 else int(every.known_ns[row])
    operations = [add, present, absent] if present >= 0 else [add, absent]
    missing = milliseconds(history.invoke_ns[absent] - since)
    tally.note("lost", operations, value=history.value_at(add), node=history[add].node, missing_ms=missing)


def _conclude(history: History, every: _Elements, tally: Tally, is_read: Mask) -> Finding:
    known = every.known_ns != NEVER
    seen = (every.last_absent >= 0) | (every.last_present >= 0)
    stays = known & seen & ~every.lost
    delay = np.where(every.stale, history.invoke_ns[every.last_absent] - every.known_ns, 0)[stays]
    stats: Stats = {
        "adds": len(every.adds),
        "acknowledged": int(history.ok[every.adds].sum()),
        "reads": int(is_read.sum()),
        "known": int(known.sum()),
        "stable": int(stays.sum()),
        "never_read": int((known & ~seen).sum()),
        **tally.counts,
        "stale": int(every.stale.sum()),
        "stale_p50_ms": milliseconds(np.percentile(delay, 50)) if len(delay) else None,
        "stale_p99_ms": milliseconds(np.percentile(delay, 99)) if len(delay) else None,
        "stale_max_ms": milliseconds(delay.max(initial=0)),
    }
    summary = (
        f"{stats['known']} elements known, {stats['stale']} of them stale for a while: {tally.text or 'none lost'}"
    )
    if tally.any:
        return tally.invalid(NAME, summary, stats)
    if not seen.any():
        return unknown(NAME, f"{summary}; no read began after an element was known", stats)
    return Finding(NAME, Outcome.VALID, summary, "Every known element is in the last read of its set.", stats=stats)
