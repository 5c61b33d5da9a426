"""One client's connection through a link: two sockets, two pipes, one end."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from typing import TYPE_CHECKING

from labctl.links.pipe import Ending, Pipe

if TYPE_CHECKING:
    from labctl.links.poller import Poller
    from labctl.links.proxy import Proxy
    from labctl.links.resp.session import Session

_LINGER_RESET = struct.pack("ii", 1, 0)


def reset_socket(sock: socket.socket) -> None:
    """Close `sock` so that its peer sees a TCP reset."""
    with contextlib.suppress(OSError):  # gone already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    sock.close()


def _sends_at_once(sock: socket.socket) -> socket.socket:
    """Make a socket non-blocking, and send at once."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Connection:
    """A client and, once connected, its upstream.

    Held at first: a black-holed link does not connect until it heals, and an upstream takes its time. While held,
    nothing is read from the client. One that goes away before the link healed is dropped with what it sent: with
    dropped packets its connection would never have come to be.

    Attributes:
        ordinal: The how-manieth connection of its proxy it is, from 0; seeds what toxics draw for it.
        up: Client to upstream; absent while held.
        down: Upstream to client; absent while held.
        resp: The session of its RESP toxics, while it has any.
    """

    __slots__ = ("_upstream", "client", "closed", "down", "established", "ordinal", "poller", "proxy", "resp", "up")

    up: Pipe
    down: Pipe

    def __init__(self, proxy: Proxy, poller: Poller, client: socket.socket, ordinal: int) -> None:
        self.proxy = proxy
        self.poller = poller
        self.client = client
        self.ordinal = ordinal
        self.established = False
        self.closed = False
        self.resp: Session | None = None
        self._upstream: socket.socket | None = None
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def hold(self) -> None:
        """Wait unanswered for the link to heal, unless the client gives up before."""
        self.poller.hangup_on(self.client.fileno(), self)

    def connect(self, family: socket.AddressFamily, address: tuple[str, int]) -> None:
        """Start connecting to an address that needs no resolving."""
        if self.closed or self._upstream is not None:
            return
        self.poller.forget(self.client.fileno())
        try:
            made = self.proxy.sockets(self.proxy.spec.upstream.namespace, family)
            upstream = self._upstream = _sends_at_once(made)
            code = upstream.connect_ex(address)
        except OSError as error:  # out of descriptors, or an address that the socket's family does not take
            code = error.errno or errno.EINVAL
        if code == 0:
            self._connected(upstream)
        elif code == errno.EINPROGRESS:
            self.poller.write_on(upstream.fileno(), self)
        else:
            self.refuse()

    def refuse(self) -> None:
        """The upstream cannot be reached: the client sees a reset, as from a dead server."""
        self.proxy.failed += 1
        self.close(reset=True)

    def writable(self) -> None:
        """The connect has ended, one way or the other."""
        upstream = self._upstream
        if upstream is None or self.established:
            return
        self.poller.write_off(upstream.fileno())
        if upstream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.refuse()
        else:
            self._connected(upstream)

    def _connected(self, upstream: socket.socket) -> None:
        # A connect to a free port of the ephemeral range can meet itself (TCP's simultaneous open): nobody is there.
        try:
            met_itself = upstream.getsockname() == upstream.getpeername()
        except OSError:  # reset already
            met_itself = True
        if met_itself:
            self.refuse()
        else:
            self._establish(upstream)

    def _establish(self, upstream: socket.socket) -> None:
        self.established = True
        self.up = Pipe(self, self.client, upstream)
        self.down = Pipe(self, upstream, self.client)
        self.proxy.established(self)
        if not self.closed:
            self.up.read_on()
            self.down.read_on()

    def readable(self) -> None:
        """Nothing to read while held; pipes read afterwards."""

    def hung_up(self) -> None:
        """The client gave up while it was held."""
        self.close(reset=True)

    def failed(self, error: Exception) -> None:  # noqa: ARG002 - logged by the poller
        """Something in here raised: this connection ends, nothing else does."""
        self.close(reset=True)

    def resume(self) -> None:
        """The link is open again."""
        if self.established:
            self.up.resume()
            if not self.closed:
                self.down.resume()
        elif self._upstream is None:
            self.proxy.connect(self)

    def lost(self, pipe: Pipe) -> None:
        """The socket that `pipe` reads from is broken: nothing reaches it any more, and its peer gets a reset."""
        if self.closed:
            return
        pipe.other.discard()
        if pipe.delivered:
            # It had ended in good order before; with its source gone too, nothing is left to wait for.
            self.close(reset=True)
        else:
            pipe.end(Ending.RST)

    def half_close(self, pipe: Pipe) -> None:
        """`pipe` has delivered everything: pass the end on, and close when both directions have ended."""
        try:
            pipe.destination.shutdown(socket.SHUT_WR)
        except OSError:
            self.close(reset=True)
            return
        pipe.delivered = True
        if pipe.other.delivered:
            self.close()

    def close(self, *, reset: bool = False) -> None:
        """Close both sockets now; with `reset` so that both peers see a TCP reset."""
        if self.closed:
            return
        self.closed = True
        try:
            if self.established:
                self.up.discard()
                self.down.discard()
        finally:
            self._close_sockets(reset=reset)
            self.proxy.forget(self)

    def _close_sockets(self, *, reset: bool) -> None:
        for sock in (self.client, self._upstream):
            if sock is not None:
                self.poller.forget(sock.fileno())
                if reset:
                    reset_socket(sock)
                else:
                    sock.close()
