"""Faults that meet: each goes on, is proven and is reverted whatever another one does to the same servers and links."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from labctl.errors import LabError
from tests.support.command import until
from tests.support.needs import require_for
from tests.system.faults.trial import Trial

pytestmark = pytest.mark.system


@pytest.fixture
def lab(trial: Callable[[str], Trial]) -> Iterator[Trial]:
    one = trial("replica")
    one.until_well()
    yield one
    one.heal()
    one.until_well()
    assert one.residue() == []


def connected(lab: Trial) -> int:
    return int(lab.ask("redis-2", "INFO", "clients").split("connected_clients:")[1].split()[0])


def test_connections_that_a_restart_ended_are_there_again(lab: Trial) -> None:
    lab.fault("connection-storm", "redis-2", connections=200)
    lab.fault("restart", "redis-2")
    until(lambda: connected(lab) > 200, "200 connections after the restart")
    assert {fault["trouble"] for fault in lab.heal()} == {""}
    until(lambda: connected(lab) < 200, "connections to be closed")


def test_a_big_key_is_made_again_after_a_restart_and_removed_in_the_end(lab: Trial) -> None:
    lab.fault("big-key", "redis-1", members=20_000)
    (key,) = lab.ask("redis-1", "KEYS", "labctl:*")
    lab.fault("restart", "redis-1")
    until(
        lambda: lab.ask("redis-1", "EXISTS", key) == 1 and lab.ask("redis-1", "SCARD", key) == 20_000, "the key again"
    )
    lab.heal()
    assert lab.ask("redis-1", "KEYS", "labctl:*") == []


def test_what_holds_a_server_back_ends_when_its_server_was_gone_meanwhile(lab: Trial) -> None:
    lab.fault("client-pause", "redis-2")
    lab.fault("kill", "redis-2")
    healed = lab.heal()
    assert {fault["kind"] for fault in healed} == {"client-pause", "kill"}
    assert lab.ask("redis-2", "PING") == "PONG"


def test_a_cut_ends_behind_a_delay_that_stays(lab: Trial) -> None:
    cut = lab.fault("partition", "redis-2")
    lab.fault("latency", "redis-2", ms=400)
    assert [fault["id"] for fault in lab.agent.call("DELETE", "/faults", id=cut["id"])["faults"]] == [cut["id"]]
    assert [fault["kind"] for fault in lab.faults()] == ["latency"]


@pytest.mark.parametrize("kind", ["failing-fsync", "no-fork"])
def test_a_frozen_server_cannot_be_made_to_run_into_a_fault(lab: Trial, kind: str) -> None:
    """Which is said, and keeps nothing from being reverted."""
    require_for(kind)
    lab.fault("pause", "redis-2")
    with pytest.raises(LabError, match="redis-2 is frozen"):
        lab.fault(kind, "redis-2")
    assert [fault["kind"] for fault in lab.faults()] == ["pause"]
    lab.heal()
    assert lab.ask("redis-2", "PING") == "PONG"


def test_a_save_that_failed_is_made_good_while_another_one_runs(lab: Trial) -> None:
    require_for("no-fork")
    lab.ask("redis-1", "SET", "labctl:slow", "saved")
    lab.ask("redis-1", "CONFIG", "SET", "save", "3600 1")
    lab.fault("no-fork", "redis-1")
    until(lambda: "rdb_last_bgsave_status:err" in lab.ask("redis-1", "INFO", "persistence"), "a save that failed")
    lab.ask("redis-1", "CONFIG", "SET", "rdb-key-save-delay", 300_000)  # microseconds a key
    try:
        lab.heal()
        assert "rdb_last_bgsave_status:ok" in lab.ask("redis-1", "INFO", "persistence")
    finally:
        lab.ask("redis-1", "CONFIG", "SET", "rdb-key-save-delay", 0)
        lab.ask("redis-1", "CONFIG", "SET", "save", "")
        lab.ask("redis-1", "DEL", "labctl:slow")
