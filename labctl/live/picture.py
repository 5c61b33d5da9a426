"""View → picture: who belongs to whom, what each server is like, which lines are drawn and what is wrong with them. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from labctl.live.frame import Belief, Condition, Edge, EdgeKind, Node, Picture, Shard
from labctl.model.fault import HoldToxic, Link, LinkAction, LinkState, ServerState
from labctl.model.topology import Role
from labctl.plan.links import ANYONE, links

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from labctl.model.fault import Action
    from labctl.model.plan import LabPlan, NodePlan
    from labctl.model.view import NodeView, SentinelView, View

MOST_OTHER_EDGES = 40
"""Lines that are drawn only because of a fault. A partition of a hundred nodes cuts thousands of links."""
_NAMED = 3
_RANGES = 2
_SAY_ENOUGH = (Condition.DOWN, Condition.PAUSED)
_QUIET = frozenset({"master", "slave", "sentinel"})


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a picture is made of.

    Attributes:
        plan: The lab as planned.
        view: As observed now.
        before: Each node as it was when it last answered; it is drawn there while it does not.
        servers: What the operating system says of the nodes that do not answer.
        cut: Links that are not open.
        claims: What the faults in force hold, by the fault's number.
        votes: Sentinel → whom its peers voted for last, and in which epoch. They tell it, and it forgets after seconds.
    """

    plan: LabPlan
    view: View
    before: Mapping[str, NodeView]
    servers: Mapping[str, ServerState]
    cut: Mapping[Link, LinkState]
    claims: Mapping[int, Sequence[Action]]
    votes: Mapping[str, tuple[str, int]] = field(default_factory=dict)


def draw(seen: Seen) -> Picture:
    """The picture of a lab."""
    nodes = _nodes(seen)
    shards = _shards(seen.plan, nodes)
    sentinels = tuple(nodes[plan.name] for plan in seen.plan.sentinels)
    groups = tuple(group for group, _ in seen.plan.client_hosts) if seen.plan.per_link else (ANYONE,)
    placed = [node for shard in shards for node in shard.nodes]
    edges, hidden = _edges(seen, placed, sentinels, groups)
    return Picture(shards, sentinels, groups, edges, hidden)


def with_traffic(picture: Picture, bytes_per_s: Mapping[Link, float]) -> Picture:
    """The same with what its lines carry, where that was counted."""
    edges = tuple(replace(edge, bytes_per_s=bytes_per_s.get(Link(edge.source, edge.target))) for edge in picture.edges)
    return replace(picture, edges=edges)


# Servers


def _nodes(seen: Seen) -> dict[str, Node]:
    holding = _holding(seen.claims)
    reach = _reach(seen)
    found = {}
    for planned in seen.plan.nodes:
        now = seen.view.node(planned.name)
        known = now if now.up else seen.before.get(planned.name)
        found[planned.name] = _node(planned, now, known, seen, holding.get(planned.name, ()), reach[planned.name])
    return found


def _node(
    planned: NodePlan, now: NodeView, known: NodeView | None, seen: Seen, faults: tuple[int, ...], reach: str
) -> Node:
    role = (known.role if known else None) or planned.role
    follows = known.follows if known else planned.primary
    condition = _condition(now, seen.servers.get(planned.name))
    return Node(
        name=planned.name,
        role=role,
        condition=condition,
        note="" if condition in _SAY_ENOUGH else now.error,
        follows=follows if role is Role.REPLICA else None,
        link=_link(now),
        offset=known.offset if known else 0,
        lag_bytes=now.lag_bytes,
        ops_per_s=now.ops_per_s,
        keys=now.keys,
        memory_bytes=now.memory_bytes,
        clients=now.clients,
        epoch=_epoch(now, seen.view) if role is Role.PRIMARY else 0,
        slots=_slots(known) if role is Role.PRIMARY else "",
        faults=faults,
        reach=reach,
        belief=_belief(now.sentinel, seen.votes.get(planned.name, ("", 0))),
    )


def _condition(now: NodeView, server: ServerState | None) -> Condition:
    if now.up:
        return Condition.LOADING if now.loading else Condition.UP
    match server:
        case ServerState.PAUSED:
            return Condition.PAUSED
        case ServerState.RUNNING:
            return Condition.HUNG
        case ServerState.GONE | None:
            return Condition.DOWN


def _link(now: NodeView) -> str:
    if now.role is not Role.REPLICA:
        return ""
    return "up" if now.link_up else "sync" if now.syncing else "down"


def _epoch(now: NodeView, view: View) -> int:
    if now.cluster is not None:
        return now.cluster.my_epoch
    epochs = (n.sentinel.config_epoch for n in view.nodes if n.sentinel and n.sentinel.primary == now.name)
    return max(epochs, default=0)


def _slots(known: NodeView | None) -> str:
    if known is None or known.cluster is None:
        return ""
    own = [r for entry in known.cluster.table if entry.name == known.name for r in entry.slots]
    words = [f"{first}-{last}" if first != last else str(first) for first, last in own]
    return " ".join(words[:_RANGES]) + (f" +{len(words) - _RANGES}" if len(words) > _RANGES else "")


def vote(node: NodeView) -> tuple[str, int] | None:
    """Whom a Sentinel knows its peers to have voted for, and in which epoch."""
    seen = node.sentinel
    if seen is None or not seen.leader:
        return None
    return (node.name if seen.leader == "itself" else seen.leader), seen.leader_epoch


def _belief(sentinel: SentinelView | None, voted: tuple[str, int]) -> Belief | None:
    if sentinel is None:
        return None
    implied = {"s_down"} if sentinel.o_down else set()
    words = [flag for flag in sentinel.primary_flags if flag not in _QUIET | implied]
    if sentinel.failover_state not in ("none", "no-failover"):
        words.append(sentinel.failover_state)
    if sentinel.tilt:
        words.append("tilt")
    return Belief(
        sentinel.primary,
        sentinel.config_epoch,
        tuple(words),
        sentinel.quorum_ok,
        *(voted if voted[1] >= sentinel.config_epoch else ("", 0)),
    )


# What faults hold


def _holding(claims: Mapping[int, Sequence[Action]]) -> dict[str, tuple[int, ...]]:
    """Node → numbers of the faults that are about it.

    Those that hold the server itself; of those that hold links, the ones with it at an end of most: a partition touches
    everybody, but it is about the side that has fewer.
    """
    found: dict[str, dict[int, None]] = defaultdict(dict)
    for number, actions in claims.items():
        ends: Counter[str] = Counter()
        for action in actions:
            if isinstance(action, LinkAction):
                ends.update((action.link.source, action.link.target))
            else:
                found[action.node][number] = None
        for party, times in ends.items():
            if times * 2 >= max(ends.values()):
                found[party][number] = None
    return {party: tuple(numbers) for party, numbers in found.items()}


def _reach(seen: Seen) -> dict[str, str]:
    """Node → what cut links leave of it, in words; empty where it still has most of them."""
    every: dict[str, dict[str, list[bool]]] = {node.name: defaultdict(list) for node in seen.plan.nodes}
    if not seen.cut:
        return dict.fromkeys(every, "")
    for link in links(seen.plan):
        is_cut = link in seen.cut
        for one, other in ((link.source, link.target), (link.target, link.source)):
            if one in every:
                every[one][other].append(is_cut)
    return {name: _reach_words(others) for name, others in every.items()}


def _reach_words(others: Mapping[str, Sequence[bool]]) -> str:
    lost = [name for name, cut in others.items() if all(cut)]
    half = [name for name, cut in others.items() if any(cut) and not all(cut)]
    left = [name for name in others if name not in lost and name not in half]
    if 2 * (len(lost) + len(half)) < len(others) or not others:
        return ""
    if not left and not half:
        return "cut off from everybody"
    if left and not half and len(lost) > len(left):
        return f"reaches only {_names(left)}"
    parts = [f"cut from {_names(lost)}"] if lost else []
    return ", ".join([*parts, *([f"one way only: {_names(half)}"] if half else [])])


def _names(names: Sequence[str]) -> str:
    more = f" +{len(names) - _NAMED}" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


# Shards


def _shards(plan: LabPlan, nodes: Mapping[str, Node]) -> tuple[Shard, ...]:
    """Every data node in the shard of the primary at the end of its chain; each shard as a tree."""
    data = [nodes[planned.name] for planned in plan.data_nodes]
    home = {planned.name: planned.shard for planned in plan.data_nodes}
    members: dict[int, list[Node]] = {number: [] for number in sorted(set(home.values()))}
    for node in data:
        members[home[_root(node, nodes)]].append(node)
    return tuple(Shard(number, _tree(own)) for number, own in members.items() if own)


def _root(node: Node, nodes: Mapping[str, Node]) -> str:
    """Name of the end of its chain of `follows`; of itself where the chain leads out of the lab, or in a circle."""
    seen, at = {node.name}, node
    while at.follows is not None:
        following = nodes.get(at.follows)
        if following is None or following.name in seen:
            return node.name
        seen.add(following.name)
        at = following
    return at.name


def _tree(members: Sequence[Node]) -> tuple[Node, ...]:
    """Depth first; primaries that answer before those that do not, higher epochs first; what hangs nowhere comes last."""
    names = {node.name for node in members}
    replaced = any(node.leads for node in members)
    followers: dict[str | None, list[Node]] = defaultdict(list)
    for node in members:
        followers[node.follows if node.follows in names else None].append(node)
    placed: dict[str, Node] = {}

    def place(node: Node, depth: int) -> None:
        if node.name in placed:
            return
        former = depth == 0 and node.role is Role.PRIMARY and not node.leads and replaced
        placed[node.name] = replace(node, depth=depth, former=former)
        for follower in followers[node.name]:
            place(follower, depth + 1)

    tops = followers[None]
    for node in sorted(tops, key=lambda n: (n.role is not Role.PRIMARY, not n.leads, -n.epoch)):
        place(node, 0 if node.role is Role.PRIMARY else 1)
    for node in members:  # a circle of replicas has no top
        place(node, 1)
    return tuple(placed.values())


# Lines


def _edges(
    seen: Seen, placed: Iterable[Node], sentinels: Iterable[Node], groups: Iterable[str]
) -> tuple[tuple[Edge, ...], int]:
    nodes = list(placed)
    toxics = _toxics(seen.claims)
    own = [Link(n.name, n.follows) for n in nodes if n.role is Role.REPLICA and n.follows]
    watch = [Link(n.name, n.belief.primary) for n in sentinels if n.belief]
    clients = [Link(group, n.name) for group in groups for n in nodes if n.role is Role.PRIMARY and not n.former]
    kinds = ((EdgeKind.REPLICATION, own), (EdgeKind.WATCH, watch), (EdgeKind.CLIENTS, clients))
    edges = [
        Edge(link.source, link.target, kind, _state(seen, link), LinkState.OPEN, toxics.get(link, ()))
        for kind, chosen in kinds
        for link in chosen
    ]
    drawn = {(edge.source, edge.target) for edge in edges}
    others = _other_edges(seen, toxics, drawn)
    return (*edges, *others[:MOST_OTHER_EDGES]), max(0, len(others) - MOST_OTHER_EDGES)


def _state(seen: Seen, link: Link) -> LinkState:
    return seen.cut.get(link) or seen.cut.get(Link(ANYONE, link.target), LinkState.OPEN)


def _other_edges(seen: Seen, toxics: Mapping[Link, tuple[str, ...]], drawn: set[tuple[str, str]]) -> list[Edge]:
    """Links with a fault that no other line shows, the two directions between a pair in one."""
    order = {name: place for place, name in enumerate([n.name for n in seen.plan.nodes])}
    pairs: dict[tuple[str, str], None] = {}
    for link in (*seen.cut, *toxics):
        one, other = sorted((link.source, link.target), key=lambda name: (order.get(name, len(order)), name))
        if (link.source, link.target) not in drawn and link.source != ANYONE:
            pairs[one, other] = None
    return [
        Edge(
            one,
            other,
            EdgeKind.OTHER,
            LinkState.OPEN if (one, other) in drawn else seen.cut.get(Link(one, other), LinkState.OPEN),
            LinkState.OPEN if (other, one) in drawn else seen.cut.get(Link(other, one), LinkState.OPEN),
            tuple(dict.fromkeys((*toxics.get(Link(one, other), ()), *toxics.get(Link(other, one), ())))),
        )
        for one, other in pairs
    ]


_UNITS = {"latency": "ms", "jitter": "ms", "rate": "kB/s", "delay": "ms", "timeout": "ms", "bytes": "bytes"}


def _toxics(claims: Mapping[int, Sequence[Action]]) -> dict[Link, tuple[str, ...]]:
    found: dict[Link, dict[str, None]] = defaultdict(dict)
    for actions in claims.values():
        for action in actions:
            if isinstance(action, HoldToxic):
                found[action.link][toxic_words(action)] = None
    return {link: tuple(words) for link, words in found.items()}


def toxic_words(toxic: HoldToxic) -> str:
    """`latency 200 ms`, `bandwidth 64 kB/s`; the first value that is not zero tells most."""
    for name, value in toxic.attributes:
        if value not in (0, "", False):
            return (
                f"{toxic.toxic} {value:g} {_UNITS.get(name, name)}" if isinstance(value, int | float) else toxic.toxic
            )
    return toxic.toxic
