from __future__ import annotations

from dataclasses import replace

import pytest

from labctl.live.frame import Condition, EdgeKind, Node, Picture
from labctl.live.picture import MOST_OTHER_EDGES, draw, toxic_words, vote, with_traffic
from labctl.model.fault import CutLink, HoldDown, HoldToxic, Link, LinkState, ServerState
from labctl.model.plan import LabPlan
from labctl.model.topology import Kind, Role, Topology
from labctl.model.view import NodeView, View
from labctl.plan.links import between, links
from tests.support.pictures import change, seen, silent, with_groups
from tests.support.views import CLUSTER, REPLICA, SENTINEL, STANDALONE, healthy_view

BLACKHOLE, REFUSED, OPEN = LinkState.BLACKHOLE, LinkState.REFUSED, LinkState.OPEN


def named(picture: Picture, name: str) -> Node:
    return next(node for node in picture.nodes if node.name == name)


def tree(picture: Picture) -> list[list[tuple[str, int]]]:
    return [[(node.name, node.depth) for node in shard.nodes] for shard in picture.shards]


def edges(picture: Picture, kind: EdgeKind) -> list[tuple[str, str]]:
    return [(edge.source, edge.target) for edge in picture.edges if edge.kind is kind]


def promoted(view: View, new: str, *followers: str) -> View:
    """The view in which `new` is primary and `followers` replicate it."""
    nodes = [replace(view.node(new), role=Role.PRIMARY, follows=None, link_up=None, lag_bytes=None)]
    nodes += [replace(view.node(name), role=Role.REPLICA, follows=new, link_up=True) for name in followers]
    return change(view, *nodes)


@pytest.mark.parametrize(
    ("topology", "expected"),
    [
        (STANDALONE, [[("redis-1", 0)]]),
        (REPLICA, [[("redis-1", 0), ("redis-2", 1), ("redis-3", 1)]]),
        (SENTINEL, [[("redis-1", 0), ("redis-2", 1), ("redis-3", 1)]]),
        (
            CLUSTER,
            [[("redis-1", 0), ("redis-4", 1)], [("redis-2", 0), ("redis-5", 1)], [("redis-3", 0), ("redis-6", 1)]],
        ),
    ],
)
def test_every_kind_as_planned(topology: Topology, expected: list[list[tuple[str, int]]]) -> None:
    plan = with_groups(topology)
    picture = draw(seen(plan))
    assert tree(picture) == expected
    assert all(node.condition is Condition.UP for node in picture.nodes)
    assert [node.name for node in picture.sentinels] == [node.name for node in plan.sentinels]
    replicas = [(n.name, n.primary) for n in plan.data_nodes if n.primary]
    assert sorted(edges(picture, EdgeKind.REPLICATION)) == sorted(replicas)
    assert edges(picture, EdgeKind.WATCH) == [(s.name, "redis-1") for s in plan.sentinels]
    primaries = [n.name for n in plan.data_nodes if n.primary is None]
    assert len(edges(picture, EdgeKind.CLIENTS)) == 3 * len(primaries)
    assert not edges(picture, EdgeKind.OTHER)
    assert not any(edge.faulty for edge in picture.edges)


@pytest.mark.parametrize(
    ("server", "condition", "note"),
    [
        (ServerState.RUNNING, Condition.HUNG, "no answer within 1 s"),
        (ServerState.PAUSED, Condition.PAUSED, ""),
        (ServerState.GONE, Condition.DOWN, ""),
    ],
)
def test_a_node_that_does_not_answer_stays_where_it_was(server: ServerState, condition: Condition, note: str) -> None:
    plan = with_groups(CLUSTER)
    view = change(healthy_view(plan), silent("redis-2"))
    picture = draw(seen(plan, view, servers={"redis-2": server}))
    node = named(picture, "redis-2")
    assert (node.condition, node.note, node.role) == (condition, note, Role.PRIMARY)
    assert node.slots == "5461-10922" or node.slots.startswith("54")
    assert tree(picture)[1] == [("redis-2", 0), ("redis-5", 1)]
    assert not node.former, "nobody has taken its place"


def test_a_node_that_never_answered_stands_as_planned() -> None:
    plan = with_groups(REPLICA)
    nothing = View(1, tuple(silent(node.name) for node in plan.nodes))
    picture = draw(replace(seen(plan, nothing), before={}))
    assert tree(picture) == [[("redis-1", 0), ("redis-2", 1), ("redis-3", 1)]]
    assert {node.condition for node in picture.nodes} == {Condition.DOWN}


def test_after_a_failover_the_dead_primary_stands_last_and_clients_have_no_line_to_it() -> None:
    plan = with_groups(SENTINEL)
    view = change(promoted(healthy_view(plan), "redis-3", "redis-2"), silent("redis-1"))
    picture = draw(seen(plan, view, servers={"redis-1": ServerState.GONE}))
    assert tree(picture) == [[("redis-3", 0), ("redis-2", 1), ("redis-1", 0)]]
    assert named(picture, "redis-1").former
    assert {target for _, target in edges(picture, EdgeKind.CLIENTS)} == {"redis-3"}
    assert edges(picture, EdgeKind.REPLICATION) == [("redis-2", "redis-3")]


def test_two_primaries_of_a_split_brain_both_lead() -> None:
    plan = with_groups(SENTINEL)
    picture = draw(seen(plan, promoted(healthy_view(plan), "redis-2", "redis-3")))
    assert [node.name for node in picture.nodes if node.leads] == ["redis-1", "redis-2"]
    assert not any(node.former for node in picture.nodes)
    assert tree(picture) == [[("redis-1", 0), ("redis-2", 0), ("redis-3", 1)]]
    assert {target for _, target in edges(picture, EdgeKind.CLIENTS)} == {"redis-1", "redis-2"}


def test_a_replica_of_a_replica_is_deeper_and_a_circle_does_not_hang() -> None:
    plan = with_groups(REPLICA)
    view = healthy_view(plan)
    chained = change(view, replace(view.node("redis-3"), follows="redis-2"))
    assert tree(draw(seen(plan, chained))) == [[("redis-1", 0), ("redis-2", 1), ("redis-3", 2)]]
    circle = change(chained, replace(view.node("redis-2"), follows="redis-3"))
    assert sorted(tree(draw(seen(plan, circle)))[0]) == [("redis-1", 0), ("redis-2", 1), ("redis-3", 2)]
    stranger = change(view, replace(view.node("redis-3"), follows="10.0.0.1:6379"))
    assert tree(draw(seen(plan, stranger))) == [[("redis-1", 0), ("redis-2", 1), ("redis-3", 1)]]


def test_a_replica_that_moved_to_another_shard_is_drawn_there() -> None:
    plan = with_groups(CLUSTER)
    view = healthy_view(plan)
    moved = change(view, replace(view.node("redis-4"), follows="redis-2"))
    assert tree(draw(seen(plan, moved)))[:2] == [[("redis-1", 0)], [("redis-2", 0), ("redis-4", 1), ("redis-5", 1)]]


def test_the_link_of_a_replica() -> None:
    plan = with_groups(REPLICA)
    view = healthy_view(plan)
    down = change(
        view,
        replace(view.node("redis-2"), link_up=False),
        replace(view.node("redis-3"), link_up=False, syncing=True),
    )
    picture = draw(seen(plan, down))
    assert (named(picture, "redis-2").link, named(picture, "redis-3").link) == ("down", "sync")
    assert named(draw(seen(plan)), "redis-2").link == "up"


def partition(plan: LabPlan, *side: str) -> dict[Link, LinkState]:
    rest = {n.name for n in plan.nodes} | {g for g, _ in plan.client_hosts}
    return dict.fromkeys(between(plan, side, rest - set(side)), BLACKHOLE)


def test_a_partition_is_about_the_side_that_has_fewer() -> None:
    plan = with_groups(SENTINEL)
    cut = partition(plan, "redis-1", "clients-a")
    picture = draw(seen(plan, cut=cut, claims={7: [CutLink(link, BLACKHOLE) for link in cut]}))
    assert {node.name: node.faults for node in picture.nodes if node.faults} == {"redis-1": (7,)}
    assert named(picture, "redis-1").reach == "reaches only clients-a"
    assert named(picture, "redis-2").reach == ""
    replication = [edge for edge in picture.edges if edge.kind is EdgeKind.REPLICATION]
    assert all(edge.state is BLACKHOLE for edge in replication)
    clients = {edge.source: edge.state for edge in picture.edges if edge.kind is EdgeKind.CLIENTS}
    assert clients == {"clients": BLACKHOLE, "clients-a": OPEN, "clients-b": BLACKHOLE}


def test_what_a_cut_leaves_in_words() -> None:
    plan = with_groups(REPLICA)
    everything = {link: BLACKHOLE for link in links(plan) if "redis-1" in (link.source, link.target)}
    assert named(draw(seen(plan, cut=everything)), "redis-1").reach == "cut off from everybody"
    inbound = {link: REFUSED for link in everything if link.target == "redis-1" and link.source.startswith("redis")}
    assert named(draw(seen(plan, cut=inbound)), "redis-1").reach == ""
    inbound |= {link: REFUSED for link in everything if link.target == "redis-1"}
    assert named(draw(seen(plan, cut=inbound)), "redis-1").reach == (
        "cut from clients, clients-a, clients-b, one way only: redis-2, redis-3"
    )


def test_links_that_nothing_else_shows_are_drawn_once_a_pair_with_both_directions() -> None:
    plan = with_groups(REPLICA)
    cut = {
        Link("redis-3", "redis-2"): BLACKHOLE,
        Link("redis-2", "redis-3"): REFUSED,
        Link("redis-1", "redis-2"): BLACKHOLE,
    }
    picture = draw(seen(plan, cut=cut))
    others = [edge for edge in picture.edges if edge.kind is EdgeKind.OTHER]
    assert [(edge.source, edge.target, edge.state, edge.back) for edge in others] == [
        ("redis-2", "redis-3", REFUSED, BLACKHOLE),
        ("redis-1", "redis-2", BLACKHOLE, OPEN),
    ]
    assert not any(edge.faulty for edge in picture.edges if edge.kind is EdgeKind.REPLICATION)


def test_too_many_of_them_are_counted() -> None:
    plan = with_groups(Topology("big", Kind.CLUSTER, primaries=20, replicas=0))
    cut = partition(plan, *(f"redis-{number}" for number in range(1, 11)))
    picture = draw(seen(plan, cut=cut))
    others = [edge for edge in picture.edges if edge.kind is EdgeKind.OTHER]
    assert len(others) == MOST_OTHER_EDGES
    pairs = {frozenset((link.source, link.target)) for link in cut}
    shown = {frozenset((e.source, e.target)) for e in picture.edges if e.faulty}
    assert picture.hidden_edges == len(pairs) - len(shown) > 0


def test_toxics_are_on_the_lines_of_their_links() -> None:
    plan = with_groups(REPLICA)
    link = Link("redis-2", "redis-1")
    slow = [
        HoldToxic(link, "latency", stream, (("latency", 200), ("jitter", 0))) for stream in ("upstream", "downstream")
    ]
    picture = draw(seen(plan, claims={1: slow, 2: [HoldDown("redis-3")]}))
    (edge,) = [edge for edge in picture.edges if edge.faulty]
    assert (edge.source, edge.target, edge.toxics) == ("redis-2", "redis-1", ("latency 200 ms",))
    assert named(picture, "redis-3").faults == (2,)


def test_words_for_a_toxic() -> None:
    link = Link("a", "b")
    assert toxic_words(HoldToxic(link, "bandwidth", "upstream", (("rate", 64),))) == "bandwidth 64 kB/s"
    assert toxic_words(HoldToxic(link, "timeout", "upstream", (("timeout", 0),))) == "timeout"
    assert toxic_words(HoldToxic(link, "resp_error", "upstream", (("message", "OOM"),))) == "resp_error"


def with_belief(view: View, name: str, **fields: object) -> NodeView:
    node = view.node(name)
    assert node.sentinel is not None
    return replace(node, sentinel=replace(node.sentinel, **fields))  # type: ignore[arg-type]


def test_what_sentinels_believe_and_hold_against_it() -> None:
    plan = with_groups(SENTINEL)
    view = healthy_view(plan)
    odd = with_belief(
        view, "sentinel-2", primary_flags=("master", "o_down", "s_down"), failover_state="wait_start", tilt=True,
        quorum_ok=False,
    )  # fmt: skip
    picture = draw(seen(plan, change(view, odd, silent("sentinel-3")), servers={"sentinel-3": ServerState.GONE}))
    belief = named(picture, "sentinel-2").belief
    assert belief is not None
    assert belief.words == ("o_down", "wait_start", "tilt"), "o_down says s_down too"
    assert not belief.quorum_ok
    assert named(picture, "sentinel-3").belief is None
    assert ("sentinel-3", "redis-1") not in edges(picture, EdgeKind.WATCH)
    calm = named(picture, "sentinel-1").belief
    assert calm is not None
    assert calm.words == ()


def test_a_vote_is_shown_until_a_newer_epoch() -> None:
    plan = with_groups(SENTINEL)
    view = healthy_view(plan)
    votes = {"sentinel-1": ("sentinel-2", 4)}
    for epoch, shown in ((4, "sentinel-2"), (3, "sentinel-2"), (5, "")):
        picture = draw(seen(plan, change(view, with_belief(view, "sentinel-1", config_epoch=epoch)), votes=votes))
        belief = named(picture, "sentinel-1").belief
        assert belief is not None
        assert belief.vote == shown


def test_whom_the_peers_voted_for() -> None:
    view = healthy_view(with_groups(SENTINEL))
    assert vote(view.node("sentinel-1")) is None
    assert vote(view.node("redis-1")) is None
    assert vote(with_belief(view, "sentinel-1", leader="itself", leader_epoch=3)) == ("sentinel-1", 3)
    assert vote(with_belief(view, "sentinel-1", leader="sentinel-3", leader_epoch=3)) == ("sentinel-3", 3)


def test_where_nodes_share_an_address_clients_are_anyone() -> None:
    plan = with_groups(REPLICA)
    shared = replace(plan, nodes=tuple(replace(node, own_ports=(node.port + 100, 0)) for node in plan.nodes))
    cut = {Link("anyone", "redis-1"): BLACKHOLE}
    picture = draw(seen(shared, cut=cut))
    assert picture.groups == ("anyone",)
    states = {(e.source, e.target): e.state for e in picture.edges}
    assert states == {
        ("redis-2", "redis-1"): BLACKHOLE,
        ("redis-3", "redis-1"): BLACKHOLE,
        ("anyone", "redis-1"): BLACKHOLE,
    }


def test_slots_are_shortened() -> None:
    plan = with_groups(CLUSTER)
    view = healthy_view(plan)
    node = view.node("redis-1")
    assert node.cluster is not None
    own = tuple(
        replace(entry, slots=((0, 5), (7, 7), (9, 12), (20, 30))) if entry.name == "redis-1" else entry
        for entry in node.cluster.table
    )
    many = change(view, replace(node, cluster=replace(node.cluster, table=own)))
    assert named(draw(seen(plan, many)), "redis-1").slots == "0-5 7 +2"


def test_what_lines_carry_where_it_was_counted() -> None:
    picture = with_traffic(draw(seen(with_groups(REPLICA))), {Link("redis-2", "redis-1"): 1500.0})
    carried = {(edge.source, edge.target): edge.bytes_per_s for edge in picture.edges}
    assert carried["redis-2", "redis-1"] == 1500.0
    assert carried["redis-3", "redis-1"] is None
