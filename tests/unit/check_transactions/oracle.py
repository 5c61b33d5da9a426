"""Brute force over tiny histories: is there any execution at all that explains them under a model?

Shares nothing with the checker but the history: it tries orders of transactions one by one on a real store.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from labctl.model.history import History, Op, OpOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

State = dict[str, tuple[object, ...]]  # key → elements of the list, or the register's value as the only one


@dataclass(frozen=True)
class Order:
    """What an execution must respect beyond reads and writes."""

    process: bool = False
    time: bool = False


PLAIN, SESSION, STRICT = Order(), Order(process=True), Order(process=True, time=True)


def apply(op: Op, state: State, *, check_reads: bool) -> State | None:
    """The state after a transaction; None if one of its reads says otherwise."""
    state = dict(state)
    for function, key, value in op.value:  # type: ignore[attr-defined]
        if function == "append":
            state[key] = (*state.get(key, ()), value)
        elif function == "w":
            state[key] = (value,)
        elif check_reads:
            held = state.get(key, ())
            if isinstance(value, list):
                if held != tuple(value):
                    return None
            elif held != (() if value is None else (value,)):
                return None
    return state


def must_precede(first: Op, second: Op, order: Order) -> bool:
    """Whether every execution that respects the order has the first before the second."""
    if first.outcome is not OpOutcome.OK:
        return False
    assert first.complete_ns is not None
    if order.time and first.complete_ns < second.invoke_ns:
        return True
    same = first.process == second.process and first is not second
    return order.process and same and first.invoke_ns < second.invoke_ns


def candidates(history: History) -> Iterator[list[Op]]:
    """The transactions that can have committed: the `ok` ones with each set of unknown ones."""
    ops = list(history)
    certain = [op for op in ops if op.outcome is OpOutcome.OK]
    unknown = [op for op in ops if op.outcome is OpOutcome.UNKNOWN]
    for count in range(len(unknown) + 1):
        for chosen in combinations(unknown, count):
            yield certain + list(chosen)


def serializable(history: History, order: Order) -> bool:
    """Whether some serial execution of the committed transactions explains every read."""

    def extend(rest: list[Op], state: State) -> bool:
        if not rest:
            return True
        for op in _ready(rest, order):
            after = apply(op, state, check_reads=op.outcome is OpOutcome.OK)
            if after is not None and extend([other for other in rest if other is not op], after):
                return True
        return False

    return any(extend(ops, {}) for ops in candidates(history))


def _ready(rest: list[Op], order: Order) -> Iterable[Op]:
    return [op for op in rest if not any(must_precede(other, op, order) for other in rest)]


def snapshot_isolated(history: History, order: Order) -> bool:
    """Whether some execution under snapshot isolation explains every read.

    Each transaction reads a snapshot, the state after some number of commits, and commits later; of two whose snapshots
    miss each other at most one may write a key (first committer wins). A snapshot includes all that must precede.
    """

    def extend(rest: list[Op], done: list[Op], states: list[State]) -> bool:
        if not rest:
            return True
        for op in _ready(rest, order):
            others = [other for other in rest if other is not op]
            oldest = max((i + 1 for i, other in enumerate(done) if must_precede(other, op, order)), default=0)
            for snapshot in range(oldest, len(done) + 1):
                if any(_written(op) & _written(other) for other in done[snapshot:]):
                    continue
                if apply(op, states[snapshot], check_reads=op.outcome is OpOutcome.OK) is None:
                    continue
                after = apply(op, states[-1], check_reads=False)
                assert after is not None
                if extend(others, [*done, op], [*states, after]):
                    return True
        return False

    return any(extend(ops, [], [{}]) for ops in candidates(history))


def _written(op: Op) -> set[str]:
    return {key for function, key, _ in op.value if function != "r"}  # type: ignore[attr-defined]
