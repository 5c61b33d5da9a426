"""What a fault did is counted: one that nothing has met yet says so, and one that nothing ever met is no fault at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labctl.errors import LabError
from tests.support.client import Client, ErrorReply, lab_client
from tests.support.command import until
from tests.support.needs import require_for
from tests.system.faults.trial import Trial
from tests.system.test_topologies import engine_named

pytestmark = pytest.mark.system

VISITORS: dict[str, Any] = {"target": "redis-2", "origin": "clients-a"}
"""Links that nobody uses but the test."""


@pytest.fixture
def lab(trial: Callable[[str], Trial]) -> Iterator[Trial]:
    one = trial("sentinel")
    one.until_well()
    yield one
    one.heal()
    one.until_well()
    assert one.residue() == []


def visitor(lab: Trial) -> Client:
    return lab_client(lab.labctl.plan(lab.name), "redis-2", group="clients-a")


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "latency", "ms": 20},
        {"kind": "bandwidth", "rate": 1000},
        {"kind": "bandwidth", "rate": 1000, "stream": "down"},
        {"kind": "slow-close", "ms": 100},
        {"kind": "slow-close", "ms": 100, "stream": "down"},
        {"kind": "timeout", "ms": 0},
        {"kind": "reset", "ms": 0},
        {"kind": "slice", "us": 0},
        {"kind": "slice", "us": 0, "stream": "down"},
        {"kind": "limit-data"},
        {"kind": "limit-data", "stream": "up"},
        {"kind": "command-delay", "command": "ping"},
        {"kind": "command-error", "command": "p*"},
        {"kind": "command-drop"},
        {"kind": "command-truncate"},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
def test_a_toxic_is_asked_something_that_it_must_act_on(lab: Trial, fault: dict[str, Any]) -> None:
    lab.fault(**VISITORS, **fault)
    until(lambda: lab.faults()[0]["felt"] > 0, "an act of the toxic")


@pytest.mark.parametrize("kind", ["command-delay", "command-error", "command-drop", "command-truncate"])
def test_a_toxic_that_nothing_has_met_says_so_until_something_does(lab: Trial, kind: str) -> None:
    fault = lab.fault(kind, **VISITORS, command="get")
    assert (fault["felt"], fault["so_far"]) == (0, "in place, nothing has passed it yet")
    assert visitor(lab).ask("PING") == "PONG"
    (listed,) = lab.faults()
    assert listed["felt"] == 0
    assert "none of them is what it is meant for" in listed["so_far"]
    if kind == "command-error":
        with pytest.raises(ErrorReply, match="LOADING"):
            visitor(lab).ask("GET", "x")
    elif kind == "command-delay":
        visitor(lab).ask("GET", "x")
    else:
        with pytest.raises(OSError):  # noqa: PT011 - silence, or the end of the connection
            Client(**{**_fields(visitor(lab)), "timeout_s": 0.3}).ask("GET", "x")
    until(lambda: lab.faults()[0]["felt"] == 1, "the command to be met, should its client have been faster")
    (healed,) = lab.heal()
    assert healed["felt"] == 1


def _fields(client: Client) -> dict[str, Any]:
    return {"host": client.host, "port": client.port, "source": client.source}


def test_the_second_of_two_equal_toxics_counts_its_own_share(lab: Trial) -> None:
    lab.fault("command-error", **VISITORS, command="get")
    with pytest.raises(ErrorReply):
        visitor(lab).ask("GET", "x")
    assert lab.fault("command-error", **VISITORS, command="get")["felt"] == 0
    assert [fault["felt"] for fault in lab.faults()] == [1, 0]


def test_limits_are_in_place_before_they_are_met(lab: Trial) -> None:
    require_for("memory-limit")
    memory = lab.fault("memory-limit", "redis-2")
    assert (memory["felt"], memory["so_far"]) == (0, "in place, and the limit was not met yet")
    disk = lab.fault("disk-full", "redis-3", bytes=300_000)
    assert (disk["felt"], disk["so_far"]) == (0, "in place, and there is still room")
    lab.ask("redis-1", "SET", "labctl:big", "x" * 400_000)

    def met() -> bool:  # redis-3 writes to its disk when it has acknowledged already
        return bool(next(fault for fault in lab.faults() if fault["kind"] == "disk-full")["felt"] > 0)

    until(met, "writes that found no room")
    lab.heal()
    lab.ask("redis-1", "DEL", "labctl:big")
    lab.until_well()


def test_a_memory_limit_is_met(lab: Trial) -> None:
    require_for("memory-limit")
    fault = lab.fault("memory-limit", "redis-2", mb=8)
    assert fault["felt"] == 0
    swell = "local t = {} for i = 1, 64 do t[i] = string.rep(tostring(i), 1000000) end return #t"
    with pytest.raises((OSError, ErrorReply)):  # the kernel ends it
        lab.ask("redis-2", "EVAL", swell, 0)
    (healed,) = lab.heal()
    assert healed["felt"] > 0


def test_no_fork_is_proven_once_a_save_that_runs_has_ended(lab: Trial) -> None:
    require_for("no-fork")
    lab.ask("redis-1", "SET", "labctl:slow", "saved")
    lab.ask("redis-1", "CONFIG", "SET", "rdb-key-save-delay", 2_000_000)  # microseconds a key
    try:
        lab.ask("redis-1", "BGSAVE", "SCHEDULE")
        until(
            lambda: "rdb_bgsave_in_progress:1" in lab.ask("redis-1", "INFO", "persistence"), "a save that takes a while"
        )
        evidence = lab.fault("no-fork", "redis-1")["evidence"]
    finally:
        lab.ask("redis-1", "CONFIG", "SET", "rdb-key-save-delay", 0)
        lab.ask("redis-1", "DEL", "labctl:slow")
    assert "redis-1 ran into it" in evidence
    lab.heal()
    lab.until_well()


def test_a_backlog_overrun_ends_with_a_full_resync_for_each_replica(lab: Trial) -> None:
    before = _full_syncs(lab)
    lab.fault("backlog-overrun", "redis-2,redis-3")
    (healed,) = lab.heal()
    assert healed["felt"] == 2
    assert _full_syncs(lab) == before + 2


def _full_syncs(lab: Trial) -> int:
    return int(lab.ask("redis-1", "INFO", "stats").split("sync_full:")[1].split()[0])


def test_a_sentinel_is_told_the_wrong_time(trial: Callable[[str], Trial], tmp_path: Path) -> None:
    """In a lab of its own: a Sentinel whose clock jumped does nothing for half a minute."""
    path = tmp_path / "clocks.yaml"
    path.write_text("kind: sentinel\nreplicas: 1\nsentinels: 1\nsentinel: {quorum: 1}\n")
    labctl = trial("sentinel").labctl
    labctl.run("up", str(path), "--with", "disk-faults")
    try:
        for kind in ("clock-skew", "clock-drift"):
            assert "was told" in Trial(labctl, "clocks").fault(kind, "sentinel-1")["evidence"]
    finally:
        labctl.run("down", "clocks")


def test_commands_cannot_be_told_apart_through_tls(trial: Callable[[str], Trial]) -> None:
    labctl = trial("sentinel").labctl
    labctl.run("up", "standalone-tls-acl", "--name", "tls", "--engine", engine_named("redis-7"))
    lab = Trial(labctl, "tls")
    try:
        with pytest.raises(LabError, match="TLS"):
            lab.fault("command-error", "redis-1")
        lab.fault("slice", "redis-1", origin="clients-a")
        until(lambda: lab.faults()[0]["felt"] > 0, "an act of the toxic")
    finally:
        labctl.run("down", "tls")


SCENARIO = """
title: A fault that nothing meets
description: Nobody sends WAIT.
topology: standalone
duration: 2s
workloads: [{run: register, clients: 1, rate: 50}]
steps:
  - {at: 200ms, for: 1s, command-error: redis-1, with: {command: wait}}
checks:
  - {check: acked-writes, promise: nothing is lost, expect: holds}
"""


def test_a_drill_whose_fault_nothing_met_is_inconclusive(trial: Callable[[str], Trial], tmp_path: Path) -> None:
    path = tmp_path / "unmet.yaml"
    path.write_text(SCENARIO)
    said = trial("sentinel").labctl.run("drill", str(path), code=3)
    assert "took no effect" in said.out
