"""Streams with consumer groups: everything is processed at least once, and nothing again once it was acknowledged.

Model. `add` (XADD) appends a unique payload to the stream of a key. `deliver` (XREADGROUP) and `claim` (XAUTOCLAIM)
return a list of payloads to a consumer, which processes each and then sends `ack` (XACK) with it; `dead-letter` gives
one up for good and acknowledges it. At the end `final-read` lists the entries in the stream, `final-pending` those that
were delivered and not acknowledged, `final-dead` those that were given up. Entries are not trimmed.

- *lost*: its `add` was acknowledged; it was never delivered, acknowledged or given up, and is in none of the lists.
- *skipped*: the same, but it is in the stream, and a `deliver` that began after every `add` had ended found nothing
  more: the group went past it.
- *after_ack*: delivered by an operation that began after its `ack`, or its being given up, had been acknowledged.
- *phantom*: delivered, and nobody added it, or its `add` was refused.
- *redelivered* (no violation, at-least-once allows it): delivered more than once.
- *unfinished* (no violation): delivered, but neither acknowledged nor given up.

Sound: an acknowledged `add` is in the stream, an acknowledged `ack` has removed it from the pending entries, and both
precede, in real time, what is held against them. What an unanswered `deliver` took is pending, and so in a list.
Without `final-read` nothing can be said to be lost, and the finding is UNKNOWN where anything is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.check.common import Deadline, Stats, never, refuse_duplicates, unknown
from labctl.check.tally import Tally
from labctl.model.history import FINAL_READ, NEVER, NIL, Int64
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from labctl.model.history import History

NAME: Final = "stream"
_KINDS: Final = {
    "lost": "The entry {value!r} was added, never delivered, and is not in the stream at the end.",
    "skipped": "The entry {value!r} is in the stream, was never delivered, and the group found nothing more.",
    "after_ack": "The entry {value!r} was delivered again after its acknowledgement.",
    "phantom": "The entry {value!r} was delivered, and nobody added it.",
}
_LISTS: Final = (FINAL_READ, "final-pending", "final-dead")


def check(history: History, *, deadline: Deadline = never) -> Finding:
    """Follow every entry from `add` through its deliveries to its end.

    Args:
        history: Operations as in the model.
        deadline: Consulted before each stream.
    """
    added = history.where("add")
    if refused := refuse_duplicates(NAME, history, added, "payloads"):
        return refused
    tally = Tally(history, _KINDS)
    totals = {"deliveries": 0, "redelivered": 0, "unfinished": 0, "missing_without_final_read": 0}
    mine = added | history.where("deliver", "claim", "ack", "dead-letter", *_LISTS)
    for _, rows in history.by_key(mine):
        if deadline():
            return unknown(NAME, "out of time", {"added": int(added.sum())})
        for name, count in _judge(history, rows, tally).items():
            totals[name] += count
    stats: Stats = {
        "added": int((added & history.ok).sum()),
        "acknowledged": int((history.where("ack") & history.ok).sum()),
        "dead_letters": int((history.where("dead-letter") & history.ok).sum()),
        **totals,
        **tally.counts,
    }
    again = f"{totals['deliveries']} deliveries, {totals['redelivered']} of them again"
    summary = f"{stats['added']} entries, {again}: {tally.text or 'none lost'}"
    if tally.any:
        return tally.invalid(NAME, summary, stats)
    if totals["missing_without_final_read"] or not stats["added"]:
        why = (
            f"{totals['missing_without_final_read']} entries were not delivered, and no final read says where they are"
        )
        return unknown(NAME, f"{summary}; {why}", stats)
    return Finding(NAME, Outcome.VALID, summary, "Every acknowledged entry was delivered or waits.", stats=stats)


def _judge(history: History, rows: Int64, tally: Tally) -> dict[str, int]:
    """Judge one stream; returns what it adds to the totals."""

    def those(*functions: str) -> Int64:
        return rows[history.where(*functions)[rows]]

    def payloads(positions: Int64) -> tuple[Int64, Int64]:
        return _payloads(history, positions)

    adds, delivers, ends = those("add"), those("deliver", "claim"), those("ack", "dead-letter")
    got, by = payloads(delivers[history.ok[delivers]])
    ended, _ = payloads(ends[~history.failed[ends]])
    _note_phantoms(history, adds, got, by, tally)
    _note_after_ack(history, (got, by), payloads(ends[history.ok[ends]]), tally)
    lists = [position for position in those(*_LISTS).tolist() if history.ok[position]]
    final = [p for p in lists if history[p].function == FINAL_READ]
    waiting, _ = payloads(np.array([p for p in lists if history[p].function != FINAL_READ], np.int64))
    missing = adds[history.ok[adds] & ~np.isin(history.value[adds], np.concatenate([got, ended, waiting]))]
    totals = {
        "deliveries": len(got),
        "redelivered": len(got) - len(np.unique(got)),
        "unfinished": int((~np.isin(np.unique(got), ended)).sum()),
        "missing_without_final_read": 0 if final else len(missing),
    }
    if not final:
        return totals
    there = np.isin(history.value[missing], payloads(np.array(final[-1:], np.int64))[0])
    settled = history.complete_ns[missing] < history.invoke_ns[final[-1]]
    for position in missing[~there & settled]:
        tally.note(
            "lost", [position, final[-1]], value=history.value_at(int(position)), node=history[int(position)].node
        )
    pending_known = any(history[p].function == "final-pending" for p in lists)
    emptied = _emptied(history, adds, those("deliver"))
    if pending_known and emptied >= 0:
        for position in missing[there]:
            tally.note("skipped", [position, emptied], value=history.value_at(int(position)))
    return totals


def _payloads(history: History, positions: Int64) -> tuple[Int64, Int64]:
    """Value codes that these operations name, one or a list each, and the operation of each."""
    codes: list[Int64] = [np.empty(0, np.int64)]
    by: list[Int64] = [np.empty(0, np.int64)]
    lists = history.value[positions] < NIL
    single = positions[~lists & (history.value[positions] != NIL)]
    codes.append(history.value[single])
    by.append(single)
    for position in positions[lists].tolist():
        value = history.value_at(position)
        if isinstance(value, list | tuple):
            codes.append(history.codes_of(value))
            by.append(np.full(len(value), position))
        else:  # a string
            codes.append(history.value[[position]])
            by.append(np.array([position]))
    return np.concatenate(codes), np.concatenate(by)


def _note_phantoms(history: History, adds: Int64, got: Int64, by: Int64, tally: Tally) -> None:
    for i in np.flatnonzero(~np.isin(got, history.value[adds[~history.failed[adds]]])):
        code = int(got[i])
        tally.note("phantom", [*adds[history.value[adds] == code], by[i]], value=history.tell(code))


def _note_after_ack(history: History, deliveries: tuple[Int64, Int64], acks: tuple[Int64, Int64], tally: Tally) -> None:
    """Deliveries that began after the first acknowledgement of their entry had been acknowledged itself."""
    (got, by), (acked, acked_by) = deliveries, acks
    entries, row = np.unique(acked, return_inverse=True)
    if not len(entries):
        return
    first = np.full(len(entries), NEVER)
    np.minimum.at(first, row, history.complete_ns[acked_by])
    at = np.minimum(np.searchsorted(entries, got), len(entries) - 1)
    late = (entries[at] == got) & (first[at] < history.invoke_ns[by])
    for i in np.flatnonzero(late):
        ack = acked_by[(acked == got[i]) & (history.complete_ns[acked_by] == first[at[i]])][0]
        tally.note("after_ack", [ack, by[i]], value=history.tell(int(got[i])))


def _emptied(history: History, adds: Int64, delivers: Int64) -> int:
    """The first `deliver` that found nothing and began after every `add` had ended; -1 for none.

    An unknown `add` may take effect at any time; what it adds may be missing, so that it does not count.
    """
    ended = int(history.complete_ns[adds[history.ok[adds]]].max(initial=-1))
    late = delivers[history.ok[delivers] & (history.invoke_ns[delivers] > ended)]
    return next((position for position in late.tolist() if not history.value_at(position)), -1)
