"""A Cluster's `nodes.conf`, written before the first start so that nodes know each other without any handshake.

Format: Redis source, `clusterLoadConfig`; the same lines as `CLUSTER NODES` plus a `vars` line.
"""

from __future__ import annotations

from labctl.model.plan import ANNOUNCED_HOST, LabPlan, NodePlan
from labctl.model.topology import Role
from labctl.plan.layout import slot_range
from labctl.plan.versions import Version

SWAP_MAX_NODES = 30
"""Largest Cluster that is formed by swapped roles and takeovers. Beyond it the 2 s that the swap saves are less than
what its rounds of gossip cost on two cores, as `benchmarks/bringup.py` shows."""


def starts_swapped(plan: LabPlan) -> bool:
    """Whether each shard starts with its first replica as primary, to be taken over by the planned primary.

    A node that starts as primary refuses to call the Cluster writable for 2 s (`CLUSTER_WRITABLE_DELAY`, compiled
    in); one that starts as replica and becomes primary while the Cluster is fine does not wait.
    """
    return plan.topology.replicas > 0 and len(plan.nodes) <= SWAP_MAX_NODES


def first_primary(plan: LabPlan, shard: int, *, swapped: bool | None = None) -> NodePlan:
    """The node that owns a shard's slots when the servers start: the planned primary, or its stand-in when swapped."""
    role = Role.REPLICA if (starts_swapped(plan) if swapped is None else swapped) else Role.PRIMARY
    return next(node for node in plan.nodes if node.shard == shard and node.role is role)


def nodes_conf(plan: LabPlan, myself: NodePlan, *, swapped: bool | None = None) -> str:
    """Text of `nodes.conf` as `myself` starts from it; `swapped` as `starts_swapped` says unless stated.

    Config epochs are 1 … P, as `redis-cli --cluster create` gives them to primaries.
    """
    shard_ids = Version.parse(plan.engine_name).shard_ids
    owners = {shard: first_primary(plan, shard, swapped=swapped) for shard in range(1, plan.topology.primaries + 1)}
    lines = [_line(plan, node, owners[node.shard], myself, shard_ids=shard_ids) for node in plan.nodes]
    lines.append(f"vars currentEpoch {plan.topology.primaries} lastVoteEpoch 0")
    return "\n".join(lines) + "\n"


def _line(plan: LabPlan, node: NodePlan, owner: NodePlan, myself: NodePlan, *, shard_ids: bool) -> str:
    """`id address flags primary ping-sent pong-received epoch link slots`, as `node` is when the servers start."""
    shard = f",,shard-id={_shard_id(plan, node.shard)}" if shard_ids else ""
    address = f"{ANNOUNCED_HOST}:{node.port}@{node.bus_port}{shard}"
    flags = ("myself," if node is myself else "") + ("master" if node is owner else "slave")
    follows = "-" if node is owner else owner.node_id
    line = f"{node.node_id} {address} {flags} {follows} 0 0 {owner.shard} connected"
    if node is owner:
        first, last = slot_range(node.shard, plan.topology.primaries)
        line += f" {first}-{last}" if first != last else f" {first}"
    return line


def _shard_id(plan: LabPlan, shard: int) -> str:
    """40 hex digits that the shard's nodes share; servers would draw them, the primary's id reversed is as good."""
    return plan.node(f"redis-{shard}").node_id[::-1]
