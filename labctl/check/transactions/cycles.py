"""Finds a shortest cycle of each kind, gravest first, and names it.

A cycle is named by its edges (Adya; G-nonadjacent after Cerone and Gotsman, Analysing Snapshot Isolation, 2016):

- G0: ww alone. G1c: ww and wr, at least one wr.
- G-single: exactly one rw. G-nonadjacent: several rw, no two of them in a row. G2-item: two rw in a row somewhere.
- With a process edge or anything else of level SESSION the name ends in `-process`, with REALTIME in `-realtime`.

The search goes from level to level and, within one, from G0 to G2-item. For each component that has edges of the right
kinds it takes each edge of the decisive kind (a wr for G1c, an rw for G-single …) and looks breadth first for the
shortest way back. The way back of a G-single has no rw edge; once G0 and G1c are dealt with, the edges left for it have
no cycle, so that it has to lead upwards in their earliest-commit numbers (`order`), which rules out most of them at
once. Transactions of a component where a cycle was found are not searched for kinds that rule out fewer
models: a cycle makes every cycle of a later kind, at the same or a later level, old news. Whatever is found is named by
its own edges, so a search that ran out of steps can name a cycle too mildly but not wrongly.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.check.transactions.graph import KIND_BITS, Edges, Kind, Level
from labctl.check.transactions.order import Components, components, earliest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labctl.check.common import Deadline
    from labctl.check.transactions.order import Timeline
    from labctl.model.history import Int64

KIND_MASK: Final = (1 << KIND_BITS) - 1
_IMPROVEMENT: Final = 300_000  # edges looked at for a shorter cycle than the first of a component
_SHOWN: Final = 8  # cycles of one kind and level that are kept, shortest first


@dataclass(frozen=True, slots=True)
class _Shape:
    """A kind of cycle: it starts with `decisive` and goes on with edges of `others`."""

    decisive: Kind
    others: frozenset[Kind]
    alternating: bool = False

    @property
    def returns_without_itself(self) -> bool:
        """Whether the decisive edge occurs only once, so that the way back is through graver kinds alone."""
        return self.decisive not in self.others

    @property
    def kinds(self) -> frozenset[Kind]:
        """Every kind that it may contain; a level decides about the order edges."""
        return self.others | {self.decisive, Kind.PROCESS, Kind.PASS}


_SHAPES: Final = (
    _Shape(Kind.WW, frozenset({Kind.WW})),
    _Shape(Kind.WR, frozenset({Kind.WW, Kind.WR})),
    _Shape(Kind.RW, frozenset({Kind.WW, Kind.WR})),
    _Shape(Kind.RW, frozenset({Kind.WW, Kind.WR, Kind.RW}), alternating=True),
    _Shape(Kind.RW, frozenset({Kind.WW, Kind.WR, Kind.RW})),
)


_SUFFIXES: Final = {Level.PLAIN: "", Level.SESSION: "-process", Level.REALTIME: "-realtime"}


@dataclass(frozen=True, slots=True)
class Step:
    """An edge of a cycle, from one transaction to the next."""

    source: int
    target: int
    kind: Kind
    level: Level


@dataclass(frozen=True, slots=True)
class Cycle:
    """Transactions each of which comes before the next, and the last before the first.

    Attributes:
        name: The anomaly.
        steps: Its edges in order.
    """

    name: str
    steps: tuple[Step, ...]


@dataclass(slots=True)
class Search:
    """What was found, and what it may still cost.

    Attributes:
        max_steps: Edges that may be looked at in all, in equal parts for each kind and level.
        deadline: Says when time is up.
        steps_left: Edges that may still be looked at for the present kind and level.
        cycles: Found so far, at most `_SHOWN` of a kind and level.
        counts: How many were found by name, one for each component.
        suspects: Transactions in any component, that is in any cycle.
        exhausted: Whether steps or time ended before everything was looked for.
    """

    max_steps: int
    deadline: Deadline
    steps_left: int = 0
    cycles: list[Cycle] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    suspects: int = 0
    exhausted: bool = False

    def spent(self) -> bool:
        """Whether it has to end."""
        return self.steps_left <= 0 or self.deadline()


def find_cycles(edges: Edges, process: Edges, nodes: int, timeline: Timeline, search: Search) -> Search:
    """The shortest cycles found of each kind.

    Args:
        edges: Dependencies of every level.
        process: Process edges.
        nodes: Nodes of the graph, auxiliary ones included.
        timeline: When transactions were invoked and completed.
        search: What it may cost, and where the cycles go.
    """
    transactions = len(timeline.invoked)
    late = timeline.closed[process.source] > timeline.invoked[process.target]  # the others follow from time
    every = components(Edges.concatenate([edges, process.where(late)]), nodes, timeline, realtime=True)
    if not every.members:
        return search
    suspect = np.zeros(nodes, dtype=np.bool_)
    for group in every.members:
        suspect[group[group < nodes]] = True
    search.suspects = int(np.count_nonzero(suspect[:transactions]))
    edges = Edges.concatenate([edges, process])
    edges = edges.where(suspect[edges.source] & suspect[edges.target])
    settled: list[tuple[int, Int64]] = []  # rank of a cycle found, and transactions of its component
    for level in Level:
        for rank, shape in enumerate(_SHAPES):
            fresh = np.ones(nodes, dtype=np.bool_)
            for old_rank, group in settled:
                if old_rank <= rank:
                    fresh[group] = False
            wanted = (edges.level <= level) & np.isin(edges.kind, list(shape.kinds))
            usable = edges.where(wanted & fresh[edges.source] & fresh[edges.target])
            parts = components(usable, nodes, timeline, realtime=level is Level.REALTIME)
            search.steps_left = search.max_steps // (len(Level) * len(_SHAPES))
            rising = _rising(usable, nodes, shape, timeline, level) if parts.members else None
            found = _search_all(list(_split(parts, timeline, rising)), shape, search)
            settled += [(rank, group[group < transactions]) for group in found]
    return search


def _rising(edges: Edges, nodes: int, shape: _Shape, timeline: Timeline, level: Level) -> Int64 | None:
    """A number for each node that rises along every edge of the way back; None if there is no such number."""
    if not shape.returns_without_itself:
        return None
    way_back = edges.where(edges.kind != shape.decisive)
    numbering = earliest(way_back, timeline.starts(nodes))
    in_time = level is not Level.REALTIME or bool(np.all(numbering.phi[: len(timeline.invoked)] < timeline.ends))
    return numbering.phi if numbering.settled and in_time else None


def _search_all(parts: list[_Component], shape: _Shape, search: Search) -> list[Int64]:
    """Look for a cycle of one kind in each component; returns the components of which no more has to be said."""
    cycles: list[Cycle] = []
    done: list[Int64] = []
    for component in sorted(parts, key=lambda component: len(component.members)):
        if search.spent() and (search.cycles or cycles or shape is not _SHAPES[-1]):
            search.exhausted = True
            if cycles:  # the rest is at least no better known
                done.append(component.members)
            continue
        cycle = _shortest_cycle(component, shape, search)
        if cycle:
            cycles.append(cycle)
            done.append(component.members)
    search.counts.update(cycle.name for cycle in cycles)
    search.cycles += sorted(cycles, key=lambda cycle: len(cycle.steps))[:_SHOWN]
    return done


@dataclass(frozen=True, slots=True, eq=False)
class _Component:
    """One component with its edges as adjacency.

    Attributes:
        members: Nodes, sorted. Below, nodes are numbered by their place here.
        is_transaction: Which of them are not auxiliary.
        invoked: When they were invoked, counted in invocations; 0 for auxiliary ones.
        rising: Rises along every edge of a way back; -1 for auxiliary nodes, and for all where no such number is known.
        first: Edges out of node i are those from `first[i]` to `first[i + 1]`.
        source: Of each edge.
        target: Of each edge.
        label: Of each edge.
    """

    members: Int64
    is_transaction: list[bool]
    invoked: Int64
    rising: list[int]
    first: list[int]
    source: Int64
    target: list[int]
    label: list[int]


def _split(parts: Components, timeline: Timeline, rising: Int64 | None) -> Iterator[_Component]:
    transactions = len(timeline.invoked)
    size = max((int(group[-1]) for group in parts.members), default=-1) + 1
    number, local = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    for i, group in enumerate(parts.members):
        number[group], local[group] = i, np.arange(len(group))
    edges = parts.edges
    order = np.argsort(number[edges.source], kind="stable")
    ends = np.cumsum(np.bincount(number[edges.source], minlength=len(parts.members)))
    for group, mine in zip(parts.members, np.split(order, ends[:-1]) if len(ends) else (), strict=True):
        source = local[edges.source[mine]]
        first = np.searchsorted(source, np.arange(len(group) + 1))
        target, label = local[edges.target[mine]], edges.label[mine]
        real = group < transactions
        invoked = np.where(real, timeline.invoked[np.where(real, group, 0)], 0)
        ranks = np.full(len(group), -1) if rising is None else np.where(real, rising[np.where(real, group, 0)], -1)
        lists = (first.tolist(), source, target.tolist(), label.tolist())
        yield _Component(group, real.tolist(), invoked, ranks.tolist(), *lists)


def _shortest_cycle(component: _Component, shape: _Shape, search: Search) -> Cycle | None:
    real, rising = np.array(component.is_transaction), np.array(component.rising)
    source, target = component.source, np.array(component.target)
    can_return = (rising[target] < 0) | (rising[target] < rising[source])
    decisive = np.flatnonzero(((np.array(component.label) & KIND_MASK) == shape.decisive) & can_return)
    # Edges back in time first: they close the shortest cycles.
    back = np.where(real[target], component.invoked[source] - component.invoked[target], 0)[decisive]
    best: list[tuple[int, int]] | None = None
    enough = 0
    for edge in decisive[np.argsort(-back, kind="stable")].tolist():
        path = _way_back(component, edge, shape, search, len(best) if best else None)
        if path and not best:
            enough = search.steps_left - _IMPROVEMENT
        best = path or best
        if best and (len(best) == 2 or search.steps_left <= enough):
            break
        if search.spent():
            search.exhausted = True
            break
    return _named([(int(component.members[node]), label) for node, label in best]) if best else None


def _way_back(
    component: _Component, edge: int, shape: _Shape, search: Search, shorter_than: int | None
) -> list[tuple[int, int]] | None:
    """The shortest cycle through an edge: transactions, each with the label of its edge to the next.

    Breadth first over states (node, whether the last edge was rw); edges out of auxiliary nodes cost nothing, so that
    transactions are what is counted.
    """
    goal, state = int(component.source[edge]), component.target[edge] * 2 + (shape.alternating)
    came_from: dict[int, tuple[int, int]] = {state: (-1, component.label[edge])}
    length, queue = {state: 1}, deque([state])
    is_transaction, rising = component.is_transaction, component.rising
    ceiling = max(rising[goal], 0)
    rw, passing, alternating = int(Kind.RW), int(Kind.PASS), shape.alternating
    at_most_one = shape.returns_without_itself
    while queue:
        state = queue.popleft()
        node, after_rw = divmod(state, 2)
        if node == goal:
            path = _trace(state, came_from, is_transaction)
            # A walk that meets a transaction twice is not the shortest of its kind; another edge leads to that one.
            return path if len({transaction for transaction, _ in path}) == len(path) else None
        cost = length[state] + is_transaction[node]
        if shorter_than is not None and cost >= shorter_than:
            continue
        first, last = component.first[node], component.first[node + 1]
        search.steps_left -= last - first
        for target, label in zip(component.target[first:last], component.label[first:last], strict=True):
            kind = label & KIND_MASK
            if kind == rw and (after_rw or at_most_one):
                continue
            is_rw = alternating and (kind == rw or (kind == passing and after_rw == 1))
            following = target * 2 + is_rw
            if (target == goal and is_rw) or (rising[target] >= ceiling and target != goal):
                continue  # two rw in a row where the cycle closes; or beyond the goal
            if following not in length or cost < length[following]:
                length[following] = cost
                came_from[following] = (state, label)
                (queue.append if is_transaction[node] else queue.appendleft)(following)
    return None


def _trace(state: int, came_from: dict[int, tuple[int, int]], is_transaction: list[bool]) -> list[tuple[int, int]]:
    goal = state // 2
    path: list[tuple[int, int]] = []
    while state >= 0:  # up to the edge that the search began with, which came from nowhere
        state, label = came_from[state]
        node = state // 2 if state >= 0 else goal
        if is_transaction[node]:
            path.append((node, label))
    return path[::-1]


def _named(path: list[tuple[int, int]]) -> Cycle:
    """The cycle through these transactions, from the one invoked first on."""
    start = min(range(len(path)), key=lambda i: path[i][0])
    path = path[start:] + path[:start]
    steps = tuple(
        Step(node, path[(i + 1) % len(path)][0], Kind(label & KIND_MASK), Level(label >> KIND_BITS))
        for i, (node, label) in enumerate(path)
    )
    return Cycle(name_of(steps), steps)


def name_of(steps: tuple[Step, ...]) -> str:
    """The anomaly that a cycle of these edges is."""
    rw = [step.kind is Kind.RW for step in steps]
    in_a_row = any(a and b for a, b in zip(rw, rw[1:] + rw[:1], strict=True))
    if sum(rw) > 1:
        name = "G2-item" if in_a_row else "G-nonadjacent"
    elif any(rw):
        name = "G-single"
    else:
        name = "G1c" if any(step.kind is Kind.WR for step in steps) else "G0"
    return name + _SUFFIXES[max(step.level for step in steps)]
