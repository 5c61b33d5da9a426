"""HoldKnob: the shim does something to a server's system calls."""

from __future__ import annotations

import asyncio
import time

from labctl.agent.effects.base import PROOF_DEADLINE_S, Effect, Felt, eventually, only
from labctl.agent.effects.local import page, require_shim
from labctl.agent.effects.saving import provoke, save_again, try_to_fork
from labctl.errors import InjectionError, RevertError
from labctl.faults.claims import knobs
from labctl.model.fault import Action, HoldKnob, Knob, ServerState
from labctl.model.topology import Role

_SAVING = (Knob.FORK_ERRNO, Knob.WRITE_BUDGET, Knob.READ_ONLY, Knob.FSYNC_ERRNO)
"""What makes a save fail."""
_CLOCK = (Knob.CLOCK_OFFSET_MS, Knob.CLOCK_DRIFT_PPM)
_SLACK_S = 0.2
"""The server reads the clock once per round of its event loop, so that TIME may be a little old."""
_DRIFT_SAMPLE_S = 0.25


class Knobs(Effect):
    """Proven by making the server run into it: CONFIG REWRITE for files, BGSAVE for forks, TIME for clocks.

    A server may end by what is done to it: with `appendfsync always` Redis exits when it cannot write. That is an effect
    like another; it is started again when nothing holds it any more.
    """

    async def prepare(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> tuple[Action, ...]:  # noqa: ARG002
        """See `Effect`."""
        for action in only(HoldKnob, actions):
            require_shim(self.bench, action.node)
        return actions

    async def apply(self, touched: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        wanted = knobs(standing)
        for node, knob in {(action.node, action.knob) for action in only(HoldKnob, touched)}:
            with page(self.bench, node) as shared:
                shared.set(knob, wanted.get((node, knob), 0))

    async def prove(self, actions: tuple[Action, ...]) -> list[str]:
        """See `Effect`."""
        return [await self._bitten(action) for action in only(HoldKnob, actions)]

    async def prove_gone(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        wanted = knobs(standing)
        for action in only(HoldKnob, actions):
            with page(self.bench, action.node) as shared:
                if shared.knob(action.knob) != wanted.get((action.node, action.knob), 0):
                    raise RevertError(f"{action.knob} of {action.node} stands at {shared.knob(action.knob)} still.")
            prevented = any(wanted.get((action.node, knob)) for knob in _SAVING)
            if action.knob in _SAVING and not prevented and await self.bench.runs(action.node):
                await save_again(self.bench, action.node)

    async def felt(self, actions: tuple[Action, ...]) -> Felt | None:
        """See `Effect`: a budget of bytes is there before it is used up."""
        times = 0
        budgets = [a for a in only(HoldKnob, actions) if a.knob is Knob.WRITE_BUDGET]
        for action in budgets:
            with page(self.bench, action.node) as shared:
                times += shared.hits(action.knob)
        return Felt(times, "{} writes found no room", "in place, and there is still room") if budgets else None

    async def _bitten(self, action: HoldKnob) -> str:
        name, knob = action.node, action.knob
        with page(self.bench, name) as shared:
            if knob in _CLOCK:
                return await (self._skewed(name) if knob is Knob.CLOCK_OFFSET_MS else self._drifting(name))
            if knob is Knob.WRITE_BUDGET and action.value > 1:
                return f"{name} may write {action.value - 1} more bytes"
            before, began = shared.hits(knob), time.monotonic()
            if knob is Knob.FORK_ERRNO:
                reply = await try_to_fork(self.bench, name)
            else:
                # CONFIG REWRITE fsyncs the new file and then its folder
                reply = await provoke(
                    self.bench, name, ("CONFIG", "REWRITE"), PROOF_DEADLINE_S + 3 * action.value / 1000
                )

            async def hit() -> bool:
                return shared.hits(knob) > before or await self.bench.state(name) is ServerState.GONE

            if not await eventually(hit, PROOF_DEADLINE_S + action.value / 1000):
                raise InjectionError(
                    f"{name} made no call that {knob} could change, and answered: {str(reply) or 'nothing'}"
                )
        took_ms = (time.monotonic() - began) * 1000
        return f"{name} ran into it after {took_ms:.0f} ms and answers: {str(reply).strip() or 'ERR'}"

    async def _seconds_ahead(self, name: str) -> tuple[float, float]:
        """By how much the server's clock is ahead of this machine's, at least and at most."""
        before = time.time()
        reply = await self.bench.ask(name, "TIME")
        assert isinstance(reply, list)
        said = int(reply[0]) + int(reply[1]) / 1e6
        return said - time.time() - _SLACK_S, said - before + _SLACK_S

    async def _skewed(self, name: str) -> str:
        with page(self.bench, name) as shared:
            wanted_s = shared.knob(Knob.CLOCK_OFFSET_MS) / 1000
            drifts = shared.knob(Knob.CLOCK_DRIFT_PPM) != 0
        if self.bench.node(name).role is Role.SENTINEL:
            return await self._told(name, Knob.CLOCK_OFFSET_MS, f"a time {wanted_s:+g} s off")
        least, most = await self._seconds_ahead(name)
        if not drifts and not least <= wanted_s <= most:
            raise InjectionError(f"{name}'s clock should be {wanted_s:+g} s off and is {most:+.1f} s off.")
        return f"TIME of {name} is {(least + most) / 2:+.1f} s off"

    async def _told(self, name: str, knob: Knob, what: str) -> str:
        """A Sentinel has no TIME; the shim counts how often it was told a time that is not true."""
        with page(self.bench, name) as shared:
            before = shared.hits(knob)

            async def told() -> bool:
                return shared.hits(knob) > before

            if not await eventually(told, PROOF_DEADLINE_S):
                raise InjectionError(f"{name} has not looked at its clock.")
            return f"{name} was told {what}, {shared.hits(knob) - before} times so far"

    async def _drifting(self, name: str) -> str:
        if self.bench.node(name).role is Role.SENTINEL:
            return await self._told(name, Knob.CLOCK_DRIFT_PPM, "a time that drifts")
        first, _ = await self._seconds_ahead(name)
        await asyncio.sleep(_DRIFT_SAMPLE_S)
        second, _ = await self._seconds_ahead(name)
        return f"the clock of {name} gained {(second - first) * 1000:+.0f} ms in {_DRIFT_SAMPLE_S * 1000:.0f} ms"
