"""A subscriber that does not read: its output buffer grows until the server drops it (`client-output-buffer-limit`)."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, ClassVar

from redis.exceptions import ResponseError

from labctl.agent.traffic.base import Pattern
from labctl.errors import InjectionError

if TYPE_CHECKING:
    from labctl.observe.access import Session

_MESSAGE = "x" * 8192
"""Small enough to be copied: Valkey 9 refers to large values from the buffer, and does not count what it refers to."""
_BATCH = 32
_MOST_BYTES = 1_000_000_000
"""Past this a server without a limit would be filled up for nothing."""


class DeafSubscriber(Pattern):
    """Parameter: `pause` ms until the next one takes its place."""

    name: ClassVar[str] = "deaf-subscriber"

    async def run(self) -> None:
        """See `Pattern`."""
        publisher = self.session()
        while True:
            await self._once(publisher)
            await asyncio.sleep(self.number("pause") / 1000)

    async def _once(self, publisher: Session) -> None:
        channel = f"labctl:deaf:{secrets.token_hex(4)}"
        subscriber = self.session()
        await subscriber.call(("SUBSCRIBE", channel))
        sent = 0
        while sent < _MOST_BYTES:
            replies = await publisher.call(*[("PUBLISH", channel, _MESSAGE)] * _BATCH)
            refused = next((reply for reply in replies if isinstance(reply, ResponseError)), None)
            if refused is not None:
                raise InjectionError(f"PUBLISH was refused: {refused}")
            if replies[-1] == 0:
                self.bite(f"a subscriber that does not read was dropped after {sent / 1e6:.0f} MB")
                await subscriber.close()
                return
            sent += len(_MESSAGE) * _BATCH
        raise InjectionError(
            f"the server buffered {sent / 1e6:.0f} MB for one subscriber and did not drop it.",
            "CONFIG GET client-output-buffer-limit",
        )
