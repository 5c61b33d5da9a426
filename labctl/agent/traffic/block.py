"""The server's one thread is kept busy: nothing else is served meanwhile, replication and Sentinel's PING included."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from redis.exceptions import RedisError, ResponseError

from labctl.agent.effects.base import LOOK_S
from labctl.agent.traffic.base import Pattern
from labctl.errors import InjectionError

if TYPE_CHECKING:
    from labctl.observe.access import Session

_BUSY = "for i = 1, ARGV[1] do end return 1"
"""Bounded by a count: within a script TIME stands still, and there is no other clock in Redis's Lua."""
_TRIAL = 2_000_000
_TRIALS = 3
"""The shortest counts: one during which the server did not have the processor would make the block too short."""
_LUA_LIMIT_S = 5.0


class Block(Pattern):
    """DEBUG SLEEP where the server allows it, otherwise a Lua script that spins.

    Parameters: `ms` of each block, `pause` ms between two, `by` auto, debug or lua.
    """

    name: ClassVar[str] = "block"

    async def run(self) -> None:
        """See `Pattern`."""
        busy, other = self.session(), self.session()
        command = await self._command()
        while True:
            answer = asyncio.create_task(busy.call(command))
            try:
                while not answer.done():
                    sent = time.monotonic()
                    await other.call(("PING",))
                    waited_ms = (time.monotonic() - sent) * 1000
                    if waited_ms >= self.number("ms") / 2:
                        self.bite(f"a PING waited {waited_ms:.0f} ms behind {command[0]}")
                    await asyncio.sleep(LOOK_S)
                (reply,) = await answer
            finally:
                answer.cancel()
            if isinstance(reply, ResponseError):
                raise InjectionError(f"{command[0]} was refused: {reply}")
            await asyncio.sleep(self.number("pause") / 1000)

    async def _command(self) -> tuple[str | int, ...]:
        by = self.parameters["by"]
        sleep = ("DEBUG", "SLEEP", str(self.number("ms") / 1000))
        if by == "debug":
            return sleep
        if by == "auto":
            (probe,) = await self.session().call(("DEBUG", "SLEEP", "0"))
            if not isinstance(probe, ResponseError):
                return sleep
        session = self.session()
        rounds, took_ms = _TRIAL, 0.0
        while took_ms < 5:  # long enough to tell from the time that a command takes anyway
            rounds *= 2
            took_ms = min([await self._trial_ms(session, rounds) for _ in range(_TRIALS)])
        return ("EVAL", _BUSY, 0, round(rounds * self.number("ms") / took_ms))

    @staticmethod
    async def _trial_ms(session: Session, rounds: int) -> float:
        sent = time.monotonic()
        await session.call(("EVAL", _BUSY, 0, rounds))
        return (time.monotonic() - sent) * 1000

    async def clean(self) -> None:
        """See `Pattern`. What runs still runs to its end; past `busy-reply-threshold` a script can be killed."""
        if self.number("ms") / 1000 > _LUA_LIMIT_S:
            with suppress(InjectionError, RedisError):
                await self.bench.ask(self.node, "SCRIPT", "KILL", within_s=_LUA_LIMIT_S + 1)
        await super().clean()
