from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.model.plan import LabPlan
from labctl.model.topology import Role
from labctl.model.view import ClusterView
from labctl.observe import parse
from labctl.plan.layout import SLOTS
from labctl.plan.nodes_conf import SWAP_MAX_NODES, nodes_conf, starts_swapped
from tests.support.views import CLUSTER, plan_of


def as_loaded(plan: LabPlan, name: str) -> ClusterView:
    """nodes.conf has the format of CLUSTER NODES, so the observer's parser reads it."""
    *nodes, variables = nodes_conf(plan, plan.node(name)).splitlines()
    assert variables == f"vars currentEpoch {plan.topology.primaries} lastVoteEpoch 0"
    return parse.cluster("\n".join(nodes), {}, parse.names(plan))


@given(
    primaries=st.integers(1, 60), replicas=st.integers(0, 3), engine=st.sampled_from(["redis 7.0.15", "valkey 9.1.2"])
)
def test_all_nodes_start_from_one_and_the_same_table(primaries: int, replicas: int, engine: str) -> None:
    plan = plan_of(replace(CLUSTER, primaries=primaries, replicas=replicas), engine)
    first = as_loaded(plan, plan.nodes[0].name)
    for node in plan.nodes[:: max(1, len(plan.nodes) // 7)]:
        loaded = as_loaded(plan, node.name)
        assert loaded.node_id == node.node_id
        assert loaded.table == first.table
    owned = sorted(slots for entry in first.table for slots in entry.slots)
    assert owned[0][0] == 0
    assert owned[-1][1] == SLOTS - 1
    assert all(last + 1 == start for (_, last), (start, _) in pairwise(owned))
    epochs = [entry.epoch for entry in first.table if entry.role is Role.PRIMARY]
    assert sorted(epochs) == list(range(1, primaries + 1))


@pytest.mark.parametrize(
    ("primaries", "replicas", "swapped"), [(3, 1, True), (3, 0, False), (SWAP_MAX_NODES, 1, False), (3, 2, True)]
)
def test_who_stands_in_for_whom(primaries: int, replicas: int, *, swapped: bool) -> None:
    plan = plan_of(replace(CLUSTER, primaries=primaries, replicas=replicas))
    assert starts_swapped(plan) is swapped
    roles = {entry.name: entry.role for entry in as_loaded(plan, "redis-1").table}
    assert (roles["redis-1"] is Role.REPLICA) is swapped
    shard_primaries = [plan.node(name).shard for name, role in roles.items() if role is Role.PRIMARY]
    assert sorted(shard_primaries) == list(range(1, primaries + 1))


def test_shard_ids_are_shared_by_a_shard_and_only_written_for_engines_that_read_them() -> None:
    assert "shard-id" not in nodes_conf(plan_of(CLUSTER, "redis 7.0.15"), plan_of(CLUSTER).nodes[0])
    plan = plan_of(CLUSTER, "redis 8.2.3")
    ids = {
        line.split()[0]: line.split()[1].partition("shard-id=")[2]
        for line in nodes_conf(plan, plan.nodes[0]).splitlines()[:-1]
    }
    shards = {node.shard: ids[node.node_id] for node in plan.nodes}
    assert all(ids[node.node_id] == shards[node.shard] for node in plan.nodes)
    assert len(set(shards.values())) == 3


def test_a_shard_of_one_slot_is_written_as_one_number() -> None:
    plan = plan_of(replace(CLUSTER, primaries=SLOTS, replicas=0))
    assert nodes_conf(plan, plan.nodes[0]).splitlines()[1].endswith(" connected 1")
