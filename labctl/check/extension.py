"""Configurations of a search, and every way to extend them up to the next completion; `search` says what for.

These reductions keep them few, and none of them loses a linearization:

- A pending read that is possible now takes effect at once: moving it here from later in a linearization changes no
  state and passes only operations that it overlaps. (A write of the value that is there already does not: later it may
  be what restores it.)
- An unknown operation that changes nothing here need not take effect here.
- Of several pending unknown operations that do the same, the first invoked goes first: swapping them changes nothing.
- Of two configurations that differ only in unknown operations, the one that used fewer of them is kept: it can do all
  that the other can.
- An unknown operation is forgotten when no other needs what it makes any more; see `stages`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final

from labctl.check.models import ILLEGAL, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from labctl.check.models import Model
    from labctl.check.stages import Pending

CONFIGURATION_BYTES: Final = 512
"""Upper bound of one configuration in memory: two tuples, integers, a list, and its share of growing tables.

This and what follows is counted instead of measured, so that the same history ends the same way on every machine.
"""
VALUE_BYTES: Final = 64
"""Of one value in a state, a set's element for example."""
_STATE_BYTES: Final = 320
"""Of a state without its values, with its place in the table of states."""
_MOVE_BYTES: Final = 128
"""Of one thing that can happen in a state; the state that it leads to is counted by itself."""
_WAITING_BYTES: Final = 128
"""Of a configuration that waits to be looked at."""

Configuration = tuple[int, int, State]
"""Bits of the acknowledged and of the unknown pending operations that have taken effect, and the state."""

Configurations = dict[tuple[int, State], list[int]]
"""For acknowledged operations in effect and state: the smallest sets of unknown operations in effect."""


@dataclass(slots=True)
class Moves:
    """What can happen in a state: reads that take effect, then (bit, state) and (bit, bits of twins, state)."""

    reads: int = 0
    known: list[tuple[int, State]] = field(default_factory=list)
    unknown: list[tuple[int, int, State]] = field(default_factory=list)


def cost(model: Model, state: State) -> int:
    """Memory of one configuration, by the count."""
    return CONFIGURATION_BYTES if model.weight is None else CONFIGURATION_BYTES + VALUE_BYTES * model.weight(state)


def add(smallest: list[int], used: int) -> bool:
    """Add a set of unknown operations unless one that is there is part of it. Sets have to come by size."""
    for other in smallest:
        if other & used == other:
            return False
    smallest.append(used)
    return True


@dataclass(slots=True)
class Extension:
    """All ways to extend configurations until one operation has taken effect, those with fewest unknown ones first.

    Iterating yields each configuration in which the operation has taken effect (its bit cleared), and None from time
    to time so that whoever iterates can look at the limits. It ends when there are no more, or when it is too large.

    Attributes:
        pending: Calls that may take effect.
        done: Bit of the one that has to.
        start: Where to begin.
        weight: How many values a state holds, where they count.
        limit: Memory, by the count, from which on it is too large.
        size: Memory of what was seen, what can happen and what waits, by the count.
        too_large: It ended for that.
        steps: Transitions tried so far, about.
    """

    pending: Iterable[Pending]
    done: int
    start: Sequence[Configuration]
    weight: Callable[[State], int] | None = None
    limit: float = inf
    size: int = 0
    too_large: bool = False
    steps: int = 0
    _moves: dict[State, Moves] = field(default_factory=dict)
    _states: dict[State, State] = field(default_factory=dict)  # one of those that are equal, for they can be large
    _seen: Configurations = field(default_factory=dict)
    _visits: int = 0

    def __iter__(self) -> Iterator[Configuration | None]:
        levels: list[list[Configuration]] = [[]]
        for configuration in self.start:
            self._put(levels, configuration[1].bit_count(), [configuration])
        for level, stack in enumerate(levels):  # the list grows while it is walked
            while stack:
                known, used, state = stack.pop()
                self.size -= _WAITING_BYTES
                found = self._moves.get(state) or self._find(state)
                known |= found.reads
                if known & self.done:
                    yield known ^ self.done, used, state
                elif add(self._seen.setdefault((known, state), []), used):
                    self._put(levels, level, [(known | bit, used, new) for bit, new in found.known if not known & bit])
                    if found.unknown:
                        free = [m for m in found.unknown if not used & m[0] and used & m[1] == m[1]]
                        self._put(levels, level + 1, [(known, used | bit, new) for bit, _, new in free])
                    self.steps += len(found.known) + len(found.unknown) + 1
                    self.size += CONFIGURATION_BYTES
                    self._visits += 1
                    if self._visits & 255 == 0:
                        yield None
                if self.size > self.limit:
                    self.too_large = True
                    return

    def _put(self, levels: list[list[Configuration]], level: int, some: list[Configuration]) -> None:
        while some and len(levels) <= level:
            levels.append([])
        if some:
            levels[level] += some
            self.size += len(some) * _WAITING_BYTES

    def _find(self, state: State) -> Moves:
        """What can happen in a state that was not met before."""
        found = Moves()
        for p in self.pending:
            new = p.step(state)
            if new is ILLEGAL:
                continue
            if p.pure:
                found.reads |= p.bit
            elif not p.unknown:
                found.known.append((p.bit, self._one(new)))
            elif new != state:
                found.unknown.append((p.bit, p.twins, self._one(new)))
        self._moves[state] = found
        self.steps += 1
        self.size += _STATE_BYTES + _MOVE_BYTES * (len(found.known) + len(found.unknown))
        return found

    def _one(self, state: State) -> State:
        """The same state, as an object that is there already if there is one."""
        known = self._states.setdefault(state, state)
        if known is state:
            self.size += _STATE_BYTES + (VALUE_BYTES * self.weight(state) if self.weight else 0)
        return known
