"""What would follow from a fault, in Redis terms: quorum, failover, slots, the last replica. For `--dry-run`.

A prediction from the observed view and the documented rules, not a simulation: Sentinel needs the quorum to call a
primary down and the majority of all Sentinels to replace it (redis.io, High availability with Redis Sentinel); a Cluster
needs the majority of its primaries, and any packet over the bus counts as life (Redis Cluster specification).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from labctl.model.conditions import primaries, primary
from labctl.model.fault import (
    CutLink,
    HoldCrashing,
    HoldDown,
    HoldImpaired,
    HoldLimit,
    HoldPaused,
    HoldToxic,
    Impairment,
    Link,
)
from labctl.model.topology import Kind, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from labctl.model.fault import Action
    from labctl.model.plan import LabPlan
    from labctl.model.view import NodeView, View


@dataclass(frozen=True)
class After:
    """The lab as it would be with the actions standing.

    Attributes:
        plan: The lab.
        view: As observed now.
        actions: What would be done.
        lasts_s: For how long; None for ever.
    """

    plan: LabPlan
    view: View
    actions: tuple[Action, ...]
    lasts_s: float | None

    @cached_property
    def silent(self) -> frozenset[str]:
        """Nodes that would not answer, or do not now."""
        taken = {a.node for a in self.actions if isinstance(a, HoldDown | HoldPaused | HoldCrashing)}
        killed = {a.node for a in self.actions if isinstance(a, HoldLimit) and a.deadly}
        return frozenset(taken | killed | {node.name for node in self.view.nodes if not node.up})

    @cached_property
    def cut(self) -> frozenset[Link]:
        """Links that would carry nothing."""
        lost = {
            a.link for a in self.actions if isinstance(a, HoldImpaired) and a.what is Impairment.LOSS and a.share >= 1
        }  # a link whose packets or answers are all lost carries nothing either
        lost |= {Link(link.target, link.source) for link in lost}
        return frozenset(a.link for a in self.actions if isinstance(a, CutLink)) | lost

    def reaches(self, source: str, target: str) -> bool:
        """Whether connections from `source` to `target` would work."""
        return not {source, target} & self.silent and Link(source, target) not in self.cut

    def hear(self, one: str, other: str) -> bool:
        """Whether two nodes would hear of each other: one connection, whoever opened it, is enough on the bus."""
        return one == other or self.reaches(one, other) or self.reaches(other, one)

    def sides(self, names: Iterable[str]) -> list[set[str]]:
        """The answering ones of `names`, in groups that are connected among themselves, the largest first."""
        left = [name for name in names if name not in self.silent]
        groups: list[set[str]] = []
        while left:
            group, frontier = set(), [left[0]]
            while frontier:
                name = frontier.pop()
                group.add(name)
                frontier += [other for other in left if other not in group and self.hear(name, other)]
            groups.append(group)
            left = [name for name in left if name not in group]
        return sorted(groups, key=len, reverse=True)


def consequences(plan: LabPlan, view: View, actions: Sequence[Action], lasts_s: float | None) -> tuple[str, ...]:
    """Sentences, the gravest first. None where nothing can be said from the outside.

    Args:
        plan: The lab.
        view: As observed now.
        actions: What the fault would do.
        lasts_s: For how long; None for ever.
    """
    after = After(plan, view, tuple(actions), lasts_s)
    lines: list[str] = []
    match plan.topology.kind:
        case Kind.SENTINEL:
            lines += _sentinel(after)
        case Kind.CLUSTER:
            lines += _cluster(after)
        case Kind.REPLICA | Kind.STANDALONE:
            lines += _alone(after)
    return (*lines, *_replication(after), *_slow(after))


def _sentinel(after: After) -> list[str]:
    options, sentinels = after.plan.topology.sentinel, [n.name for n in after.plan.sentinels]
    name = primary(after.view)
    if name is None:
        return ["There is no agreed primary at the moment."]
    majority = len(sentinels) // 2 + 1
    groups = after.sides(sentinels)
    side = groups[0] if groups else set()
    lines = [f"Sentinels that can talk to each other: {len(side)} of {len(sentinels)} (majority {majority})."]
    blind = [s for s in side if not after.reaches(s, name)]
    if not blind:
        if len(side) == len(sentinels):
            return []
        then = " None would be possible either." if len(side) < majority else ""
        return [*lines, f"They all still reach {name}: no failover.{then}"]
    lines.append(f"{len(blind)} of them lose {name} (quorum {options.quorum}).")
    if len(side) < majority:
        return [*lines, f"No failover: {len(side)} Sentinels are no majority."]
    if len(blind) < options.quorum:
        return [*lines, "No failover: the quorum is not met."]
    if _ends_before(after, options.down_after_ms):
        return [*lines, f"It ends before down-after-milliseconds ({options.down_after_ms}) is over: no failover."]
    heirs = [n.name for n in _replicas(after.view, name) if any(after.reaches(s, n.name) for s in side)]
    if not heirs:
        return [*lines, f"No failover: no replica of {name} is left that they reach."]
    lines.append(f"Failover to {' or '.join(heirs)} after down-after-milliseconds ({options.down_after_ms}).")
    return lines + _second_primary(after, name)


def _second_primary(after: After, name: str) -> list[str]:
    """An old primary that lives on beside its successor."""
    clients = [group for group, _ in after.plan.client_hosts if after.reaches(group, name)]
    if name in after.silent or not clients:
        return []
    limit = _directive(after.plan, "min-replicas-to-write")
    attached = [n.name for n in _replicas(after.view, name) if after.reaches(n.name, name)]
    if limit and len(attached) < int(limit):
        return [f"{name} goes on for {', '.join(clients)} until min-replicas-max-lag is over, then refuses writes."]
    return [
        f"{name} goes on taking writes of {', '.join(clients)}, which are lost when it becomes a replica (split brain)."
    ]


def _cluster(after: After) -> list[str]:
    timeout_ms = after.plan.topology.cluster.node_timeout_ms
    owners = [n for n in primaries(after.view) if _slots(n)]
    majority = len(owners) // 2 + 1
    groups = after.sides(n.name for n in after.plan.data_nodes)
    side = max(groups, key=lambda group: sum(o.name in group for o in owners), default=set())
    there = [o.name for o in owners if o.name in side]
    lost = [o for o in owners if o.name not in side]
    if not lost:
        return []
    lines = [f"Primaries that can talk to each other: {len(there)} of {len(owners)} (majority {majority})."]
    if len(there) < majority:
        return [
            *lines,
            f"No majority: no failover, and every side refuses commands after {timeout_ms} ms (CLUSTERDOWN).",
        ]
    if _ends_before(after, timeout_ms):
        return [*lines, f"It ends before cluster-node-timeout ({timeout_ms} ms) is over: no failover."]
    uncovered = 0
    for owner in lost:
        heirs = [n.name for n in _replicas(after.view, owner.name) if n.name in side]
        if heirs:
            lines.append(f"{owner.name}: {' or '.join(heirs)} takes over its {_slots(owner)} slots.")
        else:
            uncovered += _slots(owner)
            lines.append(f"{owner.name}: no replica on the majority's side, its {_slots(owner)} slots stay uncovered.")
    if uncovered and (_directive(after.plan, "cluster-require-full-coverage") or "yes") == "yes":
        lines.append(
            f"{uncovered} slots without an owner: all keys answer CLUSTERDOWN (cluster-require-full-coverage)."
        )
    alive = [o.name for o in lost if o.name not in after.silent]
    if alive:
        lines.append(
            f"{', '.join(alive)} in the minority refuse commands after {timeout_ms} ms; writes until then are lost."
        )
    return lines


def _alone(after: After) -> list[str]:
    kind, names = after.plan.topology.kind, [n.name for n in primaries(after.view) if n.name in after.silent]
    if not names:
        return []
    what = "No writes" if len(names) == len(primaries(after.view)) else "No writes of their keys"
    return [f"{what} until {' and '.join(names)} is back: nothing fails over in a topology of kind {kind}."]


def _replication(after: After) -> list[str]:
    """Replicas that would lose their primary, and primaries that would lose their last replica."""
    lines = []
    for node in primaries(after.view):
        attached = [n.name for n in _replicas(after.view, node.name)]
        kept = [name for name in attached if after.reaches(name, node.name)]
        lost = [name for name in attached if name not in kept]
        if not lost or node.name in after.silent:
            continue
        if kept:
            lines.append(f"{', '.join(lost)} would no longer follow {node.name}; {', '.join(kept)} would.")
        else:
            lines.append(f"{node.name} loses its last replica: what it acknowledges from then on exists once.")
        limit = _directive(after.plan, "min-replicas-to-write")
        if limit and len(kept) < int(limit):
            lines.append(
                f"{node.name} has {len(kept)} replicas of min-replicas-to-write {limit}: it will refuse writes."
            )
    return lines


def _slow(after: After) -> list[str]:
    """Delays that are longer than somebody's patience."""
    delays: dict[Link, float] = {}
    for action in after.actions:
        if isinstance(action, HoldToxic) and action.toxic == "latency":
            delays[action.link] = delays.get(action.link, 0) + float(dict(action.attributes)["latency"])
    nodes = {node.name: node for node in after.plan.nodes}
    patience = {
        Kind.SENTINEL: after.plan.topology.sentinel.down_after_ms,
        Kind.CLUSTER: after.plan.topology.cluster.node_timeout_ms,
    }
    limit = patience.get(after.plan.topology.kind)
    if limit is None:
        return []
    watchers = Role.SENTINEL if after.plan.topology.kind is Kind.SENTINEL else None
    slow = [
        link.name
        for link, delay in delays.items()
        if delay >= limit and link.source in nodes and (watchers is None or nodes[link.source].role is watchers)
    ]
    if not slow:
        return []
    return [f"A round trip over {', '.join(slow[:6])} takes longer than {limit} ms: the target counts as down there."]


def _replicas(view: View, name: str) -> list[NodeView]:
    return [n for n in view.data_nodes if n.role is Role.REPLICA and n.follows == name]


def _slots(node: NodeView) -> int:
    if node.cluster is None:
        return 0
    entry = next((e for e in node.cluster.table if e.name == node.name), None)
    return sum(last - first + 1 for first, last in entry.slots) if entry else 0


def _ends_before(after: After, patience_ms: int) -> bool:
    return after.lasts_s is not None and after.lasts_s * 1000 < patience_ms


def _directive(plan: LabPlan, name: str) -> str:
    """The last value that the topology gives a directive of data nodes; empty when it gives none."""
    stated = [
        value for key in ("all", "primary") for word, value in plan.topology.directives.get(key, ()) if word == name
    ]
    return stated[-1] if stated else ""
