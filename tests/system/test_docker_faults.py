"""Faults of containers: what happens to a pod is measured by clients and the engine, and is gone afterwards."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from labctl.runtime.docker.images import BUILT_LABCTL
from tests.support.client import Client, ErrorReply
from tests.support.command import Labctl, labctl_at, send, until
from tests.support.containers import containers, engine, inspected, residue, why_no_engine
from tests.system.test_topologies import engine_named

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ENGINE = "redis-7"
MEMORY = 256 << 20
VALUE = "x" * 30_000


@dataclass(frozen=True)
class Pods:
    """A lab in containers: redis-1 is the primary, redis-2 its replica."""

    labctl: Labctl
    name: str

    @property
    def plan(self) -> Any:
        return self.labctl.plan(self.name)

    def client(self, node: str, group: str = "clients") -> Client:
        """By way of the links."""
        index = next(i for i, each in enumerate(self.plan["nodes"]) if each["name"] == node)
        port = dict(self.plan["client_ports"])[group][index]
        announced = port == self.plan["nodes"][index]["port"]
        return replace(Client("127.0.0.1" if announced else self.plan["gateway"], port), timeout_s=2.0)

    def direct(self, node: str) -> Client:
        """Past all links."""
        return Client(*next(each["admin"] for each in self.plan["nodes"] if each["name"] == node))

    def server(self, node: str) -> Any:
        """What the engine says of a node's server."""
        found = containers(self.labctl, part="server")
        (own,) = [c for c in found if c["Labels"]["labctl.node"] == node and c["Labels"]["labctl.lab"] == self.name]
        return inspected(own)

    def inject(self, *words: str, code: int = 0) -> Any:
        return self.labctl.run("chaos", *words, "--forever", "--lab", self.name, "-o", "json", code=code)

    def evidence(self) -> str:
        (fault,) = self.labctl.json("chaos", "ls", "--lab", self.name)
        assert fault["trouble"] == ""
        return str(fault["evidence"])

    def heal(self) -> None:
        self.labctl.run("heal", "--lab", self.name)
        assert self.labctl.json("chaos", "ls", "--lab", self.name) == []
        assert containers(self.labctl, part="helper") == []

    def well(self) -> None:
        def reasons() -> list[str]:
            status = self.labctl.json("status", "--lab", self.name)
            return [*status["unhealthy"], *status["unconverged"]]

        seen: list[str] = []
        try:
            until(lambda: not seen.__setitem__(slice(None), reasons()) and not seen, "health", 60)
        except AssertionError as error:
            raise AssertionError(f"not well: {seen}") from error


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labctl]:
    if reason := why_no_engine():
        pytest.skip(reason)
    engine_named(ENGINE)
    with labctl_at(tmp_path_factory.mktemp("pods") / "home") as labctl:
        yield labctl
        labctl.run("down", "--all")
        assert residue(labctl) == []


@pytest.fixture(scope="module")
def pods(command: Labctl) -> Pods:
    """Real Toxiproxy on every link, disks of 32 MB."""
    limits = ("--limit", f"memory={MEMORY}", "--limit", "disk=32m")
    command.run("up", "replica", "--name", "pods", "--runtime", "docker", "--engine", ENGINE, *limits)
    found = Pods(command, "pods")
    assert found.direct("redis-1").ask("SET", "value", VALUE) == "OK"
    return found


@pytest.fixture(scope="module")
def resp(command: Labctl) -> Pods:
    """labctl's own links."""
    options = ("--links", "labctl", "--limit", "cpus=0.5")
    command.run("up", "standalone", "--name", "resp", "--runtime", "docker", "--engine", ENGINE, *options)
    return Pods(command, "resp")


def proxies(pods: Pods, name: str) -> list[Any]:
    """The toxics of a link, as the gateway's own API tells them."""
    gateways = containers(pods.labctl, part="gateway")
    (own,) = [c for c in gateways if c["Labels"]["labctl.lab"] == pods.name]
    (network,) = own["NetworkSettings"]["Networks"].values()
    with urllib.request.urlopen(f"http://{network['IPAddress']}:8474/proxies/{name}/toxics") as answer:
        found: list[Any] = json.load(answer)
    return found


def took_s(pods: Pods, *command: str) -> float:
    began = time.monotonic()
    assert pods.client("redis-1").ask(*command) is not None
    return time.monotonic() - began


TOXICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "latency": ("latency", ("ms=150", "jitter=50")),
    "bandwidth": ("bandwidth", ("rate=100",)),
    "slow-close": ("slow_close", ("ms=300",)),
    "timeout": ("timeout", ("ms=0",)),
    "reset": ("reset_peer", ("ms=0",)),
    "slice": ("slicer", ("size=1000", "us=10000")),
    "limit-data": ("limit_data", ("bytes=1000",)),
}
"""Kinds of faults that real Toxiproxy can do: the toxic, and settings of which a client can see something."""


@pytest.mark.parametrize("kind", TOXICS)
def test_a_toxic_on_real_toxiproxy(pods: Pods, kind: str) -> None:
    toxic, settings = TOXICS[kind]
    pods.inject(kind, "redis-1", *(word for pair in settings for word in ("--set", pair)))
    assert toxic in pods.evidence()
    assert {found["type"] for found in proxies(pods, "clients.to.redis-1")} == {toxic}
    match kind:
        case "latency":
            assert took_s(pods, "PING") >= 0.2
        case "bandwidth" | "slice":
            assert took_s(pods, "GET", "value") >= 0.2
        case "slow-close":
            assert _seconds_until_closed(pods) >= 0.2
        case "limit-data":
            with pytest.raises(OSError, match=r"closed|reset|timed out"):
                pods.client("redis-1").ask("GET", "value")
        case _:
            assert pods.client("redis-1").gives_no_answer()
    pods.heal()
    assert proxies(pods, "clients.to.redis-1") == []
    assert pods.client("redis-1").ask("GET", "value") == VALUE
    pods.well()


def _seconds_until_closed(pods: Pods) -> float:
    client = pods.client("redis-1")
    with socket.create_connection((client.host, client.port)) as connection:
        began = time.monotonic()
        connection.sendall(b"QUIT\r\n")
        assert connection.recv(100) == b"+OK\r\n"
        connection.settimeout(10)
        assert connection.recv(1) == b""
    return time.monotonic() - began


def test_a_receiver_that_does_not_read_does_not_hold_up_a_change(pods: Pods) -> None:
    """Toxiproxy answers nothing any more then but the removal of the proxy."""
    client = pods.client("redis-1")
    with socket.create_connection((client.host, client.port)) as deaf:
        deaf.sendall(b"GET value\r\n" * 1000)  # 30 MB, more than all buffers on the way; nobody reads it
        until(lambda: _waiting_output(pods) > 1_000_000, "a server that cannot get rid of its replies")
        pods.inject("latency", "redis-1", "--set", "ms=150")
        assert took_s(pods, "PING") >= 0.2
        pods.heal()
    assert pods.client("redis-1").ask("PING") == "PONG"
    pods.well()


def _waiting_output(pods: Pods) -> int:
    """Bytes of replies that the primary holds for one client."""
    clients = str(pods.direct("redis-1").ask("CLIENT", "LIST", "TYPE", "normal")).splitlines()
    return max(int(dict(field.split("=", 1) for field in line.split())["omem"]) for line in clients)


def test_toxics_that_an_agent_left_are_removed_by_the_next(pods: Pods) -> None:
    pods.inject("latency", "redis-1", "--set", "ms=50")
    pods.inject("packet-loss", "redis-2", "--set", "percent=30")
    pods.inject("memory-limit", "redis-2")
    pods.inject("disk-full", "redis-2")
    assert proxies(pods, "clients.to.redis-1") != []
    send(pods.labctl.agents("pods"), signal.SIGKILL)
    assert pods.labctl.json("status", "--lab", "pods")["faults"] == []
    assert proxies(pods, "clients.to.redis-1") == []
    assert pods.server("redis-2")["HostConfig"]["Memory"] == MEMORY
    assert pods.direct("redis-2").ask("CONFIG", "REWRITE") == "OK"
    pods.well()


def test_a_fault_that_is_killed_in_the_middle_leaves_nothing_after_down(labctl: Labctl) -> None:
    if reason := why_no_engine():
        pytest.skip(reason)
    labctl.run("up", "standalone", "--runtime", "docker", "--engine", ENGINE)
    chaos = labctl.start("chaos", "packet-loss", "redis-1", "--forever")
    until(lambda: containers(labctl, part="helper") or chaos.process.poll() is not None, "a helper")
    send(labctl.agents(), signal.SIGKILL)
    chaos.send(signal.SIGKILL)
    chaos.finish()
    labctl.run("down")
    labctl.assert_nothing_left()
    assert residue(labctl) == []


def test_a_program_in_a_group_of_clients_goes_through_its_links(pods: Pods) -> None:
    def program(group: str) -> Client:
        env = pods.labctl.json("env", "--lab", "pods", "--group", group)
        return Client(env["REDIS_HOST"], int(env["REDIS_PORT"]))

    pods.labctl.run("chaos", "partition", "--from", "clients-a", "--to", "redis-1", "--forever", "--lab", "pods")
    assert program("clients").answers()
    assert program("clients-a").gives_no_answer()
    assert program("clients-b").answers()
    pods.heal()
    assert program("clients-a").answers()


def test_links_of_labctls_own_know_resp(resp: Pods) -> None:
    assert resp.client("redis-1").ask("SET", "other", "1") == "OK"
    resp.inject("command-error", "redis-1", "--set", "command=get", "--set", "error=LOADING", "--set", "key=some*")
    with pytest.raises(ErrorReply, match="LOADING"):
        resp.client("redis-1").ask("GET", "something")
    assert resp.client("redis-1").ask("GET", "other") == "1"
    resp.heal()
    assert resp.client("redis-1").ask("GET", "something") is None


def test_a_black_hole_of_labctls_own_links_keeps_connections(resp: Pods) -> None:
    client = resp.client("redis-1", "clients-a")
    with socket.create_connection((client.host, client.port), 5) as connection:
        resp.inject("isolate", "redis-1")
        assert "silent" in resp.evidence()
        connection.sendall(b"PING\r\n")
        resp.heal()
        assert connection.recv(100) == b"+PONG\r\n"


def test_real_toxiproxy_refuses_what_it_does_not_know(pods: Pods) -> None:
    done = pods.inject("command-delay", "redis-1", code=2)
    assert "needs links that know RESP" in done.err
    assert "--links labctl" in done.err


@pytest.mark.parametrize("kind", ["power-loss", "slow-fsync", "clock-skew", "no-fork", "corrupt-file"])
def test_what_containers_cannot_do_is_refused(pods: Pods, kind: str) -> None:
    done = pods.inject(kind, "redis-1", code=2)
    assert f"The fault '{kind}' is not possible on the docker runtime" in done.err
    assert "--runtime process" in done.err


def test_a_drill_that_needs_the_impossible_starts_nothing(command: Labctl, pods: Pods) -> None:
    before = sorted(residue(command))
    scenario = command.home.parent / "impossible.yaml"
    scenario.write_text(
        "title: T\ndescription: D\ntopology: standalone\nduration: 3s\nsteps:\n  - {at: 1s, clock-skew: redis-1}\n"
        "checks: [{check: recovery, promise: P}]\n"
    )
    done = command.run("drill", str(scenario), "--runtime", "docker", "--engine", ENGINE, code=2)
    assert "not possible on the docker runtime" in done.err
    assert sorted(residue(command)) == before


def test_less_processor(pods: Pods) -> None:
    pods.inject("cpu-throttle", "redis-2", "--set", "percent=20")
    assert "throttled" in pods.evidence()
    assert pods.server("redis-2")["HostConfig"]["CpuQuota"] == 20_000
    pods.heal()
    assert pods.server("redis-2")["HostConfig"]["CpuQuota"] in (0, -1)


def test_less_memory(pods: Pods) -> None:
    pods.inject("memory-limit", "redis-2", "--set", "mb=20")
    assert 20_000_000 <= pods.server("redis-2")["HostConfig"]["Memory"] < 60_000_000
    pods.heal()
    assert pods.server("redis-2")["HostConfig"]["Memory"] == MEMORY


def test_out_of_memory(pods: Pods) -> None:
    pods.inject("oom-kill", "redis-2")
    state = pods.server("redis-2")["State"]
    assert (state["OOMKilled"], state["Running"]) == (True, False)
    pods.heal()
    server = pods.server("redis-2")
    assert server["State"]["Running"]
    assert server["HostConfig"]["Memory"] == MEMORY
    pods.well()


def test_a_full_disk(pods: Pods) -> None:
    pods.inject("disk-full", "redis-1")
    assert "No space left on device" in pods.evidence()
    with pytest.raises(ErrorReply, match="ERR"):
        pods.direct("redis-1").ask("SAVE")
    pods.heal()
    assert pods.direct("redis-1").ask("SAVE") == "OK"
    pods.well()


def test_a_disk_that_is_nobody_s_to_fill_is_refused(resp: Pods) -> None:
    done = resp.inject("disk-full", "redis-1", code=2)
    assert "--limit disk=64m" in done.err


def test_lost_packets(pods: Pods) -> None:
    """Unlike with a proxy in between, connections go on afterwards: TCP sends again what was lost."""
    client = pods.client("redis-2")
    with socket.create_connection((client.host, client.port), 20) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100) == b"+PONG\r\n"
        pods.inject("packet-loss", "redis-2", "--set", "percent=100")
        assert "20 of 20 packets lost" in pods.evidence()
        connection.sendall(b"ECHO after\r\n")
        assert pods.client("redis-2").gives_no_answer()
        assert pods.direct("redis-2").ask("PING") == "PONG"  # the lab sees it still
        pods.heal()
        assert connection.recv(100) == b"$5\r\nafter\r\n"
    pods.well()


def test_a_pod_without_a_network(pods: Pods) -> None:
    pods.inject("disconnect", "redis-2")
    assert "interface is down" in pods.evidence()
    view = pods.labctl.json("status", "--lab", "pods")
    assert [node["name"] for node in view["view"]["nodes"] if not node["up"]] == ["redis-2"]
    assert view["servers"]["redis-2"] == "running"
    pods.heal()
    pods.well()


def _kernel_has_netem() -> bool:
    tried = ["--network", "none", "--cap-add", "NET_ADMIN", "--entrypoint", "/usr/sbin/tc", BUILT_LABCTL]
    done = subprocess.run(
        ["docker", "run", "--rm", *tried, "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def test_what_needs_netem_happens_or_is_refused(pods: Pods) -> None:
    if not _kernel_has_netem():
        done = pods.inject("packet-corrupt", "redis-2", code=2)
        assert "kernel has no netem" in done.err
        assert "sch_netem" in done.err
        assert containers(pods.labctl, part="helper") == []
        return
    for kind in ("packet-duplicate", "packet-corrupt", "packet-reorder"):
        pods.inject(kind, "redis-2")
        assert "netem" in pods.evidence()
        pods.heal()


def test_a_server_has_what_it_was_limited_to(pods: Pods, resp: Pods) -> None:
    assert pods.server("redis-1")["HostConfig"]["Memory"] == MEMORY
    assert pods.server("redis-1")["HostConfig"]["CpuQuota"] in (0, -1)
    assert resp.server("redis-1")["HostConfig"]["CpuQuota"] == 50_000
    volume = engine().api.inspect_volume(pods.server("redis-1")["Mounts"][0]["Name"])
    assert volume["Options"]["type"] == "tmpfs"
    assert f"size={32 << 20}" in volume["Options"]["o"]


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        (("--limit", "memory=1k"), "memory=1k is no size of at least 6m"),
        (("--limit", "disk=lots"), "disk=lots is no size"),
        (("--limit", "cpus=0"), "cpus=0 is no number of processors"),
        (("--limit", "bandwidth=1"), "limits nothing"),
        (("--links", "envoy"), "'envoy' carries no links"),
    ],
)
def test_a_wrong_limit_is_a_sentence(command: Labctl, option: tuple[str, str], complaint: str) -> None:
    done = command.run("up", "standalone", "--name", "wrong", "--runtime", "docker", *option, code=2)
    assert complaint in done.err


def test_limits_are_about_containers(command: Labctl) -> None:
    done = command.run("up", "standalone", "--name", "wrong", "--limit", "memory=64m", code=2)
    assert "--runtime docker" in done.err
