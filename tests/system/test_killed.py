"""labctl, its agent and its guard are interrupted and killed at every moment: what they did can always be undone."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.support.client import lab_client
from tests.support.command import Labctl, Running, kernel_state, labctl_at, send, until

pytestmark = pytest.mark.system

INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL


def at(moment: str, labctl: Labctl, up: Running) -> None:
    """Wait for a moment of `labctl up sentinel`, or until it has ended."""
    if moment == "name-claimed":
        until(lambda: labctl.lab_folder("sentinel").exists() or up.process.poll() is not None, "a lab's folder")
    elif moment != "at-once":
        up.said(STEPS.index(moment) + 1)


STEPS = ("ports-taken", "servers-started", "servers-answer", "sentinels-agree")
MOMENTS = ("at-once", "name-claimed", *STEPS)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [INT, TERM], ids=lambda number: number.name)
def test_up_is_interrupted(labctl: Labctl, number: signal.Signals, moment: str) -> None:
    """It cleans up by itself, or it was too late and the lab is up."""
    up = labctl.start("up", "sentinel")
    at(moment, labctl, up)
    up.send(number)
    began = moment != "at-once"
    ended = up.finish(began=began)
    if ended.code == 0:
        labctl.well()
        labctl.run("down")
    else:
        assert ended.code in (130, -number, *((1,) if not began else ())), "130 once a line of labctl runs"
        assert not ended.out
        until_nobody_is_left(labctl)
    labctl.assert_nothing_left()


@pytest.mark.parametrize("moment", MOMENTS)
def test_up_is_killed(labctl: Labctl, moment: str) -> None:
    """Its agent goes on and brings the lab up; down ends it at whatever stage it is."""
    up = labctl.start("up", "sentinel")
    at(moment, labctl, up)
    up.send(KILL)
    up.finish()
    if labctl.lab_folder("sentinel").exists():
        status = labctl.run("status", code=None)
        assert status.code == 0 or "still coming up" in status.err
        labctl.run("down")
    else:
        labctl.run("down", "--all")  # there may be a folder for labs without one in it
    until_nobody_is_left(labctl)
    labctl.assert_nothing_left()


def until_nobody_is_left(labctl: Labctl) -> None:
    """An agent whose command ended before it had a lab finds that out by itself, a little later."""
    until(lambda: not labctl.processes(), "an end of all processes")


def test_up_is_killed_and_the_lab_comes_up_all_the_same(labctl: Labctl) -> None:
    up = labctl.start("up", "sentinel")
    up.said(1)
    up.send(KILL)
    up.finish()
    until(lambda: labctl.run("status", code=None).code == 0, "a status")
    labctl.well()
    labctl.run("down")


def test_everything_is_killed_while_it_comes_up(labctl: Labctl) -> None:
    up = labctl.start("up", "sentinel", "--formation", "natural")  # so slow that it is not over before it is killed
    up.said(2)
    send(labctl.processes(), KILL)
    up.finish()
    assert "still coming up" in labctl.run("status", code=4).err
    labctl.run("down")


@pytest.mark.parametrize("number", [INT, TERM, KILL], ids=lambda number: number.name)
def test_down_is_interrupted(labctl: Labctl, number: signal.Signals) -> None:
    labctl.run("up", "replica")
    down = labctl.start("down")
    until(lambda: len(labctl.servers()) < 3 or down.process.poll() is not None, "a server that is gone")
    down.send(number)
    down.finish()
    if labctl.lab_folder("replica").exists():
        assert labctl.run("status", code=None).code in (0, 4)
        labctl.run("down")
    elif number == KILL:
        labctl.run("down", "--all")  # the lab is gone, but maybe not the folder that all labs share
    labctl.assert_nothing_left()


# The agent and its guard, with faults in force.


@pytest.mark.parametrize("victims", [("agent",), ("guard",), ("guard", "agent"), ("agent", "guard")], ids="-then-".join)
def test_agent_and_guard_are_killed(labctl: Labctl, victims: tuple[str, ...]) -> None:
    labctl.run("up", "replica")
    labctl.run("chaos", "pause", "redis-3", "--forever")
    labctl.run("chaos", "isolate", "redis-2", "--forever")
    labctl.run("chaos", "kill", "redis-1", "--forever")
    plan = labctl.plan("replica")
    guard, agent = labctl.agents()
    send([{"guard": guard, "agent": agent}[victim] for victim in victims], KILL)

    if victims == ("guard",):
        assert len(labctl.json("chaos", "ls")) == 3
        assert labctl.json("status")["servers"]["redis-3"] == "paused"
        labctl.run("heal")
    faults, status = labctl.json("chaos", "ls"), labctl.json("status")
    assert faults == []
    assert status["links"]["cut"] == {}
    assert set(status["servers"].values()) == {"running"}
    assert all(lab_client(plan, f"redis-{n}").ask("PING") == "PONG" for n in (1, 2, 3))
    labctl.run("chaos", "pause", "redis-3", "--for", "1h")
    assert labctl.json("chaos", "ls")[0]["id"] == 4, "numbers are not used twice"
    labctl.run("down")


def test_the_guard_reverts_without_any_command(labctl: Labctl) -> None:
    """CLI and agent are gone; nobody asks; all is undone."""
    labctl.run("up", "replica")
    plan = labctl.plan("replica")
    labctl.run("chaos", "pause", "redis-3", "--for", "1h")
    labctl.run("chaos", "isolate", "redis-2", "--for", "1h")
    assert lab_client(plan, "redis-2").gives_no_answer()
    frozen = labctl.servers()["redis-3"]
    assert frozen.status() == psutil.STATUS_STOPPED
    _, agent = labctl.agents()
    send([agent], KILL)
    until(lambda: frozen.status() != psutil.STATUS_STOPPED, "a server that goes on")
    until(lab_client(plan, "redis-2").answers, "an answer through the links")
    labctl.run("down")


def test_an_agent_that_is_killed_again_and_again(labctl: Labctl) -> None:
    labctl.run("up", "standalone")
    for _ in range(3):
        labctl.run("chaos", "pause", "redis-1", "--for", "1h")
        _, agent = labctl.agents()
        send([agent], KILL)
    assert labctl.well()["faults"] == []
    labctl.run("down")


def test_the_ports_of_a_lab_that_is_just_down_are_not_given_to_another(labctl: Labctl, tmp_path: Path) -> None:
    """Nor to one of another state folder: its servers would be taken for the first one's when that is back."""
    elsewhere = {"LABCTL_FIRST_PORT": "13001"}  # where no other test looks for ports
    labctl = replace(labctl, env=elsewhere)
    labctl.run("up", "standalone")
    guard, agent = labctl.agents()
    (server,) = labctl.servers().values()
    guard.suspend()  # or it would start the next agent at once
    try:
        send([agent, server], KILL)
        until(lambda: kernel_state(server) is None, "a dead server")
        with labctl_at(tmp_path / "other") as command:
            other = replace(command, env=elsewhere)
            other.run("up", "standalone", "--name", "other")
            assert other.plan("other")["nodes"][0]["port"] != labctl.plan("standalone")["nodes"][0]["port"]
            other.run("down")
    finally:
        guard.resume()
    labctl.run("down")


INJECTIONS = {
    "kill": ("chaos", "kill", "redis-1,redis-2", "--for", "1h"),
    "pause": ("chaos", "pause", "all", "--for", "1h"),
    "isolate": ("chaos", "isolate", "all", "--for", "1h"),
}


@pytest.mark.parametrize("fault", INJECTIONS)
def test_the_agent_is_killed_while_it_injects_and_while_it_heals(labctl: Labctl, fault: str) -> None:
    """At several moments of each: afterwards nothing of the fault is left, and the list of faults says so."""
    labctl.run("up", "replica")
    journal = labctl.lab_folder("replica") / "journal.jsonl"
    for delay_s in (0.0, 0.05):
        entries = _entries(journal)
        injecting = labctl.start(*INJECTIONS[fault])
        until(lambda known=entries: _entries(journal) > known, "an undo record")
        time.sleep(delay_s)  # not waited for anything: the moment is what is varied
        _kill_agent(labctl)
        assert injecting.finish().code in (0, 4)
        _assert_whole(labctl)

        labctl.run(*INJECTIONS[fault])
        healing = labctl.start("heal")
        until(lambda running=healing: _is_asking(running) or running.process.poll() is not None, "a heal under way")
        time.sleep(delay_s)
        _kill_agent(labctl)
        assert healing.finish().code in (0, 2, 4)
        _assert_whole(labctl)
    labctl.run("down")


def _entries(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def _is_asking(running: Running) -> bool:
    """Whether it is connected to the agent."""
    try:
        return bool(psutil.Process(running.process.pid).net_connections("unix"))
    except psutil.Error:
        return False


def _kill_agent(labctl: Labctl) -> None:
    _, agent = labctl.agents()
    send([agent], KILL)


def _assert_whole(labctl: Labctl) -> None:
    status = labctl.json("status")
    assert status["faults"] == []
    assert status["links"]["cut"] == {}
    assert set(status["servers"].values()) == {"running"}
    plan = labctl.plan("replica")
    assert all(lab_client(plan, f"redis-{n}").ask("PING") == "PONG" for n in (1, 2, 3))


@pytest.mark.parametrize("number", [TERM, INT], ids=lambda number: number.name)
def test_the_agent_is_told_to_end(labctl: Labctl, number: signal.Signals) -> None:
    """As at the machine's shutdown: it ends its servers and is not started again; down removes the rest."""
    labctl.run("up", "replica")
    _, agent = labctl.agents()
    send([agent], number)
    until(lambda: not labctl.processes(), "no process")
    assert labctl.lab_folder("replica").exists()
    assert set(labctl.json("status")["servers"].values()) == {"gone"}
    labctl.run("down")


def test_everything_of_a_lab_is_killed(labctl: Labctl) -> None:
    labctl.run("up", "replica")
    send(labctl.processes(), KILL)
    until(lambda: not labctl.processes(), "no process")
    status = labctl.json("status")
    assert set(status["servers"].values()) == {"gone"}
    assert status["unhealthy"]
    labctl.run("down")


def test_chaos_is_killed(labctl: Labctl) -> None:
    """The fault is the agent's from the moment that it is in the journal, and ends in time."""
    labctl.run("up", "replica")
    plan = labctl.plan("replica")
    for duration in ("8s", "1h"):  # the shorter one is seen by a look that takes a second
        chaos = labctl.start("chaos", "isolate", "redis-2", "--for", duration)
        until(lab_client(plan, "redis-2").gives_no_answer, "an isolated server")
        if duration == "1h":
            until(lambda: labctl.json("chaos", "ls"), "the fault, and not a machine that is busy with others")
        chaos.send(KILL)
        chaos.finish()
        if duration == "8s":
            until(lab_client(plan, "redis-2").answers, "a server that is back")
    (fault,) = labctl.json("chaos", "ls")
    assert fault["target"] == "redis-2"
    labctl.run("heal", str(fault["id"]))
    labctl.run("down")


@pytest.mark.parametrize("damage", ["plan.json", "request.json", "secrets.json"])
def test_a_damaged_state_file_is_named_and_down_still_works(labctl: Labctl, damage: str) -> None:
    labctl.run("up", "standalone")
    folder = labctl.lab_folder("standalone")
    text = (folder / damage).read_bytes()
    (folder / damage).write_bytes(text[: len(text) // 2])
    send(labctl.agents(), KILL)
    done = labctl.run("status", code=None)
    assert done.code == 4
    assert "damaged" in done.err
    (folder / damage).write_bytes(text)
    labctl.well()
    labctl.run("down")


def test_counting_processes_counts(labctl: Labctl) -> None:
    """The measure that every test of this file ends with does see what is there."""
    labctl.run("up", "replica")
    names = sorted(labctl.servers())
    assert names == ["redis-1", "redis-2", "redis-3"]
    assert len(labctl.processes()) == len(names) + len(labctl.agents())
    with pytest.raises(AssertionError):
        labctl.assert_nothing_left()
    ports = {n["port"] for n in labctl.plan("replica")["nodes"]}
    until(lambda: labctl.json("status")["links"]["api"], "the links' API, which comes when it is up already")
    status = labctl.json("status")
    apis = {urlsplit(url).port for url in (status["metrics"], *(f"http://{api}" for api in status["links"]["api"]))}
    assert {port for _, port in labctl.listeners()} == ports | apis
    assert len(labctl.files()) > len(names)
    labctl.run("down")
