"""Strongly connected components of a large, mostly acyclic dependency graph, with or without real time.

**Earliest commit.** In an execution that respects real time each transaction takes effect at one moment between its
invocation and its completion, and an edge u → v means that u's moment is before v's. So v's moment is after its own
invocation and after every predecessor's moment. `earliest` computes the least numbers that satisfy this, by raising
v above u along each edge until nothing changes: a longest path, started from the invocations. In a correct history
few numbers change and the changes do not travel far, because dependencies mostly point forward in time.

- If the numbers settle, each edge goes from a smaller to a larger one: the graph has no cycle.
- If in addition no transaction's number is beyond its completion, then for every T that completed before T' was
  invoked, T's number is below T''s: there is no cycle with real-time edges either, although not one of them was made.

So one pass over the edges acquits a correct history at every level, and that is the common case. With real time no
number is raised beyond the end of its transaction's span: one that gets there is *late*, and tells that there is a
cycle, and to push everything behind it along would take many rounds.

**Pruning.** Otherwise let φ be the numbers when the work stopped, whatever they are. A cycle that reaches from its
least to its greatest φ has to come back, so each threshold in between is crossed by an edge that does not go forward,
that is u → v with φ(u) ≥ φ(v). Hence every strongly connected component lies inside one *block*: a connected piece of
the union of the intervals [φ(v), φ(u)] of such edges. A real-time edge T → T' is one of them only if T is late and T'
has the same number, so the number of each late T is an interval too. Only edges inside a block go to rustworkx, which
finds the components.

**Real-time edges** among the transactions of the blocks are made in linear space: a chain of auxiliary nodes, one for
each moment at which something is invoked after something has completed. T enters the chain at the first such moment
after its completion, and the chain leads on to everything invoked then or later.

An unknown transaction has no completion, so no time or process edge leaves it: a server may execute a request after
its client has given up. Edges into it hold, for nothing takes effect before it is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import rustworkx

from labctl.check.transactions.graph import Edges, Kind, Level, distinct, expand

if TYPE_CHECKING:
    from labctl.check.transactions.columns import Transactions
    from labctl.model.history import Int64, Mask

_STEP_BITS: Final = 30  # φ = (invocations before it) << 30 | steps along edges since
_SCANS: Final = 4  # rounds that scan all edges
_TOGETHER: Final = 1 << 16  # edges that are handed to the graph library at a time
_ROUNDS: Final = 100  # before the rest is left to rustworkx; correct histories settle in tens


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """When transactions can take effect, on a clock that counts invocations.

    Attributes:
        invoked: (n,) distinct invocation times before this transaction's.
        closed: (n,) the first `invoked` of a transaction invoked after this one completed: there is a time edge from
            T to T' if and only if `closed[T] <= invoked[T']`. Beyond every number if it never completed.
        certain: (n,) which transactions certainly committed.
    """

    invoked: Int64
    closed: Int64
    certain: Mask

    @classmethod
    def of(cls, transactions: Transactions) -> Timeline:
        """The timeline of these transactions."""
        first = np.diff(transactions.invoke_ns, prepend=transactions.invoke_ns[:1] - 1) > 0
        moments, invoked = transactions.invoke_ns[first], np.cumsum(first) - 1
        closed = np.searchsorted(moments, transactions.complete_ns, side="right")
        certain = transactions.ok
        return cls(invoked, np.where(certain, closed, len(moments) + 1), certain)

    def starts(self, nodes: int) -> Int64:
        """φ of each node before any edge is looked at; auxiliary nodes start at 0."""
        phi = np.zeros(nodes, dtype=np.int64)
        phi[: len(self.invoked)] = self.invoked << _STEP_BITS
        return phi

    @property
    def ends(self) -> Int64:
        """(n,) a transaction whose φ reaches this comes after something that was invoked after it completed."""
        return self.closed << _STEP_BITS


def process_edges(process: Int64, committed: Mask, certain: Mask) -> Edges:
    """An edge to each committed transaction from the nearest earlier one of its process that certainly committed.

    Args:
        process: (n,) the process of each transaction; transactions are in order of invocation.
        committed: (n,) which transactions count.
        certain: (n,) which of them completed.
    """
    members = np.flatnonzero(committed)
    members = members[np.argsort(process[members], kind="stable")]
    nearest = np.maximum.accumulate(np.where(certain[members], np.arange(len(members)), -1))
    earlier = np.concatenate(([-1], nearest))[: len(members)]
    source, target = members[earlier[earlier >= 0]], members[earlier >= 0]
    same = process[source] == process[target]
    return Edges.of(source[same], target[same], Kind.PROCESS, Level.SESSION)


@dataclass(frozen=True, slots=True, eq=False)
class Numbering:
    """φ of each node, and whether it increases along every edge."""

    phi: Int64
    settled: bool


def earliest(edges: Edges, phi: Int64, ends: Int64 | None = None) -> Numbering:
    """Raise `phi` along the edges until it increases along each, or for `_ROUNDS` rounds.

    Args:
        edges: Of the graph.
        phi: Where each node starts.
        ends: Numbers that the first nodes are not raised beyond: what reaches them is late, however late it is, and
            pushing everything behind it along would take many rounds and tell nothing. Such a node counts as raised
            far enough.
    """
    phi = phi.copy()
    highest = np.full(len(phi), np.iinfo(np.int64).max)
    highest[: 0 if ends is None else len(ends)] = ends if ends is not None else 0
    source, target = edges.source, edges.target
    first = np.zeros(0, dtype=np.int64)
    active = np.arange(len(source))
    raised = np.zeros(len(phi), dtype=np.bool_)
    for turn in range(min(_ROUNDS, len(phi))):  # more rounds than nodes only a cycle can need
        u, v = source[active], target[active]
        lift = phi[u] + 1 if ends is None else np.minimum(phi[u] + 1, highest[v])
        behind = lift > phi[v]
        if not behind.any():
            return Numbering(phi, settled=True)
        v = v[behind]
        np.maximum.at(phi, v, lift[behind])
        raised[:] = False
        raised[v] = True
        if turn == _SCANS:  # from now on little changes: look only at the edges out of what was raised
            order = np.argsort(source)
            source, target = source[order], target[order]
            first = np.searchsorted(source, np.arange(len(phi) + 1))
        nodes = np.flatnonzero(raised) if len(first) else first
        active = expand(first[nodes], first[nodes + 1]) if len(first) else np.flatnonzero(raised[source])
    return Numbering(phi, settled=False)


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """Strongly connected components with at least two transactions, and the graph that they were found in.

    Attributes:
        members: Nodes of each component, auxiliary ones included, sorted.
        edges: Edges within components, sorted by source.
    """

    members: tuple[Int64, ...]
    edges: Edges


def components(edges: Edges, nodes: int, timeline: Timeline, *, realtime: bool) -> Components:
    """The strongly connected components of a graph.

    Args:
        edges: Without time edges.
        nodes: Nodes of the graph; those from `len(timeline.invoked)` on are auxiliary.
        timeline: When transactions were invoked and completed.
        realtime: Whether time edges count.
    """
    numbering = earliest(edges, timeline.starts(nodes), timeline.ends if realtime else None)
    phi, transactions = numbering.phi, len(timeline.invoked)
    late = np.flatnonzero(phi[:transactions] >= timeline.ends) if realtime else np.zeros(0, dtype=np.int64)
    if numbering.settled and not len(late):
        return Components((), edges.where(np.zeros(len(edges), dtype=np.bool_)))
    backward = np.flatnonzero(phi[edges.source] >= phi[edges.target])
    low = np.concatenate((phi[edges.target[backward]], phi[late]))
    high = np.concatenate((phi[edges.source[backward]], phi[late]))
    if not len(low):
        return Components((), edges.where(np.zeros(len(edges), dtype=np.bool_)))
    block = _blocks(phi, low, high)
    inside = edges.where((block[edges.source] >= 0) & (block[edges.source] == block[edges.target]))
    if realtime:
        inside = Edges.concatenate([inside, _time_edges(np.flatnonzero(block[:transactions] >= 0), timeline, nodes)])
    return _strongly_connected(inside.sorted(), transactions)


def _blocks(phi: Int64, low: Int64, high: Int64) -> Int64:
    """For each node the number of the connected piece of the union of intervals that its φ is in, or -1."""
    order = np.argsort(low)
    low, reach = low[order], np.maximum.accumulate(high[order])
    first = np.flatnonzero(np.concatenate(([True], low[1:] > reach[:-1])))
    piece_low, piece_high = low[first], reach[np.append(first[1:], len(low)) - 1]
    piece = np.searchsorted(piece_low, phi, side="right") - 1
    return np.where((piece >= 0) & (phi <= piece_high[piece]), piece, -1)


def _time_edges(members: Int64, timeline: Timeline, first_free: int) -> Edges:
    """Time edges among these transactions through a chain of auxiliary nodes numbered from `first_free`."""
    invoked = timeline.invoked[members]
    certain = members[timeline.certain[members]]
    moments = distinct(invoked)
    entry = np.searchsorted(moments, timeline.closed[certain])
    slots = distinct(entry[entry < len(moments)])
    leaving, entering = entry < len(moments), np.searchsorted(slots, entry)
    exit_slot = np.searchsorted(slots, np.searchsorted(moments, invoked), side="right") - 1
    reached = exit_slot >= 0
    chain = np.arange(max(len(slots) - 1, 0))
    return Edges.concatenate(
        [
            Edges.of(certain[leaving], first_free + entering[leaving], Kind.TIME, Level.REALTIME),
            Edges.of(first_free + chain, first_free + chain + 1, Kind.PASS),
            Edges.of(first_free + exit_slot[reached], members[reached], Kind.PASS),
        ]
    )


def _strongly_connected(edges: Edges, transactions: int) -> Components:
    nodes = distinct(np.concatenate((edges.source, edges.target)))
    graph = rustworkx.PyDiGraph()
    graph.add_nodes_from(range(len(nodes)))
    for begin in range(0, len(edges), _TOGETHER):  # a pair of Python integers takes ten times as much as an edge
        some = slice(begin, begin + _TOGETHER)
        source, target = np.searchsorted(nodes, edges.source[some]), np.searchsorted(nodes, edges.target[some])
        graph.add_edges_from_no_data(list(zip(source.tolist(), target.tolist(), strict=True)))
    found = (np.sort(nodes[group]) for group in rustworkx.strongly_connected_components(graph) if len(group) > 1)
    members = tuple(group for group in found if len(group) > 1 and group[1] < transactions)
    label = np.full(int(nodes[-1]) + 1 if len(nodes) else 0, -1, dtype=np.int64)
    for number, group in enumerate(members):
        label[group] = number
    kept = (label[edges.source] >= 0) & (label[edges.source] == label[edges.target])
    return Components(members, edges.where(kept))
