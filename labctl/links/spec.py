"""What a caller says about a proxy and what the link server says back: frozen values, no sockets."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from labctl.errors import LabError, UsageError
from labctl.model.fault import HELD_PREFIX, LinkState

__all__ = [
    "HELD_PREFIX",
    "Address",
    "AddressError",
    "LinkState",
    "LinkStats",
    "ListenError",
    "OwnedError",
    "ProxyExistsError",
    "ProxySpec",
    "UnknownProxyError",
]


class AddressError(UsageError):
    """An address is not `host:port`, or not one this server may listen on."""


class ListenError(LabError):
    """A listening address could not be bound; the message names host and port."""


class ProxyExistsError(UsageError):
    """A proxy of that name, or of the same listen address and source, is already there.

    Attributes:
        by_source: It is the listen address and source that are taken.
    """

    def __init__(self, message: str, hint: str = "", *, by_source: bool = False) -> None:
        super().__init__(message, hint)
        self.by_source = by_source


class OwnedError(UsageError):
    """It belongs to whoever runs the server, who alone may change it."""


class UnknownProxyError(UsageError):
    """No proxy has that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no link is called {name!r}", "`labctl status` lists the links.")
        self.name = name


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A TCP endpoint. `host` is an IP address, or for an upstream also a name that is resolved at each connect.

    `namespace` says in which of a lab's network namespaces it is listened at or connected to; empty for the machine's own.
    """

    host: str
    port: int
    namespace: str = ""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `host:port`, `[v6]:port` or `:port`.

        Raises:
            AddressError: There is no port, or it is not within 0–65535.
        """
        host, colon, port = text.rpartition(":")
        if not colon:
            raise AddressError(f"address {text}: missing port in address", "Write it as host:port.")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise AddressError(f"address {text}: too many colons in address", "Write IPv6 as [host]:port.")
        if not (port.isascii() and port.isdigit() and int(port) <= 65535):
            raise AddressError(f"address {text}: invalid port", "A port is a number within 0–65535.")
        if any(not c.isprintable() or c.isspace() for c in host):
            raise AddressError(f"address {text!r}: invalid host", "Write it as host:port.")
        return cls(host, int(port))

    @property
    def is_literal(self) -> bool:
        """Whether the host is an IP address, so that connecting needs no resolver."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class ProxySpec:
    """One directed link.

    Attributes:
        name: Unique on the server; `redis-1.to.redis-2` for a lab's links.
        listen: Where it accepts. Port 0 takes a free one. Proxies may share a listen address when their sources differ.
        upstream: Where it connects to.
        enabled: False starts it REFUSED.
        source: The peer IP address whose connections it carries, compared as text with what the kernel reports;
            None carries those of every peer that no other proxy of the listen address names.
        owned: It belongs to whoever runs the server, a lab's link for example: through the API it can neither be
            removed nor moved.
    """

    name: str
    listen: Address
    upstream: Address
    enabled: bool = True
    source: str | None = None
    owned: bool = False


@dataclass(frozen=True, slots=True)
class LinkStats:
    """Counters of one proxy since it was added. Bytes of live connections are included.

    Attributes:
        connections: Live now, those held by a blackhole included.
        held: Of these, waiting unanswered for the blackhole to end or the upstream to answer.
        accepted: Connections taken in so far.
        refused: Connections reset because the link was REFUSED.
        failed: Connections reset because the upstream could not be reached.
        upstream_received: Bytes read from clients.
        upstream_sent: Bytes handed to the upstream's socket.
        downstream_received: Bytes read from the upstream.
        downstream_sent: Bytes handed to clients' sockets.
    """

    connections: int
    held: int
    accepted: int
    refused: int
    failed: int
    upstream_received: int
    upstream_sent: int
    downstream_received: int
    downstream_sent: int
