"""What a dry run says would follow: the rules of Sentinel and Cluster on a made-up view."""

from __future__ import annotations

from random import Random

import pytest

from labctl.faults.consequences import consequences
from labctl.faults.kind import Context
from labctl.faults.registry import complete, plan_fault
from labctl.model.fault import Fault
from labctl.model.topology import Kind, Topology
from tests.support.views import CLUSTER, REPLICA, SENTINEL, healthy_view, plan_of

CAREFUL = Topology(
    "careful", Kind.SENTINEL, replicas=2, sentinels=3, directives={"all": (("min-replicas-to-write", "1"),)}
)


def _said(topology: Topology, kind: str, target: str, lasts_s: float | None = 30.0) -> str:
    plan = plan_of(topology)
    view = healthy_view(plan)
    fault = complete(Fault(kind, target, lasts_s), in_cluster=topology.kind is Kind.CLUSTER)
    actions = plan_fault(fault, Context(plan, view, Random(1)))
    return " ".join(consequences(plan, view, actions, lasts_s))


@pytest.mark.parametrize(
    ("topology", "kind", "target", "said"),
    [
        (SENTINEL, "kill", "primary", "Failover to redis-2 or redis-3"),
        (SENTINEL, "kill", "primary,redis-2", "Failover to redis-3"),
        (SENTINEL, "kill", "primary,replicas", "No failover: no replica"),
        (SENTINEL, "kill", "primary,sentinel-1,sentinel-2", "No failover: 1 Sentinels are no majority"),
        (SENTINEL, "kill", "sentinel-1", "They all still reach redis-1: no failover"),
        (SENTINEL, "kill", "replicas", "redis-1 loses its last replica"),
        (SENTINEL, "kill", "redis-2", "redis-2 would no longer follow redis-1; redis-3 would"),
        (SENTINEL, "partition", "primary,clients", "split brain"),
        (CAREFUL, "partition", "primary,clients", "then refuses writes"),
        (CAREFUL, "kill", "replicas", "it will refuse writes"),
        (CLUSTER, "kill", "redis-1", "redis-4 takes over its 5461 slots"),
        (CLUSTER, "kill", "shard:1", "5461 slots without an owner: all keys answer CLUSTERDOWN"),
        (CLUSTER, "kill", "redis-1,redis-2", "No majority: no failover"),
        (CLUSTER, "partition", "redis-1", "redis-1 in the minority refuse commands"),
        (REPLICA, "kill", "primary", "nothing fails over"),
    ],
)
def test_what_follows(topology: Topology, kind: str, target: str, said: str) -> None:
    assert said in _said(topology, kind, target)


def test_a_fault_that_is_over_before_anybody_minds() -> None:
    assert "ends before down-after-milliseconds" in _said(SENTINEL, "pause", "primary", 0.5)
    assert "ends before cluster-node-timeout" in _said(CLUSTER, "pause", "redis-1", 0.5)


def test_nothing_to_say_of_a_lab_that_notices_nothing() -> None:
    assert _said(CLUSTER, "bandwidth", "redis-1") == ""
