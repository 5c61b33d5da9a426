"""Predicates over a view. Each returns the reasons why it is not met; an empty list means that it is.

They judge the lab as it is now, whichever node is primary: the plan says only which nodes there are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from labctl.model.slots import SLOTS
from labctl.model.topology import Kind, Role

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from labctl.model.plan import LabPlan
    from labctl.model.view import ClusterView, NodeView, SentinelView, View

_NAMED = 5
"""How many nodes a reason names before it only counts them."""


def healthy(plan: LabPlan, view: View) -> list[str]:
    """Strict agreement of all nodes, the state in which a lab is handed out and to which it must recover.

    Every kind: each node answers and has loaded its data; each replica's link is up. Standalone: nobody follows anybody.
    Sentinel: every Sentinel names the same primary with the same epoch, CKQUORUM is ok, it sees every peer and every
    replica, none of them suspected or disconnected, no failover under way, no TILT; each data node plays the part it
    is seen in. Cluster: every node gives the same roles, epochs and slots, all slots are ok, the epochs of primaries
    differ, every bus link is up, and each node plays the part that the table gives it.
    """
    reasons = [_down(node) for node in view.nodes if not node.up]
    reasons += [f"{n.name} is loading its data" for n in view.nodes if n.loading]
    reasons += _links(view)
    match plan.topology.kind:
        case Kind.STANDALONE:
            reasons += [f"{n.name} follows {n.follows}" for n in view.data_nodes if n.role is Role.REPLICA]
        case Kind.REPLICA:
            reasons += _one_primary(view)
        case Kind.SENTINEL:
            reasons += _one_primary(view)
            reasons += _sentinels(plan, view)
        case Kind.CLUSTER:
            reasons += _cluster(plan, view)
    return reasons


def converged(plan: LabPlan, view: View) -> list[str]:
    """Every replica holds exactly its primary's data: same replication id, same offset.

    Only meaningful once writes have stopped; keep-alive pings, one each 10 s, move offsets too.
    """
    reasons = [_down(node) for node in view.nodes if not node.up and plan.node(node.name).role is not Role.SENTINEL]
    nodes = {node.name: node for node in view.data_nodes}
    for node in nodes.values():
        if node.role is not Role.REPLICA:
            continue
        primary = nodes.get(node.follows or "")
        if primary is None or node.link_up is not True:
            reasons.append(f"{node.name} is not linked to its primary {node.follows}")
        elif primary.replid != node.replid:
            reasons.append(
                f"{node.name} has replication id {node.replid[:8]}, its primary {primary.name} {primary.replid[:8]}"
            )
        elif primary.offset != node.offset:
            reasons.append(f"{node.name} is at offset {node.offset}, its primary {primary.name} at {primary.offset}")
    return reasons


def without(out: Collection[str], plan: LabPlan, view: View) -> tuple[LabPlan, View]:
    """The lab and its view without nodes that were taken out of it."""
    if not out:
        return plan, view
    nodes = tuple(node for node in plan.nodes if node.name not in out)
    return replace(plan, nodes=nodes), replace(view, nodes=tuple(n for n in view.nodes if n.name not in out))


def primaries(view: View) -> tuple[NodeView, ...]:
    """Nodes that are up and call themselves primary: one a shard, more while a failover or a split brain lasts."""
    return tuple(node for node in view.nodes if node.up and node.role is Role.PRIMARY)


def primary(view: View) -> str | None:
    """The primary of a lab that is no Cluster. Where Sentinels answer, their majority decides.

    None when there is no majority among the Sentinels that are up, or no single primary.
    """
    beliefs = [node.sentinel.primary for node in view.nodes if node.sentinel is not None]
    if beliefs:
        best = max(set(beliefs), key=beliefs.count)
        return best if beliefs.count(best) * 2 > len(beliefs) else None
    own = primaries(view)
    return own[0].name if len(own) == 1 else None


def replicas_of(view: View, name: str) -> tuple[str, ...]:
    """Names of the nodes that are up and follow `name`."""
    return tuple(node.name for node in view.nodes if node.up and node.follows == name)


def slot_owner(view: View, slot: int) -> str | None:
    """The primary that most Cluster nodes list as the owner of a slot; None when nobody owns it or none answers."""
    owners = [
        entry.name
        for node in view.nodes
        if node.cluster is not None
        for entry in node.cluster.table
        if any(first <= slot <= last for first, last in entry.slots)
    ]
    return max(set(owners), key=owners.count) if owners else None


def _down(node: NodeView) -> str:
    return f"{node.name} does not answer: {node.error}"


def _links(view: View) -> list[str]:
    return [
        f"{node.name}'s replication link to {node.follows} is {'loading a full copy' if node.syncing else 'down'}"
        for node in view.data_nodes
        if node.role is Role.REPLICA and not node.link_up
    ]


def _one_primary(view: View) -> list[str]:
    """Exactly one primary, and every replica's chain ends at it."""
    own = primaries(view)
    if len(own) != 1:
        return [f"{_list(n.name for n in own) or 'no node'} called primary, wanted exactly one"]
    follows = {node.name: node.follows for node in view.data_nodes}
    return [
        f"{name} follows {source}, which is no node of the lab that is up"
        for name, source in follows.items()
        if source is not None and source not in follows
    ]


def _sentinels(plan: LabPlan, view: View) -> list[str]:
    reasons: list[str] = []
    seen = {node.name: node.sentinel for node in view.nodes if node.sentinel is not None}
    reasons += [
        f"{n.name} does not watch the primary: {n.error}"
        for n in view.nodes
        if n.role is Role.SENTINEL and n.sentinel is None
    ]
    beliefs = {(s.primary, s.config_epoch) for s in seen.values()}
    if len(beliefs) > 1:
        reasons.append(
            "Sentinels disagree: "
            + _list(f"{name} says {s.primary} at epoch {s.config_epoch}" for name, s in seen.items())
        )
    own = primaries(view)
    for name, sentinel in seen.items():
        if len(own) == 1 and sentinel.primary != own[0].name:
            reasons.append(f"{name} names {sentinel.primary} primary, but {own[0].name} is")
        reasons += [f"{name}: {reason}" for reason in _sentinel(plan, name, sentinel)]
    return reasons


def _sentinel(plan: LabPlan, name: str, view: SentinelView) -> list[str]:
    reasons = [] if view.quorum_ok else [view.quorum_error]
    if view.primary_flags != ("master",):
        reasons.append(f"flags of {view.primary} are {','.join(view.primary_flags)}")
    if view.failover_state not in ("none", "no-failover"):
        reasons.append(f"a failover is under way ({view.failover_state})")
    if view.tilt:
        reasons.append("in TILT mode")
    wanted = (
        ("replica", {n.name for n in plan.data_nodes} - {view.primary}, view.replicas),
        ("Sentinel", {n.name for n in plan.sentinels} - {name}, view.sentinels),
    )
    for what, names, peers in wanted:
        found = [peer.name for peer in peers]
        reasons += [f"does not know {what} {missing}" for missing in sorted(names - set(found))]
        reasons += [f"knows a {what} {other} that the lab has not" for other in sorted(set(found) - names)]
        reasons += [f"{peer.name} is {','.join(peer.flags)}" for peer in peers if not peer.well]
        reasons += [f"replication link of {peer.name} not seen as ok" for peer in peers if peer.link_ok is False]
    return reasons


def _cluster(plan: LabPlan, view: View) -> list[str]:
    reasons: list[str] = []
    seen = {node.name: node.cluster for node in view.nodes if node.cluster is not None}
    reasons += [f"{n.name}: {n.error}" for n in view.nodes if n.up and n.cluster is None]
    for name, cluster in seen.items():
        reasons += [f"{name}: {reason}" for reason in _cluster_node(plan, cluster)]
    if not seen:
        return reasons
    reference_name, reference = next(iter(seen.items()))
    reasons += [
        f"{name} and {reference_name} disagree about {_list(_differences(cluster, reference))}"
        for name, cluster in seen.items()
        if cluster.table != reference.table
    ]
    reasons += [
        f"{name} is at epoch {cluster.current_epoch}, {reference_name} at {reference.current_epoch}"
        for name, cluster in seen.items()
        if cluster.current_epoch != reference.current_epoch
    ]
    epochs = [entry.epoch for entry in reference.table if entry.role is Role.PRIMARY and entry.slots]
    if len(set(epochs)) != len(epochs):
        reasons.append("primaries share a config epoch")
    return reasons + _parts(view, reference)


def _cluster_node(plan: LabPlan, cluster: ClusterView) -> list[str]:
    reasons = [] if cluster.state else ["cluster_state is fail"]
    if cluster.slots_ok != SLOTS:
        reasons.append(f"{cluster.slots_ok} of {SLOTS} slots ok")
    known = {entry.name for entry in cluster.table}
    lists = (
        ("does not know", sorted({node.name for node in plan.nodes} - known)),
        ("suspects", cluster.suspects),
        ("calls failed", cluster.failed),
        ("has no bus link to", cluster.disconnected),
        ("has not heard from", cluster.silent),
        ("is still meeting", cluster.handshakes),
    )
    return reasons + [f"{what} {_list(names)}" for what, names in lists if names]


def _differences(one: ClusterView, other: ClusterView) -> list[str]:
    return sorted({entry.name for entry in set(one.table) ^ set(other.table)})


def _parts(view: View, reference: ClusterView) -> list[str]:
    """Each node's own role and primary against the table."""
    entries = {entry.name: entry for entry in reference.table}
    return [
        f"{node.name} is {_part(node.role, node.follows)} but seen as {_part(entry.role, entry.follows)}"
        for node in view.data_nodes
        if (entry := entries.get(node.name)) is not None and (node.role, node.follows) != (entry.role, entry.follows)
    ]


def _part(role: Role | None, follows: str | None) -> str:
    return f"replica of {follows}" if role is Role.REPLICA else str(role)


def _list(names: Iterable[str]) -> str:
    """Names for a sentence, the first few of many."""
    every = list(names)
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more
