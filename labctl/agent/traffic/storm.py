"""Connections up to `maxclients`: newcomers are turned away."""

from __future__ import annotations

import asyncio
import socket
from typing import ClassVar

from labctl.agent.effects.base import LOOK_S, eventually
from labctl.agent.traffic.base import Pattern
from labctl.errors import InjectionError

_BATCH = 256
_EXTRA = 16
"""More than fit, so that none is left should another client go."""


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
            now = await self._connected(session)
            if now < before + count:
                raise InjectionError(f"{count} connections were opened; the server counts {now - before}.")
            self.bite(f"{now} connections are open, {before} before")
        await asyncio.Event().wait()

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
        for _ in range(20):
            reader, writer = await asyncio.open_connection(node.host, node.port)
            try:
                async with asyncio.timeout(0.5):
                    said = await reader.read(100)
                if not said or b"max number of clients" in said:
                    return True
            except TimeoutError:
                await asyncio.sleep(LOOK_S)
            except OSError:
                return True
            finally:
                writer.transport.abort()
        return False

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
