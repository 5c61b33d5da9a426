"""What a user may rely on besides the undo: overlap, honesty about what failed, and hands off strangers."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path

import pytest

from labctl.runtime.marker import Marked, send_signal
from tests.support.client import lab_client
from tests.system.faults.trial import Case, Trial

pytestmark = pytest.mark.system


@pytest.fixture
def lab(trial: Callable[[str], Trial]) -> Iterator[Trial]:
    one = trial("sentinel")
    one.until_well()
    yield one
    one.run("heal")
    one.until_well()
    assert one.residue() == []


def test_overlapping_faults_never_undo_each_other(lab: Trial) -> None:
    """Three faults on the same links and server, healed in every order: what is left holds exactly what it claims."""
    faults = (
        ("partition", "redis-3", "--for", "60s"),
        ("isolate", "redis-3", "--set", "how=reject", "--for", "60s"),
        ("partition", "--from", "clients-a", "--to", "redis-3", "--for", "60s"),
    )
    link = "clients-a.to.redis-3"
    for order in permutations(range(3)):
        ids = [lab.run("chaos", *fault, "-o", "json").data["id"] for fault in faults]
        for healed, index in enumerate(order, start=1):
            lab.run("heal", str(ids[index]))
            left = set(range(3)) - set(order[:healed])
            cut = lab.status()["links"]["cut"]
            assert cut.get(link) == ("refused" if 1 in left else "blackhole" if left else None)
            assert ("clients-b.to.redis-3" in cut) == bool(left & {0, 1})


def test_a_frozen_server_that_was_killed_meanwhile_is_frozen_again(lab: Trial) -> None:
    frozen = lab.run("chaos", "pause", "redis-3", "-o", "json").data["id"]
    killed = lab.run("chaos", "kill", "redis-3", "-o", "json").data["id"]
    lab.run("heal", str(killed))
    assert lab.status()["servers"]["redis-3"] == "paused"
    lab.run("heal", str(frozen))
    assert lab.status()["servers"]["redis-3"] == "running"


def test_drifts_on_top_of_each_other_go_back_to_where_it_began(lab: Trial) -> None:
    began = lab.ask("redis-1", "CONFIG", "GET", "maxclients")
    first = lab.run("chaos", "config-drift", "redis-1", "--set", "name=maxclients", "--set", "value=500", "-o", "json")
    lab.run("chaos", "config-drift", "redis-1", "--set", "name=maxclients", "--set", "value=600")
    lab.run("heal", str(first.data["id"]))
    assert lab.ask("redis-1", "CONFIG", "GET", "maxclients")[1] == "600"
    lab.run("heal")
    assert lab.ask("redis-1", "CONFIG", "GET", "maxclients") == began


def test_a_drift_survives_a_restart_and_its_undo_reaches_the_file(lab: Trial) -> None:
    """A server that is started again has forgotten the drift; a rewritten configuration has not."""
    drift = ("chaos", "config-drift", "redis-3", "--set", "name=hz", "--set", "value=33")
    lab.run(*drift)
    lab.ask("redis-3", "CONFIG", "REWRITE")
    lab.run("chaos", "restart", "redis-3")
    assert lab.ask("redis-3", "CONFIG", "GET", "hz")[1] == "33"
    lab.run("heal")
    lab.run("chaos", "restart", "redis-3")
    assert lab.ask("redis-3", "CONFIG", "GET", "hz")[1] != "33"


def test_an_undo_that_fails_names_what_remains_and_stops_no_other(lab: Trial) -> None:
    path = lab.folder / "nodes" / "redis-3" / "redis.conf"
    text = path.read_text()
    lab.run("chaos", "kill", "redis-3", "--for", "120s")
    lab.run("chaos", "pause", "redis-2", "--for", "120s")
    lab.run("chaos", "partition", "sentinel-3", "--for", "120s")
    path.write_text("no such directive\n")
    try:
        refused = lab.run("heal", code=5)
        assert "redis-3" in refused.err
        assert "(kill)" in refused.err
        assert "pause" not in refused.err
        assert [fault["kind"] for fault in lab.faults()] == ["kill"]
        assert lab.faults()[0]["trouble"]
        assert lab.status()["servers"]["redis-2"] == "running"
        assert lab.status()["links"]["cut"] == {}
    finally:
        path.write_text(text)
    lab.run("heal", code=None)  # or it was tried again in between
    assert lab.faults() == []


def test_a_fault_without_effect_is_reported_and_leaves_nothing(lab: Trial) -> None:
    value = lab.ask("redis-1", "CONFIG", "GET", "maxclients")[1]
    same = lab.run("chaos", "config-drift", "redis-1", "--set", "name=maxclients", "--set", f"value={value}", code=4)
    assert "nothing has changed" in same.err
    lab.run("chaos", "kill", "redis-3")
    again = lab.run("chaos", "kill", "redis-3", code=4)
    assert "no effect" in again.err
    assert len(lab.faults()) == 1


def test_mistakes_are_told_and_nothing_is_done(lab: Trial) -> None:
    for arguments, complaint in (
        (("latency", "primary", "--set", "ms=-1"), "ms=-1"),
        (("latency", "primary", "--set", "ms=many"), "ms=many"),
        (("latency", "primary", "--set", "speed=1"), "no parameter 'speed'"),
        (("partition", "redis-9"), "redis-9"),
        (("kill", "clients-a"), "names clients"),
        (("kill", "bridge"), "shape"),
        (("kill", "redis-1", "--from", "redis-2"), "no direction"),
        (("partition", "redis-1", "--to", "redis-2"), "twice"),
        (("power-loss", "sentinel-1"), "Sentinel"),
        (("cluster-failover", "redis-1"), "Cluster"),
        (("shutdown", "redis-1", "--set", "options=please"), "PLEASE"),
        (("command-error", "primary", "--set", "error=MOVED"), "MOVED"),
    ):
        assert complaint in lab.run("chaos", *arguments, code=2).err
    assert lab.faults() == []


def test_a_default_duration_and_forever(lab: Trial) -> None:
    assert 0 < lab.run("chaos", "pause", "redis-3", "-o", "json").data["ends_in_s"] <= 30
    lab.run("heal")
    assert lab.run("chaos", "pause", "redis-3", "--forever", "-o", "json").data["ends_in_s"] is None


def test_dry_run_does_nothing(lab: Trial) -> None:
    said = lab.run("chaos", "kill", "primary", "--dry-run").out
    assert "Failover to" in said
    assert lab.faults() == []
    assert set(lab.status()["servers"].values()) == {"running"}


def test_a_process_that_is_not_ours_is_never_signalled(lab: Trial) -> None:
    """A pid that was taken over by a stranger, and one that claims to be of another lab."""
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        lab_id = lab.labctl.plan(lab.name)["lab_id"]
        assert not send_signal(Marked(stranger.pid, lab_id, "redis-1", leader=False), signal.SIGKILL)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_power_loss_takes_what_was_not_fsynced_and_a_kill_does_not(
    trial: Callable[[str], Trial], tmp_path: Path
) -> None:
    """`appendfsync no`: nothing is durable but by chance, and SIGKILL alone would never show it."""
    lab = trial("sentinel")
    labctl = lab.labctl
    path = tmp_path / "unsynced.yaml"
    path.write_text("kind: standalone\npersistence: {aof: no}\ndirectives: {all: {auto-aof-rewrite-percentage: 0}}\n")
    labctl.run("up", str(path), "--with", "disk-faults")
    one = Trial(labctl, "unsynced")
    try:
        client = lab_client(labctl.plan("unsynced"), "redis-1", direct=True)
        client.ask("SET", "a", "1")
        one.run("chaos", "restart", "redis-1")
        assert client.ask("GET", "a") == "1"
        client.ask("SET", "b", "2")
        lost = one.run("chaos", "power-loss", "redis-1", "-o", "json").data["evidence"]
        assert "are lost" in lost
        one.run("heal")
        assert client.ask("GET", "b") is None
    finally:
        labctl.run("down", "unsynced")


def test_without_the_shim_it_says_what_would_help(trial: Callable[[str], Trial]) -> None:
    labctl = trial("sentinel").labctl
    labctl.run("up", "standalone")
    try:
        refused = labctl.run("chaos", "slow-fsync", "redis-1", "--lab", "standalone", code=2)
        assert "--with disk-faults" in refused.err
    finally:
        labctl.run("down", "standalone")


def test_without_a_compiler_it_says_so(trial: Callable[[str], Trial]) -> None:
    command = trial("sentinel").labctl
    empty = type(command)(command.home, env={"PATH": os.devnull})
    refused = empty.run(
        "up", "standalone", "--name", "nocc", "--engine", "/usr/bin/redis-server", "--with", "disk-faults", code=2
    )
    assert "C compiler" in refused.err


def test_a_restart_is_over_when_the_command_is(lab: Trial) -> None:
    before = lab.labctl.servers()["redis-3"].pid
    lab.inject(Case("restart", "sentinel", ("redis-3",)))
    assert lab.faults() == []
    assert lab.labctl.servers()["redis-3"].pid != before
