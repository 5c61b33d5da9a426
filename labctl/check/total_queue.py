"""Queues: what went in comes out, or is still there, and comes out once.

Model. `enqueue` puts a unique value into the queue of a key; `dequeue` takes one out and returns it, or None from an
empty queue. A *reliable* queue keeps what was taken in a list of the consumer until `ack` says that the work is done,
and `requeue` puts a value (or None: there was none) from that list back into the queue. At the end `final-read` lists
what is left, in the queue and in the consumers' lists; or the queue was drained: a `dequeue` that began after every
`enqueue` had ended returned None.

- *lost*: its `enqueue` was acknowledged; it was never taken out, nor named by an `ack` or `requeue`, and is not left.
  In a queue that is not reliable each unknown dequeue may have taken one value: of the missing values only those beyond
  that number are certainly lost.
- *returned*: left, or taken out again by a `dequeue` that began after its `ack` had been acknowledged.
- *duplicated*: taken out more often than it was put in and put back. Unless the queue is reliable, what is left must
  not have been taken out either.
- *phantom*: taken out or left, and nobody put it in, or its `enqueue` was refused.
- *recovered* (no violation): the outcome of the `enqueue` was unknown, and the value came out.

Sound for the reasons given; order is not judged (see `linearizable` with model `queue`). Without a final read or a
drained queue, missing values leave the finding UNKNOWN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.check.common import Deadline, Stats, never, refuse_duplicates, unknown
from labctl.check.tally import Tally
from labctl.model.history import FINAL_READ, NIL, History, Int64
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME: Final = "total-queue"
_KINDS: Final = {
    "lost": "The value {value!r} was put into the queue, never came out, and is not there at the end.",
    "returned": "The work on {value!r} was acknowledged as done, and the value came back.",
    "phantom": "The value {value!r} came out of the queue, and nobody put it in.",
    "duplicated": "The value {value!r} came out of the queue again without having been put back.",
}


@dataclass(frozen=True, slots=True)
class _Queue:
    """The operations of one key, by function; acknowledged ones only, but for `into`."""

    into: Int64
    out: Int64
    acks: Int64
    back: Int64
    final: Int64  # the last final read, or nothing
    left: Int64  # value codes that it lists
    unknown_dequeues: int
    unknown_requeues: int
    reliable: bool


def check(history: History, *, deadline: Deadline = never, reliable: bool | None = None) -> Finding:
    """Compare what went in with what came out.

    Args:
        history: Operations as in the model.
        deadline: Consulted before each key.
        reliable: Whether taken values stay in a consumer's list until their `ack`; None for whether there is any `ack`.
    """
    if refused := refuse_duplicates(NAME, history, history.where("enqueue"), "enqueued values"):
        return refused
    tally = Tally(history, _KINDS)
    totals = {"recovered": 0, "missing_perhaps_taken": 0, "missing_without_final_read": 0}
    for queue in _queues(history, reliable):
        if deadline():
            return unknown(NAME, "out of time", {"enqueued": int(history.where("enqueue").sum())})
        for name, count in _judge(history, queue, tally).items():
            totals[name] += count
    stats: Stats = {
        "enqueued": int((history.where("enqueue") & history.ok).sum()),
        "dequeued": int((history.where("dequeue") & history.ok & (history.value != NIL)).sum()),
        "unknown_dequeues": int((history.where("dequeue") & history.unknown).sum()),
        **totals,
        **tally.counts,
    }
    summary = f"{stats['enqueued']} values put in, {stats['dequeued']} taken out: {tally.text or 'none lost'}"
    if tally.any:
        return tally.invalid(NAME, summary, stats)
    taken, unread = totals["missing_perhaps_taken"], totals["missing_without_final_read"]
    if taken or unread or not stats["enqueued"]:
        why = f"unknown dequeues may have taken {taken} missing values; of {unread} nobody looked whether they are left"
        return unknown(NAME, f"{summary}; {why}", stats)
    return Finding(NAME, Outcome.VALID, summary, "Every acknowledged value came out or is left.", stats=stats)


def _queues(history: History, reliable: bool | None) -> Iterator[_Queue]:
    functions = ("enqueue", "dequeue", "ack", "requeue", FINAL_READ)
    masks = {name: history.where(name) for name in functions}
    sure = bool(masks["ack"].any()) if reliable is None else reliable
    for _, rows in history.by_key(history.where(*functions)):
        of = {name: rows[masks[name][rows]] for name in functions}
        ok = {name: positions[history.ok[positions]] for name, positions in of.items()}
        final = ok[FINAL_READ][-1:]
        content = history.value_at(int(final[0])) if len(final) else None
        yield _Queue(
            into=of["enqueue"],
            out=ok["dequeue"][history.value[ok["dequeue"]] != NIL],
            acks=ok["ack"],
            back=ok["requeue"][history.value[ok["requeue"]] != NIL],
            final=final if len(final) else _empty_at_end(history, of["enqueue"], ok["dequeue"]),
            left=history.codes_of(content) if isinstance(content, list | tuple) else np.empty(0, np.int64),
            unknown_dequeues=int(history.unknown[of["dequeue"]].sum()),
            unknown_requeues=int(history.unknown[of["requeue"]].sum()),
            reliable=sure,
        )


def _empty_at_end(history: History, into: Int64, out: Int64) -> Int64:
    """The last dequeue that found nothing, if it began after every acknowledged enqueue had ended."""
    ended = int(history.complete_ns[into[history.ok[into]]].max(initial=-1))
    last: Int64 = out[(history.value[out] == NIL) & (history.invoke_ns[out] > ended)][-1:]
    return last


def _judge(history: History, queue: _Queue, tally: Tally) -> dict[str, int]:
    """Note what is wrong with one queue; returns what it adds to the totals."""
    taken = history.value[queue.out]
    by = np.concatenate([queue.out, np.full(len(queue.left), queue.final[0] if len(queue.final) else -1)])
    seen = np.concatenate([taken, queue.left])
    _note_phantoms(history, queue, seen, by, tally)
    _note_returned(history, queue, seen, by, tally)
    _note_duplicates(history, queue, taken, tally)
    into = queue.into
    recovered = int((history.unknown[into] & np.isin(history.value[into], seen)).sum())
    handled = np.concatenate([seen, history.value[queue.acks], history.value[queue.back]])
    missing = into[history.ok[into] & ~np.isin(history.value[into], handled)]
    if not len(queue.final):
        return {"recovered": recovered, "missing_without_final_read": len(missing)}
    end = queue.final[0]
    missing = missing[history.complete_ns[missing] < history.invoke_ns[end]]
    perhaps = 0 if queue.reliable else min(queue.unknown_dequeues, len(missing))
    for position in missing[perhaps:]:
        told = {"value": history.value_at(int(position)), "node": history[int(position)].node}
        tally.note("lost", [position, end], candidates=len(missing), **told)
    return {"recovered": recovered, "missing_perhaps_taken": perhaps}


def _note_phantoms(history: History, queue: _Queue, seen: Int64, by: Int64, tally: Tally) -> None:
    into = queue.into
    for i in np.flatnonzero(~np.isin(seen, history.value[into[~history.failed[into]]])):
        code = int(seen[i])
        tally.note("phantom", [*into[history.value[into] == code], by[i]], value=history.tell(code))


def _note_returned(history: History, queue: _Queue, seen: Int64, by: Int64, tally: Tally) -> None:
    """Values that came out or were left when their work had been acknowledged as done before that began."""
    acks = queue.acks[np.argsort(history.value[queue.acks], kind="stable")]
    done, first = np.unique(history.value[acks], return_index=True)
    if not len(done):
        return
    ended = np.minimum.reduceat(history.complete_ns[acks], first)
    at = np.minimum(np.searchsorted(done, seen), len(done) - 1)
    for i in np.flatnonzero((done[at] == seen) & (ended[at] < history.invoke_ns[by])):
        ack = next(a for a in acks[history.value[acks] == seen[i]] if history.complete_ns[a] == ended[at[i]])
        tally.note("returned", [ack, by[i]], value=history.tell(int(seen[i])))


def _note_duplicates(history: History, queue: _Queue, taken: Int64, tally: Tally) -> None:
    """Values that came out more often than they can have been there, leaving out what `returned` says already."""
    seen = taken if queue.reliable else np.concatenate([taken, queue.left])
    acked = history.value[queue.acks]
    values, counts = np.unique(seen[~np.isin(seen, acked)], return_counts=True)
    back_values, back_counts = np.unique(history.value[queue.back], return_counts=True)
    allowed = np.ones(len(values), np.int64) + queue.unknown_requeues
    shared = np.isin(values, back_values)
    allowed[shared] += back_counts[np.searchsorted(back_values, values[shared])]
    for value in np.repeat(values, np.maximum(counts - allowed, 0)):
        enqueued = queue.into[history.value[queue.into] == value]
        outs = queue.out[history.value[queue.out] == value]
        tally.note(
            "duplicated", [*enqueued, *outs, *(queue.final if len(outs) < 2 else ())], value=history.tell(int(value))
        )
