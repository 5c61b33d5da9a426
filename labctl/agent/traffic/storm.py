"""Connections up to `maxclients`: newcomers are turned away."""

from __future__ import annotations

import asyncio
import socket
from typing import ClassVar

from labctl.agent.effects.base import eventually
from labctl.agent.traffic.base import Pattern
from labctl.errors import InjectionError

_BATCH = 256
_EXTRA = 16
"""More than fit, so that none is left should another client go."""
_ACCEPTED_S = 30.0
_SILENCE_S = 0.5


class Storm(Pattern):
    """Parameter: `connections`, 0 for as many as the server takes."""

    name: ClassVar[str] = "storm"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._sockets: list[socket.socket] = []

    async def run(self) -> None:
        """See `Pattern`."""
        session = self.session()
        limit = int((await session.one("CONFIG", "GET", "maxclients"))[1])
        before = await self._connected(session)
        count = self.number("connections") or limit - before + _EXTRA
        await self._open(count)
        if before + count > limit:
            if not await self._turned_away():
                raise InjectionError(f"{count} connections on top of {before}, and newcomers are still let in.")
            self.bite(f"{limit} connections are open (maxclients) and newcomers are turned away")
        else:
            now = before

            async def counted() -> bool:  # it accepts a few a round of its event loop
                nonlocal now
                now = await self._connected(session)
                return now > count

            if not await eventually(counted, _ACCEPTED_S):
                raise InjectionError(f"{count} connections were opened; the server counts {now}.")
            self.bite(f"{now} connections are open, {before} before")
        await asyncio.get_running_loop().sock_recv(self._sockets[0], 1)  # which the server never sends
        raise ConnectionResetError("the server closed a connection")

    async def _open(self, count: int) -> None:
        node = self.bench.node(self.node)
        loop = asyncio.get_running_loop()
        for first in range(0, count, _BATCH):
            made = [socket.socket() for _ in range(min(_BATCH, count - first))]
            self._sockets += made
            for one in made:
                one.setblocking(False)
            await asyncio.gather(*(loop.sock_connect(one, node.direct) for one in made))

    @staticmethod
    async def _connected(session: object) -> int:
        info = str(await session.one("INFO", "clients"))  # type: ignore[attr-defined]
        return int(info.split("connected_clients:")[1].split(maxsplit=1)[0])

    async def _turned_away(self) -> bool:
        """The server closes the newcomer (over plaintext it first says why)."""
        node = self.bench.node(self.node)

        async def closed() -> bool:
            reader, writer = await asyncio.open_connection(node.host, node.port)
            said = b""
            try:
                async with asyncio.timeout(_SILENCE_S):
                    said = await reader.read(100)
            except TimeoutError:  # let in, or not looked at yet
                return False
            except OSError:
                pass
            finally:
                writer.transport.abort()
            return not said or b"max number of clients" in said

        return await eventually(closed, _ACCEPTED_S)

    async def close(self) -> None:
        """See `Pattern`."""
        for one in self._sockets:
            one.close()
        self._sockets.clear()
        await super().close()

    async def clean(self) -> None:
        """See `Pattern`. The server notices closed connections as its event loop comes round."""
        if not await self.bench.runs(self.node):
            return
        await eventually(self._let_in, 10)
        await super().clean()

    async def _let_in(self) -> bool:
        try:
            await self.bench.ask(self.node, "PING")
        except InjectionError:
            return False
        return True
