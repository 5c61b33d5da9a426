"""One suite for every runtime: the same labs, the same faults, the same behaviour, in processes and in containers.

Whatever labctl says it did is measured again by clients of the tests' own.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from labctl.declare import library
from tests.support.client import Client, ErrorReply
from tests.support.command import REPOSITORY, Labctl, labctl_at, send, until
from tests.support.containers import remove_residue, residue, why_no_engine
from tests.support.votes import drilled
from tests.system.test_topologies import answers_ordinary_clients, engine_named

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

RUNTIMES = ("process", "docker")


@pytest.fixture(autouse=True)
def _nothing_is_left_of_a_test_that_failed(labctl: Labctl) -> Iterator[None]:
    yield
    if not why_no_engine():
        remove_residue(labctl)


ENGINE = "redis-7"


def runtime_named(name: str) -> str:
    if name == "docker" and (reason := why_no_engine()):
        pytest.skip(reason)
    engine_named(ENGINE)
    return name


@dataclass(frozen=True)
class Lab:
    """A running lab, whatever it runs in."""

    labctl: Labctl
    name: str
    runtime: str

    def status(self) -> Any:
        return self.labctl.json("status")

    def roles(self) -> dict[str, str]:
        return {node["name"]: node["role"] for node in self.status()["view"]["nodes"]}

    def primary(self) -> str:
        """The only one that answers and says so."""

        def only() -> str | None:
            found = [name for name, role in self.roles().items() if role == "primary"]
            return found[0] if len(found) == 1 else None

        return str(until(only, "one primary"))

    def client(self, node: str, group: str = "clients") -> Client:
        """A client of `group`, by way of the lab's links."""
        plan = self.labctl.plan(self.name)
        index = next(i for i, n in enumerate(plan["nodes"]) if n["name"] == node)
        ports = dict(plan["client_ports"]).get(group)
        source = dict(plan["client_hosts"])[group]
        port = ports[index] if ports else plan["nodes"][index]["port"]
        host = "127.0.0.1" if port == plan["nodes"][index]["port"] else plan["gateway"]
        return Client(host, port, None if source == "127.0.0.1" else source)

    def healthy(self) -> None:
        """Wait until it is, and no fault is in force."""
        until(lambda: not (s := self.status())["unhealthy"] and not s["unconverged"] and not s["faults"], "health", 120)

    def inject(self, kind: str, target: str, *options: str) -> Any:
        return self.labctl.json("chaos", kind, target, *options)


@pytest.fixture(params=RUNTIMES, scope="module")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A Sentinel lab that tests break and that heals."""
    runtime = runtime_named(request.param)
    with labctl_at(tmp_path_factory.mktemp(runtime) / "home") as labctl:
        labctl.run("up", "sentinel", "--runtime", runtime, "--engine", ENGINE)
        yield Lab(labctl, "sentinel", runtime)
        labctl.run("down")
        assert runtime != "docker" or residue(labctl) == []


@pytest.mark.parametrize("topology", library.names("topologies"))
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_topology_comes_up_serves_and_leaves_nothing(labctl: Labctl, topology: str, runtime: str) -> None:
    labctl.json("up", topology, "--runtime", runtime_named(runtime), "--engine", ENGINE)
    status = labctl.well()
    assert set(status["servers"].values()) == {"running"}
    assert len(status["nodes"]) == library.topology(topology).nodes
    answers_ordinary_clients(labctl.json("env"))
    until(lambda: not labctl.json("status")["unconverged"], "replicas at their primaries' offsets")
    assert labctl.json("down") == {"down": [topology]}
    assert runtime != "docker" or residue(labctl) == []


def test_a_partition_splits_the_lab_and_heals_itself(lab: Lab) -> None:
    lab.healthy()
    old = lab.primary()
    fault = lab.inject("partition", f"{old},clients-a", "--forever")
    inside, outside = lab.client(old, "clients-a"), lab.client(old, "clients-b")
    assert inside.ask("SET", "written", "inside") == "OK"
    assert outside.gives_no_answer()
    assert lab.client(old).gives_no_answer()
    cut = lab.status()["links"]["cut"]
    assert f"clients-b.to.{old}" in cut
    assert f"clients-a.to.{old}" not in cut
    assert set(cut) == set(fault["touches"])

    new = until(lambda: next((n for n, r in lab.roles().items() if r == "primary" and n != old), None), "a failover")
    assert new is not None
    assert lab.client(new, "clients-a").gives_no_answer()
    assert lab.client(new, "clients-b").ask("SET", "written", "outside") == "OK"

    lab.labctl.run("heal")
    lab.healthy()
    assert lab.primary() == new
    for node in (old, new):
        assert lab.client(node, "clients-a").ask("GET", "written") == "outside"
    assert lab.status()["links"]["cut"] == {}

    lab.inject("partition", f"{old},clients-a", "--for", "1s")
    until(lambda: not lab.status()["faults"], "the end of the partition, without being asked for")
    assert lab.status()["links"]["cut"] == {}


def test_links_that_refuse(lab: Lab) -> None:
    lab.healthy()
    victim = next(name for name, role in lab.roles().items() if role == "replica")
    lab.inject("isolate", victim, "--set", "how=reject", "--forever")
    with pytest.raises((ConnectionResetError, ConnectionRefusedError)):
        replace(lab.client(victim), timeout_s=2.0).ask("PING")
    assert set(lab.status()["links"]["cut"].values()) == {"refused"}
    lab.labctl.run("chaos", "heal")
    assert lab.client(victim).ask("PING") == "PONG"


def test_a_slow_link_is_slow_for_those_behind_it(lab: Lab) -> None:
    lab.healthy()
    victim = next(name for name, role in lab.roles().items() if role == "replica")
    fault = lab.inject("latency", victim, "--from", "clients-a", "--set", "ms=200", "--forever")
    assert "answer after" in fault["evidence"]
    assert _seconds(lab.client(victim, "clients-a")) >= 0.4
    silent = replace(lab.client(victim, "clients-a"), timeout_s=0.1)
    with pytest.raises(TimeoutError):
        silent.ask("PING")
    assert replace(lab.client(victim), timeout_s=5.0).ask("PING") == "PONG"
    lab.labctl.run("heal")
    assert lab.client(victim, "clients-a").ask("PING") == "PONG"


def _seconds(client: Client) -> float:
    began = time.monotonic()
    assert client.ask("PING") == "PONG"
    return time.monotonic() - began


@pytest.mark.parametrize(("kind", "state"), [("kill", "gone"), ("stop", "gone"), ("pause", "paused")])
def test_a_server_that_is_gone_or_frozen_comes_back(lab: Lab, kind: str, state: str) -> None:
    lab.healthy()
    victim = next(name for name, role in lab.roles().items() if role == "replica")
    run_id = _run_id(lab, victim)
    lab.inject(kind, victim, "--forever")
    assert lab.status()["servers"][victim] == state
    assert lab.client(victim).gives_no_answer()
    lab.labctl.run("chaos", "heal")
    assert lab.status()["servers"][victim] == "running"
    assert lab.client(victim).answers()
    assert (_run_id(lab, victim) == run_id) == (kind == "pause")
    lab.healthy()


def test_overlapping_faults_do_not_undo_each_other(lab: Lab) -> None:
    lab.healthy()
    victim = next(name for name, role in lab.roles().items() if role == "replica")
    silent = lab.inject("isolate", victim, "--forever")
    refusing = lab.inject("isolate", victim, "--set", "how=reject", "--forever")
    frozen = lab.inject("pause", victim, "--forever")
    assert set(lab.status()["links"]["cut"].values()) == {"refused"}
    lab.labctl.run("heal", str(refusing["id"]))
    assert set(lab.status()["links"]["cut"].values()) == {"blackhole"}
    assert lab.client(victim).gives_no_answer()
    lab.labctl.run("heal", str(silent["id"]))
    assert lab.status()["links"]["cut"] == {}
    assert lab.status()["servers"][victim] == "paused"
    lab.inject("kill", victim, "--for", "1s")
    until(lambda: len(lab.status()["faults"]) == 1, "the end of the kill")
    assert lab.status()["servers"][victim] == "paused"
    lab.labctl.run("heal", str(frozen["id"]))
    lab.healthy()


def test_what_an_agent_left_behind_is_reverted_by_the_next(lab: Lab) -> None:
    lab.healthy()
    old = lab.primary()
    lab.inject("partition", f"{old},clients-a", "--forever")
    lab.inject("kill", "sentinel-1", "--forever")
    guard, agent = lab.labctl.agents()
    send((guard, agent), signal.SIGKILL)
    status = lab.status()
    assert status["agent_pid"] != agent.pid
    assert status["faults"] == []
    assert status["links"]["cut"] == {}
    for group in ("clients", "clients-a", "clients-b"):
        assert lab.client(old, group).answers()
    lab.healthy()


def test_the_log_of_a_server_is_kept(lab: Lab) -> None:
    lab.healthy()
    before = lab.labctl.run("logs", "redis-1", "-n", "100000").out
    assert "Server initialized" in before
    lab.inject("kill", "redis-1", "--for", "1s")
    lab.healthy()
    after = lab.labctl.run("logs", "redis-1", "-n", "100000").out
    assert after.count("Server initialized") == before.count("Server initialized") + 1


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_cluster_fails_over_and_redirects_clients(labctl: Labctl, runtime: str) -> None:
    labctl.run("up", "cluster", "--runtime", runtime_named(runtime), "--engine", ENGINE)
    lab = Lab(labctl, "cluster", runtime)
    owner = labctl.json("chaos", "kill", "key:greeting", "--dry-run")["actions"][0]["node"]
    labctl.run("chaos", "partition", owner, "--forever")

    def other() -> str | None:
        view = lab.status()["view"]["nodes"]
        owners = {
            e["name"] for n in view if n["up"] and n["name"] != owner for e in n["cluster"]["table"] if e["slots"]
        }
        return next(iter(owners - {"redis-1", "redis-2", "redis-3"}), None)

    promoted = until(other, "a failover")
    assert promoted is not None
    assert lab.client(owner).gives_no_answer()
    reached = [name for name in ("redis-1", "redis-2", "redis-3") if name != owner]
    with pytest.raises(ErrorReply, match=r"MOVED \d+ 127\.0\.0\.1:"):
        lab.client(reached[0]).ask("SET", "greeting", "hello")
    labctl.run("heal")
    lab.healthy()
    answers_ordinary_clients(labctl.json("env"))
    labctl.run("down")


@pytest.mark.parametrize("after", ["planned", "started", "Sentinels"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_start_that_is_killed_leaves_nothing_after_down(
    tmp_path: Path, labctl: Labctl, runtime: str, after: str
) -> None:
    up = labctl.start("up", "sentinel", "--runtime", runtime_named(runtime), "--engine", ENGINE)
    until(lambda: after in up.err or up.process.poll() is not None, f"the step '{after}'")
    send(labctl.agents(), signal.SIGKILL)
    up.send(signal.SIGKILL)
    up.finish()
    labctl.run("down", "--all")
    labctl.assert_nothing_left()
    assert runtime != "docker" or residue(labctl) == []


@pytest.mark.parametrize("looks", [1, 3, 6])
def test_an_end_that_is_killed_is_finished_by_the_next(labctl: Labctl, looks: int) -> None:
    """Containers go one after the other; it is killed when some are gone and some are not."""
    labctl.run("up", "replica", "--runtime", runtime_named("docker"), "--engine", ENGINE)
    every = len(residue(labctl))
    down = labctl.start("down")
    until(lambda: len(residue(labctl)) <= every - looks or down.process.poll() is not None, "some of it gone")
    down.send(signal.SIGKILL)
    down.finish()
    labctl.run("down", "--all")
    labctl.assert_nothing_left()
    assert residue(labctl) == []


EXPECTED = {
    "kill": {"acked-writes": ("held", "lost data as documented"), "recovery": ("held",), "convergence": ("held",)},
    "partition": {
        "acked-writes": ("lost data as documented",),
        "split-brain": ("lost data as documented",),
        "recovery": ("held",),
        "convergence": ("held",),
    },
}


PATIENT = (
    ("failover-timeout: 2s", "failover-timeout: 5s"),
    ("for: 8s}", "for: 16s}"),
    ("duration: 12s", "duration: 20s"),
    ("recovery_ms: 10000", "recovery_ms: 16000"),
)
"""The shipped drill with longer faults: a busy machine may take some seconds to vote, and the old primary must not be
back before that, for it would come back empty and still in office."""


@pytest.mark.parametrize("runtime", [runtime for runtime in RUNTIMES if runtime != "process"])
def test_a_drill_comes_to_the_same_verdicts(labctl: Labctl, tmp_path: Path, runtime: str) -> None:
    """As on local processes, where tests/system/test_drill.py and the library's test run it as it is shipped."""
    text = (REPOSITORY / "scenarios" / "sentinel" / "sentinel-failover.yaml").read_text()
    for shipped, patient in PATIENT:
        assert shipped in text
        text = text.replace(shipped, patient)
    scenario = tmp_path / "sentinel-failover.yaml"
    scenario.write_text(text)
    options = ("--runtime", runtime_named(runtime), "--engine", ENGINE, "--seed", "7", "-o", "json")
    done = drilled(labctl, str(scenario), *options, within_s=280)
    assert done.code == 0, str(done)
    judged = {
        phase["phase"]: {verdict["finding"]["check"]: verdict["judgement"] for verdict in phase["verdicts"]}
        for phase in done.data["phases"]
    }
    for phase, expected in EXPECTED.items():
        assert {check: judged[phase][check] in allowed for check, allowed in expected.items()} == dict.fromkeys(
            expected, True
        ), judged


def _run_id(lab: Lab, node: str) -> str:
    return str(next(n["run_id"] for n in lab.status()["view"]["nodes"] if n["name"] == node))
