"""Labs with wires: a network namespace for each party, packets that suffer between two of them, and nothing left of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.errors import UsageError
from labctl.wires.detour import DEVICE
from tests.support.client import Client, lab_client
from tests.support.command import REPOSITORY, Labctl, environment, kernel_state, labctl_at, send, until
from tests.support.wires import network_of, networks, require_wires
from tests.system.faults.trial import Trial

pytestmark = pytest.mark.system

HERE = network_of(os.getpid())


@pytest.fixture(scope="module", autouse=True)
def _needs_wires() -> None:
    require_wires()


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labctl]:
    with labctl_at(tmp_path_factory.mktemp("wires") / "home") as labctl:
        yield labctl


@pytest.fixture(scope="module")
def wired(command: Labctl) -> Iterator[Trial]:
    command.run("up", "sentinel", "--net", "netns")
    yield Trial(command, "sentinel")
    command.run("down")


@pytest.fixture
def lab(wired: Trial) -> Iterator[Trial]:
    yield wired
    wired.heal()
    assert wired.residue() == []


_DOCKERS = re.compile(r"docker\d|br-[0-9a-f]{12}|veth[0-9a-f]{7}")
"""Other tests have containers meanwhile; that of an engine has a namespace of its own, `labctl-test-PID`."""


def of_the_machine() -> list[str]:
    """Interfaces and named namespaces of this machine, and routes to where labs' networks are: no lab's business."""
    interfaces = sorted(p.name for p in Path("/sys/class/net").iterdir() if not _DOCKERS.fullmatch(p.name))
    names = sorted(path.name for path in Path("/var/run/netns").glob("*") if not path.name.startswith("labctl-test-"))
    routes = [line for line in Path("/proc/net/route").read_text().splitlines() if "\t00004D0A\t" in line]
    return [*interfaces, *names, *routes]


def visitor(lab: Trial, group: str, node: str = "redis-2") -> Client:
    return lab_client(lab.labctl.plan(lab.name), node, group=group)


def test_every_server_has_a_network_of_its_own_and_the_machine_gets_nothing(command: Labctl) -> None:
    before = of_the_machine()
    command.run("up", "replica", "--net", "netns", "--name", "apart")
    try:
        servers = command.servers().values()
        assert of_the_machine() == before
        assert len({network_of(server.pid) for server in servers} | {HERE}) == len(servers) + 1
        assert lab_client(command.plan("apart"), "redis-1").ask("PING") == "PONG"
    finally:
        command.run("down", "apart")
    assert of_the_machine() == before


def test_links_can_be_cut_and_poisoned_as_in_any_lab(lab: Trial) -> None:
    lab.fault("isolate", "redis-2")
    assert visitor(lab, "clients-a").gives_no_answer()
    assert lab.ask("redis-2", "PING") == "PONG", "the lab's own eyes are past all links"
    lab.heal()
    lab.fault("command-error", "redis-2", origin="clients-a", command="get")
    with pytest.raises(Exception, match="LOADING"):
        visitor(lab, "clients-a").ask("GET", "x")
    assert visitor(lab, "clients-b").ask("GET", "x") is None


def test_dropped_packets_concern_two_parties_alone(lab: Trial) -> None:
    lab.fault("packet-drop", "redis-2", origin="clients-a")
    assert visitor(lab, "clients-a").gives_no_answer()
    assert visitor(lab, "clients-a", "redis-3").answers()
    assert visitor(lab, "clients-b").answers()
    assert not lab.status()["unhealthy"], "the lab itself does not notice"


def test_delayed_packets_make_connecting_slow_too(lab: Trial) -> None:
    def took_s() -> float:
        began = time.monotonic()
        visitor(lab, "clients-a").ask("PING")
        return time.monotonic() - began

    usual_s = min(took_s() for _ in range(5))
    lab.fault("packet-delay", "redis-2", origin="clients-a", ms=100)
    assert took_s() >= 0.2 > usual_s, "the SYN and then the command, 100 ms each"


@pytest.mark.parametrize("kind", ["packet-loss", "packet-corrupt", "packet-duplicate", "packet-reorder"])
def test_tcp_mends_what_packets_suffer(lab: Trial, kind: str) -> None:
    """Late perhaps, but never a wrong byte; and the fault did meet the traffic."""
    fault = lab.fault(kind, "redis-1,clients-a", percent=5)
    asked = visitor(lab, "clients-a", "redis-1")
    for number in range(30):
        asked.ask("SET", f"packets:{number}", f"{number}" * 3000)
        assert asked.ask("GET", f"packets:{number}") == f"{number}" * 3000
    (listed,) = lab.faults()
    assert listed["felt"] > fault["felt"]


def test_faults_on_the_same_packets_add_up_and_end_alone(lab: Trial) -> None:
    delay = lab.fault("packet-delay", "redis-2", origin="clients-a", ms=50)
    drop = lab.fault("packet-drop", "redis-2", origin="clients-a")
    assert visitor(lab, "clients-a").gives_no_answer()
    lab.run("heal", str(drop["id"]))
    began = time.monotonic()
    assert visitor(lab, "clients-a").answers()
    assert time.monotonic() - began >= 0.1
    lab.run("heal", str(delay["id"]))
    assert lab.faults() == []


def test_a_drop_with_nobody_left_to_heal_it_ends_with_the_agent(command: Labctl) -> None:
    """Guard and agent are killed: the kernel itself takes the detour away, and packets go by the wire."""
    command.run("up", "replica", "--net", "netns", "--name", "alone")
    lab = Trial(command, "alone")
    lab.run("chaos", "packet-drop", "redis-2", "--for", "10m")
    server = next(p for p in command.of("alone") if environment(p).get("LABCTL_NODE") == "redis-2")

    def detoured() -> bool:
        return f"{DEVICE}:" in Path(f"/proc/{server.pid}/net/dev").read_text()

    assert detoured()
    send(command.agents("alone"), signal.SIGKILL)
    until(lambda: not detoured(), "the end of the detour")
    assert lab.run("chaos", "ls", "-o", "json").data == []
    lab.until_well()
    assert lab.residue() == []
    command.run("down", "alone")


@pytest.mark.parametrize("victims", ["all", "up"])
def test_nothing_is_left_of_a_lab_that_was_killed(command: Labctl, victims: str) -> None:
    """All of its processes at once, what holds its networks included; or while it comes up."""
    before = of_the_machine()
    if victims == "up":
        coming = command.start("up", "replica", "--net", "netns", "--name", "killed")
        coming.said(1)
        send(command.of("killed"), signal.SIGKILL)
        coming.finish()
        ours: set[str] = set()
    else:
        command.run("up", "replica", "--net", "netns", "--name", "killed")
        ours = {network_of(p.pid) for name, p in command.servers().items() if command.lab_of(p) == "killed"}
        Trial(command, "killed").fault("packet-loss", "redis-2")
        send(command.of("killed"), signal.SIGKILL)
    command.run("down", "killed", code=None)  # a command whose agent was killed cleans up by itself
    assert not command.lab_folder("killed").exists()
    until(lambda: not ours & networks(), "the end of its networks")
    assert of_the_machine() == before


def test_its_networks_are_gone_and_it_says_so(command: Labctl) -> None:
    command.run("up", "standalone", "--net", "netns", "--name", "lost")
    holder = next(p for p in command.of("lost") if p.environ()["LABCTL_NODE"] == "@wires")
    guard_and_agent = [p for p in command.of("lost") if p.environ()["LABCTL_NODE"] == "@agent"]
    send([holder, *guard_and_agent], signal.SIGKILL)
    until(lambda: not any(map(kernel_state, guard_and_agent)), "their end")
    assert "network namespaces are gone" in command.run("status", "--lab", "lost", code=4).err
    command.run("down", "lost")


def test_a_drill_that_needs_wires_has_them(command: Labctl, tmp_path: Path) -> None:
    path = tmp_path / "lossy.yaml"
    path.write_text(
        "title: A lossy wire\ndescription: Packets to the primary are lost.\ntopology: standalone\nduration: 2s\n"
        "workloads: [{run: register, clients: 2, rate: 100}]\n"
        "steps: [{at: 200ms, for: 1500ms, packet-loss: redis-1, with: {percent: 5}}]\n"
        "checks: [{check: acked-writes, promise: TCP sends again what was lost.}]\n"
    )
    assert "datagrams came" in command.run("drill", str(path)).out


def test_what_cannot_be_is_told(command: Labctl, lab: Trial) -> None:
    assert "'wires' is no net" in command.run("up", "standalone", "--net", "wires", code=2).err
    assert "local processes" in command.run("up", "standalone", "--net", "netns", "--runtime", "docker", code=2).err
    with pytest.raises(UsageError, match="percent=0"):
        lab.fault("packet-loss", "redis-2", percent=0)
    command.run("up", "standalone", "--name", "loopback")
    try:
        with pytest.raises(UsageError, match="talk over loopback"):  # what it is behind the exit code
            Trial(command, "loopback").fault("packet-loss", "redis-1")
    finally:
        command.run("down", "loopback")


AS_NOBODY = """
import ctypes, json, os, sys
from labctl.wires.bridge import SWITCH, Plug, lay
from labctl.wires.check import _PARTIES
from labctl.wires.namespaces import Namespaces
from labctl.wires.user import enter
import labctl.runtime.marker, socket, concurrent.futures
os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: who changes its user loses its own /proc otherwise
lab_id = "f" * 32
enter(lab_id)
namespaces = Namespaces.create(lab_id, [*_PARTIES, SWITCH])
try:
    lay(namespaces, _PARTIES)
    server = namespaces.socket("b"); server.bind(("10.77.0.2", 7000)); server.listen()
    client = namespaces.socket("a"); client.settimeout(5); client.connect(("10.77.0.2", 7000))
    print(json.dumps({"from": server.accept()[0].getpeername()[0], "uid": os.getuid()}))
finally:
    namespaces.destroy()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="run as root: it becomes somebody without privileges")
def test_somebody_without_privileges_has_wires_in_a_user_namespace() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60
    )
    if "lets this user make no user namespace" in done.stderr or "No network namespace can be made" in done.stderr:
        pytest.skip("the kernel lets users make no namespaces: sysctl user.max_user_namespaces")
    assert json.loads(done.stdout) == {"from": "10.77.0.1", "uid": 0}, done.stderr
