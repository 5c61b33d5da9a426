"""Linearizability of any object that `models` describes, by search, within hard limits.

Model. Each key is one object of the model given, and the keys are independent (Herlihy and Wing's locality: the history
is linearizable exactly when each key's part is), so that each is searched by itself. A linearization gives every
acknowledged operation, and any of the unknown ones, a moment between its invocation and its completion (an unknown one:
any moment after its invocation) such that the model allows the results in that order. Refused operations did nothing.

Sound and complete within the limits; see `search` for the method and why its reductions lose nothing. Searches of all
keys take turns, the short ones first, and the first illegal one ends the check. When time, steps or memory run out the
finding is UNKNOWN, never VALID. Memory is counted by configuration, not measured, so that the same history ends the
same way everywhere. It cannot see order between keys; that is what transactional checkers are for.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.check.common import Deadline, Stats, never, unknown
from labctl.check.models import MODELS, Model, State
from labctl.check.prose import moment, sentence, shorten, surroundings, tell
from labctl.check.search import CALL_BYTES, Search, Status
from labctl.check.stages import Call, calls, matter
from labctl.errors import UsageError
from labctl.model.history import OpOutcome
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from labctl.model.history import History, Int64, Mask

NAME: Final = "linearizable"
_TURN = 4096  # steps of one key before the next has its turn
_SHRINK_CALLS = 48
_SHRINK_STEPS = 50_000
_TOLD = 6


def check(
    history: History,
    *,
    deadline: Deadline = never,
    model: str = "cas-register",
    memory_mb: int = 512,
    max_steps: int | None = 50_000_000,
) -> Finding:
    """Search each key's operations for a linearization.

    Args:
        history: Operations with the functions of the model; others are not looked at.
        deadline: Consulted every few thousand steps.
        model: A name of `models.MODELS`.
        memory_mb: Limit of the configurations of all keys together, in MiB.
        max_steps: Limit of the transitions tried, all keys together (a minute or so); None for no limit.

    Raises:
        UsageError: There is no such model.
    """
    if model not in MODELS:
        raise UsageError(f"no model is called {model!r}", f"There are: {', '.join(MODELS)}.")
    looked_at = history.where(*MODELS[model].functions)
    stats: Stats = {
        "model": model,
        "operations": int(looked_at.sum()),
        "acknowledged": int((looked_at & history.ok).sum()),
        "unknown": int((looked_at & history.unknown).sum()),
        "keys": len(np.unique(history.key[looked_at])),
    }
    if not stats["acknowledged"]:
        return unknown(NAME, "no operation of this object was acknowledged: nothing to judge", stats)
    turns = _Turns(history, MODELS[model], memory_mb << 20, max_steps)
    illegal = turns.run(looked_at, deadline)
    stats |= {"steps": turns.steps, "peak_mb": round(turns.peak / 2**20, 3), "keys_judged": turns.judged}
    if illegal is not None:
        return _invalid(history, illegal, stats)
    if turns.ran_out:
        judged = f"{turns.judged} of {stats['keys']} keys are linearizable"
        return unknown(NAME, f"out of {turns.ran_out} after {turns.steps} steps; {judged}", stats)
    summary = f"{stats['acknowledged']} operations on {stats['keys']} keys are linearizable as {model}"
    return Finding(NAME, Outcome.VALID, summary, "A linearization of every key was found.", stats=stats)


@dataclass(slots=True)
class _Turns:
    """Searches of all keys in turn, the short ones first; a search is only begun when its turn comes.

    Attributes:
        limit_bytes: Memory of the configurations of all searches that are under way.
        max_steps: Steps of all searches together.
        steps, peak, judged: Steps taken, most memory counted at once, keys decided.
        ran_out: `time`, `steps` or `memory`, or nothing.
    """

    history: History
    model: Model
    limit_bytes: int
    max_steps: int | None
    steps: int = 0
    peak: int = 0
    judged: int = 0
    ran_out: str = ""

    def run(self, looked_at: Mask, deadline: Deadline) -> Search | None:
        """Search until one key is illegal, which is returned, or all have ended, or something has run out."""
        keys = sorted((positions for _, positions in self.history.by_key(looked_at)), key=len)
        waiting: deque[Search | Int64] = deque(keys)
        kept = 0  # memory of the searches that wait
        while waiting:
            if deadline() or (self.max_steps is not None and self.steps >= self.max_steps):
                self.ran_out = "steps" if self.max_steps is not None and self.steps >= self.max_steps else "time"
                return None
            following = waiting.popleft()
            if isinstance(following, Search):
                search = following
                kept -= search.bytes_now
            elif len(following) * CALL_BYTES > self.limit_bytes - kept:
                self.ran_out = "memory"
                continue
            else:
                search = self._begin(following)
            before = search.steps
            status = search.advance(_TURN, self.limit_bytes - kept)
            self.steps += search.steps - before
            self.peak = max(self.peak, kept + search.peak_bytes)
            kept += search.bytes_now
            if status is Status.RUNNING:
                waiting.append(search)
            elif status is Status.TOO_LARGE:
                self.ran_out = "memory"
            else:
                self.judged += 1
            if status is Status.ILLEGAL:
                return search
        return None

    def _begin(self, positions: Int64) -> Search:
        return Search(self.model, calls(self.model, self.history, positions.tolist()), self.model.initial)


def _invalid(history: History, search: Search, stats: Stats) -> Finding:
    stuck = search.stuck
    assert stuck is not None
    witness = _witness(search)
    story = _story(history, search, witness)
    positions = tuple(sorted({call.position for call in witness} | ({search.sure.position} if search.sure else set())))
    summary = f"{stuck.op.key or 'the object'}: no order of its operations explains {stuck.op.function} at "
    summary += moment(history, stuck.op.invoke_ns)
    anomaly = {
        "kind": "not-linearizable",
        "key": stuck.op.key,
        "position": stuck.position,
        "possible_states": [shorten(_plain(state)) for state in search.states[:_TOLD]],
    }
    full = story + surroundings(history, positions)
    return Finding(NAME, Outcome.INVALID, summary, full, positions, stats, (anomaly,))


def _witness(search: Search) -> list[Call]:
    """A small set of operations that, from the last state that was certain, has no linearization.

    Starts with what was pending then or began later, up to the completion that could not be explained. An operation is
    taken away only where that can but make things easier: a read, or another after it was weakened to unknown and then
    mattered to nobody.
    """
    stuck, model = search.stuck, search.model
    assert stuck is not None
    since = search.sure.end_ns if search.sure else -1  # what began at that moment was pending
    kept = [
        call
        for call in search.calls
        if since < call.op.invoke_ns <= stuck.end_ns or call.position in search.sure_pending
    ]
    kept = matter(model, kept)
    if len(kept) > _SHRINK_CALLS or not _illegal(model, kept, search.sure_state):
        return [call for call in kept if not call.unknown]
    for call in sorted(kept, key=lambda call: -call.end_ns):
        rest = [other for other in kept if other.position != call.position]
        if call.position == stuck.position or call.unknown:
            continue
        easier = matter(model, rest if model.pure(call.op) else [*rest, _weaken(call)])
        if len(easier) < len(kept) and _illegal(model, easier, search.sure_state):
            kept = easier
    return kept


def _weaken(call: Call) -> Call:
    return Call(call.position, replace(call.op, outcome=OpOutcome.UNKNOWN), -1)


def _illegal(model: Model, some: list[Call], state: State) -> bool:
    return Search(model, some, state).advance(_SHRINK_STEPS, 2**26) is Status.ILLEGAL


def _story(history: History, search: Search, witness: list[Call]) -> str:
    stuck = search.stuck
    assert stuck is not None
    if search.sure is None:
        start = f"It began as {shorten(_plain(search.initial))}."
    else:
        start = (
            f"After {tell(history, search.sure.position)}, it was {shorten(_plain(search.sure_state))}, in every "
            "possible order of what had gone before."
        )
    others = sorted((call for call in witness if call.position != stuck.position), key=lambda call: call.op.invoke_ns)
    told = "".join(f" {sentence(history, call.position)}." for call in others[:_TOLD])
    more = f" (And {len(others) - _TOLD} more.)" if len(others) > _TOLD else ""
    states = ", ".join(shorten(_plain(state)) for state in search.states[:_TOLD])
    return (
        f"{start}{told}{more} Then {tell(history, stuck.position)}. Without that one the object could be in these "
        f"states: {states}; no order of the operations in between makes its result possible."
    )


def _plain(state: State) -> object:
    return (
        sorted(state, key=repr) if isinstance(state, frozenset) else list(state) if isinstance(state, tuple) else state
    )
