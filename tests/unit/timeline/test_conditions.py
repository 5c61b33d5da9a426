"""What steps may wait for: each condition where it is met and where it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from labctl.model.conditions import converged, healthy
from labctl.model.scenario import Condition
from labctl.model.topology import Role, Topology
from labctl.model.view import NodeView, View
from labctl.timeline.conditions import CONDITIONS, Load, Look, argument_problem, not_met
from tests.support.views import CLUSTER, REPLICA, SENTINEL, STANDALONE, healthy_view, plan_of


def changed(view: View, name: str, **fields: Any) -> View:
    """The view with fields of one node changed; those of its Sentinel or Cluster part too, by their own names."""

    def how(node: NodeView) -> NodeView:
        own = {key: value for key, value in fields.items() if hasattr(node, key)}
        rest = {key: value for key, value in fields.items() if key not in own}
        if rest and node.sentinel is not None:
            own["sentinel"] = replace(node.sentinel, **rest)
        elif rest:
            assert node.cluster is not None
            own["cluster"] = replace(node.cluster, **rest)
        return replace(node, **own)

    return replace(view, nodes=tuple(how(node) if node.name == name else node for node in view.nodes))


def look(topology: Topology, now: View | None = None, load: Load | None = None) -> Look:
    plan = plan_of(topology)
    before = healthy_view(plan)
    now = before if now is None else now
    return Look(plan, before, now, load or Load(), tuple(healthy(plan, now)), tuple(converged(plan, now)))


def after(topology: Topology, name: str, **fields: Any) -> Look:
    return look(topology, changed(healthy_view(plan_of(topology)), name, **fields))


def down(topology: Topology, name: str) -> Look:
    view = healthy_view(plan_of(topology))
    gone = NodeView(name, up=False, error="gone")
    return look(topology, replace(view, nodes=tuple(gone if n.name == name else n for n in view.nodes)))


def sentinels_say(topology: Topology, primary: str) -> Look:
    view = healthy_view(plan_of(topology))
    for node in view.nodes:
        if node.sentinel is not None:
            view = changed(view, node.name, primary=primary)
    return look(topology, view)


WELL = look(SENTINEL)
CASES: list[tuple[str, str, Look, Look]] = [
    # condition, argument, where it is met, where it is not
    ("promoted", "", sentinels_say(SENTINEL, "redis-2"), WELL),
    ("promoted", "", after(REPLICA, "redis-2", role=Role.PRIMARY), look(REPLICA)),
    ("primary", "redis-2", sentinels_say(SENTINEL, "redis-2"), WELL),
    ("primary", "redis-1", look(CLUSTER), down(CLUSTER, "redis-1")),
    ("replica", "redis-2", look(REPLICA), after(REPLICA, "redis-2", link_up=False)),
    ("replica", "redis-1", after(REPLICA, "redis-1", role=Role.REPLICA, link_up=True), look(REPLICA)),
    ("healthy", "", WELL, down(SENTINEL, "redis-3")),
    ("unhealthy", "", down(SENTINEL, "redis-3"), WELL),
    ("converged", "", WELL, after(SENTINEL, "redis-2", offset=1)),
    ("down", "redis-1", down(STANDALONE, "redis-1"), look(STANDALONE)),
    ("up", "redis-1", look(STANDALONE), down(STANDALONE, "redis-1")),
    ("up", "redis-1", look(STANDALONE), after(STANDALONE, "redis-1", loading=True)),
    ("loading", "", after(STANDALONE, "redis-1", loading=True), look(STANDALONE)),
    ("link-down", "redis-2", after(REPLICA, "redis-2", link_up=False), after(REPLICA, "redis-3", link_up=False)),
    ("link-down", "", after(REPLICA, "redis-3", link_up=False), look(REPLICA)),
    ("link-up", "", look(REPLICA), after(REPLICA, "redis-3", link_up=False)),
    ("link-up", "", look(REPLICA), look(STANDALONE)),
    ("syncing", "redis-2", after(REPLICA, "redis-2", syncing=True), look(REPLICA)),
    ("sdown", "", after(SENTINEL, "sentinel-1", primary_flags=("master", "s_down")), WELL),
    ("sdown", "1", after(SENTINEL, "sentinel-1", primary_flags=("s_down",)), WELL),
    ("odown", "", after(SENTINEL, "sentinel-1", primary_flags=("o_down",)), WELL),
    ("failover", "", after(SENTINEL, "sentinel-1", failover_state="wait_start"), WELL),
    ("tilt", "", after(SENTINEL, "sentinel-1", tilt=True), WELL),
    ("quorum", "lost", after(SENTINEL, "sentinel-2", quorum_ok=False), WELL),
    ("quorum", "ok", WELL, after(SENTINEL, "sentinel-2", quorum_ok=False)),
    ("cluster-state", "fail", after(CLUSTER, "redis-1", state=False), look(CLUSTER)),
    ("cluster-state", "ok", look(CLUSTER), after(CLUSTER, "redis-1", state=False)),
    (
        "cluster-state",
        "fail on redis-1",
        after(CLUSTER, "redis-1", state=False),
        after(CLUSTER, "redis-2", state=False),
    ),
    ("cluster-state", "ok on redis-1", after(CLUSTER, "redis-2", state=False), down(CLUSTER, "redis-1")),
    ("failed", "redis-2", after(CLUSTER, "redis-1", failed=("redis-2",)), after(CLUSTER, "redis-1", failed=("redis-3",))),
    ("failed", "", after(CLUSTER, "redis-1", failed=("redis-2",)), look(CLUSTER)),
    ("migrating", "", after(CLUSTER, "redis-1", migrating=("[93->-x]",)), look(CLUSTER)),
    ("operations", "10", look(STANDALONE, load=Load(10)), look(STANDALONE, load=Load(9))),
    ("writes", "10", look(STANDALONE, load=Load(10, 10)), look(STANDALONE, load=Load(10, 9))),
    ("errors", "1", look(STANDALONE, load=Load(errors=1)), look(STANDALONE)),
    ("info", "evicted_keys > 0", after(REPLICA, "redis-2", counters={"evicted_keys": 1}), look(REPLICA)),
    (
        "info",
        "keys >= 5 on primary",
        after(REPLICA, "redis-1", counters={"keys": 5}),
        after(REPLICA, "redis-2", counters={"keys": 5}),
    ),
    (
        "info",
        "keys == 5 on redis-2",
        after(REPLICA, "redis-2", counters={"keys": 5}),
        after(REPLICA, "redis-1", counters={"keys": 5}),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "argument", "met", "unmet"), CASES)
def test_met_and_not_met(name: str, argument: str, met: Look, unmet: Look) -> None:
    condition = Condition(name, argument)
    assert not_met([condition], met) == []
    reasons = not_met([condition], unmet)
    assert reasons
    assert all(reason.startswith(f"{name} {argument}".strip()) for reason in reasons)


def test_every_condition_is_tried_here_and_says_what_it_means() -> None:
    assert {name for name, *_ in CASES} == set(CONDITIONS)
    assert all(kind.meaning for kind in CONDITIONS.values())


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("ok", None),
        ("fail on redis-6", None),
        ("broken", "`cluster-state` is ok or fail"),
        ("broken on redis-1", "`cluster-state` is ok or fail"),
        ("fail on primary", "`cluster-state`: `primary` is no node"),
        ("fail on redis-7", "`cluster-state`: `cluster` has no node `redis-7`"),
    ],
)
def test_the_state_of_a_cluster_is_asked_of_all_or_of_one(argument: str, problem: str | None) -> None:
    found = argument_problem("cluster-state", argument, CLUSTER)
    assert (found is None) if problem is None else (found or "").startswith(problem), found


def test_several_have_to_be_met_in_one_view() -> None:
    both = [Condition("healthy"), Condition("writes", "5")]
    assert not_met(both, look(SENTINEL, load=Load(9, 9))) == []
    assert [reason.partition(":")[0] for reason in not_met(both, down(SENTINEL, "redis-2"))][-1] == "writes 5"


@pytest.mark.parametrize("comparison", ["used_memory > 10mb", "keys", "keys > 1 on primary now", "> 5"])
def test_what_is_no_comparison(comparison: str) -> None:
    assert "is a comparison such as" in (argument_problem("info", comparison, STANDALONE) or "")
