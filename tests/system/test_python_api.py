"""Labs from Python: reached, broken, healed and gone, whatever happens to whoever uses them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

import labctl
from labctl.store.folders import lab_names
from labctl.testing.lab import RedisLab, attach, redis_lab
from labctl.testing.lifeline import LIFELINE
from tests.support.command import FIRST_PORT, REPOSITORY, Labctl, labctl_at, until

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labctl]:
    """A state folder for this process, empty in the end."""
    with pytest.MonkeyPatch.context() as patch, labctl_at(tmp_path_factory.mktemp("api") / "home") as command:
        patch.setenv("LABCTL_HOME", str(command.home))
        patch.setenv("LABCTL_FIRST_PORT", str(FIRST_PORT))
        yield command
        LIFELINE.close()
        until(lambda: not command.processes(), "the end of the lifeline")


@pytest.fixture(scope="module")
def lab(home: Labctl) -> Iterator[RedisLab]:
    with redis_lab("sentinel", changes={"sentinel": {"down-after": "500ms"}}) as lab:
        yield lab


@pytest.fixture
def healthy(lab: RedisLab) -> Iterator[RedisLab]:
    lab.until_healthy()
    yield lab
    assert lab.faults == []


def test_it_is_reached_in_every_way(healthy: RedisLab) -> None:
    lab = healthy
    with lab.redis() as client, redis.Redis.from_url(lab.url) as first:
        assert client.set("x", "1") is True
        assert client.get("x") == "1", "text unless stated otherwise"
        assert first.ping() is True
    with lab.redis("clients-a", decode_responses=False) as other:
        assert other.get("x") == b"1"
    peers = {connection.raddr for connection in psutil.Process().net_connections("tcp4") if connection.raddr}
    assert peers.isdisjoint([*lab.nodes.values(), *lab.sentinels]), (
        "a client that is closed closes everything that it opened"
    )
    with lab.admin("redis-2") as replica:
        assert replica.info("replication")["role"] == "slave"
    sentinel = redis.Sentinel(lab.sentinels, socket_timeout=2)
    assert sentinel.discover_master(lab.sentinel_name) == lab.nodes[lab.primary]
    for each in sentinel.sentinels:
        each.close()
    env = lab.env()
    assert env["REDIS_URL"] == lab.url == lab.urls[0]
    assert env["REDIS_SENTINELS"] == ",".join(f"{host}:{port}" for host, port in lab.sentinels)
    assert lab.primaries == (lab.primary,)
    assert set(lab.replicas) == set(lab.nodes) - {lab.primary}
    assert lab.unhealthy == ()
    assert "redis" in lab.engine
    assert lab.log("redis-1").stat().st_size > 0


def test_a_failover_under_load(healthy: RedisLab) -> None:
    lab, old = healthy, healthy.primary
    with lab.record("set", clients=2, rate=200) as recording:
        with lab.kill("primary") as fault:
            assert fault.touches == (old,)
            assert fault.in_force
            new = lab.until_primary(other_than=old)
        assert not fault.in_force
        with pytest.raises(labctl.UsageError, match="not over yet"):
            recording.history  # noqa: B018
    assert new != old
    assert [window.name for window in recording.history.faults()] == ["kill"]
    assert recording.require("convergence").stats["nodes"] == 3
    assert recording.require("sentinels-agree")
    assert recording.check("acked-writes").outcome is not labctl.Outcome.UNKNOWN
    with pytest.raises(AssertionError, match="refusals: unknown"):
        recording.require("refusals")


def test_a_fault_ends_with_its_block_when_that_fails(healthy: RedisLab) -> None:
    seen = []

    def breaks() -> None:
        with healthy.isolate("replicas") as fault:
            seen.append((fault, healthy.faults[0]["id"]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        breaks()
    ((fault, number),) = seen
    assert number == fault.number
    assert not fault.in_force
    fault.heal()


def test_a_deadline_comes_before_the_end_of_the_block(healthy: RedisLab) -> None:
    lab = healthy
    with lab.latency("replicas", ms=5, from_="clients", for_s=0.2) as fault:
        until(lambda: not fault.in_force, "its deadline")


def test_any_fault_by_its_name(healthy: RedisLab) -> None:
    lab = healthy
    with lab.fault("command-error", "primary", command="GET", error="LOADING"), lab.redis() as client:
        with pytest.raises(redis.BusyLoadingError):
            client.get("x")
        assert client.set("x", "2") is True
    with lab.fault("command-error", "primary"):
        lab.heal()
    with pytest.raises(labctl.UsageError, match="no fault 'kil'"):
        lab.fault("kil")
    with pytest.raises(labctl.UsageError, match="from 0 to"):
        lab.latency("primary", ms=-1)


def test_what_is_never_seen_is_an_error(healthy: RedisLab) -> None:
    with pytest.raises(labctl.LabError, match=r"a primary other than .* was not observed within 0\.1 s"):
        healthy.until_primary(other_than=healthy.primary, deadline_s=0.1)


def test_a_recording_does_not_end_inside_a_fault(healthy: RedisLab) -> None:
    recording = healthy.record("set", clients=1, rate=20)
    with (
        healthy.pause("replicas"),
        pytest.raises(labctl.UsageError, match="while faults are in force: pause"),
        recording,
    ):
        pass


def test_a_recording_that_cannot_begin_says_why(healthy: RedisLab, tmp_path: Path) -> None:
    with pytest.raises(labctl.UsageError, match="nothing"), healthy.record("nothing"):
        pass
    kept = tmp_path / "mine.history"
    with healthy.record("set", clients=1, rate=20, to=kept):
        pass
    assert kept.stat().st_size > 0
    with pytest.raises(labctl.LabError, match="cannot create the history"), healthy.record("set", to=kept):
        pass


def test_a_lab_that_is_up_already(lab: RedisLab) -> None:
    with attach(lab.name) as same:
        same.latency("replicas", ms=1)
    assert lab.faults == [], "leaving healed it"
    assert lab.name in lab_names(), "and left it up"
    with pytest.raises(labctl.UsageError, match="no lab 'nobodys'"):
        attach("nobodys")


@pytest.mark.parametrize("topology", ["cluster", "standalone-tls-acl", "sentinel-tls-acl", "cluster-tls-acl"])
def test_clients_of_every_kind(home: Labctl, topology: str) -> None:
    with redis_lab(topology) as lab:
        for group in ("clients", "clients-b"):
            client = lab.redis(group)
            assert client.set("{x}1", "1") is True
            assert client.get("{x}1") == "1"
            client.close()
        with lab.admin("redis-1") as admin:
            assert admin.ping() is True
        if topology.startswith("cluster"):
            with pytest.raises(labctl.UsageError, match="several primaries"):
                lab.primary  # noqa: B018
            assert len(lab.primaries) == 3
    assert lab.name not in lab_names()
    lab.down()


def test_wrong_requests_are_refused_before_anything_starts(home: Labctl) -> None:
    for wrong in ({"runtime": "moon"}, {"changes": {"sentinels": 99, "engine": "no"}}, {"name": "No"}):
        with pytest.raises(labctl.UsageError):
            redis_lab("standalone", **wrong)  # type: ignore[arg-type]
    with pytest.raises(labctl.UsageError, match="Did you mean"):
        redis_lab("sentinl")


KILLED = """
    import os, signal, time, labctl
    lab = labctl.redis_lab("standalone")
    lab.pause("primary")
    {kept}
    print(lab.name, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("kept", [False, True])
def test_it_ends_with_a_process_that_is_killed(labctl: Labctl, kept: bool) -> None:
    code = textwrap.dedent(KILLED).format(kept="lab.keep()" if kept else "")
    env = {**os.environ, "LABCTL_HOME": str(labctl.home), "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("standalone-")
        process.send_signal(signal.SIGKILL)
    if kept:
        (row,) = labctl.json("ls")
        assert row["faults"] == 1
        labctl.run("down")
    until(lambda: not labctl.processes(), "the end of everything")
