"""Counters: every value seen lies between what must and what can have been counted.

Model. A counter of each key starts at `initial`. `incr` adds 1 and returns the new value, or is [delta, new value];
`add` adds its value and returns nothing; `read` and `final-read` return the count (None is 0). Increments are applied
once: a client that repeats one after a timeout breaks this, and that is what the upper bound shows.

A value seen by an operation is at least `initial` plus every positive delta acknowledged before the operation began
plus every negative one that can have been applied before it ended, and at most the reverse. An `incr` counts itself.
Where all deltas are positive, no two increments of a key can return the same value.

Sound: the bounds hold for every order of the operations and every subset of the unknown ones. Not complete: a counter
that loses one increment while an unknown one was applied stays within bounds. `linearizable` with model `counter` is
complete, and slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeGuard

import numpy as np

from labctl.check.common import Deadline, Stats, never, unknown
from labctl.check.tally import Tally
from labctl.errors import HistoryError
from labctl.model.history import FINAL_READ, NIL, History, Int64, describe
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME: Final = "counter-bounds"
_KINDS: Final = {
    "below": "The count was {value!r} where it had to be {at_least} to {at_most}: acknowledged increments were lost.",
    "above": "The count was {value!r} where it had to be {at_least} to {at_most}: an increment was applied twice.",
    "repeated": "Two increments returned {value!r}, so one of them was lost.",
}


def check(history: History, *, deadline: Deadline = never, initial: int = 0) -> Finding:
    """Hold every value seen against its bounds.

    Args:
        history: Increments and reads.
        deadline: Consulted before each key.
        initial: Every counter's value before the first operation.
    """
    changes, reads = history.where("incr", "add") & ~history.failed, history.where("read", FINAL_READ) & history.ok
    tally = Tally(history, _KINDS)
    seen = widest = 0
    for _, rows in history.by_key(changes | reads):
        if deadline():
            return unknown(NAME, "out of time", {"values_seen": seen})
        delta, value = _columns(history, rows)
        judged = rows[value != NIL]
        low, high = _bounds(history, rows, delta, judged)
        low, high = low + initial, high + initial
        seen += len(judged)
        widest = max(widest, int((high - low).max(initial=0)))
        values = value[value != NIL]
        for i in np.flatnonzero((values < low) | (values > high)):
            kind = "below" if values[i] < low[i] else "above"
            tally.note(kind, [judged[i]], value=int(values[i]), at_least=int(low[i]), at_most=int(high[i]))
        for operations in _repeated(rows, delta, value):
            tally.note("repeated", operations)
    stats: Stats = {
        "increments": int(changes.sum()),
        "unknown_increments": int((changes & history.unknown).sum()),
        "reads": int(reads.sum()),
        "values_seen": seen,
        "widest_bounds": widest,
        **tally.counts,
    }
    if not seen:
        return unknown(NAME, "no operation returned a count: nothing to judge", stats)
    summary = f"{seen} values seen: {tally.text or 'all within bounds'}"
    if tally.any:
        return tally.invalid(NAME, summary, stats)
    return Finding(NAME, Outcome.VALID, summary, f"The bounds were at most {widest} apart.", stats=stats)


def _columns(history: History, rows: Int64) -> tuple[Int64, Int64]:
    """What each operation adds, and the count that it returned (NIL: none)."""
    return tuple(np.array(list(column), np.int64) for column in zip(*_each(history, rows), strict=True))  # type: ignore[return-value]


def _each(history: History, rows: Int64) -> Iterator[tuple[int, int]]:
    for position in rows.tolist():
        op = history[position]
        if op.function == "add":
            added, result = op.value, None
        elif op.function != "incr":
            added, result = 0, op.value or 0
        elif isinstance(op.value, list | tuple) and len(op.value) == 2:
            added, result = op.value
        else:
            added, result = 1, op.value
        if not _is_whole(added) or not (result is None or _is_whole(result)):
            raise HistoryError([f"{describe(history, position)}: a counter counts whole numbers below 2**62"])
        yield added, NIL if result is None or not history.ok[position] else result


def _is_whole(value: object) -> TypeGuard[int]:
    return type(value) is int and NIL < value < -NIL


def _bounds(history: History, rows: Int64, delta: Int64, judged: Int64) -> tuple[Int64, Int64]:
    """Least and most that the increments can have added when each of these operations took effect."""
    begin, end, ok = history.invoke_ns[judged], history.complete_ns[judged], history.ok[rows]
    own = delta[np.isin(rows, judged)]
    low, high = np.zeros(len(judged), np.int64), np.zeros(len(judged), np.int64)
    for sign in (1, -1):
        mine = np.sign(delta) == sign
        certain = _sum_until(history.complete_ns[rows[mine & ok]], delta[mine & ok], begin, "left")
        possible = _sum_until(history.invoke_ns[rows[mine]], delta[mine], end, "right")
        itself = np.where(np.sign(own) == sign, own, 0)
        # An operation began before it ended, so it is among the possible; it is not among those that ended before.
        if sign > 0:
            low, high = low + certain + itself, high + possible
        else:
            low, high = low + possible, high + certain + itself
    return low, high


def _sum_until(times: Int64, delta: Int64, until: Int64, side: str) -> Int64:
    """Sum of the deltas whose time comes before (`left`) or not after (`right`) each moment."""
    order = np.argsort(times, kind="stable")
    sums = np.concatenate([[0], np.cumsum(delta[order])])
    return sums[np.searchsorted(times[order], until, side="left" if side == "left" else "right")]


def _repeated(rows: Int64, delta: Int64, value: Int64) -> Int64:
    """Pairs of increments that returned the same, where counts can only grow."""
    mine = np.flatnonzero((delta > 0) & (value != NIL) & ~(delta < 0).any())
    order = mine[np.argsort(value[mine], kind="stable")]
    twice = np.flatnonzero(np.diff(value[order]) == 0)
    return np.stack([rows[order[twice]], rows[order[twice + 1]]], axis=1)
