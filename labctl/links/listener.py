"""One listening socket, shared by the proxies of its address."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from labctl.links.connection import reset_socket
from labctl.links.sockets import Sockets, own_sockets
from labctl.links.spec import Address, LinkState, ListenError, ProxyExistsError

if TYPE_CHECKING:
    from labctl.links.poller import Poller
    from labctl.links.proxy import Proxy

log = logging.getLogger(__name__)

_BACKLOG = 1024
_ACCEPTS = 64
"""Connections taken in one turn at most: fairness towards those that exist."""
_PAUSE_S = 0.2
"""Rest after running out of descriptors; the kernel queues what comes meanwhile."""


def descriptor_ceiling() -> int:
    """Return the number from which on a descriptor is not used for a connection.

    The kernel gives out the lowest free number, so a high one means that few are left; those are kept for the API, for
    logs and for what else the process has to open.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft - min(64, soft // 4)


def raise_descriptor_limit() -> int:
    """Allow as many descriptors as this process may have, two per connection, and return how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Listener:
    """Accepts for an address and tells proxies apart by the peer's IP address.

    It listens while at least one of its proxies is not REFUSED. Otherwise it keeps the port bound without listening,
    so that clients are refused by the kernel and no outgoing connection gets the port before the link heals. A port
    that is taken is an error only when it is to be listened on.
    """

    def __init__(self, address: Address, poller: Poller, sockets: Sockets = own_sockets) -> None:
        self._poller = poller
        self._sockets = sockets
        self._ceiling = descriptor_ceiling()
        self.address = address
        self._socket: socket.socket | None = None
        try:
            self._socket = _bind(address, sockets)
        except ListenError:
            log.debug("%s: cannot be reserved yet", address)
        else:
            self.address = replace(address, port=self._socket.getsockname()[1])
        self._by_source: dict[str | None, Proxy] = {}
        self._listening = False
        self._rest: asyncio.TimerHandle | None = None
        self._starved = False
        self._waiting: tuple[socket.socket, str] | None = None  # accepted when hardly any descriptor was left

    def __len__(self) -> int:
        return len(self._by_source)

    def put(self, proxy: Proxy) -> None:
        """Add a proxy; call `update` when all are added.

        Raises:
            ProxyExistsError: Its source is taken.
        """
        taken = self._by_source.get(proxy.spec.source)
        if taken is not None:
            who = f"source {proxy.spec.source}" if proxy.spec.source else "every other source"
            raise ProxyExistsError(
                f"{self.address} already carries {who} for link {taken.spec.name!r}",
                "Give the link another listen address or another source.",
                by_source=True,
            )
        self._by_source[proxy.spec.source] = proxy
        proxy.listener = self

    def drop(self, proxy: Proxy) -> None:
        """Remove a proxy; call `update` or `close` afterwards."""
        if self._by_source.get(proxy.spec.source) is proxy:
            del self._by_source[proxy.spec.source]
            proxy.listener = None if proxy.listener is self else proxy.listener

    def update(self) -> None:
        """Listen, or stop listening, as the proxies' states say.

        Raises:
            ListenError: Listening again failed.
        """
        wanted = any(proxy.state is not LinkState.REFUSED for proxy in self._by_source.values())
        if wanted and not self._listening:
            self._start()
        elif self._listening and not wanted:
            self._stop()

    def _start(self) -> None:
        if self._socket is None:
            self._socket = _bind(self.address, self._sockets)
        try:
            self._socket.listen(_BACKLOG)
        except OSError as error:
            raise listen_error(self.address, error) from error
        self._listening = True
        self._poller.read_on(self._socket.fileno(), self)

    def _stop(self) -> None:
        assert self._socket is not None
        self._listening = False
        self._poller.forget(self._socket.fileno())
        if sys.platform == "linux":
            # Back from LISTEN to CLOSE with the port kept; connections not yet accepted are reset.
            self._socket.shutdown(socket.SHUT_RDWR)
        else:
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Free the port."""
        if self._rest is not None:
            self._rest.cancel()
        if self._waiting is not None:
            reset_socket(self._waiting[0])
        self._listening = False
        if self._socket is not None:
            self._poller.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def readable(self) -> None:
        """Accept what is waiting."""
        for _ in range(_ACCEPTS):
            if self._socket is None or not self._listening:
                return
            try:
                client, peer = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                self._pause()
                return
            if client.fileno() >= self._ceiling:
                self._waiting = client, peer[0]
                self._pause()
                return
            self._starved = False
            self._dispatch(client, peer[0])

    def _dispatch(self, client: socket.socket, peer: str) -> None:
        proxy = self._by_source.get(peer) or self._by_source.get(None)
        if proxy is None:
            reset_socket(client)
            return
        try:
            proxy.accept(client)
        except Exception:
            log.exception("link %s: a new connection failed and was closed", proxy.spec.name)
            reset_socket(client)

    def _pause(self) -> None:
        if self._socket is not None and self._rest is None:
            if not self._starved:
                log.warning("%s: hardly any descriptor left; new connections have to wait", self.address)
            self._starved = True
            self._poller.read_off(self._socket.fileno())
            self._rest = asyncio.get_running_loop().call_later(_PAUSE_S, self._wake)

    def _wake(self) -> None:
        self._rest = None
        if self._waiting is not None:
            client, peer = self._waiting
            try:
                probe = os.dup(client.fileno())
            except OSError:
                probe = self._ceiling
            else:
                os.close(probe)
            if probe >= self._ceiling:
                self._pause()
                return
            self._waiting = None
            self._dispatch(client, peer)
        if self._listening and self._socket is not None:
            self._poller.read_on(self._socket.fileno(), self)

    def writable(self) -> None:
        """Never watched for."""

    def hung_up(self) -> None:
        """Never watched for."""

    def failed(self, error: Exception) -> None:
        """Accepting failed for a reason unknown here: try again a little later rather than spin or die."""
        log.error("%s: accepting failed: %s", self.address, error)
        self._pause()


def _bind(address: Address, sockets: Sockets) -> socket.socket:
    """Return a bound socket that does not listen yet."""
    try:
        sock = _bound(address, address.port, sockets)
        if address.port:
            return sock
        # The kernel gives up a port that it chose itself as soon as the socket stops listening; one bound by number
        # it keeps. SO_REUSEADDR lets both be bound while neither listens.
        with sock:
            return _bound(address, sock.getsockname()[1], sockets)
    except OSError as error:
        raise listen_error(address, error) from error


def _bound(address: Address, port: int, sockets: Sockets) -> socket.socket:
    sock = sockets(address.namespace, socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address.host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def listen_error(address: Address, error: OSError) -> ListenError:
    """Say why `address` cannot be listened on, in the words that Toxiproxy (Go) uses for it."""
    reason = (error.strerror or str(error)).lower()
    hints = {
        errno.EADDRINUSE: f"Another process has it; `ss -ltnp sport = :{address.port}` shows which.",
        errno.EADDRNOTAVAIL: f"{address.host} is not an address of this machine.",
        errno.EACCES: "Ports below 1024 need privileges; take a higher one.",
    }
    return ListenError(f"listen tcp {address}: bind: {reason}", hints.get(error.errno or 0, ""))
