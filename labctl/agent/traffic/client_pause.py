"""CLIENT PAUSE: the server accepts commands and does not run them."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import ClassVar

from redis.exceptions import ResponseError

from labctl.agent.traffic.base import Pattern
from labctl.errors import InjectionError

_CHUNK_MS = 1000
"""Each pause is short, so that the server goes on by itself soon after an agent that dies."""
_RENEW_S = 0.4


class ClientPause(Pattern):
    """Parameter: `mode`, write or all.

    With `all` the renewal itself waits, and so do others: what was held back gets through each second.
    """

    name: ClassVar[str] = "client-pause"

    async def run(self) -> None:
        """See `Pattern`."""
        mode = str(self.parameters["mode"]).upper()
        session = self.session()
        checking = None
        try:
            while True:
                (reply,) = await session.call(("CLIENT", "PAUSE", _CHUNK_MS, mode))
                if isinstance(reply, ResponseError):
                    raise InjectionError(f"CLIENT PAUSE was refused: {reply}")
                checking = checking or asyncio.create_task(self._check(mode))
                await asyncio.sleep(_RENEW_S)
        finally:
            if checking is not None:
                checking.cancel()
                with suppress(asyncio.CancelledError, InjectionError):
                    await checking

    async def _check(self, mode: str) -> None:
        """A command of the paused sort, one that changes nothing, has to wait."""
        command = ("PUBLISH", "labctl:pause", "") if mode == "WRITE" else ("PING",)
        session = self.session()
        while not self.bitten.is_set():
            sent = time.monotonic()
            try:
                async with asyncio.timeout(_RENEW_S / 2):
                    await session.call(command)
            except TimeoutError:
                self.bite(f"{command[0]} waited more than {(time.monotonic() - sent) * 1000:.0f} ms")
            await asyncio.sleep(_RENEW_S / 8)

    async def clean(self) -> None:
        """See `Pattern`."""
        if await self.bench.runs(self.node):
            await self.bench.ask(self.node, "CLIENT", "UNPAUSE")
        await super().clean()
