from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from labctl.model.plan import Formation
from labctl.model.topology import Kind, Role, Topology
from labctl.plan.layout import SLOTS, ports_needed, slot_range
from tests.support.views import CLUSTER, SENTINEL, plan_of


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    kind = draw(st.sampled_from(Kind))
    return Topology(
        "t",
        kind,
        primaries=draw(st.integers(1, 50)) if kind is Kind.CLUSTER else 1,
        replicas=0 if kind is Kind.STANDALONE else draw(st.integers(0, 3)),
        sentinels=draw(st.integers(1, 7)) if kind is Kind.SENTINEL else 0,
    )


@given(topologies())
def test_every_declared_node_is_planned_once_with_addresses_of_its_own(topology: Topology) -> None:
    plan = plan_of(topology)
    assert Counter(node.role for node in plan.nodes) == Counter(
        {
            Role.PRIMARY: topology.primaries,
            Role.REPLICA: topology.primaries * topology.replicas,
            Role.SENTINEL: topology.sentinels,
        }
    )
    ports = [port for node in plan.nodes for port in (node.port, node.bus_port) if port is not None]
    assert len(ports) == len(set(ports)) == ports_needed(topology)
    for attribute in ("name", "host"):
        assert len({getattr(node, attribute) for node in plan.nodes}) == len(plan.nodes)
    ids = [node.node_id for node in plan.nodes if node.node_id]
    assert len(set(ids)) == len(ids)
    assert all(len(node_id) == 40 for node_id in ids)


@given(topologies())
def test_each_primary_gets_its_replicas_and_stands_before_them(topology: Topology) -> None:
    plan = plan_of(topology)
    assert plan.nodes[0].name == "redis-1"
    assert plan.nodes[0].role is Role.PRIMARY
    position = {node.name: index for index, node in enumerate(plan.nodes)}
    for node in plan.nodes:
        if node.role is Role.REPLICA:
            assert node.primary is not None
            assert position[node.primary] < position[node.name]
            assert plan.node(node.primary).shard == node.shard
        else:
            assert node.primary is None
    followers = Counter(node.primary for node in plan.nodes if node.primary)
    assert all(followers[node.name] == topology.replicas for node in plan.nodes if node.role is Role.PRIMARY)


@given(st.integers(1, 1000))
def test_slots_are_covered_exactly_once_and_evenly(primaries: int) -> None:
    ranges = [slot_range(shard, primaries) for shard in range(1, primaries + 1)]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == SLOTS - 1
    assert all(last + 1 == first for (_, last), (first, _) in pairwise(ranges))
    sizes = {last - first + 1 for first, last in ranges}
    assert max(sizes) - min(sizes) <= 1


def test_the_same_random_source_gives_the_same_plan() -> None:
    assert plan_of(CLUSTER, seed=7) == plan_of(CLUSTER, seed=7)
    assert plan_of(CLUSTER, seed=7) != plan_of(CLUSTER, seed=8)


def test_only_a_cluster_has_bus_ports_and_slots() -> None:
    assert all(node.bus_port and node.node_id for node in plan_of(CLUSTER).nodes)
    assert not any(node.bus_port or node.slots for node in plan_of(SENTINEL).nodes)


def test_natural_servers_make_their_own_ids() -> None:
    assert not any(node.node_id for node in plan_of(CLUSTER, formation=Formation.NATURAL).nodes)
