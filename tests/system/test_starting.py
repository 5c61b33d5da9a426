"""Coming up where something is in the way: taken ports, servers that die, other labs, other commands."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import lab_client
from tests.support.command import FIRST_PORT, Labctl, until

pytestmark = pytest.mark.system


def ports(plan: Any) -> set[int]:
    return {port for node in plan["nodes"] for port in (node["port"], node["bus_port"]) if port}


def test_taken_ports_are_left_alone(labctl: Labctl) -> None:
    labctl.run("up", "cluster")
    wanted = ports(labctl.plan("cluster"))
    labctl.run("down")
    with ExitStack() as stack:
        held = set()
        for port in (FIRST_PORT, *wanted):
            listener = stack.enter_context(socket.socket())
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue  # another test's lab has it, which serves as well
            listener.listen()
            held.add(port)
        assert held
        up = labctl.run("up", "cluster")
        assert "port" not in up.err.lower(), "other ports are taken without a word"
        assert not ports(labctl.plan("cluster")) & held
        labctl.well()
        labctl.run("down")


@pytest.mark.parametrize(
    ("topology", "node", "words"),
    [
        ("kind: standalone\ndirectives: {all: {maxmemory-samples: -5}}", "redis-1", "maxmemory-samples"),
        ("kind: standalone\ndirectives: {all: {loadmodule: /nothere.so}}", "redis-1", "/nothere.so"),
        ("kind: replica\nreplicas: 1\ndirectives: {replica: {loadmodule: /nothere.so}}", "redis-2", "/nothere.so"),
        (
            "kind: sentinel\nreplicas: 1\nsentinels: 3\ndirectives: {sentinel: {loglevel: loudly}}",
            "sentinel-",
            "loglevel loudly",
        ),
    ],
    ids=["bad-value", "bad-module", "only-the-replica", "only-sentinels"],
)
def test_a_server_that_dies_at_start(labctl: Labctl, tmp_path: Path, topology: str, node: str, words: str) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(topology)
    done = labctl.run("up", str(own), code=4)
    assert f"{node}" in done.err
    assert "ended while the lab came up. Its last words:" in done.err
    assert words in done.err
    labctl.assert_nothing_left()


def test_a_drill_whose_lab_does_not_come_up(labctl: Labctl, tmp_path: Path) -> None:
    (tmp_path / "dies.yaml").write_text("kind: standalone\ndirectives: {all: {loadmodule: /nothere.so}}")
    scenario = tmp_path / "on-it.yaml"
    scenario.write_text(
        "title: It dies\ndescription: At start\ntopology: ./dies.yaml\nduration: 1s\nworkloads: [{run: set}]\n"
        "steps: []\nchecks: [{check: acked-writes, promise: nothing}]\n"
    )
    done = labctl.run("drill", str(scenario), code=4)
    assert "/nothere.so" in done.err
    labctl.assert_nothing_left()
    assert not (labctl.home / "runs").exists()


def test_two_labs_side_by_side(labctl: Labctl) -> None:
    first, second = labctl.start("up", "replica", "--name", "one"), labctl.start("up", "replica", "--name", "two")
    first.finish(code=0)
    second.finish(code=0)
    one, two = labctl.plan("one"), labctl.plan("two")
    assert not ports(one) & ports(two)
    assert [row["lab"] for row in labctl.json("ls")] == ["one", "two"]
    several = labctl.run("status", code=2).err
    assert "one, two" in several
    assert "--lab" in several

    assert lab_client(one, "redis-1").ask("SET", "whose", "one's") == "OK"
    assert lab_client(two, "redis-1").ask("GET", "whose") is None
    labctl.run("chaos", "isolate", "all", "--forever", "--lab", "one")
    assert lab_client(one, "redis-1").gives_no_answer()
    assert lab_client(two, "redis-1").answers()
    assert labctl.json("status", "--lab", "two")["faults"] == []
    labctl.run("down", "one")
    assert labctl.json("status")["lab"] == "two"
    labctl.run("down", "two")


def test_two_ups_of_one_name(labctl: Labctl) -> None:
    running = [labctl.start("up", "sentinel") for _ in range(3)]
    ended = sorted((each.finish() for each in running), key=lambda done: done.code)
    assert [done.code for done in ended] == [0, 2, 2]
    assert all("exists already" in done.err for done in ended[1:])
    labctl.well()
    labctl.run("down")


def test_two_faults_at_once(labctl: Labctl) -> None:
    labctl.run("up", "replica")
    running = [labctl.start("chaos", "pause", "redis-2,redis-3", "--for", "1h") for _ in range(3)]
    for each in running:
        each.finish(code=0)
    assert [fault["id"] for fault in labctl.json("chaos", "ls")] == [1, 2, 3]
    running = [labctl.start("chaos", "kill", "primary", "--for", "1h") for _ in range(2)]
    codes = sorted(each.finish().code for each in running)
    assert codes in ([0, 2], [0, 4]), "the second finds no process, or no primary"
    labctl.run("heal")
    assert set(labctl.json("status")["servers"].values()) == {"running"}
    labctl.run("down")


@pytest.mark.parametrize("lines", range(5))
def test_down_while_it_comes_up(labctl: Labctl, lines: int) -> None:
    """Whichever comes first, nothing is left and neither shows a traceback; what is said to be up was up."""
    up = labctl.start("up", "sentinel")
    up.said(lines)
    down = labctl.run("down", "sentinel", code=None)
    came_up = up.finish()
    assert down.code == 0 or "There is no lab" in down.err
    if came_up.code:
        assert came_up.code == 4
        assert "Lab sentinel was taken down while it came up." in came_up.err
    labctl.run("down", "sentinel", code=None)
    labctl.assert_nothing_left()


def test_up_and_down_at_random(labctl: Labctl) -> None:
    """Six commands of each kind at once on one name: in the end one more down leaves nothing."""
    running = [labctl.start(*args) for args in (("up", "standalone"), ("down", "standalone"), ("ls",)) * 6]
    ended = [each.finish() for each in running]
    assert {done.code for done in ended} <= {0, 2, 4}
    labctl.run("down", "--all")
    labctl.assert_nothing_left()


def test_other_verbs_while_it_comes_up(labctl: Labctl) -> None:
    up = labctl.start("up", "cluster", "--formation", "natural")
    until((labctl.lab_folder("cluster") / "plan.json").exists, "a lab that comes up")
    for verb in ("status", "env", "chaos kill", "cli redis-1 ping", "heal"):
        done = labctl.run(*verb.split(), code=None)
        formed = (labctl.lab_folder("cluster") / "formed").exists()
        assert (done.code == 4 and "still coming up" in done.err) or formed, str(done)
    assert labctl.run("up", "cluster", code=2).err.startswith("labctl: A lab called 'cluster' exists already")
    up.finish(code=0)
    labctl.run("down")


@pytest.mark.parametrize("words", ["up standalone", "drill password-rotation"])
@pytest.mark.parametrize("where", ["file", "/proc/nowhere/state"])
def test_a_state_folder_that_cannot_be_is_named(labctl: Labctl, tmp_path: Path, words: str, where: str) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / where  # an absolute path stands for itself
    done = replace(labctl, home=home).run(*words.split(), code=2)
    assert f"The state folder {home} cannot be used: " in done.err
    assert "LABCTL_HOME names another one." in done.err
    assert "Traceback" not in done.err
