"""A lab, planned: every node with its addresses, before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from labctl.model.topology import Role, Topology

ANNOUNCED_HOST = "127.0.0.1"
"""The one address under which everybody knows every node; only the route differs (docs/architecture.md, idea 1)."""

ANY_HOST = "0.0.0.0"  # noqa: S104 - inside a pod's own network namespace
"""What a server in a container listens on: its pod's address is not known before the pod runs."""


class RuntimeName(StrEnum):
    """Where the servers of a lab run."""

    PROCESS = "process"
    DOCKER = "docker"


class Net(StrEnum):
    """What servers of the process runtime talk over.

    LOOPBACK: each has a loopback address of its own. NETNS: each has a network namespace, with wires between them, whose
    packets can be lost; Linux alone has them.
    """

    LOOPBACK = "loopback"
    NETNS = "netns"


class Formation(StrEnum):
    """How a lab becomes one: seeded (fast, indistinguishable afterwards) or natural (as an operator would, slow)."""

    SEEDED = "seeded"
    NATURAL = "natural"


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One server.

    Attributes:
        name: `redis-1` … for data nodes, `sentinel-1` … for Sentinels.
        role: What it is when the lab comes up.
        shard: 1-based shard it belongs to; 0 for a Sentinel.
        primary: Name of the node it replicates when the lab comes up; None for primaries and Sentinels.
        port: Client port, announced as 127.0.0.1:port and listened on at `host`.
        bus_port: Cluster bus port; None outside a Cluster.
        host: Address at which the server itself listens and from which it connects (process runtime: its own loopback
            address 127.L.0.k; containers: ANY_HOST, of their pod). Never announced to anybody.
        node_id: 40 hex digits: Cluster node id or Sentinel id; empty otherwise.
        slots: First and last hash slot it owns when the lab comes up; None unless a Cluster primary.
    """

    name: str
    role: Role
    shard: int
    primary: str | None
    port: int
    bus_port: int | None
    host: str
    node_id: str = ""
    slots: tuple[int, int] | None = None
    admin: tuple[str, int] | None = None
    """Host and port at which the lab itself reaches it past all links; None where that is where it listens."""

    own_ports: tuple[int, int] | None = None
    """Client and bus port that it listens on, where those are not the announced ones: on a machine whose nodes must
    share 127.0.0.1 with the links in front of them."""

    @property
    def direct(self) -> tuple[str, int]:
        """Where the lab itself reaches it, past all links."""
        return self.admin or (self.host, self.listen_port)

    @property
    def listen_port(self) -> int:
        """Client port that the server itself listens on."""
        return self.own_ports[0] if self.own_ports else self.port

    @property
    def listen_bus_port(self) -> int | None:
        """Bus port that the server itself listens on; None outside a Cluster."""
        return self.own_ports[1] if self.own_ports and self.bus_port is not None else self.bus_port


@dataclass(frozen=True, slots=True)
class User:
    """One ACL user. `rules` is everything of its ACL line after the name except the password."""

    name: str
    password: str = field(repr=False)
    rules: str


@dataclass(frozen=True, slots=True)
class Secrets:
    """Random secrets of one lab, present only where its topology asks for ACL. Never printed, never in arguments."""

    app: User
    admin: User
    replication: User
    sentinel: User


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of the lab's certificates, present only where its topology asks for TLS."""

    ca: str
    cert: str
    key: str


class LinksBy(StrEnum):
    """Which program carries the links of a lab in containers."""

    TOXIPROXY = "toxiproxy"
    LABCTL = "labctl"
    """labctl's own link server: it knows RESP, and black holes that lose nothing."""


@dataclass(frozen=True, slots=True)
class Containers:
    """What the containers of a lab are made of.

    Attributes:
        links_by: The program that carries links.
        links_image: The image with it; empty until the images were chosen, before which nothing was made from any.
        memory: Most bytes of memory that a server may have.
        cpus: Most processors that a server may keep busy; 0 for all of them.
        disk: Size in bytes of each node's volume, which is then memory; 0 for volumes on the engine's disk.
    """

    links_by: LinksBy = LinksBy.TOXIPROXY
    links_image: str = ""
    memory: int = 1 << 30
    cpus: float = 0
    disk: int = 0


@dataclass(frozen=True, slots=True)
class LabPlan:
    """Everything that is decided before the first server starts.

    Attributes:
        lab: The lab's name.
        lab_id: 32 random hex digits; marks every process that belongs to the lab.
        topology: As declared.
        engine: Path of the server binary, or the image with it.
        engine_name: Such as `redis 7.0.15`.
        nodes: Data nodes first, primaries before their replicas, then Sentinels.
        client_hosts: Client group → the address its connections come from (process runtime: `clients` is 127.0.0.1,
            `clients-a` and `clients-b` have loopback addresses of their own; docker: all are 127.0.0.1).
        formation: Seeded or natural.
        runtime: Where its servers run.
        client_ports: Client group → the port that stands for each node, in the order of `nodes`, where a group has ports
            of its own; empty where groups are told apart by their addresses.
        net: What the servers talk over.
        gateway: Where those ports are. The announced ones among them are at 127.0.0.1 as well.
        containers: What its containers are made of; None where there are none.
    """

    lab: str
    lab_id: str
    topology: Topology
    engine: str
    engine_name: str
    nodes: tuple[NodePlan, ...]
    client_hosts: tuple[tuple[str, str], ...]
    formation: Formation = Formation.SEEDED
    runtime: RuntimeName = RuntimeName.PROCESS
    client_ports: tuple[tuple[str, tuple[int, ...]], ...] = ()
    net: Net = Net.LOOPBACK
    gateway: str = ANNOUNCED_HOST
    containers: Containers | None = None

    def node(self, name: str) -> NodePlan:
        """The node called `name`. Raises KeyError when there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def reached_at(self, admin: Sequence[tuple[str, int] | None]) -> LabPlan:
        """The same lab, saying where it reaches each of `nodes` itself."""
        return replace(self, nodes=tuple(replace(n, admin=a) for n, a in zip(self.nodes, admin, strict=True)))

    @property
    def per_link(self) -> bool:
        """Whether each directed link is a proxy of its own.

        Not where all nodes share one address: links cannot tell there who connects, and faults are per node.
        """
        return all(node.own_ports is None for node in self.nodes)

    @property
    def data_nodes(self) -> tuple[NodePlan, ...]:
        """Nodes that hold data."""
        return tuple(n for n in self.nodes if n.role is not Role.SENTINEL)

    @property
    def sentinels(self) -> tuple[NodePlan, ...]:
        """Sentinel nodes."""
        return tuple(n for n in self.nodes if n.role is Role.SENTINEL)
