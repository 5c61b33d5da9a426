"""HoldCrashing: a server that comes up only to be killed again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from labctl.agent.effects.base import Effect, eventually, only
from labctl.errors import InjectionError, LabError
from labctl.faults.claims import server_states
from labctl.model.fault import Action, HoldCrashing, ServerState

if TYPE_CHECKING:
    from labctl.agent.effects.base import Bench

_PROOF_DEADLINE_S = 20.0


class Crashing(Effect):
    """A task for each server in a loop. The server is running again before a dropped claim counts as undone."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._rounds: dict[str, int] = {}
        self._turns: dict[str, asyncio.Task[None]] = {}

    async def apply(self, touched: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        held = server_states(standing)
        wanted = {a.node: a.up_ms / 1000 for a in only(HoldCrashing, standing) if a.node not in held}
        for name in {action.node for action in only(HoldCrashing, touched)}:
            await self._end(name)
            if name in wanted:
                self._rounds[name] = 0
                self._loops[name] = asyncio.create_task(self._crash(name, wanted[name]), name=f"crash {name}")
            elif name not in held and await self.bench.state(name) is ServerState.GONE:
                await self.bench.runtime.start(self.bench.node(name))

    async def prove(self, actions: tuple[Action, ...]) -> list[str]:
        """See `Effect`."""
        words = []
        for action in only(HoldCrashing, actions):
            loop = self._loops[action.node]

            async def came_back(name: str = action.node, loop: asyncio.Task[None] = loop) -> bool:
                return self._rounds[name] > 0 or loop.done()

            if not await eventually(came_back, _PROOF_DEADLINE_S + action.up_ms / 1000):
                raise InjectionError(f"{action.node} was not killed and started again.")
            if loop.done():
                loop.result()
            words.append(f"{action.node} killed and started again")
        return words

    async def prove_gone(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        held = server_states(standing)
        for name in {action.node for action in only(HoldCrashing, actions)}:
            if name not in held and name not in self._loops:
                await self.bench.answers(name)

    async def close(self) -> None:
        """See `Effect`."""
        for name in list(self._loops):
            await self._end(name)

    async def _end(self, name: str) -> None:
        loop = self._loops.pop(name, None)
        if loop is not None:
            loop.cancel()
            with suppress(asyncio.CancelledError, LabError):
                await loop
        turn = self._turns.pop(name, None)
        if turn is not None:
            with suppress(LabError):
                await turn

    async def _crash(self, name: str, up_s: float) -> None:
        if await self.bench.state(name) is ServerState.GONE:
            await self.bench.runtime.start(self.bench.node(name))
        while True:
            await self.bench.answers(name)
            await asyncio.sleep(up_s)
            self._turns[name] = turn = asyncio.create_task(self._kill_and_start(name))
            await asyncio.shield(
                turn
            )  # whole, or not at all: half of it leaves a server that is neither there nor gone
            self._rounds[name] += 1

    async def _kill_and_start(self, name: str) -> None:
        node = self.bench.node(name)
        await self.bench.runtime.kill(node)
        await self.bench.runtime.start(node)
