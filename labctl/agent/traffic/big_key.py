"""A key with very many members, and a command that goes through all of them again and again."""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar

from redis.exceptions import ResponseError

from labctl.agent.traffic.base import Pattern
from labctl.errors import InjectionError

_BATCH = 1000


class BigKey(Pattern):
    """Parameters: `key`, `members`, `pause` ms between two runs of the command.

    SORT looks at every member and is told to answer one, so what is slow is the server, not the reply.
    """

    name: ClassVar[str] = "big-key"

    async def run(self) -> None:
        """See `Pattern`."""
        key, members = str(self.parameters["key"]), self.number("members")
        session = self.session()
        for first in range(0, members, _BATCH):
            names = [str(number) for number in range(first, min(first + _BATCH, members))]
            (reply,) = await session.call(("SADD", key, *names))
            if isinstance(reply, ResponseError):
                raise InjectionError(f"the key cannot be filled: {reply}")
        while True:
            sent = time.monotonic()
            (reply,) = await session.call(("SORT", key, "ALPHA", "LIMIT", 0, 1))
            if isinstance(reply, ResponseError):
                raise InjectionError(f"SORT was refused: {reply}")
            took_ms = (time.monotonic() - sent) * 1000
            self.bite(f"{key} has {members} members, SORT of them took {took_ms:.0f} ms")
            await asyncio.sleep(self.number("pause") / 1000)

    async def clean(self) -> None:
        """See `Pattern`."""
        await self.unlink_everywhere(str(self.parameters["key"]))
        await super().clean()
