"""Correct systems behind the workloads, each with a bug to plant: `bug_share` of the chances that it gets, it errs.

`planted` says how often it did, by kind, so that a test can hold the checker's counts against it.
"""

from __future__ import annotations

from collections import Counter as Count
from typing import TYPE_CHECKING

from labctl.model.history import OpOutcome

if TYPE_CHECKING:
    import random

Answer = tuple[OpOutcome, object]
OK, FAIL = OpOutcome.OK, OpOutcome.FAIL


class System:
    """A system that errs at random.

    Args:
        rng: Where chance comes from.
        bug: Which bug it has.
        bug_share: How often it shows.
    """

    def __init__(self, rng: random.Random, bug: str = "", bug_share: float = 0.0) -> None:
        self.rng = rng
        self.bug = bug
        self.share = bug_share
        self.planted: Count[str] = Count()
        self._next = 0

    def errs(self, bug: str) -> bool:
        return self.bug == bug and self.rng.random() < self.share

    def unique(self) -> int:
        self._next += 1
        return self._next


class GrowingSet(System):
    """Unique elements are added, nothing is removed. Bugs: `lose`, `forget-later`, `duplicate`, `invent`."""

    def __init__(self, rng: random.Random, bug: str = "", bug_share: float = 0.0) -> None:
        super().__init__(rng, bug, bug_share)
        self.elements: list[int] = []
        self.lost: set[int] = set()

    def draw(self, rng: random.Random) -> tuple[str, object]:
        return ("add", self.unique()) if rng.random() < 0.7 else ("read", None)

    def apply(self, function: str, argument: object, _process: int) -> Answer:
        if function == "add":
            assert isinstance(argument, int)
            if self.errs("lose"):
                self.lost.add(argument)
            else:
                self.elements += [argument] * (2 if self.errs("duplicate") else 1)
            return OK, argument
        if self.elements and self.errs("forget-later"):
            self.lost.add(self.elements.pop(0))
        if self.errs("invent"):
            self.elements.append(10**6 + self.unique())
        return OK, list(self.elements)


class WorkQueue(System):
    """Unique values, first in, first out. Bugs: `lose`, `twice`, `invent`."""

    def __init__(self, rng: random.Random, bug: str = "", bug_share: float = 0.0) -> None:
        super().__init__(rng, bug, bug_share)
        self.items: list[int] = []

    def draw(self, rng: random.Random) -> tuple[str, object]:
        return ("enqueue", self.unique()) if rng.random() < 0.6 else ("dequeue", None)

    def apply(self, function: str, argument: object, _process: int) -> Answer:
        if function == "enqueue":
            assert isinstance(argument, int)
            if self.errs("lose"):
                self.planted["lost"] += 1
            else:
                self.items.append(argument)
            return OK, argument
        if self.errs("invent"):
            self.planted["phantom"] += 1
            return OK, 10**6 + self.unique()
        if not self.items:
            return OK, None
        if self.errs("twice"):
            self.planted["duplicated"] += 1
            return OK, self.items[0]
        return OK, self.items.pop(0)


class GroupStream(System):
    """A consumer group: new entries first, then pending ones again. Bugs: `lose`, `skip`, `after-ack`, `invent`."""

    def __init__(self, rng: random.Random, bug: str = "", bug_share: float = 0.0) -> None:
        super().__init__(rng, bug, bug_share)
        self.log: list[int] = []
        self.new: list[int] = []
        self.pending: list[int] = []
        self.ended: list[int] = []

    def draw(self, rng: random.Random) -> tuple[str, object]:
        function = rng.choice(["add", "deliver", "claim", "ack", "dead-letter"])
        return function, self.unique() if function == "add" else None

    def apply(self, function: str, argument: object, _process: int) -> Answer:
        if function == "add":
            assert isinstance(argument, int)
            self._add(argument)
            return OK, argument
        if function in {"deliver", "claim"}:
            return OK, self._deliver(function)
        if function.startswith("final"):
            return OK, list(self.log if function == "final-read" else self.pending)
        if not self.pending:
            return FAIL, None
        self.ended.append(self.pending.pop(0))
        return OK, self.ended[-1]

    def _add(self, value: int) -> None:
        if self.errs("lose"):
            self.planted["lost"] += 1
            return
        self.log.append(value)
        if self.errs("skip"):
            self.planted["skipped"] += 1
        else:
            self.new.append(value)

    def _deliver(self, function: str) -> list[int]:
        if self.ended and self.errs("after-ack"):
            self.planted["after_ack"] += 1
            return [self.ended[0]]
        if self.errs("invent"):
            self.planted["phantom"] += 1
            return [10**6 + self.unique()]
        if function == "claim":
            return self.pending[:2]
        entries, self.new = self.new[:2], self.new[2:]
        self.pending += entries
        return entries


class ReliableQueue(System):
    """Taken values stay in a consumer's list until their ack. Bugs: `lose`, `twice`, `return`."""

    def __init__(self, rng: random.Random, bug: str = "", bug_share: float = 0.0) -> None:
        super().__init__(rng, bug, bug_share)
        self.items: list[int] = []
        self.own: dict[int, list[int]] = {}
        self.shown: dict[int, list[int]] = {}
        self.done: list[int] = []

    def draw(self, rng: random.Random) -> tuple[str, object]:
        function = rng.choice(["enqueue", "enqueue", "dequeue", "ack", "requeue"])
        return function, self.unique() if function == "enqueue" else None

    def apply(self, function: str, argument: object, process: int) -> Answer:
        own = self.own.setdefault(process, [])
        if function == "enqueue":
            assert isinstance(argument, int)
            if self.errs("lose"):
                self.planted["lost"] += 1
            else:
                self.items.append(argument)
            return OK, argument
        if function == "dequeue":
            return OK, self._take(own)
        if function == "final-read":
            return OK, self.items + [value for some in self.own.values() for value in some]
        if not own:
            return (OK, None) if function == "requeue" else (FAIL, None)
        value = own.pop(0)
        if function == "requeue":
            self.items.append(value)
        else:
            self.done.append(value)
        return OK, value

    def _take(self, own: list[int]) -> int | None:
        if self.done and self.errs("return"):
            self.planted["returned"] += 1
            return self.done[0]
        if not self.items:
            return None
        value = self.items[0] if self.errs("twice") else self.items.pop(0)
        own.append(value)
        return value


class FencedLock(System):
    """One holder, tokens grow, the resource refuses old tokens. Bugs: `two-holders`, `old-token`, `no-fence`."""

    def __init__(self, rng: random.Random, bug: str = "", bug_share: float = 0.0) -> None:
        super().__init__(rng, bug, bug_share)
        self.holder: int | None = None
        self.tokens: dict[int, int] = {}
        self.largest_seen = 0

    def draw(self, rng: random.Random) -> tuple[str, object]:
        return rng.choice(["acquire", "release", "guarded"]), None

    def apply(self, function: str, _argument: object, process: int) -> Answer:
        if function == "acquire":
            free = self.holder is None
            if not free and not (self.holder != process and self.errs("two-holders")):
                return FAIL, None
            self.planted["overlap"] += not free
            self.holder = process
            self.tokens[process] = 1 if self.errs("old-token") else self.unique()
            return OK, [process, self.tokens[process]]
        if function == "release":
            if self.holder != process:
                return FAIL, None
            self.holder = None
            return OK, None
        token = self.tokens.get(process, 0)
        if token < self.largest_seen and not self.errs("no-fence"):
            return FAIL, [process, token]
        self.planted["stale_use"] += token < self.largest_seen
        self.largest_seen = max(self.largest_seen, token)
        return OK, [process, token]


class Bank(System):
    """Transfers between three accounts. Bugs: `half` (only one side is applied)."""

    def __init__(self, rng: random.Random, bug: str = "", bug_share: float = 0.0) -> None:
        super().__init__(rng, bug, bug_share)
        self.balances = {"a": 100, "b": 100, "c": 100}

    def draw(self, rng: random.Random) -> tuple[str, object]:
        if rng.random() < 0.4:
            return "read", None
        source, target = rng.sample("abc", 2)
        return "transfer", [source, target, rng.randrange(1, 20)]

    def apply(self, function: str, argument: object, _process: int) -> Answer:
        if function == "read":
            return OK, {account: amount or None for account, amount in self.balances.items()}
        assert isinstance(argument, list)
        source, target, amount = argument
        if self.balances[source] < amount:
            return FAIL, argument
        self.balances[source] -= amount
        if self.errs("half"):
            self.planted["wrong_total"] += 1
        else:
            self.balances[target] += amount
        return OK, argument


class Identifiers(System):
    """Gives out numbers. Bug: `again`."""

    def draw(self, _rng: random.Random) -> tuple[str, object]:
        return "generate", None

    def apply(self, _function: str, _argument: object, _process: int) -> Answer:
        if self._next and self.errs("again"):
            self.planted["duplicate"] += 1
            return OK, self._next
        return OK, self.unique()


class Increments(System):
    """INCR, reads. Bugs: `lose` (acknowledged, not applied), `twice` (applied twice)."""

    def __init__(self, rng: random.Random, bug: str = "", bug_share: float = 0.0) -> None:
        super().__init__(rng, bug, bug_share)
        self.count = 0

    def draw(self, rng: random.Random) -> tuple[str, object]:
        return rng.choice(["incr", "add", "read"]), 1

    def apply(self, function: str, _argument: object, _process: int) -> Answer:
        if function == "read":
            return OK, self.count
        step = 0 if self.errs("lose") else 2 if self.errs("twice") else 1
        self.planted[self.bug] += step != 1
        self.count += step
        return OK, 1 if function == "add" else self.count
