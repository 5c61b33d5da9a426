"""Two views and what changed between them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labctl.model.topology import Role
from labctl.model.view import ClusterView, NodeView, SentinelView, View
from labctl.observe.changes import changes, epoch_of

A = NodeView("a", up=True, role=Role.PRIMARY)
B = NodeView("b", up=True, role=Role.REPLICA, follows="a", link_up=True)
BELIEF = SentinelView(
    node_id="s" * 40, primary="a", primary_flags=("master",), config_epoch=4, failover_state="none", quorum=2,
    quorum_ok=True, quorum_error="", replicas=(), sentinels=(), tilt=False,
)  # fmt: skip
S = NodeView("s", up=True, role=Role.SENTINEL, sentinel=BELIEF)
CLUSTER = ClusterView("c" * 40, state=True, current_epoch=9, my_epoch=7, slots_assigned=16384, slots_ok=16384, table=())


def view(*nodes: NodeView) -> View:
    return View(1, nodes)


def down(node: NodeView, error: str = "refused") -> NodeView:
    return NodeView(node.name, up=False, error=error)


def told(old: View | None, new: View) -> list[str]:
    return [change.text for change in changes(old, new)]


def test_the_first_view_tells_where_everybody_is() -> None:
    assert [(c.kind, c.node, c.detail["role"]) for c in changes(None, view(A, B, S))] == [
        ("role", "a", "primary"),
        ("role", "b", "replica"),
    ]


def test_nothing_changed_nothing_is_told() -> None:
    busier = (replace(A, offset=99, keys=5), replace(B, offset=98, lag_bytes=1), S)
    assert told(view(A, B, S), view(*busier)) == []


def test_down_and_up_again() -> None:
    assert told(view(A), view(down(A))) == ["a does not answer: refused"]
    assert told(view(down(A)), view(down(A, "timeout"))) == []
    assert told(view(down(A)), view(A)) == ["a answers again", "a is primary"]
    assert told(None, view(down(A))) == ["a does not answer: refused"]


def test_promotion_carries_its_epoch() -> None:
    promoted = replace(B, role=Role.PRIMARY, follows=None, link_up=None)
    moved = replace(S, sentinel=replace(BELIEF, primary="b", config_epoch=5))
    found = changes(view(A, B, S), view(A, promoted, moved))
    assert [(c.kind, c.text) for c in found] == [
        ("role", "b is primary (epoch 5)"),
        ("sentinel", "s sends clients to b (epoch 5)"),
    ]
    assert found[0].detail == {"role": "primary", "follows": None, "epoch": 5}


def test_a_replica_that_follows_another_is_a_change_of_role() -> None:
    assert told(view(A, B), view(A, replace(B, follows="c"))) == ["b is a replica of c"]


def test_the_replication_link() -> None:
    cut = replace(B, link_up=False)
    assert told(view(B), view(cut)) == ["b: replication link to a is down"]
    assert told(view(cut), view(B)) == ["b: replication link to a is up"]


@pytest.mark.parametrize(
    ("belief", "text"),
    [
        (replace(BELIEF, primary_flags=("master", "s_down")), ["s: a is down for it"]),
        (
            replace(BELIEF, primary_flags=("master", "o_down", "s_down")),
            ["s: a is down for it", "s: a quorum agrees that a is down"],
        ),
        (replace(BELIEF, tilt=True), ["s enters TILT"]),
        (replace(BELIEF, config_epoch=5), []),  # no other primary: nothing for a person to know
    ],
)
def test_what_a_sentinel_believes(belief: SentinelView, text: list[str]) -> None:
    assert told(view(S), view(replace(S, sentinel=belief))) == text
    if belief.tilt:
        assert told(view(replace(S, sentinel=belief)), view(S)) == ["s leaves TILT"]


def test_a_cluster_that_fails_in_the_eyes_of_a_node() -> None:
    node = replace(A, cluster=CLUSTER)
    failed = replace(A, cluster=replace(CLUSTER, state=False))
    assert told(view(node), view(failed)) == ["a sees the cluster fail"]
    assert told(view(failed), view(node)) == ["a sees the cluster ok"]


def test_epochs() -> None:
    assert epoch_of(A, view(A)) == 0
    assert epoch_of(A, view(A, S, replace(S, name="t", sentinel=replace(BELIEF, config_epoch=6)))) == 6
    assert epoch_of(B, view(A, B, S)) == 0
    assert epoch_of(replace(A, cluster=CLUSTER), view(A, S)) == 7
