"""A client, a link and an upstream in a row, for tests of toxics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labctl.links import LinkServer, ProxySpec, ToxicSpec
from labctl.links.toxics import TYPES
from tests.unit.links.peers import ANY, Net, Peer, Upstream, until

if TYPE_CHECKING:
    from labctl.links.connection import Connection
    from labctl.links.toxics.collection import Stream


class Line:
    """One link named `link` with its toxics."""

    def __init__(self, server: LinkServer, net: Net) -> None:
        self.server = server
        self.net = net
        self.upstream: Upstream = net.upstream()
        self.address = server.add(ProxySpec("link", ANY, self.upstream.address)).listen
        self.toxics = server.toxics("link")

    async def connect(self) -> tuple[Peer, Peer]:
        """A new client and what the upstream accepted for it."""
        client = self.net.dial(self.address)
        behind = await self.upstream.accept()
        # The upstream has accepted before the server has noticed that it did.
        await until(lambda: self.server.stats("link").held == 0)
        return client, behind

    def add(self, kind: str, stream: Stream = "downstream", toxicity: float = 1.0, **attributes: Any) -> str:
        """Add a toxic named after its type."""
        made = TYPES[kind](**attributes)
        self.toxics.add(ToxicSpec(kind, stream, made, toxicity))
        return kind

    def update(self, kind: str, **attributes: Any) -> None:
        self.toxics.update(kind, attributes=TYPES[kind](**attributes))

    @property
    def connection(self) -> Connection:
        """The only one there is."""
        (connection,) = self.server.get("link").connections
        return connection

    async def taken(self, count: int, stream: Stream = "downstream") -> None:
        """Wait until the link has read `count` bytes."""
        await until(lambda: getattr(self.server.stats("link"), f"{stream}_received") >= count)
