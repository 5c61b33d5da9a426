"""HoldTraffic: connections of the agent's own do something to a server."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from redis.exceptions import RedisError

from labctl.agent.effects.base import Bench, Effect, Felt, only, raise_together
from labctl.agent.traffic import PATTERNS
from labctl.agent.traffic.base import Pattern
from labctl.errors import InjectionError, LabError
from labctl.model.fault import Action, HoldTraffic, ServerState

BITE_DEADLINE_S = 60.0
"""A big key of ten million members takes half a minute to fill."""


class Traffic(Effect):
    """A task for each claim. When the agent dies its connections die with it; what they left behind, `clean` removes."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._running: dict[HoldTraffic, tuple[Pattern, asyncio.Task[None]]] = {}

    async def prepare(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> tuple[Action, ...]:  # noqa: ARG002
        """See `Effect`: a pattern notes what its aftermath is to be held against."""
        return tuple([await self._noted(a) if isinstance(a, HoldTraffic) else a for a in actions])

    async def aftermath(self, actions: tuple[Action, ...]) -> Felt | None:
        """See `Effect`."""
        found = [await self._pattern(claim).aftermath() for claim in only(HoldTraffic, actions)]
        felt = [each for each in found if each is not None]
        return Felt(sum(f.times for f in felt), felt[0].some, felt[0].none) if felt else None

    async def apply(self, touched: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`. A pattern whose server is started again goes on by itself."""
        wanted = set(only(HoldTraffic, standing))
        for claim in dict.fromkeys(only(HoldTraffic, touched)):
            running = self._running.get(claim)
            if claim in wanted:
                if running is None or running[1].done():
                    await self._end(claim)
                    await self._start(claim)
            else:
                await self._end(claim)

    async def prove(self, actions: tuple[Action, ...]) -> list[str]:
        """See `Effect`."""
        return [await self._bitten(claim) for claim in only(HoldTraffic, actions)]

    async def prove_gone(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        claims = set(only(HoldTraffic, actions)) - set(only(HoldTraffic, standing))
        work = [self._clean(claim) for claim in claims]
        raise_together(await asyncio.gather(*work, return_exceptions=True))

    async def close(self) -> None:
        """See `Effect`."""
        for claim in list(self._running):
            await self._end(claim)

    def _pattern(self, claim: HoldTraffic) -> Pattern:
        return PATTERNS[claim.pattern](self.bench, claim.node, dict(claim.parameters))

    async def _noted(self, claim: HoldTraffic) -> HoldTraffic:
        return replace(claim, parameters=(*claim.parameters, *await self._pattern(claim).note()))

    async def _start(self, claim: HoldTraffic) -> None:
        if await self.bench.state(claim.node) is ServerState.GONE:
            return
        pattern = self._pattern(claim)
        self._running[claim] = pattern, asyncio.create_task(pattern.persist(), name=f"{claim.pattern} {claim.node}")

    async def _end(self, claim: HoldTraffic) -> None:
        running = self._running.pop(claim, None)
        if running is not None:
            pattern, task = running
            task.cancel()
            try:
                with suppress(asyncio.CancelledError, LabError, RedisError, OSError):
                    await task
            finally:
                await pattern.close()

    async def _bitten(self, claim: HoldTraffic) -> str:
        if claim not in self._running:
            raise InjectionError(f"{claim.pattern} on {claim.node}: it is not running.", "labctl status")
        pattern, task = self._running[claim]
        bitten = asyncio.create_task(pattern.bitten.wait())
        try:
            await asyncio.wait({task, bitten}, timeout=BITE_DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            bitten.cancel()
        if pattern.bitten.is_set():
            return f"{claim.node}: {pattern.evidence}"
        if task.done() and (error := task.exception()) is not None:
            raise InjectionError(f"{claim.pattern} on {claim.node}: {error}") from error
        raise InjectionError(f"{claim.pattern} on {claim.node} shows no effect after {BITE_DEADLINE_S:g} s.")

    async def _clean(self, claim: HoldTraffic) -> None:
        pattern = self._pattern(claim)
        if await self.bench.runs(claim.node):
            await self.bench.answers(claim.node)
        await pattern.clean()
