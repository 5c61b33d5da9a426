"""HoldLimit: a server gets less of something from the kernel."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from labctl.agent.effects.base import BACK_DEADLINE_S, PROOF_DEADLINE_S, Effect, Felt, eventually, only
from labctl.agent.effects.limiter import limiter
from labctl.errors import InjectionError, LabError, RevertError
from labctl.faults.claims import limits, server_states
from labctl.model.fault import Action, HoldLimit, Resource, ServerState

if TYPE_CHECKING:
    from labctl.agent.effects.base import Bench

_SPIN = "for i = 1, 20000000 do end return 1"
_SWELL = "local t = {} for i = 1, 64 do t[i] = string.rep(tostring(i), ARGV[1]) end return #t"
"""Memory that the limit does not allow; a script, for any node may run one, replicas too."""
_SWELL_REPEATS = 8_000_000


class Limits(Effect):
    """Proven by the kernel's own counters after the server was made to meet its limit."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._limiter = limiter(bench)

    async def prepare(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> tuple[Action, ...]:
        """See `Effect`."""
        held = limits(standing)
        for action in only(HoldLimit, actions):
            if (action.node, action.resource) not in held:
                await self._limiter.require(self.bench.node(action.node), action.resource)
        return actions

    async def apply(self, touched: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        wanted = limits(standing)
        for action in {(a.node, a.resource): a for a in only(HoldLimit, touched)}.values():
            gone = await self.bench.state(action.node) is ServerState.GONE
            amount = None if gone else wanted.get((action.node, action.resource))
            await self._limiter.limit(self.bench.node(action.node), action.resource, amount)

    async def prove(self, actions: tuple[Action, ...]) -> list[str]:
        """See `Effect`."""
        return [await self._met(action) for action in only(HoldLimit, actions)]

    async def prove_gone(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        wanted, down = limits(standing), server_states(standing)
        for action in only(HoldLimit, actions):
            if (action.node, action.resource) in wanted:
                continue
            if await self._limiter.is_limited(self.bench.node(action.node), action.resource):
                raise RevertError(f"{action.node} is still held within a limit of {action.resource}.")
            if action.node not in down:
                await self.bench.answers(action.node)

    async def felt(self, actions: tuple[Action, ...]) -> Felt | None:
        """See `Effect`: a memory limit is there long before anybody runs into it."""
        held = [a for a in only(HoldLimit, actions) if a.resource is Resource.MEMORY and not a.deadly]
        if not held:
            return None
        times = sum([await self._limiter.refusals(self.bench.node(action.node)) for action in held])
        return Felt(times, "the limit was met {} times", "in place, and the limit was not met yet")

    async def _times(self, action: HoldLimit) -> int:
        return await self._limiter.times_limited(self.bench.node(action.node), action.resource)

    async def _met(self, action: HoldLimit) -> str:
        match action.resource:
            case Resource.CPU:
                return await self._throttled(action)
            case Resource.MEMORY:
                return await (self._killed(action) if action.deadly else self._held(action))

    async def _throttled(self, action: HoldLimit) -> str:
        before, began = await self._times(action), time.monotonic()
        while await self._times(action) == before:
            if time.monotonic() > began + BACK_DEADLINE_S:
                raise InjectionError(f"{action.node} was busy and the kernel did not throttle it.")
            with suppress(LabError):  # a Sentinel may kill the script, which is busy for long where the share is small
                await self.bench.ask(action.node, "EVAL", _SPIN, 0, within_s=PROOF_DEADLINE_S * 100 / action.amount)
        return f"the kernel throttled {action.node} {await self._times(action) - before} times while it was busy"

    async def _held(self, action: HoldLimit) -> str:
        if not await self._limiter.is_limited(self.bench.node(action.node), action.resource):
            raise InjectionError(f"{action.node} is not held within its limit.")
        return f"{action.node} may take {action.amount} more bytes"

    async def _killed(self, action: HoldLimit) -> str:
        with suppress(LabError):
            await self.bench.ask(action.node, "EVAL", _SWELL, 0, _SWELL_REPEATS, within_s=20)

        async def gone() -> bool:
            return await self.bench.state(action.node) is ServerState.GONE

        if not await eventually(gone, PROOF_DEADLINE_S):
            raise InjectionError(f"{action.node} outgrew its limit and the kernel did not kill it.")
        return f"the kernel killed {action.node} for its memory (oom_kill {await self._times(action)})"
