"""HoldPackets: what happens to the packets of a pod."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from labctl.agent.effects.base import Effect, only, raise_together
from labctl.errors import CapabilityError
from labctl.faults.claims import packets
from labctl.model.fault import Action, HoldPackets
from labctl.runtime.base import OwnNetworks

if TYPE_CHECKING:
    from labctl.agent.effects.base import Bench


class Packets(Effect):
    """Measured inside the pod each time that it is changed."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._measured: dict[str, str] = {}

    async def prepare(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> tuple[Action, ...]:  # noqa: ARG002
        """See `Effect`."""
        for what in sorted({action.what for action in only(HoldPackets, actions)}):
            await self._networks().require_packets(what)
        return actions

    async def apply(self, touched: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        names = sorted({action.node for action in only(HoldPackets, touched)})
        wanted = packets(standing)
        shaping = (self._networks().shape(self.bench.node(name), wanted.get(name, {})) for name in names)
        results = await asyncio.gather(*shaping, return_exceptions=True)
        raise_together(results)
        self._measured |= dict(zip(names, map(str, results), strict=True))

    async def prove(self, actions: tuple[Action, ...]) -> list[str]:
        """See `Effect`."""
        return [f"{name}: {self._measured[name]}" for name in packets(actions)]

    async def prove_gone(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`. That the kernel has no such rule any more was read back when it was changed."""
        free = sorted(set(packets(actions)) - set(packets(standing)))
        running = [name for name in free if await self.bench.runs(name)]
        raise_together(await asyncio.gather(*map(self.bench.answers, running), return_exceptions=True))

    def _networks(self) -> OwnNetworks:
        if not isinstance(self.bench.runtime, OwnNetworks):
            raise CapabilityError(
                f"Servers of the {self.bench.plan.runtime} runtime have no network of their own.",
                "labctl up --runtime docker",
            )
        return self.bench.runtime
