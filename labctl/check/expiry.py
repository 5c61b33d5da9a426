"""Expiry: no key is served after its time to live.

Model. `write` stores a value, unique per key, for the key's time to live; `read` returns it, or None. The time to live
of a key is what an `init` operation says, {ttl_ms}, or the parameter. A write takes effect at the latest when it is
acknowledged, so that a read which begins more than the time to live after that must not return its value. Nothing
renews a time to live but another write, of another value.

- *late*: the value was returned by a read that began later than acknowledgement + time to live + `slack_ms`.
- *early* (no violation: eviction may do it, and a failover loses keys): None was read although a value was certainly
  there: acknowledged before the read began, the read over before the time to live counted from sending it was, and no
  other write in between.

Sound where the clocks of client and server run equally fast; `slack_ms` covers the millisecond to which servers round.
It cannot see a late key that nobody reads, nor judge values of unknown writes, which may have been stored late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.check.common import Deadline, Stats, milliseconds, never, refuse_duplicates, unknown
from labctl.check.tally import Tally
from labctl.errors import HistoryError
from labctl.model.history import FINAL_READ, NIL, Int64, describe
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from labctl.model.history import History

NAME: Final = "expiry"
_KINDS: Final = {"late": "The value {value!r} was served {late_ms} ms after its time to live was over."}


def check(
    history: History, *, deadline: Deadline = never, ttl_ms: float | None = None, slack_ms: float = 1.0
) -> Finding:
    """Find reads of expired values.

    Args:
        history: Operations as in the model.
        deadline: Consulted before each key.
        ttl_ms: Time to live of keys without `init`; None: such keys are not judged.
        slack_ms: Lateness that is still allowed.
    """
    writes, reads = history.where("write"), history.where("read", FINAL_READ) & history.ok
    inits = history.where("init")
    if refused := refuse_duplicates(NAME, history, writes, "written values"):
        return refused
    tally = Tally(history, _KINDS)
    judged = early = 0
    for _, rows in history.by_key(writes | reads | inits):
        if deadline():
            return unknown(NAME, "out of time", {"writes": int(writes.sum())})
        ttl_ns = _lifetime(history, rows[inits[rows]], ttl_ms)
        if ttl_ns is None:
            continue
        wrote, read = rows[writes[rows]], rows[reads[rows]]
        by = _writes_of(history, wrote, read)
        sure = np.flatnonzero((by >= 0) & history.ok[by])
        judged += len(sure)
        late = history.invoke_ns[read[sure]] - history.complete_ns[by[sure]] - ttl_ns
        for i in np.flatnonzero(late > slack_ms * 1e6):
            operations = [by[sure[i]], read[sure[i]]]
            tally.note("late", operations, late_ms=milliseconds(late[i]), node=history[operations[1]].node)
        applied = wrote[~history.failed[wrote]]
        early += sum(_too_early(history, p, applied, ttl_ns) for p in read[history.value[read] == NIL].tolist())
    stats: Stats = {
        "writes": int(writes.sum()),
        "reads": int(reads.sum()),
        "reads_of_values_with_ttl": judged,
        **tally.counts,
        "early": early,
    }
    summary = f"{judged} reads of values with a time to live: {tally.text or 'none too late'}, {early} gone early"
    if tally.any:
        return tally.invalid(NAME, summary, stats)
    if not judged:
        return unknown(NAME, "no value with a time to live was read: nothing to judge", stats)
    return Finding(NAME, Outcome.VALID, summary, "No value was served after its time to live.", stats=stats)


def _lifetime(history: History, inits: Int64, ttl_ms: float | None) -> int | None:
    """The time to live of one key in ns; None when nobody says."""
    stated = history.value_at(int(inits[-1])) if len(inits) else None
    ms = stated.get("ttl_ms") if isinstance(stated, dict) else ttl_ms
    if not isinstance(ms, int | float | None):
        raise HistoryError([f"{describe(history, int(inits[-1]))}: a time to live is a number of milliseconds"])
    return None if ms is None else round(ms * 1e6)


def _writes_of(history: History, writes: Int64, reads: Int64) -> Int64:
    """The write of the value that each read returned, -1 for None and for values that nobody wrote."""
    if not len(writes):
        return np.full(len(reads), -1)
    order = writes[np.argsort(history.value[writes], kind="stable")]
    at = np.minimum(np.searchsorted(history.value[order], history.value[reads]), len(order) - 1)
    return np.where((history.value[order[at]] == history.value[reads]) & (history.value[reads] != NIL), order[at], -1)


def _too_early(history: History, read: int, applied: Int64, ttl_ns: int) -> bool:
    """Whether a read of None began after a write was acknowledged and ended before it can have expired."""
    before = applied[history.latest_ns[applied] < history.invoke_ns[read]]
    if not len(before):
        return False
    last = int(before[history.complete_ns[before].argmax()])
    end = history.complete_ns[read]
    rivals = applied[(history.latest_ns[applied] >= history.invoke_ns[last]) & (history.invoke_ns[applied] <= end)]
    return bool(np.all(rivals == last)) and bool(end < history.invoke_ns[last] + ttl_ns)
