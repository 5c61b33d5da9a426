"""Clients that run transactions concurrently against a store in memory: a correct one, or one with a planted bug.

A store's `run` is a generator: between two `yield`s it is alone, so a store is as atomic as it likes to be. The
simulator interleaves clients at random; a history's time is the number of the simulator's step.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labctl.model.history import History, Op, OpOutcome

if TYPE_CHECKING:
    from random import Random

Micro = list[object]
Run = Generator[None, None, bool]  # returns whether it committed


@dataclass
class Request:
    """A transaction as its client sends it; what its reads find is filled in."""

    process: int
    micros: list[Micro]


@dataclass
class Workload:
    """Random transactions with unique values.

    Attributes:
        random: Source of every choice.
        keys: Keys in use.
        registers: Whether keys are registers; lists otherwise.
        longest: Micro-operations of the longest transaction.
    """

    random: Random
    keys: str = "xyz"
    registers: bool = False
    longest: int = 4
    _last: int = 0

    def transaction(self) -> list[Micro]:
        """The next transaction, its reads still without values."""
        return [self._micro() for _ in range(self.random.randint(1, self.longest))]

    def _micro(self) -> Micro:
        key = self.random.choice(self.keys)
        if self.random.random() < 0.5:
            return ["r", key, None]
        self._last += 1
        return ["w" if self.registers else "append", key, self._last]


class Store:
    """Atomic and strictly serializable: a transaction happens in one moment."""

    def __init__(self, random: Random, *, registers: bool = False) -> None:
        self.random = random
        self.registers = registers
        self.state: dict[str, tuple[object, ...]] = {}

    def run(self, request: Request) -> Run:
        """Run a transaction, filling in what it reads."""
        yield
        for micro in request.micros:
            self.step(micro, self.state)
        return True

    def step(self, micro: Micro, state: dict[str, tuple[object, ...]]) -> None:
        """One micro-operation upon a state."""
        function, key, value = micro
        held = state.get(str(key), ())
        if function == "append":
            state[str(key)] = (*held, value)
        elif function == "w":
            state[str(key)] = (value,)
        elif self.registers:
            micro[2] = held[0] if held else None
        else:
            micro[2] = list(held)

    def tick(self) -> None:
        """Called after each step of the simulation, for stores that do something by themselves."""


@dataclass
class _Client:
    process: int
    micros: list[Micro] = field(default_factory=list)
    run: Run | None = None
    invoked: int = 0
    committed: bool | None = None
    patience: int = 0  # steps until it gives up waiting


def simulate(
    random: Random,
    store: Store,
    workload: Workload,
    transactions: int,
    *,
    clients: int = 4,
    unknown: float = 0.0,
    failed: float = 0.0,
) -> History:
    """A history of about so many transactions.

    Args:
        random: Source of every choice.
        store: Where transactions run.
        workload: What they are.
        transactions: How many are invoked.
        clients: How many run at a time.
        unknown: Share whose client gives up waiting; some of those take effect all the same, at once or much later.
        failed: Share that is refused before anything is done.
    """
    ops: list[Op] = []
    abandoned: list[Run] = []
    crew = [_Client(process) for process in range(clients)]
    now, started = 0, 0

    def complete(client: _Client, outcome: OpOutcome) -> None:
        op = Op(client.process, "txn", "", client.micros, client.invoked, now, outcome)
        if outcome is OpOutcome.UNKNOWN:  # what it reads later nobody learns
            op = Op(client.process, "txn", "", [list(m) for m in client.micros], client.invoked, now, outcome)
        ops.append(op)
        client.run = None

    while started < transactions or any(client.run for client in crew):
        now += 1
        store.tick()
        if abandoned and random.random() < 0.1:
            run = abandoned.pop(random.randrange(len(abandoned)))
            if advance(run) is None:
                abandoned.append(run)
        client = random.choice(crew)
        if client.run is None:
            if started < transactions:
                started += 1
                client.micros, client.invoked, client.committed = workload.transaction(), now, None
                client.run = store.run(Request(client.process, client.micros))
                client.patience = random.randint(0, 3) if random.random() < unknown else 10**9
                if random.random() < failed:
                    client.committed = False
        elif client.committed is not None:
            complete(client, OpOutcome.OK if client.committed else OpOutcome.FAIL)
        elif client.patience == 0:
            if random.random() < 0.7:
                abandoned.append(client.run)
            complete(client, OpOutcome.UNKNOWN)
        else:
            client.patience -= 1
            client.committed = advance(client.run)
    return History.of(ops)


def advance(run: Run) -> bool | None:
    """One more step of a transaction; whether it committed, or None if it is not over."""
    try:
        next(run)
    except StopIteration as stop:
        return bool(stop.value)
    return None


class ReadCommitted(Store):
    """Each read sees what is committed at its own moment, and all writes appear at the end: GET … MULTI … EXEC."""

    def run(self, request: Request) -> Run:
        for micro in request.micros:
            yield
            if micro[0] == "r":
                self.step(micro, self.state)
        yield
        for micro in request.micros:
            if micro[0] != "r":
                self.step(micro, self.state)
        return True


class ReadUncommitted(Store):
    """Each micro-operation happens by itself, in sight of everybody."""

    def run(self, request: Request) -> Run:
        for micro in request.micros:
            yield
            self.step(micro, self.state)
        return True


class SnapshotIsolation(Store):
    """Reads a snapshot; commits unless somebody else committed a write to the same key since (then it fails)."""

    first_committer_wins = True

    def __init__(self, random: Random, *, registers: bool = False) -> None:
        super().__init__(random, registers=registers)
        self.version: dict[str, int] = {}

    def run(self, request: Request) -> Run:
        yield
        snapshot, versions = dict(self.state), dict(self.version)
        for micro in request.micros:
            yield
            self.step(micro, snapshot)
        yield
        written = {str(micro[1]) for micro in request.micros if micro[0] != "r"}
        if self.first_committer_wins and any(self.version.get(k) != versions.get(k) for k in written):
            return False
        for key in written:
            self.version[key] = self.version.get(key, 0) + 1
            self.state[key] = snapshot[key]
        return True


class LostUpdates(SnapshotIsolation):
    """The last committer wins and overwrites what it never saw."""

    first_committer_wins = False


class StaleReads(Store):
    """Transactions that only read may be served by a replica that is some steps behind."""

    def __init__(self, random: Random, *, registers: bool = False) -> None:
        super().__init__(random, registers=registers)
        self.past: list[dict[str, tuple[object, ...]]] = []

    def tick(self) -> None:
        self.past = [*self.past[-40:], dict(self.state)]

    def run(self, request: Request) -> Run:
        yield
        reads_only = all(micro[0] == "r" for micro in request.micros)
        state = self.past[0] if reads_only and self.random.random() < 0.3 else self.state
        for micro in request.micros:
            self.step(micro, state)
        return True


class DirtyAborts(Store):
    """A transaction that reports failure has sometimes done its work all the same."""

    def run(self, request: Request) -> Run:
        yield
        for micro in request.micros:
            self.step(micro, self.state)
        return self.random.random() > 0.1


class LostWrites(Store):
    """A failover in the middle: the last steps are forgotten, acknowledged or not."""

    def __init__(self, random: Random, *, registers: bool = False) -> None:
        super().__init__(random, registers=registers)
        self.past: list[dict[str, tuple[object, ...]]] = []

    def tick(self) -> None:
        self.past.append(dict(self.state))
        if len(self.past) == 400:
            self.state = dict(self.past[-60])


class SplitBrain(Store):
    """For a while two primaries: half of the clients each; then the second one's writes are thrown away."""

    def __init__(self, random: Random, *, registers: bool = False) -> None:
        super().__init__(random, registers=registers)
        self.other: dict[str, tuple[object, ...]] = {}
        self.steps = 0

    def tick(self) -> None:
        self.steps += 1
        if self.steps == 200:
            self.other = dict(self.state)

    def run(self, request: Request) -> Run:
        yield
        split = 200 <= self.steps < 500
        for micro in request.micros:
            self.step(micro, self.other if split and request.process % 2 else self.state)
        return True


class DuplicatingRetries(Store):
    """A client library that sends appends twice now and then."""

    def run(self, request: Request) -> Run:
        yield
        for micro in request.micros:
            self.step(micro, self.state)
            if micro[0] == "append" and self.random.random() < 0.05:
                self.step(micro, self.state)
        return True


class HalfExec(Store):
    """Transactions are now and then cut off in the middle, and reported as done."""

    def run(self, request: Request) -> Run:
        yield
        cut = self.random.randint(1, len(request.micros)) if self.random.random() < 0.1 else len(request.micros)
        for micro in request.micros[:cut]:
            self.step(micro, self.state)
        for micro in request.micros[cut:]:
            self.step(micro, dict(self.state))
        return True


Planted = Callable[..., Store]
