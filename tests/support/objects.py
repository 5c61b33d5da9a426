"""Histories of correct objects: sequential code under concurrent clients, each call at one moment of its interval."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING

from labctl.model.history import History, Op, OpOutcome

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

Apply = Callable[[str, object, int], tuple[OpOutcome, object]]
"""Does (function, argument, process) and gives the outcome and the value to record."""


def record(
    rng: random.Random,
    apply: Apply,
    draw: Callable[[random.Random], tuple[str, object]],
    *,
    operations: int,
    clients: int,
    unknown_share: float = 0.0,
    key: str = "x",
    final: Sequence[tuple[str, object]] = (),
    answered: Sequence[str] = (),
) -> History:
    """Clients call without pause; an unknown call took effect up to much later, or never. `final` calls come last.

    The outcome of the functions `answered` is always known.
    """
    planned: list[tuple[int, int, int, int, str, object, bool]] = []
    free = [0] * clients
    for _ in range(operations):
        process = min(range(clients), key=free.__getitem__)
        begin = free[process] + rng.randrange(1, 20)
        end = begin + rng.randrange(1, 200)
        free[process] = end
        function, argument = draw(rng)
        unknown = rng.random() < unknown_share and function not in answered
        effect = rng.randrange(begin, end + 1 if not unknown else end + 2000)
        planned.append((effect, begin, end, process, function, argument, unknown))
    ops: list[Op] = []
    heapq.heapify(planned)
    while planned:
        effect, begin, end, process, function, argument, unknown = heapq.heappop(planned)
        if not unknown:
            outcome, value = apply(function, argument, process)
            ops.append(Op(process, function, key, value, begin, end, outcome))
            continue
        if rng.random() < 0.5:
            apply(function, argument, process)
        ops.append(Op(process, function, key, argument, begin, end, OpOutcome.UNKNOWN))
    now = max((op.invoke_ns for op in ops), default=0) + 5000
    for number, (function, argument) in enumerate(final):
        outcome, value = apply(function, argument, clients)
        ops.append(Op(clients, function, key, value, now + 10 * number, now + 10 * number + 5, outcome))
    return History.of(ops)


class CasRegister:
    """Reads, writes and compare-and-set of few values, so that they collide."""

    model = "cas-register"

    def __init__(self, values: int = 5) -> None:
        self._value: object = None
        self._values = values

    def draw(self, rng: random.Random) -> tuple[str, object]:
        function = rng.choice(["read", "write", "cas"])
        a, b = rng.randrange(self._values), rng.randrange(self._values)
        return function, {"read": None, "write": a, "cas": [a, b]}[function]

    def apply(self, function: str, argument: object, _process: int) -> tuple[OpOutcome, object]:
        if function == "read":
            return OpOutcome.OK, self._value
        if function == "write":
            self._value = argument
            return OpOutcome.OK, argument
        assert isinstance(argument, list)
        if self._value != argument[0]:
            return OpOutcome.FAIL, argument
        self._value = argument[1]
        return OpOutcome.OK, argument


class Set:
    """Adding, removing and reading all of a set of few elements."""

    model = "set"

    def __init__(self) -> None:
        self._elements: set[object] = set()

    def draw(self, rng: random.Random) -> tuple[str, object]:
        function = rng.choice(["add", "add", "remove", "read"])
        return function, None if function == "read" else rng.randrange(4)

    def apply(self, function: str, argument: object, _process: int) -> tuple[OpOutcome, object]:
        if function == "read":
            return OpOutcome.OK, sorted(self._elements, key=str)
        if function == "add":
            self._elements.add(argument)
        else:
            self._elements.discard(argument)
        return OpOutcome.OK, argument


class Queue:
    """First in, first out; an empty queue gives None."""

    model = "queue"

    def __init__(self) -> None:
        self._items: list[object] = []

    def draw(self, rng: random.Random) -> tuple[str, object]:
        function = rng.choice(["enqueue", "dequeue"])
        return function, None if function == "dequeue" else rng.randrange(4)

    def apply(self, function: str, argument: object, _process: int) -> tuple[OpOutcome, object]:
        if function == "dequeue":
            return OpOutcome.OK, self._items.pop(0) if self._items else None
        self._items.append(argument)
        return OpOutcome.OK, argument


class Counter:
    """INCR with its result, adding without one, reading."""

    model = "counter"

    def __init__(self) -> None:
        self._count = 0

    def draw(self, rng: random.Random) -> tuple[str, object]:
        function = rng.choice(["incr", "add", "read"])
        return function, rng.randrange(1, 3) if function == "add" else None

    def apply(self, function: str, argument: object, _process: int) -> tuple[OpOutcome, object]:
        if function == "read":
            return OpOutcome.OK, self._count
        self._count += argument if isinstance(argument, int) else 1
        return OpOutcome.OK, argument if function == "add" else self._count


class Lock:
    """Held by one process at a time; refuses whoever may not."""

    model = "lock"

    def __init__(self) -> None:
        self._owner: int | None = None

    def draw(self, rng: random.Random) -> tuple[str, object]:
        return rng.choice(["acquire", "release"]), None

    def apply(self, function: str, _argument: object, process: int) -> tuple[OpOutcome, object]:
        expected, after = (None, process) if function == "acquire" else (process, None)
        if self._owner != expected:
            return OpOutcome.FAIL, None
        self._owner = after
        return OpOutcome.OK, None


OBJECTS = (CasRegister, Set, Queue, Counter, Lock)
AnyObject = CasRegister | Set | Queue | Counter | Lock
