"""Plays the steps of a phase: each at its time, after another, or when what it waits for is observed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from labctl.actions.kind import Done
from labctl.actions.registry import ACTIONS, complete
from labctl.errors import InjectionError, LabError
from labctl.faults.registry import FAULTS
from labctl.model.fault import Fault
from labctl.model.history import ACTION_END, ACTION_START, WAITED, Event
from labctl.store import codec
from labctl.timeline.conditions import Load, Look, not_met

if TYPE_CHECKING:
    from labctl.actions.operator import Operator, Seen
    from labctl.agent.client import AgentClient
    from labctl.model.scenario import Maintenance, Phase, Step
    from labctl.model.view import View

_LOOK_S = 0.05
_REASONS_SHOWN = 3
_ORPHAN_S = 3600.0
_UNDONE_S = 60.0
"""How long after its end a fault may still be in force, before what waits for its end is given up."""


class StuckError(LabError):
    """A step could not be played: its condition never came, or its action failed. The phase is inconclusive."""


@dataclass(slots=True)
class _Played:
    """What has become of a step that others may wait for.

    Attributes:
        begun: It has begun.
        ended: It is over.
        before: The lab right before it began, where somebody waits for a change since then.
    """

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    before: View | None = None


@dataclass(slots=True)
class Player:
    """The timeline of one phase.

    Attributes:
        phase: What to play.
        agent: Injects faults.
        operator: Does maintenance, and looks.
        note: Records an event.
        say: Told what happens.
        load: What clients have seen so far.
        seed: Of random targets.
    """

    phase: Phase
    agent: AgentClient
    operator: Operator
    note: Callable[[Event], None]
    say: Callable[[str], None]
    load: Callable[[], Load]
    seed: int
    _began: float = 0.0
    _actions: int = 0
    _played: dict[str, _Played] = field(default_factory=dict)

    async def play(self) -> None:
        """Return when the phase's duration is over and every step is done: waited for, begun, and where it ends, ended.

        A cancelled play waits until no injection is under way, so that what it did is there when all is healed.

        Raises:
            InjectionError: A fault did not take effect.
            StuckError: A condition did not come about in time, or an action failed.
        """
        self._began = time.monotonic()
        self._played = {step.label: _Played() for step in self.phase.steps if step.label}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._play_fixed(group))
                for number, step in enumerate(self.phase.steps):
                    if not step.fixed:
                        group.create_task(self._play_when_due(number, step))
                group.create_task(self._sleep_until(self.phase.duration_s))
        except* LabError as errors:
            raise _first(errors) from None

    async def _play_fixed(self, group: asyncio.TaskGroup) -> None:
        """Steps of a fixed time, strictly one after another; what an action goes on doing does not hold up the next."""
        for number, step in enumerate(self.phase.steps):
            if not step.fixed:
                continue
            await self._sleep_until(step.at_s)
            if isinstance(step.does, Fault):
                await self._inject(number, step, step.does, group)
            else:
                group.create_task(self._act(number, step, step.does))

    async def _play_when_due(self, number: int, step: Step) -> None:
        """A step that waits for something. A fault of its own length is waited for, so that the phase has all of it."""
        if step.after:
            label, dot, _ = step.after.partition(".")
            played = self._played[label]
            await (played.ended if dot else played.begun).wait()
            await asyncio.sleep(step.at_s)
        else:
            await self._sleep_until(step.at_s)
        if step.when:
            await self._wait_for(number, step)
        await asyncio.sleep(step.delay_s)
        if isinstance(step.does, Fault):
            async with asyncio.TaskGroup() as group:
                await self._inject(number, step, step.does, group)
        else:
            await self._act(number, step, step.does)

    async def _wait_for(self, number: int, step: Step) -> None:
        seen = await self.operator.look()
        played = self._played.get(step.after)
        before = played.before if played is not None and played.before is not None else seen.view
        started = time.monotonic()
        what = " and ".join(f"{each.name} {each.argument}".strip() for each in step.when)
        while reasons := not_met(step.when, self._look(before, seen)):
            if time.monotonic() > started + step.within_s:
                shown = "; ".join(reasons[:_REASONS_SHOWN])
                raise StuckError(f"step {number + 1} waited {step.within_s:g} s in vain for {what} ({shown})")
            await asyncio.sleep(_LOOK_S)
            seen = await self.operator.look()
        waited_s = time.monotonic() - started
        text = f"observed after {waited_s:.2f} s: {what}"
        self.note(Event(WAITED, time.monotonic_ns(), None, {"what": what, "waited_ms": waited_s * 1e3, "text": text}))
        self.say(text)

    def _look(self, before: View, seen: Seen) -> Look:
        return Look(self.operator.plan, before, seen.view, self.load(), seen.unhealthy, seen.unconverged)

    async def _inject(self, number: int, step: Step, fault: Fault, group: asyncio.TaskGroup) -> None:
        """Inject a fault; its target is resolved by the agent at this moment."""
        lasts_s = fault.duration_s
        if lasts_s is None:  # the end of the phase heals it; the agent does, should this process be killed
            fault = replace(fault, duration_s=_ORPHAN_S)
        await self._look_before(step)
        injecting = asyncio.create_task(asyncio.to_thread(inject, self.agent, fault, self.seed + number))
        try:
            fault_id = await asyncio.shield(injecting)
        except asyncio.CancelledError:
            with suppress(LabError):  # a thread goes on: what it does has to be there when all is healed
                await injecting
            raise
        played = self._played.get(step.label, _Played())
        played.begun.set()
        if FAULTS[fault.kind].momentary:
            played.ended.set()
        elif lasts_s is not None and (step.label or not step.fixed):
            group.create_task(self._until_undone(fault_id, fault, lasts_s, played.ended))

    async def _until_undone(self, fault_id: int, fault: Fault, lasts_s: float, undone: asyncio.Event) -> None:
        """Wait until the agent has reverted a fault that ends by itself: later than its time is over."""
        await asyncio.sleep(lasts_s)
        until = time.monotonic() + _UNDONE_S
        while True:
            with suppress(LabError):  # its agent may have died, and another one goes on
                for event in await asyncio.to_thread(self.agent.call, "GET", "/events"):
                    if event["kind"] == "fault-start" and event["detail"].get("moved_from") == fault_id:
                        fault_id = event["detail"]["id"]
                if fault_id not in (await self.operator.look()).faults:
                    return undone.set()
            if time.monotonic() > until:
                raise StuckError(
                    f"{fault.kind} {fault.target} was to end after {lasts_s:g} s and is in force {_UNDONE_S:g} s later"
                )
            await asyncio.sleep(_LOOK_S)

    async def _look_before(self, step: Step) -> None:
        """Where another step waits for what changes from here on: a failover may be faster than what comes next."""
        if step.label and any(other.when and other.after == step.label for other in self.phase.steps):
            self._played[step.label].before = await self.operator.view()

    async def _act(self, number: int, step: Step, wanted: Maintenance) -> None:
        """Do maintenance, from an event that it began to one that says how it ended."""
        wanted = complete(wanted, self.operator.plan.topology)
        self._actions += 1
        detail: dict[str, object] = {"id": self._actions, "action": wanted.action, "target": wanted.target}
        name = f"{wanted.action} {wanted.target}".strip()
        await self._look_before(step)
        self._tell(ACTION_START, {**detail, "text": f"{name} begins"})
        if step.label:
            self._played[step.label].begun.set()
        acting = replace(self.operator, seed=self.seed + number, say=lambda text: self.say(f"{name}: {text}"))
        try:
            done = await _doing(ACTIONS[wanted.action].do(acting, wanted.target, wanted.params))
        except LabError as error:
            self._tell(ACTION_END, {**detail, "ok": False, "text": f"{name} failed: {error.message}"})
            if not step.may_fail:
                raise StuckError(f"{name} failed: {error.message}", error.hint) from error
        except asyncio.CancelledError:
            self._tell(ACTION_END, {**detail, "ok": False, "text": f"{name} was interrupted"})
            raise
        else:
            outcome = done if isinstance(done, Done) else Done(done)
            self._tell(ACTION_END, {**outcome.detail, **detail, "ok": True, "text": f"{name}: {outcome.text}"})
        if step.label:
            self._played[step.label].ended.set()

    def _tell(self, kind: str, detail: dict[str, object]) -> None:
        self.note(Event(kind, time.monotonic_ns(), None, detail))
        self.say(str(detail["text"]))

    async def _sleep_until(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, self._began + at_s - time.monotonic()))


def inject(agent: AgentClient, fault: Fault, seed: int) -> int:
    """Have the agent inject a fault; its number. Raises InjectionError when it does not take effect."""
    try:
        return int(agent.call("POST", "/faults", {"fault": codec.to_data(fault), "seed": seed})["id"])
    except LabError as error:
        raise InjectionError(f"{fault.kind} {fault.target}: {error.message}", error.hint) from error


async def _doing(action: Awaitable[str | Done]) -> str | Done:
    """What an action did. Raises LabError, also for a file or a connection that was not what it should be."""
    try:
        return await action
    except OSError as error:
        raise LabError(f"{type(error).__name__}: {error}") from error


def _first(errors: BaseExceptionGroup[LabError]) -> LabError:
    """The first error of a group of groups."""
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, LabError)
    return found
