"""Sequential objects for the general linearizability checker.

A model says what each operation does to the state of one object. `step` turns an operation into a function from state
to state, or `ILLEGAL` where the operation could not have had its result. States are hashable and never changed in
place. An acknowledged operation has the result that the history says; an unknown one may have had any.

`makes` and `needs` keep unknown operations from blowing up the search: an unknown operation matters only while some
acknowledged operation may still need what it makes, directly or by way of other unknown operations. An unknown write
whose value nobody reads afterwards can be left out: whatever linearization contains it stays one without it.

The objects, by function and value:

- `register`: `write` v, `read` (v or None). `cas-register`: also `cas` [old, new], acknowledged only when it swapped.
- `set`: `add` e, `remove` e, `read` (a list of all elements).
- `queue`: `enqueue` v, `dequeue` (v, or None when empty), first in, first out.
- `counter`: `incr` (the new value, or [delta, new value]; the latter may be None when it is not known), `add` delta,
  `read` (None is 0).
- `lock`: `acquire` and `release`, whose value is the owner (None: the process). No expiry: a lock with a lease is not
  this object, see the checker `mutex`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from labctl.errors import HistoryError
from labctl.model.history import FINAL_READ, OpOutcome

if TYPE_CHECKING:
    from labctl.model.history import Op

State = Any
"""Each model knows its own states; to the search they are only hashable."""
Step = Callable[[State], State]

ILLEGAL: Final = object()

_READS: Final = ("read", FINAL_READ)


@dataclass(frozen=True, slots=True)
class Model:
    """One sequential object.

    Attributes:
        name: What a scenario calls it.
        initial: The state before any operation.
        functions: Operations with other functions are not looked at.
        step: See the module. Never called for a failed operation, nor for an unknown one without effect (a read).
        makes: What an unknown operation adds that others may need; None when it has no effect at all.
        needs: What an operation may need to be possible.
        pure: Whether an acknowledged operation changes no state whatsoever.
        by_process: The same operation of another process does something else.
        weight: How many values a state holds, for the memory limit.
    """

    name: str
    initial: State
    functions: frozenset[str]
    step: Callable[[Op], Step]
    makes: Callable[[Op], Hashable | None]
    needs: Callable[[Op], Iterable[Hashable]]
    pure: Callable[[Op], bool] = lambda op: op.function in _READS
    weight: Callable[[State], int] | None = None
    by_process: bool = False


def freeze(value: object) -> Hashable:
    """A value as something hashable, with True, 1 and 1.0 kept apart."""
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    if isinstance(value, dict):
        return ("{}", *sorted((str(key), freeze(item)) for key, item in value.items()))
    return (type(value).__name__, value) if isinstance(value, bool | float) else value


def _refused(op: Op, why: str) -> HistoryError:
    return HistoryError(
        [f"{op.function} {op.key} = {op.value!r} (process {op.process}, sent at {op.invoke_ns} ns): {why}"]
    )


def _only_from(expected: State) -> Step:
    return lambda state: state if state == expected else ILLEGAL


def _pair(op: Op) -> tuple[Hashable, Hashable]:
    if not isinstance(op.value, list | tuple) or len(op.value) != 2:
        raise _refused(op, "its value must be [old, new]")
    return freeze(op.value[0]), freeze(op.value[1])


def _register_step(op: Op) -> Step:
    if op.function == "cas":
        old, new = _pair(op)
        return lambda state: new if state == old else ILLEGAL
    value = freeze(op.value)
    return (lambda _: value) if op.function == "write" else _only_from(value)


def _register_makes(op: Op) -> Hashable | None:
    if op.function == "cas":
        return ("value", _pair(op)[1])
    return ("value", freeze(op.value)) if op.function == "write" else None


def _register_needs(op: Op) -> Iterable[Hashable]:
    if op.function == "cas":
        return [("value", _pair(op)[0])]
    return [] if op.function == "write" else [("value", freeze(op.value))]


def _size(state: Any) -> int:
    return len(state)


def _elements(value: object) -> frozenset[Hashable]:
    return frozenset(freeze(item) for item in value) if isinstance(value, list | tuple) else frozenset()


def _set_step(op: Op) -> Step:
    element = freeze(op.value)
    if op.function == "add":
        return lambda state: state | {element}
    if op.function == "remove":
        return lambda state: state - {element}
    return _only_from(_elements(op.value))


def _set_makes(op: Op) -> Hashable | None:
    if op.function == "add":
        return ("in", freeze(op.value))
    return "out" if op.function == "remove" else None


def _set_needs(op: Op) -> Iterable[Hashable]:
    return ["out", *(("in", element) for element in _elements(op.value))] if op.function.endswith("read") else []


def _queue_step(op: Op) -> Step:
    value = freeze(op.value)
    if op.function == "enqueue":
        return lambda state: (*state, value)
    if op.outcome is OpOutcome.UNKNOWN:
        return lambda state: state[1:] if state else state
    if value is None:
        return _only_from(())
    return lambda state: state[1:] if state and state[0] == value else ILLEGAL


def _queue_makes(op: Op) -> Hashable | None:
    return ("value", freeze(op.value)) if op.function == "enqueue" else "room"


def _queue_needs(op: Op) -> Iterable[Hashable]:
    return [] if op.function == "enqueue" else [("value", freeze(op.value)), "room"]


def _queue_pure(op: Op) -> bool:
    return op.function == "dequeue" and op.value is None


def _delta(op: Op) -> tuple[int, object]:
    """What an operation adds to a counter, and the result it claims (None: none)."""
    pair = (
        op.value if isinstance(op.value, list | tuple) else [op.value, None] if op.function == "add" else [1, op.value]
    )
    if len(pair) != 2 or not isinstance(pair[0], int):
        raise _refused(op, "a counter counts whole numbers; the value of incr is [delta, new value]")
    return pair[0], pair[1]


def _counter_step(op: Op) -> Step:
    if op.function in {"read", FINAL_READ}:
        return _only_from(op.value or 0)
    delta, result = _delta(op)
    if op.outcome is OpOutcome.UNKNOWN or result is None:
        return lambda state: state + delta
    return lambda state: result if state + delta == result else ILLEGAL


def _counter_makes(op: Op) -> Hashable | None:
    return None if op.function in {"read", FINAL_READ} else "count"


def _counter_needs(op: Op) -> Iterable[Hashable]:
    return ["count"] if op.function in {"read", FINAL_READ} or _delta(op)[1] is not None else []


def _lock_step(op: Op) -> Step:
    owner = freeze(op.value) if op.value is not None else op.process
    if op.function == "acquire":
        return lambda state: owner if state is None else ILLEGAL
    return lambda state: None if state == owner else ILLEGAL


MODELS: Final = {
    model.name: model
    for model in (
        Model("register", None, frozenset({"write", *_READS}), _register_step, _register_makes, _register_needs),
        Model(
            "cas-register", None, frozenset({"write", "cas", *_READS}), _register_step, _register_makes, _register_needs
        ),
        Model(
            "set", frozenset(), frozenset({"add", "remove", *_READS}), _set_step, _set_makes, _set_needs, weight=_size
        ),
        Model(
            "queue", (), frozenset({"enqueue", "dequeue"}), _queue_step, _queue_makes, _queue_needs, _queue_pure, _size
        ),
        Model("counter", 0, frozenset({"incr", "add", *_READS}), _counter_step, _counter_makes, _counter_needs),
        Model(
            "lock",
            None,
            frozenset({"acquire", "release"}),
            _lock_step,
            lambda _: "lock",
            lambda _: ["lock"],
            by_process=True,
        ),
    )
}
