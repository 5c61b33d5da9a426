from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from labctl.model.conditions import converged, healthy, primaries, primary, replicas_of, slot_owner
from labctl.model.topology import Role, Topology
from labctl.model.view import ClusterEntry, NodeView, PeerSeen, View
from tests.support.views import CLUSTER, REPLICA, SENTINEL, STANDALONE, healthy_view, plan_of

ALL = [STANDALONE, REPLICA, SENTINEL, CLUSTER]
Change = Callable[[NodeView], NodeView]


def change(view: View, name: str, how: Change) -> View:
    return replace(view, nodes=tuple(how(node) if node.name == name else node for node in view.nodes))


def node(**fields: Any) -> Change:
    return lambda view: replace(view, **fields)


def sentinel(**fields: Any) -> Change:
    def how(view: NodeView) -> NodeView:
        assert view.sentinel is not None
        return replace(view, sentinel=replace(view.sentinel, **fields))

    return how


def cluster(**fields: Any) -> Change:
    def how(view: NodeView) -> NodeView:
        assert view.cluster is not None
        return replace(view, cluster=replace(view.cluster, **fields))

    return how


def entry(name: str, **fields: Any) -> Change:
    """The line of `name` in the table of whichever node is changed."""

    def how(view: NodeView) -> NodeView:
        assert view.cluster is not None
        table = tuple(replace(line, **fields) if line.name == name else line for line in view.cluster.table)
        return replace(view, cluster=replace(view.cluster, table=table))

    return how


def hung(view: NodeView) -> NodeView:
    return NodeView(view.name, up=False, error="no answer within 1 s")


@pytest.mark.parametrize("topology", ALL, ids=lambda t: t.name)
def test_a_lab_as_planned_is_healthy_and_converged(topology: Topology) -> None:
    plan = plan_of(topology)
    assert healthy(plan, healthy_view(plan)) == []
    assert converged(plan, healthy_view(plan)) == []


@pytest.mark.parametrize("topology", ALL, ids=lambda t: t.name)
def test_any_node_down_or_loading_is_not_healthy(topology: Topology) -> None:
    plan = plan_of(topology)
    for name in [n.name for n in plan.nodes]:
        assert any(name in reason for reason in healthy(plan, change(healthy_view(plan), name, hung)))
    loading = change(healthy_view(plan), "redis-1", node(loading=True))
    assert healthy(plan, loading) == ["redis-1 is loading its data"]


BROKEN: list[tuple[Topology, str, Change, str]] = [
    (REPLICA, "redis-2", node(link_up=False), "redis-2's replication link to redis-1 is down"),
    (REPLICA, "redis-2", node(link_up=False, syncing=True), "redis-2's replication link to redis-1 is loading"),
    (REPLICA, "redis-2", node(role=Role.PRIMARY, follows=None), "redis-1, redis-2 called primary"),
    (REPLICA, "redis-1", node(role=Role.REPLICA, follows="redis-2", link_up=True), "no node called primary"),
    (REPLICA, "redis-2", node(follows="10.0.0.1:6379"), "redis-2 follows 10.0.0.1:6379"),
    (SENTINEL, "sentinel-1", sentinel(quorum_ok=False, quorum_error="NOQUORUM 1 usable"), "NOQUORUM"),
    (SENTINEL, "sentinel-1", sentinel(primary="redis-2"), "Sentinels disagree"),
    (SENTINEL, "sentinel-1", sentinel(config_epoch=3), "Sentinels disagree"),
    (SENTINEL, "sentinel-2", sentinel(primary_flags=("master", "s_down")), "flags of redis-1 are master,s_down"),
    (SENTINEL, "sentinel-2", sentinel(failover_state="wait_start"), "a failover is under way"),
    (SENTINEL, "sentinel-2", sentinel(tilt=True), "TILT"),
    (SENTINEL, "sentinel-3", sentinel(replicas=(PeerSeen("redis-2", ("slave",), link_ok=True),)), "replica redis-3"),
    (SENTINEL, "sentinel-3", sentinel(sentinels=()), "does not know Sentinel sentinel-1"),
    (SENTINEL, "sentinel-3", node(sentinel=None, error="ERR No such master with that name"), "No such master"),
    (CLUSTER, "redis-4", cluster(state=False), "redis-4: cluster_state is fail"),
    (CLUSTER, "redis-4", cluster(slots_ok=10_000), "10000 of 16384 slots ok"),
    (CLUSTER, "redis-4", cluster(suspects=("redis-1",)), "suspects redis-1"),
    (CLUSTER, "redis-4", cluster(failed=("redis-1",)), "calls failed redis-1"),
    (CLUSTER, "redis-4", cluster(disconnected=("redis-1",)), "no bus link to redis-1"),
    (CLUSTER, "redis-4", cluster(silent=("redis-1",)), "not heard from redis-1"),
    (CLUSTER, "redis-4", cluster(handshakes=("redis-1",)), "meeting redis-1"),
    (CLUSTER, "redis-4", cluster(current_epoch=9), "redis-4 is at epoch 9, redis-1 at 3"),
    (CLUSTER, "redis-4", entry("redis-2", epoch=8), "redis-4 and redis-1 disagree about redis-2"),
    (CLUSTER, "redis-4", entry("redis-2", slots=()), "disagree about redis-2"),
    (CLUSTER, "redis-4", cluster(table=()), "does not know redis-1, redis-2, redis-3, redis-4, redis-5 and 1 more"),
    (CLUSTER, "redis-4", node(cluster=None, error="LOADING"), "LOADING"),
    (CLUSTER, "redis-4", node(follows="redis-2"), "replica of redis-2 but seen as replica of redis-1"),
    (CLUSTER, "redis-4", node(link_up=False), "redis-4's replication link"),
]


@pytest.mark.parametrize(("topology", "name", "how", "reason"), BROKEN, ids=[row[3] for row in BROKEN])
def test_each_defect_is_named(topology: Topology, name: str, how: Change, reason: str) -> None:
    plan = plan_of(topology)
    reasons = healthy(plan, change(healthy_view(plan), name, how))
    assert any(reason in found for found in reasons), reasons


@pytest.mark.parametrize("flag", ["s_down", "o_down", "disconnected"])
def test_a_suspected_peer_is_not_healthy(flag: str) -> None:
    plan = plan_of(SENTINEL)
    peers = (PeerSeen("sentinel-2", (flag, "sentinel")), PeerSeen("sentinel-3", ("sentinel",)))
    reasons = healthy(plan, change(healthy_view(plan), "sentinel-1", sentinel(sentinels=peers)))
    assert reasons == [f"sentinel-1: sentinel-2 is {flag},sentinel"]


def test_a_replica_link_that_a_sentinel_sees_down_is_not_healthy() -> None:
    plan = plan_of(SENTINEL)
    seen = (PeerSeen("redis-2", ("slave",), link_ok=False), PeerSeen("redis-3", ("slave",), link_ok=True))
    reasons = healthy(plan, change(healthy_view(plan), "sentinel-1", sentinel(replicas=seen)))
    assert reasons == ["sentinel-1: replication link of redis-2 not seen as ok"]


def test_primaries_with_the_same_epoch_are_not_healthy() -> None:
    plan = plan_of(CLUSTER)
    view = healthy_view(plan)
    for member in plan.nodes:
        for name in ("redis-2", "redis-5"):
            view = change(view, member.name, entry(name, epoch=1))
    assert healthy(plan, view) == ["primaries share a config epoch"]


def test_health_goes_by_who_is_primary_now() -> None:
    plan = plan_of(SENTINEL)
    view = change(healthy_view(plan), "redis-1", node(role=Role.REPLICA, follows="redis-2", link_up=True))
    view = change(view, "redis-2", node(role=Role.PRIMARY, follows=None, link_up=None))
    view = change(view, "redis-3", node(follows="redis-2"))
    assert healthy(plan, view) != []
    for member in plan.sentinels:
        seen = tuple(PeerSeen(name, ("slave",), link_ok=True) for name in ("redis-1", "redis-3"))
        view = change(view, member.name, sentinel(primary="redis-2", config_epoch=1, replicas=seen))
    assert healthy(plan, view) == []
    assert primary(view) == "redis-2"
    assert replicas_of(view, "redis-2") == ("redis-1", "redis-3")


def test_a_chain_of_replicas_is_healthy() -> None:
    plan = plan_of(REPLICA)
    assert healthy(plan, change(healthy_view(plan), "redis-3", node(follows="redis-2"))) == []


def test_convergence_needs_the_same_data_and_offset() -> None:
    plan = plan_of(REPLICA)
    for how, reason in (
        (node(offset=139), "offset 139, its primary redis-1 at 140"),
        (node(replid="f" * 40), "replication id ffffffff"),
        (node(link_up=False), "redis-2 is not linked"),
        (hung, "redis-2 does not answer"),
    ):
        (found,) = converged(plan, change(healthy_view(plan), "redis-2", how))
        assert reason in found


def test_the_primary_is_what_most_sentinels_say() -> None:
    plan = plan_of(SENTINEL)
    split = change(healthy_view(plan), "redis-3", node(role=Role.PRIMARY, follows=None))
    assert [n.name for n in primaries(split)] == ["redis-1", "redis-3"]
    assert primary(split) == "redis-1"
    split = change(split, "sentinel-1", sentinel(primary="redis-3"))
    assert primary(split) == "redis-1"
    split = change(split, "sentinel-2", sentinel(primary="redis-3"))
    assert primary(split) == "redis-3"
    even = change(change(split, "sentinel-3", hung), "sentinel-2", sentinel(primary="redis-1"))
    assert primary(even) is None


def test_without_sentinels_two_primaries_are_none() -> None:
    plan = plan_of(REPLICA)
    assert primary(healthy_view(plan)) == "redis-1"
    assert primary(change(healthy_view(plan), "redis-2", node(role=Role.PRIMARY, follows=None))) is None


def test_slot_owner_goes_by_the_majority_of_tables() -> None:
    plan = plan_of(CLUSTER)
    view = healthy_view(plan)
    assert [slot_owner(view, slot) for slot in (0, 5460, 5461, 16383)] == ["redis-1", "redis-1", "redis-2", "redis-3"]
    stolen = (ClusterEntry("redis-4", "f" * 40, Role.PRIMARY, None, 9, ((0, 16383),)),)
    assert slot_owner(change(view, "redis-4", cluster(table=stolen)), 0) == "redis-1"
    assert slot_owner(View(0), 0) is None


@pytest.mark.parametrize("topology", ALL, ids=lambda t: t.name)
def test_a_view_is_json(topology: Topology) -> None:
    view = healthy_view(plan_of(topology))
    assert json.loads(json.dumps(view.to_dict()))["nodes"][0]["name"] == "redis-1"
