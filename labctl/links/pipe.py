"""One direction of one connection: the path that every byte takes.

Without a toxic, a chunk is read into one buffer shared by the whole process and sent on from there: two system calls
and no allocation. What the destination does not take is copied and kept, and reading stops until it is gone; so at
most one chunk per direction is held (back-pressure). With toxics, chunks go through the chain, which bounds what it
holds and calls `write` and `finish` at its far end.

The link's state is looked at before every read and every send. Cutting a link therefore costs one assignment per
proxy, whatever the number of its connections, and is in force when that assignment returns: readers of a stalled link
are taken off when they next fire.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from labctl.links.connection import Connection
    from labctl.links.tap import Ear
    from labctl.links.toxics.base import ToxicChain

CHUNK = 256 * 1024
"""Bytes of one read at most, and so of what one direction without toxics holds."""

_BUFFER = memoryview(bytearray(CHUNK))


class Ending(Enum):
    """How a direction ends."""

    FIN = "fin"
    """The source has sent all: shut the destination's write side, the other direction lives on."""
    RST = "rst"
    """The source is broken: reset both sockets."""
    CLOSE = "close"
    """A toxic ends the connection: close both sockets after what is under way is sent."""


class Pipe:
    """Bytes from `source` to `destination`. See the module's text."""

    __slots__ = (
        "_finishing",
        "_pending",
        "_pending_bytes",
        "_reading",
        "_recv_into",
        "_send",
        "_writing",
        "chain",
        "connection",
        "delivered",
        "destination",
        "ear",
        "ended",
        "received",
        "sent",
        "source",
    )

    def __init__(self, connection: Connection, source: socket.socket, destination: socket.socket) -> None:
        self.connection = connection
        self.source = source
        self.destination = destination
        self.chain: ToxicChain | None = None
        self.ear: Ear | None = None  # listens, if somebody wants to know what is said
        self.received = 0
        self.sent = 0
        self.ended = False  # nothing more will be read
        self.delivered = False  # the destination has been told so
        self._recv_into = source.recv_into
        self._send = destination.send
        self._pending: deque[bytes | memoryview] = deque()
        self._pending_bytes = 0
        self._finishing: Ending | None = None  # to be done once nothing is pending
        self._reading = False
        self._writing = False

    # Reading

    def read_on(self) -> None:
        """Start or restart reading, unless the source has ended."""
        if not self._reading and not self.ended and not self.connection.closed:
            self._reading = True
            self.connection.poller.read_on(self.source.fileno(), self)

    def read_off(self) -> None:
        """Stop reading; the kernel's window closes and the sender waits."""
        if self._reading:
            self._reading = False
            self.connection.poller.read_off(self.source.fileno())

    def readable(self) -> None:
        """Move one chunk."""
        if self.connection.proxy.stalled:
            self.read_off()
            return
        try:
            count = self._recv_into(_BUFFER)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.connection.lost(self)
            return
        if not count:
            self.end(Ending.FIN)
            return
        self.received += count
        if self.ear is not None:
            self.ear.hear(_BUFFER[:count])
        if self.chain is not None:
            self.chain.feed(bytes(_BUFFER[:count]))
            self.balance()
            return
        if self._pending:
            # A chain was removed while the destination was slow: join its queue.
            self._keep(bytes(_BUFFER[:count]))
            self.read_off()
            return
        try:
            done = self._send(_BUFFER[:count])
        except (BlockingIOError, InterruptedError):
            done = 0
        except OSError:
            self.connection.lost(self.other)
            return
        self.sent += done
        if done < count:
            self._keep(bytes(_BUFFER[done:count]))
            self.read_off()

    def end(self, ending: Ending) -> None:
        """The source ended: let the destination know once everything before is delivered."""
        if self.ended:
            return
        self.read_off()
        self.ended = True
        if self.chain is not None:
            self.chain.end(ending)
        else:
            self.finish(ending)

    # Writing

    def write(self, data: bytes | memoryview) -> None:
        """Send `data` after whatever is pending. For chains; each call is one send, so slices stay slices."""
        if self.connection.closed:
            return
        if self._pending or self.connection.proxy.stalled:
            self._keep(data)
            return
        try:
            done = self._send(data)
        except (BlockingIOError, InterruptedError):
            done = 0
        except OSError:
            self.connection.lost(self.other)
            return
        self.sent += done
        if done < len(data):
            self._keep(memoryview(data)[done:])
        elif not self._reading:
            self.balance()

    def finish(self, ending: Ending) -> None:
        """Carry out `ending` after whatever is pending. A reset does not wait, except for a stalled link."""
        if self.connection.closed or (ending is Ending.FIN and self.delivered):
            return
        if self.connection.proxy.stalled or (self._pending and ending is not Ending.RST):
            if self._finishing is not Ending.CLOSE or ending is Ending.RST:
                self._finishing = ending
        elif ending is Ending.FIN:
            self.connection.half_close(self)
        else:
            self.connection.close(reset=ending is Ending.RST)

    def writable(self) -> None:
        """Send what is pending, then what was waiting for it."""
        pending = self._pending
        if not self.connection.proxy.stalled:
            try:
                while pending:
                    data = pending[0]
                    done = self._send(data)
                    self.sent += done
                    self._pending_bytes -= done
                    if done < len(data):
                        pending[0] = memoryview(data)[done:]
                        return
                    pending.popleft()
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.connection.lost(self.other)
                return
        self._writing = False
        self.connection.poller.write_off(self.destination.fileno())
        if self.connection.proxy.stalled:
            return
        if self._finishing is not None:
            self.finish(self._finishing)
        else:
            self.balance()

    def resume(self) -> None:
        """The link is open again: carry on where it stalled."""
        if self._pending:
            self._write_on()
        elif self._finishing is not None:
            self.finish(self._finishing)
        self.balance()

    def discard(self) -> None:
        """The destination is gone: stop, and drop what was meant for it."""
        self.read_off()
        self.ended = self.delivered = True
        self._pending.clear()
        self._pending_bytes = 0
        self._finishing = None
        if self._writing:
            self._writing = False
            self.connection.poller.write_off(self.destination.fileno())
        if self.chain is not None:
            self.chain.close()
            self.chain = None

    def hung_up(self) -> None:
        """Not watched for while reading is wanted."""

    def failed(self, error: Exception) -> None:  # noqa: ARG002 - logged by the poller
        """Something in here raised: this connection ends, nothing else does."""
        self.connection.close(reset=True)

    @property
    def pending_bytes(self) -> int:
        """Bytes waiting for the destination."""
        return self._pending_bytes

    @property
    def other(self) -> Pipe:
        """The opposite direction."""
        connection = self.connection
        return connection.down if self is connection.up else connection.up

    def _keep(self, data: bytes | memoryview) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)
        self._write_on()

    def _write_on(self) -> None:
        if not self._writing:
            self._writing = True
            self.connection.poller.write_on(self.destination.fileno(), self)

    def balance(self) -> None:
        """Read or not, as the room for what is read says; to be called when a chain has changed."""
        if self.chain.is_full() if self.chain is not None else self._pending:
            self.read_off()
        elif not self._reading:
            self.read_on()
