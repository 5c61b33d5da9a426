from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.live.board import State, board
from labctl.live.frame import Frame
from labctl.live.panels import broken_links, clients, planned, summary
from labctl.live.sketch import sketch
from labctl.model.fault import CutLink, HoldToxic, Link, LinkState, ServerState
from labctl.model.topology import Kind, Role, Topology
from labctl.plan.links import between
from tests.support.pictures import change, fault, frame, ping, seen, silent, with_groups
from tests.support.views import CLUSTER, REPLICA, SENTINEL, STANDALONE, healthy_view

BIG = Topology("big", Kind.CLUSTER, primaries=50, replicas=1)
WIDE = Topology("wide", Kind.REPLICA, replicas=12)
TOPOLOGIES = [STANDALONE, REPLICA, SENTINEL, CLUSTER, BIG, WIDE]
SIZES = [(80, 24), (160, 45), (100, 30), (40, 12), (20, 5), (250, 70)]
EVENTS = [{"seq": n, "at_s": 0.0, "kind": "role", "node": None, "text": f"redis-{n} is primary"} for n in range(40)]
BLACKHOLE = LinkState.BLACKHOLE


def shown(of: Frame, width: int, height: int, **fields: Any) -> list[str]:
    lines = board(State(of, fields.get("curves", {}), fields.get("events", EVENTS)), width, height)
    assert len(lines) == height
    assert max(line.cell_len for line in lines) <= width
    assert not any("\n" in line.plain for line in lines)
    return [line.plain for line in lines]


def usual(topology: Topology) -> Frame:
    plan = with_groups(topology)
    primaries = [node.name for node in plan.data_nodes if node.primary is None]
    pings = tuple(ping(group, name) for group, _ in plan.client_hosts for name in primaries)
    return frame(seen(plan), pings=pings, samples={"ops": 1234.0})


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda topology: topology.name)
def test_every_kind_fits_every_terminal(topology: Topology, size: tuple[int, int]) -> None:
    shown(usual(topology), *size)


@pytest.mark.parametrize("topology", [STANDALONE, REPLICA, SENTINEL, CLUSTER], ids=lambda topology: topology.name)
@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
def test_on_a_usual_terminal_every_server_has_a_box(topology: Topology, size: tuple[int, int]) -> None:
    text = "\n".join(shown(usual(topology), *size))
    plan = with_groups(topology)
    primaries = sum(node.primary is None for node in plan.data_nodes)
    assert text.count("╔═ ◆") == primaries
    assert text.count("╭─ ●") == len(plan.data_nodes) - primaries
    for node in plan.nodes:
        assert node.name in text
    assert "clients-b" in text
    assert "1.2k op/s" in text
    assert "● healthy" in text


def test_a_picture_of_a_sentinel_lab() -> None:
    plan = with_groups(SENTINEL)
    lines = [line.plain for line in sketch(frame(seen(plan)).picture, {}, 80, 10)]
    assert lines == [
        "                    ╔═ ◆ redis-1 primary ═════════════════╗",
        "                    ║ 0 op/s                              ║",
        "                    ║ 0 keys  0 B                         ║",
        "                    ╚═════════════════════════════════════╝",
        "                   ╭───────────────────┴────────────────────╮",
        "                   │                                        │",
        "╭─ ● redis-2 replica ─────────────────╮  ╭─ ● redis-3 replica ─────────────────╮",
        "│ lag 0 B                             │  │ lag 0 B                             │",
        "│ offset 140                          │  │ offset 140                          │",
        "╰─────────────────────────────────────╯  ╰─────────────────────────────────────╯",
    ]


def test_where_boxes_have_no_room_there_are_lines_and_then_marks() -> None:
    picture = usual(CLUSTER).picture
    lines = [line.plain for line in sketch(picture, {}, 80, 6)]
    assert [line.split()[1] for line in lines] == [f"redis-{n}" for n in (1, 4, 2, 5, 3, 6)]
    marks = [line.plain for line in sketch(picture, {}, 80, 3)]
    assert marks == ["◆redis-1 ●   ◆redis-2 ●   ◆redis-3 ●"]


def test_of_a_hundred_nodes_those_with_trouble_are_named_first() -> None:
    plan = with_groups(BIG)
    view = change(healthy_view(plan), silent("redis-33"))
    picture = frame(seen(plan, view, servers={"redis-33": ServerState.RUNNING})).picture
    every = "\n".join(line.plain for line in sketch(picture, {}, 80, 10))
    assert every.count("◆") == 49
    assert "?redis-33" in every
    few = [line.plain for line in sketch(picture, {}, 40, 4)]
    assert few[0].startswith("?redis-33")
    assert few[-1] == "… and 44 more shards"


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (ServerState.RUNNING, "? redis-1 does not answer"),
        (ServerState.PAUSED, "‖ redis-1 paused"),
        (ServerState.GONE, "✖ redis-1 down"),
    ],
)
def test_a_server_that_does_not_answer_is_drawn_as_what_it_is(server: ServerState, words: str) -> None:
    plan = with_groups(SENTINEL)
    view = change(healthy_view(plan), silent("redis-1"))
    text = "\n".join(shown(frame(seen(plan, view, servers={"redis-1": server})), 80, 24))
    assert words in text
    assert "was the primary" in text
    assert "┌╌" in text


def partitioned() -> Frame:
    """The primary is cut away with a client group, and its successor is at work."""
    plan = with_groups(SENTINEL)
    view = healthy_view(plan)
    split = change(
        view,
        replace(view.node("redis-2"), role=Role.PRIMARY, follows=None, link_up=None, lag_bytes=None),
        replace(view.node("redis-3"), follows="redis-2"),
    )
    side = {"redis-1", "clients-a"}
    rest = {n.name for n in plan.nodes} | {g for g, _ in plan.client_hosts}
    cut = dict.fromkeys(between(plan, side, rest - side), BLACKHOLE)
    claims = {1: [CutLink(link, BLACKHOLE) for link in cut]}
    pings = tuple(
        ping(group, name, 0.4 if (name == "redis-1") == (group == "clients-a") else None)
        for group, _ in plan.client_hosts
        for name in ("redis-1", "redis-2")
    )
    what = seen(plan, split, cut=cut, claims=claims)
    return frame(what, pings=pings, faults=(fault(),), reasons=("two primaries",), more_reasons=2)


def test_a_split_brain_shows_both_primaries_and_who_reaches_whom() -> None:
    lines = shown(partitioned(), 80, 24)
    text = "\n".join(lines)
    assert text.count("╔═ ◆") == 2
    assert "✂ reaches only clients-a" in text
    assert "fault 1 ═╝" in text
    assert "▲ two primaries +2" in lines[0]
    assert "clients-a redis-1 0.40 ms redis-2 silent ✂" in text
    assert "partition primary,clients-a" in text
    assert " 12 s ━━━━╌╌╌╌╌╌" in text


def test_events_fill_what_is_left_with_the_newest_at_the_bottom() -> None:
    lines = shown(usual(SENTINEL), 80, 40)
    assert lines[-1].endswith("redis-39 is primary")
    assert sum("is primary" in line for line in lines) > 10


def test_a_wide_terminal_has_faults_and_events_beside_the_picture() -> None:
    lines = shown(partitioned(), 160, 40)
    assert lines[1].rstrip().endswith("Faults")
    assert not lines[1].startswith("Faults")


def test_a_wide_terminal_has_room_for_charts() -> None:
    curves = {
        "ops": [10.0] * 50,
        "ms:clients:redis-1": [1.0] * 50,
        "ms:clients-a:redis-1": [2.0, -1.0],
        "lag:redis-2": [0.0],
    }
    text = "\n".join(shown(usual(SENTINEL), 160, 45, curves=curves))
    for title in (
        "Operations a second, all primaries  up to 10",
        "PING of the slowest client  up to 2.00 ms",
        "Replication lag",
    ):
        assert title in text
    assert "╳" in text, "one client had no answer"
    assert "Operations a second" not in "\n".join(shown(usual(SENTINEL), 160, 20, curves=curves))


def test_links_that_are_cut_or_slow_have_marks_of_their_own() -> None:
    plan = with_groups(REPLICA)
    link = Link("redis-2", "redis-1")
    slow = HoldToxic(Link("redis-3", "redis-1"), "latency", "upstream", (("latency", 50),))
    of = frame(seen(plan, cut={link: LinkState.REFUSED}, claims={1: [CutLink(link, LinkState.REFUSED)], 2: [slow]}))
    text = "\n".join(shown(of, 80, 24))
    assert "⊘ link refuses" in text
    assert "≈ latency 50 ms" in text
    words = [line.plain for line in broken_links(of)]
    assert words == ["redis-2 → redis-1  refused", "redis-3 ⇄ redis-1  latency 50 ms"]


def test_with_every_link_open_that_is_said() -> None:
    assert [line.plain for line in broken_links(usual(SENTINEL))] == ["Every link is open."]


def test_many_primaries_are_counted_for_clients_and_the_silent_ones_named() -> None:
    of = usual(CLUSTER)
    pings = tuple(replace(p, ms=None, error="silent") if p.node == "redis-2" else p for p in of.pings)
    lines = [line.plain for line in clients(replace(of, pings=pings), {}, 78)]
    assert len(lines) == 4
    assert lines[1].startswith("clients 2 of 3 primaries slowest 0.30 ms redis-2 silent")


def test_a_plan_says_first_what_would_follow() -> None:
    actions = [
        {"claim": "cut-link", "state": "blackhole", "link": {"source": f"a{n}", "target": "b"}} for n in range(9)
    ]
    text = planned({"consequences": ["Failover to redis-2."], "actions": actions}).plain
    assert text.splitlines()[0] == "Failover to redis-2."
    assert "cut 9 links: a0.to.b" in text
    assert text.endswith("a5.to.b …")


def test_a_plain_line_names_what_is_odd() -> None:
    plan = with_groups(SENTINEL)
    view = healthy_view(plan)
    odd = change(view, silent("redis-3"), replace(view.node("redis-2"), lag_bytes=1500))
    text = summary(
        frame(
            seen(plan, odd),
            reasons=("redis-3 does not answer",),
            faults=(fault(),),
            pings=(ping("clients", "redis-1"),),
        )
    )
    for words in (
        "unhealthy",
        "redis-1 primary",
        "redis-2 lag 1.5 kB",
        "redis-3 down",
        "fault 1 partition",
        "clients 0.30 ms",
    ):
        assert words in text
    assert "\n" not in text


@settings(max_examples=60)
@given(st.data())
def test_whatever_happens_to_a_lab_it_fits_the_terminal(data: st.DataObject) -> None:
    plan = with_groups(data.draw(st.sampled_from([REPLICA, SENTINEL, CLUSTER, WIDE])))
    view = healthy_view(plan)
    names = [node.name for node in plan.data_nodes]
    nodes = []
    for name in data.draw(st.lists(st.sampled_from(names), unique=True)):
        follows = data.draw(st.none() | st.sampled_from([*names, "10.0.0.1:6379"]))
        if data.draw(st.booleans()):
            nodes.append(silent(name))
        elif follows is None:
            nodes.append(replace(view.node(name), role=Role.PRIMARY, follows=None, link_up=None))
        else:
            nodes.append(replace(view.node(name), role=Role.REPLICA, follows=follows, link_up=data.draw(st.booleans())))
    servers = {n.name: data.draw(st.sampled_from(list(ServerState))) for n in nodes if not n.up}
    of = frame(seen(plan, change(view, *nodes), servers=servers))
    assert sorted(n.name for n in of.picture.nodes) == sorted(n.name for n in plan.nodes)
    width, height = data.draw(st.integers(10, 200)), data.draw(st.integers(3, 60))
    shown(of, width, height)
