"""Dependencies between transactions as edges, packed into one integer each.

An edge u → v says: in every execution that the history allows, u comes before v. Its *kind* says why, and its *level*
says what has to be assumed for that:

- PLAIN edges follow from what was read and written alone.
- SESSION edges hold if each process's transactions take effect in the order in which it invoked them.
- REALTIME edges hold if a transaction takes effect between its invocation and its completion.

Some sets of edges are products, every reader of a version before each later writer for example. They go through an
*auxiliary* node: u → hub with the kind, hub → v with the kind PASS. A path through auxiliary nodes stands for the one
edge from the transaction before them to the one after them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from labctl.model.history import Int64, Mask


class Kind(IntEnum):
    """Why one transaction comes before another. Smaller numbers of the first three are the stronger evidence."""

    WW = 0  # it wrote the earlier version
    WR = 1  # it wrote what the other read
    RW = 2  # it read the version before the one that the other wrote
    PROCESS = 3  # the same process ran both, one after the other
    TIME = 4  # it had completed before the other was invoked
    PASS = 5  # out of an auxiliary node


class Level(IntEnum):
    """What an edge assumes beyond what was read and written."""

    PLAIN = 0
    SESSION = 1
    REALTIME = 2


KIND_BITS: Final = 3
_LEVEL_SHIFT: Final = 3
_TARGET_SHIFT: Final = 5
_NODE_BITS: Final = 29
_SOURCE_SHIFT: Final = _TARGET_SHIFT + _NODE_BITS
MAX_NODES: Final = 1 << _NODE_BITS


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Edges of one graph as equally long columns."""

    source: Int64
    target: Int64
    label: Int64

    @classmethod
    def of(cls, source: Int64, target: Int64, kind: Kind, level: Level = Level.PLAIN) -> Edges:
        """Edges of one kind; those from a node to itself are left out."""
        proper = source != target
        source, target = source[proper], target[proper]
        return cls(source, target, np.full(len(source), level << _LEVEL_SHIFT | kind, dtype=np.int64))

    @classmethod
    def concatenate(cls, parts: Iterable[Edges]) -> Edges:
        """All edges of several sets."""
        sets = list(parts) or [cls(*(np.zeros(0, dtype=np.int64) for _ in range(3)))]
        return cls(
            np.concatenate([part.source for part in sets]),
            np.concatenate([part.target for part in sets]),
            np.concatenate([part.label for part in sets]),
        )

    def __len__(self) -> int:
        return len(self.source)

    @property
    def kind(self) -> Int64:
        """`Kind` of each edge."""
        return self.label & ((1 << KIND_BITS) - 1)

    @property
    def level(self) -> Int64:
        """`Level` of each edge."""
        return self.label >> _LEVEL_SHIFT

    def where(self, mask: Mask) -> Edges:
        """The edges under a mask."""
        return Edges(self.source[mask], self.target[mask], self.label[mask])

    def sorted(self) -> Edges:
        """Sorted by source, target, level and kind, each edge once, weaker evidence for the same pair left out.

        An edge is weaker than another between the same nodes if it assumes as much or more and every cycle through it
        is at least as grave through the other: later in ww, wr, rw, or any edge beside a ww.
        """
        codes = (self.source << _SOURCE_SHIFT) | (self.target << _TARGET_SHIFT) | self.label
        codes.sort()
        pairs = codes >> _TARGET_SHIFT
        same_pair = np.diff(pairs, prepend=-1) == 0
        kind = codes & ((1 << KIND_BITS) - 1)
        before = np.concatenate((kind[:1], kind[:-1]))
        weaker = same_pair & ((before == Kind.WW) | ((before <= kind) & (kind <= Kind.RW)))
        codes = codes[~weaker]
        return Edges(
            codes >> _SOURCE_SHIFT,
            (codes >> _TARGET_SHIFT) & (MAX_NODES - 1),
            codes & ((1 << _TARGET_SHIFT) - 1),
        )


@dataclass(slots=True)
class Dependencies:
    """Collects the edges of one history.

    Attributes:
        transactions: Transactions; nodes from this number on are auxiliary.
        nodes: Nodes so far.
        parts: Sets of edges so far.
    """

    transactions: int
    nodes: int = field(init=False)
    parts: list[Edges] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nodes = self.transactions

    def add(self, source: Int64, target: Int64, kind: Kind, level: Level = Level.PLAIN) -> None:
        """Add edges, equally long columns."""
        self.parts.append(Edges.of(source, target, kind, level))

    def add_product(
        self, group: tuple[Int64, Int64], target_group: tuple[Int64, Int64], kind: Kind, level: Level = Level.PLAIN
    ) -> None:
        """Within each group, an edge from every source to every target but itself, in linear space.

        Sources that are no targets of their group go through one auxiliary node for the group. A source that is also
        a target needs every target but itself; a group that has more than two such sources keeps two of them, which
        leaves out edges and adds none.

        Args:
            group: Group number and transaction of each source.
            target_group: Group number and transaction of each target.
            kind: Kind of the edges.
            level: Level of the edges.
        """
        target_of, target = _distinct(*target_group)
        wanted = is_in(group[0], distinct(target_of))
        source_of, source = _distinct(group[0][wanted], group[1][wanted])
        own = is_in(_pair(source_of, source), _pair(target_of, target))
        groups = distinct(source_of[~own])
        self.add(source[~own], self.nodes + np.searchsorted(groups, source_of[~own]), kind, level)
        reached = is_in(target_of, groups)
        self.add(self.nodes + np.searchsorted(groups, target_of[reached]), target[reached], Kind.PASS)
        self.nodes += len(groups)
        own_of, own_source = source_of[own], source[own]
        rank = np.arange(len(own_of)) - np.searchsorted(own_of, own_of)
        own_of, own_source = own_of[rank < 2], own_source[rank < 2]
        first, last = (np.searchsorted(target_of, own_of, side=side) for side in ("left", "right"))
        self.add(np.repeat(own_source, last - first), target[expand(first, last)], kind, level)

    def edges(self) -> Edges:
        """All edges so far."""
        return Edges.concatenate(self.parts)


def expand(first: Int64, last: Int64) -> Int64:
    """The numbers of all ranges `first[i]:last[i]`, one after another."""
    length = last - first
    ends = np.cumsum(length)
    total = int(ends[-1]) if len(ends) else 0
    shift: Int64 = np.repeat(first - ends + length, length)
    return shift + np.arange(total)


def distinct(values: Int64) -> Int64:
    """The different values, sorted. Several times as fast as `np.unique` on integers that are nearly sorted."""
    ordered = np.sort(values)
    different: Int64 = ordered[np.diff(ordered, prepend=ordered[:1] - 1) != 0]
    return different


def is_in(values: Int64, members: Int64) -> Mask:
    """Which values are among the members, which are sorted."""
    if not len(members):
        return np.zeros(len(values), dtype=np.bool_)
    place = np.minimum(np.searchsorted(members, values), len(members) - 1)
    return np.equal(members[place], values)


def _pair(group: Int64, node: Int64) -> Int64:
    return (group << _NODE_BITS) | node


def _distinct(group: Int64, node: Int64) -> tuple[Int64, Int64]:
    """Each (group, node) once, sorted."""
    codes = distinct(_pair(group, node))
    return codes >> _NODE_BITS, codes & (MAX_NODES - 1)
