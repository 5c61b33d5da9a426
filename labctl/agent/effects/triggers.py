"""Trigger: a command that is over once it is done. Proven by who is primary afterwards."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from labctl.agent.effects.base import LOOK_S, PROOF_DEADLINE_S, Bench, Effect, eventually, only
from labctl.errors import InjectionError
from labctl.model.conditions import primaries
from labctl.model.fault import Action, Trigger

FAILOVER_DEADLINE_S = 30.0
"""A planned failover takes 0.05 s (Cluster) to 2 s (Sentinel); past this it has failed."""
_MANUAL_FAILOVER_S = 6.0
"""A Cluster's replica gives a manual failover up after 5 s (CLUSTER_MF_TIMEOUT, cluster.h) and says so in its log alone."""


class Triggers(Effect):
    """Nothing stands and nothing is undone: roles are the lab's own business, not labctl's."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._before: dict[Trigger, frozenset[str]] = {}

    async def strike(self, actions: tuple[Action, ...]) -> None:
        """See `Effect`."""
        triggers = list(only(Trigger, actions))
        if not triggers:
            return
        before: frozenset[str] = frozenset()

        async def known() -> bool:
            nonlocal before
            before = frozenset(node.name for node in primaries(await self.bench.observer.poll()))
            return bool(before)

        await eventually(known, PROOF_DEADLINE_S)  # a primary that is busy for a moment is one all the same
        for trigger in triggers:
            self._before[trigger] = before
            await self.bench.ask(trigger.node, *trigger.command)

    async def prove(self, actions: tuple[Action, ...]) -> list[str]:
        """See `Effect`."""
        return [await self._promoted(trigger, self._before.pop(trigger)) for trigger in only(Trigger, actions)]

    async def _promoted(self, trigger: Trigger, before: frozenset[str]) -> str:
        """Wait until the new primary says so itself."""
        again_s = time.monotonic() + _MANUAL_FAILOVER_S
        try:
            async with asyncio.timeout(FAILOVER_DEADLINE_S):
                while True:
                    if trigger.command[:2] == ("CLUSTER", "FAILOVER") and time.monotonic() > again_s:
                        again_s += _MANUAL_FAILOVER_S
                        with suppress(InjectionError):
                            await self.bench.ask(trigger.node, *trigger.command)
                    now = {node.name for node in primaries(await self.bench.observer.poll())}
                    new = now & {trigger.promotes} if trigger.promotes else now - before
                    if new:
                        return f"{', '.join(sorted(new))} is primary"
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise InjectionError(
                f"{' '.join(trigger.command)} on {trigger.node} was accepted, but after {FAILOVER_DEADLINE_S:g} s "
                f"{trigger.promotes or 'no other node'} is not primary.",
                f"labctl logs {trigger.node}",
            ) from None
