"""Plans without a machine, and the view that a healthy lab of such a plan gives."""

from __future__ import annotations

from random import Random

from labctl.model.plan import Formation, LabPlan
from labctl.model.topology import Kind, Role, Topology
from labctl.model.view import (
    AttachedReplica,
    ClusterEntry,
    ClusterView,
    NodeView,
    PeerSeen,
    SentinelView,
    View,
)
from labctl.plan.layout import SLOTS, layout, ports_needed

STANDALONE = Topology("standalone", Kind.STANDALONE)
REPLICA = Topology("replica", Kind.REPLICA, replicas=2)
SENTINEL = Topology("sentinel", Kind.SENTINEL, replicas=2, sentinels=3)
CLUSTER = Topology("cluster", Kind.CLUSTER, primaries=3, replicas=1)
REPLID = "8371445ba08b69f9ca0f0f9c13e0bd4b4e7a9b0c"


def plan_of(
    topology: Topology,
    engine_name: str = "redis 7.0.15",
    formation: Formation = Formation.SEEDED,
    seed: int = 1,
) -> LabPlan:
    """A plan with ports from 7001 on and hosts 127.9.0.k."""
    return layout(
        topology,
        lab=topology.name,
        lab_id="0" * 32,
        engine="/usr/bin/redis-server",
        engine_name=engine_name,
        hosts=lambda index: f"127.9.0.{index}",
        ports=range(7001, 7001 + ports_needed(topology)),
        client_hosts=(("clients", "127.0.0.1"),),
        rng=Random(seed),
        formation=formation,
    )


def healthy_view(plan: LabPlan) -> View:
    """What an observer sees of a lab that is just as planned."""
    nodes = [_data_node(plan, node.name) for node in plan.data_nodes]
    nodes += [
        NodeView(node.name, up=True, role=Role.SENTINEL, run_id="r", sentinel=_sentinel(plan, node.name))
        for node in plan.sentinels
    ]
    return View(at_ns=1, nodes=tuple(nodes))


def _data_node(plan: LabPlan, name: str) -> NodeView:
    node = plan.node(name)
    replica = node.role is Role.REPLICA
    return NodeView(
        name=name,
        up=True,
        role=node.role,
        follows=node.primary,
        link_up=True if replica else None,
        offset=140,
        replid=REPLID,
        lag_bytes=0 if replica else None,
        lag_s=0 if replica else None,
        replicas=tuple(
            AttachedReplica(other.name, "online", 140, 0) for other in plan.data_nodes if other.primary == name
        ),
        run_id="r",
        cluster=_cluster(plan, name) if plan.topology.kind is Kind.CLUSTER else None,
    )


def _sentinel(plan: LabPlan, name: str) -> SentinelView:
    return SentinelView(
        node_id=plan.node(name).node_id,
        primary="redis-1",
        primary_flags=("master",),
        config_epoch=0,
        failover_state="none",
        quorum=2,
        quorum_ok=True,
        quorum_error="",
        replicas=tuple(PeerSeen(n.name, ("slave",), link_ok=True) for n in plan.data_nodes[1:]),
        sentinels=tuple(PeerSeen(n.name, ("sentinel",)) for n in plan.sentinels if n.name != name),
        tilt=False,
    )


def _cluster(plan: LabPlan, name: str) -> ClusterView:
    table = tuple(
        ClusterEntry(n.name, n.node_id, n.role, n.primary, n.shard, (n.slots,) if n.slots else ()) for n in plan.nodes
    )
    return ClusterView(
        node_id=plan.node(name).node_id,
        state=True,
        current_epoch=plan.topology.primaries,
        my_epoch=plan.node(name).shard,
        slots_assigned=SLOTS,
        slots_ok=SLOTS,
        table=tuple(sorted(table, key=lambda entry: entry.name)),
    )
