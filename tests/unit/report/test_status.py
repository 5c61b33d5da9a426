"""What `status`, `ls` and `chaos` print, from the agent's answers."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console, RenderableType

from labctl.report.faults import render_fault, render_faults, render_healed
from labctl.report.status import render_labs, render_status


def text(renderable: RenderableType) -> str:
    console = Console(width=200, color_system=None, markup=False, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def rows(renderable: RenderableType) -> list[list[str]]:
    return [line.split() for line in text(renderable).splitlines() if line.strip()]


def node(name: str, **values: Any) -> dict[str, Any]:
    return {
        "name": name, "up": True, "error": "", "role": "primary", "follows": None, "link_up": None, "offset": 42,
        "lag_bytes": None, "keys": 7, "sentinel": None, "cluster": None, **values,
    }  # fmt: skip


def fault(**values: Any) -> dict[str, Any]:
    return {
        "id": 3, "kind": "kill", "target": "primary", "params": {}, "began_ns": 0, "ends_ns": 9, "ends_in_s": 12.4,
        "touches": ["redis-1"], "evidence": "redis-1 gone", "follow": False, "moved_from": None, "felt": None, "so_far": "",
        "reverting": False, "trouble": "", "ended": False, **values,
    }  # fmt: skip


def status(*nodes: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {
        "lab": "mine", "topology": "sentinel", "engine": "redis 7.0.15",
        "nodes": {n["name"]: {"role": n["role"], "address": "127.0.0.1:7001"} for n in nodes},
        "view": {"at_ns": 1, "nodes": list(nodes)}, "servers": {n["name"]: "running" for n in nodes},
        "links": {"total": 15, "cut": {}}, "faults": [], "unhealthy": [], "unconverged": [], **values,
    }  # fmt: skip


def test_a_healthy_lab() -> None:
    replica = node("redis-2", role="replica", follows="redis-1", link_up=True, offset=40, lag_bytes=2)
    shown = rows(render_status(status(node("redis-1"), replica)))
    assert shown[0] == ["mine", "sentinel", "on", "redis", "7.0.15", "healthy"]
    assert shown[1] == ["NODE", "ROLE", "SERVER", "ADDRESS", "FOLLOWS", "LINK", "OFFSET", "LAG", "KEYS"]
    assert shown[2] == ["redis-1", "primary", "running", "127.0.0.1:7001", "-", "-", "42", "-", "7"]
    assert shown[3] == ["redis-2", "replica", "running", "127.0.0.1:7001", "redis-1", "up", "40", "2", "B", "7"]
    assert shown[4:] == [["No", "fault", "is", "in", "force."], ["Links:", "15", "open"]]


def test_a_node_that_does_not_answer_says_why() -> None:
    dead = node("redis-1", up=False, error="Connection [refused]", role=None)
    shown = text(render_status(status(dead, unhealthy=["redis-1 does not answer"], servers={"redis-1": "gone"})))
    assert "unhealthy" in shown
    assert "Connection [refused]" in shown
    assert "gone" in shown


def test_many_reasons_are_counted() -> None:
    shown = text(render_status(status(node("redis-1"), unhealthy=[f"reason {n}" for n in range(9)])))
    assert "reason 5" in shown
    assert "reason 6" not in shown
    assert "3 more reasons" in shown


def test_sentinels_and_what_they_believe() -> None:
    belief = {
        "primary": "redis-1", "primary_flags": ["master", "s_down"], "config_epoch": 4, "quorum_ok": False, "tilt": True,
        "sentinels": [1, 2], "replicas": [1],
    }  # fmt: skip
    shown = text(render_status(status(node("redis-1"), node("sentinel-1", role="sentinel", sentinel=belief))))
    row = " ".join(shown[shown.index("sentinel-1") :].split())
    assert row.startswith("sentinel-1 running 127.0.0.1:7001 redis-1 4 fails 2 sentinels, 1 replicas s_down TILT")


def test_slots_of_a_cluster() -> None:
    def owner(*slots: tuple[int, int]) -> dict[str, Any]:
        return node(
            "redis-1", cluster={"table": [{"name": "redis-1", "slots": slots}, {"name": "x", "slots": [(5, 6)]}]}
        )

    assert rows(render_status(status(owner((0, 5460), (7, 7)))))[2][-2:] == ["0-5460", "7"]
    assert rows(render_status(status(owner())))[2][-1] == "-"
    assert rows(render_status(status(owner(*((n, n) for n in range(9))))))[2][-1] == "…"


def test_cut_links_are_named_up_to_a_dozen() -> None:
    cut = {f"clients.to.redis-{n}": "blackhole" for n in range(14)}
    shown = " ".join(text(render_status(status(node("redis-1"), links={"total": 15, "cut": cut}))).split())
    assert "Links: 1 open, 14 cut: clients.to.redis-0 (blackhole)" in shown
    assert "clients.to.redis-11" in shown
    assert "clients.to.redis-12" not in shown
    assert "and 2 more" in shown


def test_labs() -> None:
    broken = {"lab": "two", "state": "broken", "reason": "because"}
    healthy = {"lab": "one", "state": "healthy", "topology": "t", "engine": "redis", "nodes": 3, "faults": 0}
    assert [" ".join(row) for row in rows(render_labs([healthy, broken]))[1:]] == [
        "one healthy t redis 3 0",
        "two broken - - - -",
    ]
    assert "No lab is up" in text(render_labs([]))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, ["3", "kill", "primary", "12 s", "redis-1", "redis-1 gone"]),
        ({"ends_ns": None, "ends_in_s": None}, ["never"]),
        ({"reverting": True}, ["reverting"]),
        ({"trouble": "it stays"}, ["it stays"]),
        ({"touches": [f"link-{n}" for n in range(9)]}, ["link-5 … (9)"]),
    ],
)
def test_faults_in_force(values: dict[str, Any], words: list[str]) -> None:
    shown = " ".join(text(render_faults([fault(**values)])).split())
    assert all(word in shown for word in words)


def test_a_fault_just_injected_says_how_to_heal_it() -> None:
    shown = text(render_fault(fault()))
    assert "Fault 3: kill primary, for 12 s." in shown
    assert "Measured: redis-1 gone." in shown
    assert "labctl heal 3" in shown
    assert "until labctl heal" in text(render_fault(fault(ends_ns=None, ends_in_s=None)))


def test_healed_faults_say_what_was_felt_of_them() -> None:
    shown = text(
        render_healed([fault(), fault(id=4, kind="command-delay", felt=0, so_far="nothing has passed it yet")])
    )
    assert shown.splitlines()[0].strip() == "Healed: fault 3, 4."
    assert "4 command-delay primary: nothing has passed it yet" in shown
    assert "No fault" in text(render_healed([]))
