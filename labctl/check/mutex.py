"""Locks with leases: how long two clients held the same lock, and whether fencing tokens would have saved them.

Model. `acquire` takes the lock of a key, `release` gives it back, whatever the answer. A client believes that it holds
the lock from the acknowledgement of its `acquire` until it sends `release`, or until `lease_ms` after it sent
`acquire`, whichever comes first; that is how long it uses what the lock guards. Without either, only the moment of the
acknowledgement is certain. `guarded` is a use of the guarded resource, which acknowledges a fencing token only if it
has seen no larger one. The values are [owner, token], the token a growing number or None without fencing.

- *overlap*: two processes believed to hold the lock at once; the window is how long.
- *token_order*: an `acquire` that began after another was acknowledged returned a token that is not larger.
- *stale_use*: the resource acknowledged a token after, in real time, it had acknowledged a larger one.

Sound: the times of belief are those of the client itself. (A late `release` that frees the same client's next hold is
a fault of the lock, and shows as one: lock values have to be unique for each acquisition.) Overlaps are what Redis'
documentation expects of a lock with a lease whose holder pauses; `overlap_allowed` is for locks with fencing, where
only the tokens have to hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.check.common import Deadline, Stats, milliseconds, never, unknown
from labctl.check.tally import Tally
from labctl.errors import HistoryError
from labctl.model.history import NIL, describe
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from labctl.model.history import History, Int64

NAME: Final = "mutex"
_KINDS: Final = {
    "overlap": "Two processes held {key} at the same time, for {overlap_ms} ms.",
    "stale_use": "The resource accepted token {value} after it had accepted {larger}.",
    "token_order": "An acquisition returned token {value}, not larger than {larger}, which was given out before.",
}


def check(
    history: History, *, deadline: Deadline = never, lease_ms: float | None = None, overlap_allowed: bool = False
) -> Finding:
    """Compare times of belief, and the order of tokens.

    Args:
        history: Operations as in the model.
        deadline: Consulted before each lock.
        lease_ms: How long after sending `acquire` a client trusts its lock; None for until it releases.
        overlap_allowed: Whether only tokens are judged.
    """
    acquires, releases = history.where("acquire") & history.ok, history.where("release")
    uses = history.where("guarded") & history.ok
    tally = Tally(history, _KINDS)
    longest, overlaps, unbounded = 0, 0, 0
    for _, rows in history.by_key(acquires | releases | uses):
        if deadline():
            return unknown(NAME, "out of time", {"acquired": int(acquires.sum())})
        mine = rows[acquires[rows]]
        until = _beliefs(history, mine, rows[releases[rows]], lease_ms)
        unbounded += int((until < history.complete_ns[mine]).sum())
        for first, second, overlap in _overlaps(history, mine, until):
            longest, overlaps = max(longest, overlap), overlaps + 1
            if not overlap_allowed:
                tally.note("overlap", [first, second], overlap_ms=milliseconds(overlap))
        for kind, positions, strict in (("token_order", mine, True), ("stale_use", rows[uses[rows]], False)):
            for larger, position in _backwards(history, positions, strict=strict):
                tokens = {"value": _token(history, position), "larger": _token(history, larger)}
                tally.note(kind, [larger, position], **tokens)
    stats: Stats = {
        "acquired": int(acquires.sum()),
        "released": int(releases.sum()),
        "uses": int(uses.sum()),
        "holds_without_end": unbounded,
        **tally.counts,
        "overlap": overlaps,
        "longest_overlap_ms": milliseconds(longest),
    }
    summary = f"{stats['acquired']} acquisitions, {overlaps} overlaps: {tally.text or 'no violation'}"
    if tally.any:
        return tally.invalid(NAME, summary, stats)
    if not stats["acquired"]:
        return unknown(NAME, "no lock was acquired: nothing to judge", stats)
    return Finding(NAME, Outcome.VALID, summary, "No two processes held a lock at once.", stats=stats)


def _beliefs(history: History, acquires: Int64, releases: Int64, lease_ms: float | None) -> Int64:
    """Until when the client of each acquisition believed to hold the lock; before its acknowledgement: for no time."""
    until = np.full(len(acquires), -1, np.int64)
    for process in np.unique(history.process[acquires]):
        mine = history.process[acquires] == process
        sent = history.invoke_ns[releases[history.process[releases] == process]]
        after = np.searchsorted(sent, history.complete_ns[acquires[mine]])
        begun = history.invoke_ns[acquires[mine]]
        following = np.append(begun[1:], 2**62)
        released = np.append(sent, 2**62)[after]
        # A release after the process acquired the lock anew belongs to that acquisition.
        until[mine] = np.where(released < following, released, -1)
    if lease_ms is not None:
        lease = history.invoke_ns[acquires] + round(lease_ms * 1e6)
        until = np.where(until < 0, lease, np.minimum(until, lease))
    return until


def _overlaps(history: History, acquires: Int64, until: Int64) -> list[tuple[int, int, int]]:
    """Acquisitions whose belief overlaps an earlier one of another process: the longest such, itself, how long."""
    begin = history.complete_ns[acquires]
    order = np.argsort(begin, kind="stable")
    found: list[tuple[int, int, int]] = []
    open_: list[tuple[int, int]] = []  # (until, row) of beliefs that may still last
    for row in order.tolist():
        open_ = [(end, other) for end, other in open_ if end > begin[row]]
        rivals = [
            (end, other) for end, other in open_ if history.process[acquires[other]] != history.process[acquires[row]]
        ]
        if rivals and until[row] > begin[row]:
            end, other = max(rivals)
            found.append((int(acquires[other]), int(acquires[row]), int(min(end, until[row]) - begin[row])))
        open_.append((int(until[row]), row))
    return found


def _backwards(history: History, positions: Int64, *, strict: bool) -> list[tuple[int, int]]:
    """Operations whose token is smaller than (or, strictly, not larger than) one acknowledged before they began."""
    tokens = [_token(history, position) for position in positions.tolist()]
    positions = positions[[token is not None for token in tokens]]
    token = np.array([token for token in tokens if token is not None], np.int64)
    by_end = np.argsort(history.complete_ns[positions], kind="stable")
    highest = np.maximum.accumulate(token[by_end]) if len(token) else token
    where = np.maximum.accumulate(np.where(token[by_end] == highest, np.arange(len(token)), 0))
    before = np.searchsorted(history.complete_ns[positions[by_end]], history.invoke_ns[positions])
    bad = before > 0
    bad[bad] = (highest[before[bad] - 1] >= token[bad]) if strict else (highest[before[bad] - 1] > token[bad])
    return [(int(positions[by_end[where[before[i] - 1]]]), int(positions[i])) for i in np.flatnonzero(bad)]


def _token(history: History, position: int) -> int | None:
    value = history.value_at(position)
    token = value[1] if isinstance(value, list | tuple) and len(value) == 2 else None
    if isinstance(token, int) and not NIL < token < -NIL:
        raise HistoryError([f"{describe(history, position)}: a token is a number below 2**62"])
    return token if isinstance(token, int) else None
