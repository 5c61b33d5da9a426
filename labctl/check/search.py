"""The searches for a linearization of one object, stepwise, within limits.

Wing and Gong's search in the just-in-time form of Lowe (Testing for linearizability, CCPE 29(4), 2017): walk through
invocations and completions in order of time and keep the *configurations* that are still possible: which of the pending
operations have taken effect, and the state they left. At a completion a configuration is extended by pending operations
until the completed one has taken effect. Taking effect only when a completion forces it loses nothing, for any
linearization can be replayed so: each operation waits for the next completion of itself or of one that comes after it.

A search first *dives*: it follows one configuration at a time and steps back when that is stuck, which is quick to find
a linearization where there are many. When the dive takes too long, it *sweeps*: it keeps all configurations of one
moment, forgets the past, and knows that there is no linearization as soon as no configuration is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from labctl.check.extension import Configuration, Configurations, Extension, add, cost
from labctl.check.stages import Call, Pending, Stage, stages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from labctl.check.models import Model, State

CALL_BYTES: Final = 1536
"""Upper bound of one operation as the searches have it, with its part in the plan; counted like `CONFIGURATION_BYTES`."""

DIVE_STEPS: Final = 256
"""Steps for each completion that a dive may take before the sweep has its turn."""


class Status(Enum):
    """How far a search is."""

    RUNNING = auto()
    LEGAL = auto()
    ILLEGAL = auto()
    TOO_LARGE = auto()


@dataclass(slots=True)
class Search:
    """One object's search.

    Attributes:
        model: What the object is.
        calls: Its operations, as `stages.calls` gives them.
        initial: The state before them.
        status: RUNNING until decided.
        steps: Transitions tried so far, about.
        peak_bytes: Most memory that configurations took, by the count above.
        bytes_now: Memory of the calls, and of the configurations between two completions.
        stuck: When ILLEGAL: the call whose completion no configuration survived (or the farthest that was reached, if
            only the dive could end).
        states: When ILLEGAL: the states that were possible just before it.
        sure: The last call after whose completion there was one configuration, with nothing pending in effect.
        sure_state: The state in it.
        sure_pending: Positions of the calls that were pending then and had not taken effect.
    """

    model: Model
    calls: Sequence[Call]
    initial: State
    status: Status = Status.RUNNING
    steps: int = 0
    peak_bytes: int = 0
    bytes_now: int = 0
    stuck: Call | None = None
    states: tuple[State, ...] = ()
    sure: Call | None = None
    sure_state: State = None
    sure_pending: tuple[int, ...] = ()
    _limit: int = 0
    _of_calls: int = 0
    _pending: dict[int, Pending] = field(default_factory=dict)
    _configurations: Configurations = field(default_factory=dict)
    _walk: Iterator[None] | None = None

    def __post_init__(self) -> None:
        self.bytes_now = self.peak_bytes = self._of_calls = CALL_BYTES * len(self.calls)

    def advance(self, steps: int, limit_bytes: int) -> Status:
        """Go on for about so many steps, within so much memory."""
        self._limit = limit_bytes
        if self._walk is None:
            self._walk = self._run()
        until = self.steps + steps
        for _ in self._walk:
            if self.status is not Status.RUNNING or self.steps >= until:
                break
        else:
            self.status = Status.LEGAL if self.status is Status.RUNNING else self.status
        if self.status is not Status.RUNNING:
            self._configurations, self.bytes_now = {}, 0
        return self.status

    def _run(self) -> Iterator[None]:
        if self._of_calls > self._limit:
            self.status = Status.TOO_LARGE
            return
        plan = stages(self.model, self.calls)
        dive = _Dive(self.model, plan, self.initial, (self._limit - self._of_calls) // 2)
        for spent, size in dive:
            self.steps += spent
            self.peak_bytes = max(self.peak_bytes, self._of_calls + size)
            if dive.steps > DIVE_STEPS * len(plan):
                break
            yield None
        if dive.found:
            return
        farthest, exhausted = dive.farthest, dive.exhausted
        del dive
        yield from self._sweep(plan)
        if exhausted and self.status is Status.TOO_LARGE:
            self.status, self.stuck = Status.ILLEGAL, plan[farthest].done.call

    def _sweep(self, plan: Sequence[Stage]) -> Iterator[None]:
        self._configurations, self.sure_state = {(0, self.initial): [0]}, self.initial
        for stage in plan:
            if stage.forgotten:
                self._forget(stage)
            for pending in stage.invoked:
                self._pending[pending.call.position] = pending
            yield from self._complete(stage.done)
            if self.status is not Status.RUNNING:
                return
            yield None

    def _forget(self, stage: Stage) -> None:
        """Configurations that differ only in unknown operations that matter no more become one."""
        gone = stage.gone
        for pending in stage.forgotten:
            del self._pending[pending.call.position]
        for key, sets in self._configurations.items():
            if any(used & gone for used in sets):
                smallest: list[int] = []
                for used in sorted((used & ~gone for used in sets), key=int.bit_count):
                    add(smallest, used)
                self._configurations[key] = smallest

    def _complete(self, done: Pending) -> Iterator[None]:
        start = [(known, used, state) for (known, state), sets in self._configurations.items() for used in sets]
        limit = self._limit - self.bytes_now
        extension = Extension(self._pending.values(), done.bit, start, self.model.weight, limit)
        after: Configurations = {}
        size = before = 0
        for configuration in extension:
            if configuration is not None:
                known, used, state = configuration
                if add(after.setdefault((known, state), []), used):
                    size += cost(self.model, state)
                continue
            self.steps += extension.steps - before
            before = extension.steps
            if self._too_large(size, extension):
                return
            yield None
        self.steps += extension.steps - before
        if not self._too_large(size, extension):
            self._conclude(done, after)

    def _conclude(self, done: Pending, after: Configurations) -> None:
        """Go on with the configurations in which the completed operation has taken effect, if there are any."""
        if not after:
            self.status, self.stuck = Status.ILLEGAL, done.call
            self.states = tuple(dict.fromkeys(state for _, state in self._configurations))
            return
        self._configurations = after
        self.bytes_now = self._of_calls + sum(cost(self.model, state) * len(sets) for (_, state), sets in after.items())
        del self._pending[done.call.position]
        if len(after) == 1:
            (((known, state), sets),) = after.items()
            if not known and len(sets) == 1:
                self.sure, self.sure_state = done.call, state
                free = [p for p in self._pending.values() if not (p.unknown and p.bit & sets[0])]
                self.sure_pending = tuple(p.call.position for p in free)

    def _too_large(self, after_bytes: int, extension: Extension) -> bool:
        size = self.bytes_now + after_bytes + extension.size
        self.peak_bytes = max(self.peak_bytes, min(size, self._limit))
        if size > self._limit or extension.too_large:
            self.status = Status.TOO_LARGE
        return self.status is Status.TOO_LARGE


@dataclass(slots=True)
class _Dive:
    """A search for one linearization by depth.

    Iterating yields (steps since the last time, memory by the count) until it is over, which is also when its memory is
    used up. Where a configuration was tried
    after a completion, one that differs only by more unknown operations in effect is not: it fails where that failed.
    """

    model: Model
    plan: Sequence[Stage]
    initial: State
    limit: int
    found: bool = False
    exhausted: bool = False
    farthest: int = 0
    steps: int = 0
    _size: int = 0
    _pending: dict[int, Pending] = field(default_factory=dict)
    _path: list[tuple[Extension, Iterator[Configuration | None]]] = field(default_factory=list)
    _tried: list[Configurations] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        self._tried = [{} for _ in self.plan]
        configuration: Configuration | None = (0, 0, self.initial)
        reported = 0
        while len(self._path) < len(self.plan) or configuration is None:
            if configuration is not None:
                self._enter(configuration)
            configuration = self._next()
            if self._size > self.limit:
                yield self.steps - reported, min(self._size, self.limit)
                return
            if configuration is None and not self._back():
                self.exhausted = True
                return
            if self.steps - reported >= 1024:
                yield self.steps - reported, self._size
                reported = self.steps
        self.found = True

    def _enter(self, configuration: Configuration) -> None:
        """Go on to the next stage."""
        at = len(self._path)
        stage = self.plan[at]
        if at:
            del self._pending[self.plan[at - 1].done.call.position]
        for gone in stage.forgotten:
            del self._pending[gone.call.position]
        for new in stage.invoked:
            self._pending[new.call.position] = new
        known, used, state = configuration
        start = [(known, used & ~stage.gone, state)]
        extension = Extension(self._pending.values(), stage.done.bit, start, self.model.weight)
        self._path.append((extension, iter(extension)))
        self.farthest = max(self.farthest, at)

    def _next(self) -> Configuration | None:
        """The next way on from the last stage, or None when there is no more."""
        extension, ways = self._path[-1]
        tried = self._tried[len(self._path) - 1]
        before, weight = extension.steps, extension.size
        extension.limit = self.limit - self._size + weight
        found = None
        for way in ways:
            if way is not None and add(tried.setdefault((way[0], way[2]), []), way[1]):
                self._size += cost(self.model, way[2])
                found = way
                break
        self.steps += extension.steps - before + 1
        self._size += extension.size - weight
        return found

    def _back(self) -> bool:
        """Leave the last stage as if it had not been entered; False when there is none before."""
        extension, _ = self._path.pop()
        self._size -= extension.size
        at = len(self._path)
        for new in self.plan[at].invoked:
            del self._pending[new.call.position]
        for gone in self.plan[at].forgotten:
            self._pending[gone.call.position] = gone
        if at:
            done = self.plan[at - 1].done
            self._pending[done.call.position] = done
        return at > 0
