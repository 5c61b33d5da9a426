"""Rate limits: in no window of time are more requests let through than the limit.

Model. `hit` asks the limiter of a key and returns 1 when the request was let through and 0 when not; that is decided at
one moment between sending and acknowledgement. An `init` operation says what a limiter promises, {limit, window_ms}: in
every window of that length, wherever it begins, at most `limit` requests are let through. (A limiter that counts in
fixed windows promises less: ask for twice its limit.)

For the window that begins when a request was sent, those certainly inside were sent not before and acknowledged within
`window_ms`: all that were acknowledged by then, less all that were sent before. That is what is counted, so that the
excess is a lower bound, and a finding of INVALID sound. Not complete: requests that overlap the window's edges, and
those whose answer was lost, are not counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.check.common import Deadline, Stats, never, unknown
from labctl.check.tally import Tally
from labctl.errors import HistoryError
from labctl.model.history import describe
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from labctl.model.history import History, Int64

NAME: Final = "rate-limit"
_KINDS: Final = {
    "exceeded": "{passed} requests for {key} were let through within {window_ms:g} ms, {limit} are allowed."
}
_NAMED = 8  # operations of an excess that the witness names


def check(
    history: History, *, deadline: Deadline = never, limit: int | None = None, window_ms: float | None = None
) -> Finding:
    """Count what was let through in every window that begins with a request.

    Args:
        history: Operations as in the model.
        deadline: Consulted before each key.
        limit: Overrides what `init` says, or stands for it.
        window_ms: The same.
    """
    asked, inits = history.where("hit") & history.ok, history.where("init")
    passed = asked & (history.value == 1)
    tally = Tally(history, _KINDS)
    fullest, unstated = 0.0, 0
    for _, rows in history.by_key(passed | inits):
        if deadline():
            return unknown(NAME, "out of time", {"passed": int(passed.sum())})
        hits = rows[passed[rows]]
        promised = _promise(history, rows[inits[rows]], limit, window_ms)
        if promised is None:
            unstated += len(hits)
        elif len(hits):
            fullest = max(fullest, _judge(history, hits, *promised, tally))
    stats: Stats = {
        "asked": int(asked.sum()),
        "passed": int(passed.sum()),
        "refused": int(asked.sum()) - int(passed.sum()),
        "without_promise": unstated,
        "fullest_window": round(fullest, 3),
        **tally.counts,
    }
    summary = (
        f"{stats['passed']} of {stats['asked']} requests let through, the fullest window {fullest:.0%} of its limit"
    )
    if tally.any:
        return tally.invalid(NAME, summary, stats)
    if not stats["passed"] or unstated:
        return unknown(NAME, f"{summary}; {unstated} by limiters of which nobody says what they promise", stats)
    return Finding(NAME, Outcome.VALID, summary, "No window holds more than its limit.", stats=stats)


def _promise(history: History, inits: Int64, limit: int | None, window_ms: float | None) -> tuple[int, float] | None:
    stated = history.value_at(int(inits[-1])) if len(inits) else None
    told = stated if isinstance(stated, dict) else {}
    most, window = (
        told.get("limit") if limit is None else limit,
        told.get("window_ms") if window_ms is None else window_ms,
    )
    if most is None or window is None:
        return None
    if not isinstance(most, int) or not isinstance(window, int | float) or most < 1 or window <= 0:
        where = f"{describe(history, int(inits[-1]))}: " if len(inits) else ""
        raise HistoryError(
            [f"{where}a limiter lets some requests through in some milliseconds, not {most} in {window}"]
        )
    return most, float(window)


def _judge(history: History, hits: Int64, limit: int, window_ms: float, tally: Tally) -> float:
    """Note the windows of one key that hold too many; returns how full the fullest is."""
    begin, ends = history.invoke_ns[hits], np.sort(history.complete_ns[hits])
    until = begin + round(window_ms * 1e6)
    counts = np.searchsorted(ends, until, side="right") - np.searchsorted(begin, begin)
    for i in np.flatnonzero(counts > limit):
        inside = hits[(begin >= begin[i]) & (history.complete_ns[hits] <= until[i])]
        named = inside[: limit + 1] if limit < _NAMED else inside[[0, limit]]
        tally.note("exceeded", named, passed=int(counts[i]), limit=limit, window_ms=window_ms)
    return float(counts.max()) / limit
