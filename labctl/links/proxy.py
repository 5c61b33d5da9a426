"""A proxy at run time: its state, its live connections, its counters."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

from labctl.links.connection import Connection, reset_socket
from labctl.links.sockets import Sockets, own_sockets
from labctl.links.spec import LinkState, LinkStats, ProxySpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labctl.links.listener import Listener
    from labctl.links.pipe import Pipe
    from labctl.links.poller import Poller
    from labctl.links.tap import Tap
    from labctl.links.toxics.collection import ToxicCollection

log = logging.getLogger(__name__)

_OPEN, _REFUSED = LinkState.OPEN, LinkState.REFUSED


class Proxy:
    """One directed link. Kept small: a cluster of a hundred nodes has twenty thousand, most never used.

    Attributes:
        state: What it does with connections: the worse of `asked` and `held`.
        asked: The state that users of the API want.
        held: The state that whoever runs the server, a lab's faults for example, holds it in; no user can end that.
        listener: Where it accepts; None while it is on none.
        stalled: Whether nothing may pass; what pipes look at before each read and send.
        accepted: See `LinkStats`.
        refused: See `LinkStats`.
        failed: See `LinkStats`.
        toxics: None until a toxic is asked for.
        tap: Who listens to its connections, if anybody.
    """

    __slots__ = (
        "_connections",
        "_past",
        "accepted",
        "asked",
        "failed",
        "held",
        "listener",
        "poller",
        "refused",
        "sockets",
        "spec",
        "stalled",
        "state",
        "tap",
        "toxics",
    )

    def __init__(self, spec: ProxySpec, poller: Poller, sockets: Sockets = own_sockets) -> None:
        self.spec = spec
        self.sockets = sockets
        self.poller = poller
        self.listener: Listener | None = None
        self.asked = LinkState.OPEN if spec.enabled else LinkState.REFUSED
        self.held = LinkState.OPEN
        self.state = self.asked
        self.stalled = self.state is not LinkState.OPEN
        self.accepted = 0
        self.refused = 0
        self.failed = 0
        self.toxics: ToxicCollection | None = None
        self.tap: Tap | None = None
        self._connections: set[Connection] | None = None  # made by the first connection
        self._past: tuple[int, int, int, int] = (0, 0, 0, 0)  # bytes of closed connections, as in LinkStats

    @property
    def connections(self) -> frozenset[Connection]:
        """Those alive now."""
        return frozenset(self._connections or ())

    def enter(self) -> LinkState | None:
        """Enter the worse of `asked` and `held`; the state before, or None where it is the same.

        A cut is in force when this returns: nothing passes any more. Connections are told by `settle`.
        """
        held = self.held
        state = self.asked if held is _OPEN or self.asked is _REFUSED else held  # called for thousands of links at once
        before = self.state
        if state is before:
            return None
        self.state = state
        self.stalled = state is not _OPEN
        return before

    def settle(self) -> None:
        """Make connections what the state says: gone, or going on. Stalled ones notice before their next read or send."""
        if not self._connections or self.state is LinkState.BLACKHOLE:
            return
        for connection in tuple(self._connections):
            if self.state is LinkState.REFUSED:
                connection.close(reset=True)
            else:
                connection.resume()

    def accept(self, client: socket.socket) -> None:
        """Take in a client's connection, in the way that the state says."""
        if self.state is LinkState.REFUSED:
            self.refused += 1
            reset_socket(client)
            return
        connection = Connection(self, self.poller, client, self.accepted)
        self.accepted += 1
        if self._connections is None:
            self._connections = set()
        self._connections.add(connection)
        if self.stalled:
            connection.hold()
        else:
            self.connect(connection)

    def connect(self, connection: Connection) -> None:
        """Connect a held connection to the upstream."""
        host, port = self.spec.upstream.host, self.spec.upstream.port
        if self.spec.upstream.is_literal:
            connection.connect(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port))
            return
        task = asyncio.get_running_loop().create_task(self._resolve(connection, host, port))
        _resolving.add(task)
        task.add_done_callback(_resolving.discard)

    async def _resolve(self, connection: Connection, host: str, port: int) -> None:
        """Connect by name, resolved anew each time as Toxiproxy does: containers move."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host or "127.0.0.1", port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            log.warning("link %s: cannot resolve upstream %s: %s", self.spec.name, self.spec.upstream, error)
            connection.refuse()
            return
        if connection.closed:
            return
        if self.stalled:
            connection.hold()  # cut in between; healing starts over
        else:
            family, _, _, _, address = found[0]
            connection.connect(family, (str(address[0]), port))

    def established(self, connection: Connection) -> None:
        """Both sockets are there; called before the first byte is read."""
        if self.toxics is not None:
            self.toxics.attach(connection)
        if self.tap is not None:
            self.tap.listen(connection)

    def listen(self, tap: Tap | None) -> None:
        """Let `tap` listen to every connection, those that stand and those to come; None: nobody any more."""
        self.tap = tap
        for connection in self._connections or ():
            if connection.established and tap is not None:
                tap.listen(connection)
            elif connection.established:
                connection.up.ear = connection.down.ear = None

    def forget(self, connection: Connection) -> None:
        """`connection` is closed: keep its bytes."""
        if self._connections is not None and connection in self._connections:
            self._connections.remove(connection)
            if connection.established:
                self._past = _add(self._past, connection)

    def close(self) -> None:
        """Reset every connection."""
        for connection in tuple(self._connections or ()):
            connection.close(reset=True)

    def pipes(self) -> Iterator[Pipe]:
        """Both directions of every established connection."""
        for connection in tuple(self._connections or ()):
            if connection.established:
                yield connection.up
                yield connection.down

    def stats(self) -> LinkStats:
        """Return the counters as they are now."""
        live = self._connections or set()
        total = self._past
        for connection in live:
            if connection.established:
                total = _add(total, connection)
        return LinkStats(
            len(live),
            sum(1 for connection in live if not connection.established),
            self.accepted,
            self.refused,
            self.failed,
            *total,
        )


_resolving: set[asyncio.Task[None]] = set()
"""Resolver tasks under way; the loop itself holds tasks only weakly."""


def _add(total: tuple[int, int, int, int], connection: Connection) -> tuple[int, int, int, int]:
    up, down = connection.up, connection.down
    return total[0] + up.received, total[1] + up.sent, total[2] + down.received, total[3] + down.sent
