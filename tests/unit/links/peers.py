"""Clients and upstreams for tests of the link server: plain sockets, nothing between a test and what TCP says."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Self

from labctl.links import Address

if TYPE_CHECKING:
    from collections.abc import Callable

ANY = Address("127.0.0.1", 0)
_RESET = b"\1\0\0\0\0\0\0\0"
"""SO_LINGER on, zero seconds: closing sends a reset."""


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition of the server's; the test's own timeout bounds it."""
    while not condition():  # noqa: ASYNC110 - the condition is a counter, which wakes nobody
        await asyncio.sleep(0.001)


class Peer:
    """One end of a TCP connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.sock, data)

    async def recv(self, count: int) -> bytes:
        """Exactly `count` bytes, or what came before the end."""
        data = bytearray()
        while len(data) < count:
            more = await self._loop.sock_recv(self.sock, min(count - len(data), 1 << 20))
            if not more:
                break
            data += more
        return bytes(data)

    async def some(self) -> bytes:
        """What one `recv` returns."""
        return await self._loop.sock_recv(self.sock, 1 << 20)

    async def rest(self) -> tuple[bytes, str]:
        """All that comes until the end, and how it ends: "fin" or "rst"."""
        data = bytearray()
        try:
            while more := await self._loop.sock_recv(self.sock, 1 << 20):
                data += more
        except ConnectionResetError:
            return bytes(data), "rst"
        return bytes(data), "fin"

    async def end(self) -> str:
        """How the stream ends, after any data."""
        return (await self.rest())[1]

    async def is_silent(self, seconds: float = 0.1) -> bool:
        """Nothing arrives, for long enough that a forwarder would long have forwarded; not even an end."""
        try:
            async with asyncio.timeout(seconds):
                await self._loop.sock_recv(self.sock, 1)
        except TimeoutError:
            return True
        return False

    def fin(self) -> None:
        """Half-close: no more will be sent from here."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()


class Upstream:
    """A listening TCP server whose connections the test takes one by one."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._socket.setblocking(False)
        self.address = Address("127.0.0.1", self._socket.getsockname()[1])

    async def accept(self) -> Peer:
        sock, _ = await asyncio.get_running_loop().sock_accept(self._socket)
        return self._net.keep(Peer(sock))

    async def nobody_comes(self) -> bool:
        """Nobody connects, for long enough that a forwarder would long have connected."""
        try:
            async with asyncio.timeout(0.1):
                await self.accept()
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


class Net:
    """Makes peers, and closes all of them at the end of the test."""

    def __init__(self) -> None:
        self._open: list[Peer | Upstream] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._open:
            end.close()

    def keep(self, peer: Peer) -> Peer:
        self._open.append(peer)
        return peer

    def upstream(self) -> Upstream:
        made = Upstream(self)
        self._open.append(made)
        return made

    def dial(self, address: Address, source: str = "127.0.0.1") -> Peer:
        sock = socket.socket()
        try:
            sock.bind((source, 0))
            # Blocking, for the kernel completes it: a reset that follows at once would fail an asynchronous connect.
            sock.connect((address.host, address.port))
        except OSError:
            sock.close()
            raise
        return self.keep(Peer(sock))
