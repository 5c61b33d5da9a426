"""What an application needs to know to use a lab: the same for a workload, `labctl env` and the user's own program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from labctl.model.topology import Kind


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server as clients reach it."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Endpoints:
    """How clients of one group reach a lab.

    Attributes:
        kind: Shape of the lab.
        nodes: Data nodes, in the lab's order; the first was the primary when the lab came up.
        sentinels: Sentinels; empty unless `kind` is SENTINEL.
        primary_name: The name under which Sentinels watch the primary.
        username: ACL user of applications; None without ACL. Sentinels know the same user.
        password: Its password; never printed, never in arguments.
        ca_file: Certificate authority to trust; None without TLS.
        source: Local address that this group's connections come from, which is how a link knows them; None for the default.
        dial: Announced port → the address to connect to instead, where a group has ports of its own.
    """

    kind: Kind
    nodes: tuple[Endpoint, ...]
    sentinels: tuple[Endpoint, ...] = ()
    primary_name: str = "lab"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    source: str | None = None
    dial: Mapping[int, tuple[str, int]] = field(default_factory=dict)
