"""Real servers on loopback for the tests of workloads: plain processes, no links in between."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import redis

from labctl.model.endpoints import Endpoint, Endpoints
from labctl.model.topology import Kind
from tests.support.ports import free_port

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

SERVER = shutil.which("redis-server") or ""
DEADLINE_S = 30.0


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + DEADLINE_S
    last: object = None
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except redis.RedisError as error:
            last = error
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {DEADLINE_S:g} s; last error: {last!r}")


@dataclass
class Server:
    """One redis-server process."""

    name: str
    port: int
    folder: Path
    lines: list[str]
    binary: str = SERVER
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "redis.conf"
        if not config.exists():
            common = [f"port {self.port}", f"dir {self.folder}", 'save ""', "bind 127.0.0.1", "protected-mode no"]
            config.write_text("\n".join([*common, "enable-debug-command yes", *self.lines]) + "\n")
        mode = ["--sentinel"] if self.name.startswith("sentinel") else []
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen([self.binary, str(config), *mode], stdout=log, stderr=log, cwd=self.folder)
        log.close()
        wait_for(self.answers, f"{self.name} answers")

    def answers(self) -> bool:
        try:
            return bool(self.call("PING"))
        except (redis.BusyLoadingError, redis.AuthenticationError):
            return True

    def redis(self) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True, socket_timeout=5)

    def call(self, *args: object) -> object:
        with self.redis() as client:
            return client.execute_command(*args)

    def info(self, section: str = "everything") -> dict[str, Any]:
        with self.redis() as client:
            return client.info(section)

    def cluster_nodes(self) -> dict[str, Any]:
        """What CLUSTER NODES says, by address."""
        with self.redis() as client:
            return client.cluster("NODES")

    def sentinel_replicas(self) -> list[dict[str, Any]]:
        with self.redis() as client:
            return client.sentinel_slaves("lab")

    def clients(self) -> list[dict[str, str]]:
        """CLIENT LIST without whoever asks."""
        with self.redis() as client:
            own = client.client_id()
            return [one for one in client.client_list() if int(one["id"]) != own]

    def left_alone(self) -> bool:
        """Whether it has no clients but replicas and primaries."""
        return all(client["flags"] != "N" for client in self.clients())

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class Servers:
    """A topology."""

    kind: Kind
    nodes: list[Server]
    sentinels: list[Server] = field(default_factory=list)

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(
            kind=self.kind,
            nodes=tuple(Endpoint(s.name, "127.0.0.1", s.port) for s in self.nodes),
            sentinels=tuple(Endpoint(s.name, "127.0.0.1", s.port) for s in self.sentinels),
        )

    def node(self, name: str) -> Server:
        return next(server for server in self.nodes if server.name == name)

    def stop(self) -> None:
        for server in (*self.sentinels, *self.nodes):
            server.kill()


@contextmanager
def standalone(folder: Path, *lines: str, binary: str = SERVER) -> Iterator[Servers]:
    """One server."""
    server = Server("redis-1", free_port(), folder / "redis-1", list(lines), binary=binary)
    servers = Servers(Kind.STANDALONE, [server])
    with _started(servers):
        yield servers


@contextmanager
def replicated(
    folder: Path,
    *lines: str,
    replicas: int = 1,
    kind: Kind = Kind.REPLICA,
    each: Mapping[str, list[str]] | None = None,
    primary_port: int | None = None,
) -> Iterator[Servers]:
    """A primary and replicas, linked; `each` has lines for single servers, `primary_port` is where replicas find it."""
    ports = {f"redis-{n}": free_port() for n in range(1, 2 + replicas)}
    servers = Servers(kind, [])
    for name, port in ports.items():
        own = [*lines, *(each or {}).get(name, [])]
        link = [f"replicaof 127.0.0.1 {primary_port or ports['redis-1']}"] if name != "redis-1" else []
        servers.nodes.append(Server(name, port, folder / name, ["repl-diskless-sync-delay 0", *own, *link]))
    primary, *followers = servers.nodes
    with _started(servers):
        for server in followers:
            wait_for(lambda s=server: s.info()["master_link_status"] == "up", f"{server.name} is linked")
        wait_for(lambda: _online(primary) == replicas, "the primary counts its replicas")
        yield servers


@contextmanager
def sentinel(
    folder: Path,
    *lines: str,
    replicas: int = 1,
    each: Mapping[str, list[str]] | None = None,
    primary_port: int | None = None,
    down_after_ms: int = 30_000,
) -> Iterator[Servers]:
    """A primary with replicas, watched by three Sentinels that know each other and take no pause for a death as a rule."""
    options = {"replicas": replicas, "kind": Kind.SENTINEL, "each": each, "primary_port": primary_port}
    with replicated(folder, *lines, **options) as servers:  # type: ignore[arg-type]
        watch = [
            *[line for line in lines if line.startswith("user ")],
            f"sentinel monitor lab 127.0.0.1 {primary_port or servers.nodes[0].port} 2",
            f"sentinel down-after-milliseconds lab {down_after_ms}",
            "sentinel failover-timeout lab 5000",
        ]
        servers.sentinels = [
            Server(name, free_port(), folder / name, [*(each or {}).get(name, []), *watch])
            for name in ("sentinel-1", "sentinel-2", "sentinel-3")
        ]
        try:
            for server in servers.sentinels:
                server.start()
            for server in servers.sentinels:
                wait_for(
                    lambda s=server: (
                        str(s.call("SENTINEL", "CKQUORUM", "lab")).startswith("OK 3")
                        and len(s.sentinel_replicas()) == replicas
                    ),
                    f"{server.name} sees its peers",
                )
            yield servers
        finally:
            for server in servers.sentinels:
                server.kill()


@contextmanager
def cluster(
    folder: Path,
    *lines: str,
    replicas: int = 1,
    each: Mapping[str, list[str]] | None = None,
    node_timeout_ms: int = 15_000,
) -> Iterator[Servers]:
    """Three primaries with a third of the slots each, and replicas, which take no pause for a death as a rule."""
    # A replica is in CLUSTER SLOTS once its offset is not 0: the first PING of its primary sees to that.
    options = ["cluster-enabled yes", "cluster-node-timeout 2000", "repl-ping-replica-period 1"]
    options += ["repl-diskless-sync-delay 0", *lines]
    names = [f"redis-{n}" for n in range(1, 4 + 3 * replicas)]
    nodes = []
    for name in names:
        port = free_port()
        own = [f"cluster-port {free_port()}", *options, *(each or {}).get(name, [])]
        nodes.append(Server(name, port, folder / name, own))
    servers = Servers(Kind.CLUSTER, nodes)
    with _started(servers):
        for number, (first, last) in enumerate(((0, 5461), (5462, 10922), (10923, 16383))):
            nodes[number].call("CLUSTER", "ADDSLOTSRANGE", first, last)
            nodes[number].call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for index, node in enumerate(nodes):
            for other in nodes[index + 1 :]:
                bus = int(other.lines[0].split()[1])
                node.call("CLUSTER", "MEET", "127.0.0.1", other.port, bus)
        for node in nodes:
            wait_for(lambda n=node: len(n.cluster_nodes()) == len(nodes), f"{node.name} knows all")
        pairs = [(node, str(nodes[number % 3].call("CLUSTER", "MYID"))) for number, node in enumerate(nodes[3:])]

        def all_replicas_seen(by: Server) -> bool:
            return all(_replicates(*each) for each in pairs) and _all_replicas_seen(by, replicas)

        for node in nodes:
            wait_for(lambda n=node: "cluster_state:ok" in _cluster_info(n), f"{node.name} says ok")
            try:
                wait_for(lambda n=node: all_replicas_seen(n), f"{node.name} sees every replica")
            except AssertionError as error:
                error.add_note(str(node.call("CLUSTER", "NODES")))
                raise
        for node in nodes[3:]:
            wait_for(lambda n=node: n.info()["master_link_status"] == "up", f"{node.name} is linked")
        for node in nodes:  # now, for news of a Cluster that is made would take longer, too
            node.call("CONFIG", "SET", "cluster-node-timeout", node_timeout_ms)
        yield servers


@contextmanager
def _started(servers: Servers) -> Iterator[None]:
    try:
        for server in servers.nodes:
            server.start()
        yield
    finally:
        servers.stop()


def _online(primary: Server) -> int:
    """Replicas that WAIT counts: those that sent an acknowledgement."""
    info = primary.info("replication")
    return sum(value["state"] == "online" for name, value in info.items() if re.fullmatch(r"slave\d+", name))


def _cluster_info(server: Server) -> str:
    info = server.call("CLUSTER", "INFO")
    return info if isinstance(info, str) else " ".join(f"{k}:{v}" for k, v in dict(info).items())  # type: ignore[call-overload]


def _replicates(replica: Server, primary: str) -> bool:
    """Whether it is a replica of that primary by its own account; told to be one if not.

    A node forgets whom it follows when it drops what it knew of it, as it may while nodes still introduce each other.
    """
    lines = replica.cluster_nodes().values()
    if any("myself" in line["flags"] and line["master_id"] == primary for line in lines):
        return True
    replica.call("CLUSTER", "REPLICATE", primary)
    return False


def _all_replicas_seen(server: Server, replicas: int) -> bool:
    slots = server.call("CLUSTER", "SLOTS")
    if isinstance(slots, dict):
        return all(len(shard["replicas"]) == replicas for shard in slots.values())
    return isinstance(slots, list) and len(slots) == 3 and all(len(shard) == 3 + replicas for shard in slots)
