"""HoldFull: a server's disk is full, really."""

from __future__ import annotations

from labctl.agent.effects.base import PROOF_DEADLINE_S, Effect, eventually, only
from labctl.agent.effects.saving import provoke, save_again
from labctl.errors import CapabilityError, InjectionError, RevertError
from labctl.faults.claims import full_disks
from labctl.model.fault import Action, HoldFull, ServerState
from labctl.runtime.base import SizedDisks


class Disks(Effect):
    """Proven by CONFIG REWRITE, which needs a new file."""

    async def prepare(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> tuple[Action, ...]:  # noqa: ARG002
        """See `Effect`."""
        if any(only(HoldFull, actions)):
            await self._disks().require_disk()
        return actions

    async def apply(self, touched: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        wanted = full_disks(standing)
        for name in {action.node for action in only(HoldFull, touched)}:
            await self._disks().fill_disk(self.bench.node(name), wanted.get(name))

    async def prove(self, actions: tuple[Action, ...]) -> list[str]:
        """See `Effect`."""
        return [await self._met(action) for action in only(HoldFull, actions)]

    async def prove_gone(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        wanted = full_disks(standing)
        for name in {action.node for action in only(HoldFull, actions)} - set(wanted):
            if taken := await self._disks().fill_disk(self.bench.node(name), None):
                raise RevertError(f"{taken} bytes of the disk of {name} are still taken.")
            if await self.bench.runs(name):
                await save_again(self.bench, name)

    async def _met(self, action: HoldFull) -> str:
        if action.left:
            return f"{action.node} may write {action.left} more bytes"
        name = action.node
        reply = await provoke(self.bench, name, ("CONFIG", "REWRITE"))

        async def full() -> bool:
            return isinstance(reply, Exception) or await self.bench.state(name) is ServerState.GONE

        if not await eventually(full, PROOF_DEADLINE_S):
            raise InjectionError(f"The disk of {name} is full, and CONFIG REWRITE answers {reply}.")
        return f"the disk of {name} is full; CONFIG REWRITE: {str(reply).strip() or 'ERR'}"

    def _disks(self) -> SizedDisks:
        if not isinstance(self.bench.runtime, SizedDisks):
            raise CapabilityError(
                f"The {self.bench.plan.runtime} runtime fills no disks.", "labctl up --runtime docker"
            )
        return self.bench.runtime
