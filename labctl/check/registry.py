"""Every checker by name, and the one way to run them."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from keyword import iskeyword
from typing import TYPE_CHECKING, Final

from labctl.check import (
    acked_writes,
    alerts,
    application,
    availability,
    bank,
    cache,
    convergence,
    counter,
    counters,
    deposed,
    expiry,
    linearizability,
    mutex,
    pubsub,
    rate_limit,
    recovery,
    refusals,
    register,
    restored,
    session,
    set_full,
    split_brain,
    stream,
    topology,
    total_queue,
    transactions,
    unique_ids,
)
from labctl.check.common import Deadline, never, unknown
from labctl.check.objects import Sort, Sorts, shown_to
from labctl.errors import HistoryError, UsageError
from labctl.model.history import find_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from labctl.model.history import History
    from labctl.model.verdict import Finding
    from labctl.model.view import View


@dataclass(frozen=True, slots=True)
class Checker:
    """A registered checker.

    Attributes:
        name: What scenarios call it.
        check: `check(history, *, deadline, **parameters) -> Finding`; its module says model and parameters.
        about: One line for listings.
        of_views: It looks at the views of the lab instead: `check(views) -> Finding`.
        of_events: It looks at the history's events alone, so that it needs no workload.
    """

    name: str
    check: Callable[..., Finding]
    about: str
    of_views: bool = False
    of_events: bool = False

    @property
    def of_operations(self) -> bool:
        """Whether it judges what a workload did."""
        return not self.of_views and not self.of_events


def _for(*groups: Sort | tuple[Sort, ...]) -> Sorts:
    return tuple(frozenset(group if isinstance(group, tuple) else (group,)) for group in groups)


_SORTS: Final[dict[str, Sorts]] = {
    acked_writes.NAME: _for((Sort.REGISTER, Sort.SET), Sort.STREAM),
    register.NAME: _for(Sort.REGISTER, Sort.CACHE),
    set_full.NAME: _for(Sort.SET, Sort.STREAM),
    cache.NAME: _for(Sort.CACHE, Sort.REGISTER),
    counter.NAME: _for(Sort.COUNTER, Sort.SET),
    bank.NAME: _for(Sort.BANK, Sort.EXPIRING),  # `init` alone, while nothing was transferred yet
    total_queue.NAME: _for(Sort.QUEUE),
    stream.NAME: _for(Sort.STREAM),
    pubsub.NAME: _for(Sort.CHANNEL),
    mutex.NAME: _for(Sort.LOCK),
    session.MONOTONIC_READS: _for(Sort.REGISTER),
    session.READ_YOUR_WRITES: _for(Sort.REGISTER),
    expiry.NAME: _for(Sort.EXPIRING, Sort.REGISTER),
    rate_limit.NAME: _for(Sort.LIMITER),
}
"""The sorts of objects that a checker is for; one that is not here looks at everything."""

_SORTS_OF_MODELS: Final[dict[str, Sorts]] = {
    "register": _for(Sort.REGISTER, Sort.CAS_REGISTER),
    "cas-register": _for(Sort.CAS_REGISTER, Sort.REGISTER),
    "set": _for(Sort.SET),
    "queue": _for(Sort.QUEUE),
    "counter": _for(Sort.COUNTER, Sort.SET),
    "lock": _for(Sort.LOCK),
}
_NAMES_FUNCTIONS: Final = frozenset({"functions", "writes", "reads", "adds"})
"""Parameters by which a user says what to look at; then nothing is hidden."""

CHECKERS = {
    checker.name: checker
    for checker in (
        Checker(acked_writes.NAME, acked_writes.check, "every acknowledged write is there at the end"),
        Checker(availability.NAME, availability.check, "gaps, recovery time, goodput and latency around each fault"),
        Checker(
            deposed.NAME, deposed.check, "no node acknowledges writes after another was made primary, and how long"
        ),
        Checker(topology.EPOCHS, topology.one_primary_per_epoch, "no epoch names two primaries", of_views=True),
        Checker(topology.SLOTS_COVERED, topology.slots_covered, "every slot has one owner in the end", of_views=True),
        Checker(topology.SENTINELS, topology.sentinels_agree, "Sentinels name one primary in the end", of_views=True),
        Checker(topology.REPLICAS, topology.replicas_attached, "replicas are attached in the end", of_views=True),
        Checker(counters.NAME, counters.check, "a number of the servers' own INFO keeps within bounds", of_views=True),
        Checker(
            convergence.NAME,
            convergence.check,
            "replicas hold their primary's data once the faults are gone",
            of_events=True,
        ),
        Checker(refusals.NAME, refusals.check, "ACL and TLS refuse what they should", of_events=True),
        Checker(
            alerts.NAME,
            alerts.check,
            "alerts fire that should, and clear; where no Prometheus is up the drill starts one",
            of_events=True,
        ),
        Checker(application.NAME, application.check, "the user's own program ends as it should", of_events=True),
        Checker(recovery.NAME, recovery.check, "from the old primary's last acknowledged write to the new one's first"),
        Checker(restored.NAME, restored.check, "a server that was started on a backup holds what was saved"),
        Checker(register.NAME, register.check, "registers with unique values are linearizable; how stale reads are"),
        Checker(linearizability.NAME, linearizability.check, "any object of a model is linearizable, by search"),
        Checker(
            transactions.NAME,
            transactions.check,
            "transactions keep the consistency model, strict serializable or less",
        ),
        Checker(split_brain.NAME, split_brain.check, "no two nodes acknowledge writes of the same data at once"),
        Checker(set_full.NAME, set_full.check, "elements of a set stay once they are known; how long they take"),
        Checker(cache.NAME, cache.check, "how old what a cache serves is, and how many load the same at once"),
        Checker(counter.NAME, counter.check, "counts are within what can have been counted"),
        Checker(unique_ids.NAME, unique_ids.check, "no identifier is given out twice"),
        Checker(bank.NAME, bank.check, "transfers never change the total"),
        Checker(total_queue.NAME, total_queue.check, "what goes into a queue comes out, once"),
        Checker(stream.NAME, stream.check, "stream entries are delivered at least once, never after their XACK"),
        Checker(pubsub.NAME, pubsub.check, "subscribers get every message, once, in order"),
        Checker(mutex.NAME, mutex.check, "a lock has one holder at a time, and tokens grow"),
        Checker(session.MONOTONIC_READS, session.monotonic_reads, "no process reads backwards"),
        Checker(session.READ_YOUR_WRITES, session.read_your_writes, "no process misses its own writes"),
        Checker(expiry.NAME, expiry.check, "no value is served after its time to live"),
        Checker(rate_limit.NAME, rate_limit.check, "no window holds more permits than the limit"),
    )
}


def run(
    name: str,
    history: History,
    *,
    views: Sequence[View] = (),
    deadline: Deadline = never,
    parameters: Mapping[str, object] | None = None,
) -> Finding:
    """What a checker finds in a history, or in the views that were taken meanwhile.

    A history that contradicts itself is not judged, and a checker that crashes has found nothing: both are UNKNOWN.

    Raises:
        UsageError: No checker has this name.
    """
    if name not in CHECKERS:
        raise UsageError(f"no checker is called {name!r}", f"There are: {', '.join(CHECKERS)}.")
    if problems := find_problems(history):
        return unknown(name, "refused: the history contradicts itself: " + "; ".join(problems))
    keywords = {_keyword(word): value for word, value in (parameters or {}).items()}
    try:
        if CHECKERS[name].of_views:
            return CHECKERS[name].check(views, **keywords)
        return CHECKERS[name].check(_shown(name, history, keywords), deadline=deadline, **keywords)
    except HistoryError as error:
        return unknown(name, "refused: " + "; ".join(error.problems), {"operations": len(history)})
    except Exception as error:  # noqa: BLE001 -- a bug in a checker must never pass for a verdict
        return unknown(name, f"the checker crashed: {type(error).__name__}: {error}", {"operations": len(history)})


def parameters_of(name: str) -> frozenset[str]:
    """What a scenario may state under a checker's `with`."""
    given = {"history", "views", "deadline"}
    return frozenset(word.rstrip("_") for word in signature(CHECKERS[name].check).parameters if word not in given)


def _keyword(word: str) -> str:
    """A parameter as Python has it: `as` is `as_`."""
    return f"{word}_" if iskeyword(word) else word


def _shown(name: str, history: History, parameters: Mapping[str, object]) -> History:
    """What a checker sees of a history in which several workloads may have left their operations."""
    sorts = _SORTS.get(name)
    if name == linearizability.NAME:
        sorts = _SORTS_OF_MODELS.get(str(parameters.get("model", "cas-register")))
    return history if sorts is None or _NAMES_FUNCTIONS & set(parameters) else shown_to(history, sorts)
