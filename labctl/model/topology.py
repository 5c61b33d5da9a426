"""What a user declares: a topology, free of ports, paths and processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """How the servers of a topology relate."""

    STANDALONE = "standalone"
    REPLICA = "replica"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class Role(StrEnum):
    """What a node is. For a declared node: what it is when the lab comes up; failovers change it later."""

    PRIMARY = "primary"
    REPLICA = "replica"
    SENTINEL = "sentinel"


class Fsync(StrEnum):
    """`appendfsync` of redis.conf."""

    ALWAYS = "always"
    EVERYSEC = "everysec"
    NO = "no"


@dataclass(frozen=True, slots=True)
class SaveRule:
    """One `save` rule: dump after `seconds` when at least `changes` keys changed."""

    seconds: int
    changes: int


@dataclass(frozen=True, slots=True)
class Persistence:
    """Neither (the default), RDB rules, an append-only file, or both."""

    rdb: tuple[SaveRule, ...] = ()
    aof: Fsync | None = None


@dataclass(frozen=True, slots=True)
class SentinelOptions:
    """Sentinel's own settings. Times in milliseconds, as in sentinel.conf."""

    quorum: int = 2
    down_after_ms: int = 1000
    failover_timeout_ms: int = 10_000
    parallel_syncs: int = 1


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Cluster settings. `node_timeout_ms` as `cluster-node-timeout`."""

    node_timeout_ms: int = 2000


Directives = tuple[tuple[str, str], ...]
"""`redis.conf` lines as (directive, arguments), in the order stated; a directive may appear more than once."""


@dataclass(frozen=True, slots=True)
class Topology:
    """A declared topology.

    Attributes:
        name: The topology's name; the lab is called so unless told otherwise. Matches `[a-z][a-z0-9-]{0,39}`.
        kind: Which of the four shapes.
        description: One line for listings.
        primaries: Shards of a cluster, or servers on their own of kind STANDALONE, over which clients spread the keys; 1
            for every other kind.
        replicas: Replicas of each primary.
        sentinels: Sentinel processes; 0 unless `kind` is SENTINEL.
        engine: `redis-8`, `redis-7`, `valkey-9` or a path; None takes what `labctl doctor` lists first and can serve it.
        tls: TLS on every port, replication and bus included, the plaintext port off.
        acl: ACL users for app, replication, Sentinel and admin with random secrets, the default user off.
        maxmemory: As in redis.conf (`100mb`), or None.
        maxmemory_policy: As in redis.conf, or None.
        directives: Extra lines per role. The keys are `all`, `primary`, `replica` and `sentinel`; `all` means data nodes.
        primary_name: The name under which Sentinels watch the primary.
    """

    name: str
    kind: Kind
    description: str = ""
    primaries: int = 1
    replicas: int = 0
    sentinels: int = 0
    engine: str | None = None
    tls: bool = False
    acl: bool = False
    persistence: Persistence = field(default_factory=Persistence)
    maxmemory: str | None = None
    maxmemory_policy: str | None = None
    directives: Mapping[str, Directives] = field(default_factory=dict)
    sentinel: SentinelOptions = field(default_factory=SentinelOptions)
    cluster: ClusterOptions = field(default_factory=ClusterOptions)
    primary_name: str = "lab"

    @property
    def data_nodes(self) -> int:
        """Servers that hold data."""
        return self.primaries * (1 + self.replicas)

    @property
    def nodes(self) -> int:
        """All servers, Sentinels included."""
        return self.data_nodes + self.sentinels
