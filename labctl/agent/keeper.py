"""Keeps every fault's promise: journalled before it is done, proven to have bitten, reverted at its deadline.

inject → prepare → journal → apply → prove; heal → drop the claims → apply → prove → journal. Applying is the same in
both directions: bring each touched link and server to what the claims that stand say. How, and how it is measured, is a
matter of each sort of claim (`agent.effects`); here is only the order of things.
"""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Awaitable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from labctl.agent.effects import all_effects
from labctl.agent.effects.base import Bench, Felt, raise_together
from labctl.agent.events import Events
from labctl.agent.failpoint import failpoint
from labctl.agent.journal import Journal, Record
from labctl.errors import LabError, RevertError, UsageError
from labctl.faults.kind import Context
from labctl.faults.registry import FAULTS, complete, plan_fault
from labctl.faults.targets import whereabouts
from labctl.model.fault import Action, Fault, LinkAction, Trigger
from labctl.model.topology import Kind
from labctl.model.view import View

_TURN_S = 5.0
"""How long an agent that leaves waits for a change that is under way."""
_RETRY_REVERT_S = 2.0
"""An undo that failed is tried again after this long, for as long as it takes."""
_NAMED = 8


@dataclass(slots=True)
class Active:
    """A fault in force.

    Attributes:
        record: As journalled.
        evidence: What was measured to say that it took effect.
        felt: How often the lab has felt it so far, in words too; None where the evidence says it all.
        trouble: Why its undo did not succeed; empty while none was tried or none failed.
        reverting: It is being undone: it claims nothing any more, and is listed until it was seen to be gone.
        ended: It was reverted and seen to be gone.
        felt_before: Where the counters stood when it began, one a sort of claim.
        seed: Of what is drawn for it.
        where: For one that follows: everybody that its target meant when it began; empty for others.
        shunned: Where it tried to follow to and could not take effect.
        moved_from: The number of the fault that it was before it followed; None for one that never did.
    """

    record: Record
    evidence: str = ""
    felt: Felt | None = None
    felt_before: tuple[int, ...] = field(default=(), repr=False)
    trouble: str = ""
    reverting: bool = False
    ended: bool = False
    seed: int | None = None
    where: tuple[str, ...] = ()
    shunned: tuple[str, ...] = ()
    moved_from: int | None = None
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)


class Keeper:
    """All faults of one lab. One change at a time: injections and reverts take turns."""

    def __init__(self, bench: Bench, journal: Journal, events: Events) -> None:
        self._bench = bench
        self._effects = all_effects(bench)
        self._journal = journal
        self._events = events
        self._active: dict[int, Active] = {r.fault_id: Active(r) for r in journal.open_records}
        self._last_id = journal.last_id
        self._moved: dict[int, int] = {}
        self._turn = asyncio.Lock()
        self._upholding = False
        self._reverting: set[asyncio.Task[None]] = set()

    @property
    def active(self) -> list[Active]:
        """Faults in force, oldest first."""
        return list(self._active.values())

    async def plan_only(self, fault: Fault, seed: int | None) -> tuple[Fault, tuple[Action, ...], Context]:
        """What `inject` would do now, without doing it: the fault with everything filled in, its actions, the lab."""
        fault = complete(fault, in_cluster=self._bench.plan.topology.kind is Kind.CLUSTER)
        context = Context(self._bench.plan, await self._bench.observer.poll(), Random(seed))
        return fault, plan_fault(fault, context), context

    async def inject(self, fault: Fault, seed: int | None = None) -> Active:
        """Inject `fault` and measure that it took effect. One that is momentary is reverted before this returns.

        Raises:
            UsageError: It means nothing in this lab now; nothing was done.
            InjectionError: It was tried and did not take effect; it has been reverted.
            RevertError: It took effect and could not be reverted; it is tried again.
        """
        async with self._turn:
            active = await self._begin(fault, seed)
            if FAULTS[fault.kind].momentary:
                await self._end_at_once(active)
            return active

    async def follow(self, view: View) -> None:
        """Move faults whose targets' roles have moved: injected where they are in `view`, then reverted where they were.

        One that cannot take effect there stays where it is, and that is told.
        """
        for active in self.active:
            if not self._has_moved(active, view):
                continue
            async with self._turn:
                if not active.reverting and not active.ended:
                    await self._move(active)

    def _has_moved(self, active: Active, view: View) -> bool:
        """Whether its roles are all filled again, and by others. While a role is vacant there is nowhere to go."""
        if not active.where or active.reverting:
            return False
        now = whereabouts(active.record.fault, self._bench.plan, view)
        return now is not None and now not in (active.where, active.shunned) and len(now) >= len(active.where)

    async def _move(self, active: Active) -> None:
        view = await self._bench.observer.poll()
        if not self._has_moved(active, view):
            return
        old = active.record
        try:
            moved = await self._begin(old.fault, active.seed, old)
        except LabError as error:
            active.shunned = whereabouts(old.fault, self._bench.plan, view) or ()
            self._events.add("trouble", f"fault {old.fault_id} cannot follow its target: {error.message}")
            return
        self._moved[old.fault_id] = moved.record.fault_id
        await self._revert(active)

    async def _begin(self, fault: Fault, seed: int | None, before: Record | None = None) -> Active:
        """Inject and prove; `before` is what it was until it moved, whose end is its end too. See `inject`."""
        fault, actions, context = await self.plan_only(fault, seed)
        actions = await self._prepare(actions)
        now = time.monotonic_ns()
        self._last_id += 1
        ends = None if fault.duration_s is None else now + round(fault.duration_s * 1e9)
        active = Active(Record(self._last_id, fault, actions, now, before.ends_ns if before else ends), seed=seed)
        if fault.follow:
            active.where = whereabouts(fault, context.plan, context.view) or ()
        active.moved_from = before.fault_id if before else None
        self._journal.begin(active.record)
        self._failpoint("journalled")
        self._active[active.record.fault_id] = active
        at_ns = time.monotonic_ns()
        try:
            active.felt_before = tuple(felt.times if felt else 0 for felt in await self._felt(actions))
            await self._apply(actions)
            for effect in self._effects:
                await effect.strike(actions)
            self._failpoint("applied")
            active.evidence = await self._prove(actions)
            await self.feel(active)
        except BaseException:
            await asyncio.shield(self._revert(active))
            raise
        self._events.add("fault-start", self._say(active, "began"), detail=self._detail(active), at_ns=at_ns)
        self._failpoint("proven")
        if active.record.ends_ns is not None and not FAULTS[fault.kind].momentary:
            left = (active.record.ends_ns - time.monotonic_ns()) / 1e9
            active.timer = asyncio.get_running_loop().call_later(max(0.0, left), self._due, active)
        return active

    async def heal(self, ids: Collection[int] | None = None) -> list[Active]:
        """Revert the faults with these ids, or all, and return them. One that cannot be does not keep the others.

        Raises:
            UsageError: No fault in force has one of these ids.
            RevertError: Names what remains; it is tried again without being asked.
        """
        async with self._turn:  # a fault that follows its target has another number after each move
            wanted = list(self._active) if ids is None else [self._number_now(fault_id) for fault_id in ids]
            unknown = [str(i) for i in wanted if i not in self._active]
            if unknown:
                raise UsageError(f"No fault in force has the number {', '.join(unknown)}.", "labctl chaos ls")
            healed = [self._active[i] for i in wanted]
            await self._revert_these(healed)
        self._require_gone(healed)
        return healed

    def _number_now(self, fault_id: int) -> int:
        """The number that a fault has after it moved."""
        while fault_id in self._moved:
            fault_id = self._moved[fault_id]
        return fault_id

    async def revert_all(self) -> None:
        """Revert what the journal says is in force. What cannot be reverted stays, its trouble noted, and is retried."""
        async with self._turn:
            await self._revert_these(self.active)

    async def uphold(self) -> None:
        """Put back what somebody else undid of the faults in force, by resetting a Toxiproxy for example.

        Not while a fault is being injected or reverted, which sets what it finds right by itself. While another call of
        this is under way it waits, so that whoever asks afterwards is told what is.
        """
        if not self._active or (self._turn.locked() and not self._upholding):
            return
        async with self._turn:
            self._upholding = True
            try:
                links = await self._bench.links.uphold()
            except LabError as error:
                self._events.add("trouble", f"whether links are still cut cannot be seen: {error.message}")
                return
            finally:
                self._upholding = False
        if links:
            names = ", ".join(sorted(link.name for link in links)[:_NAMED])
            self._events.add("trouble", f"{len(links)} links were opened by somebody else and are cut again: {names}")

    async def feel(self, active: Active) -> None:
        """Measure how much of a fault the lab has felt so far."""
        found = await self._felt(active.record.actions)
        before = active.felt_before or (0,) * len(found)
        active.felt = _together(f.since(b) for f, b in zip(found, before, strict=True) if f is not None)

    async def close(self) -> bool:
        """The agent leaves: end what belongs to it, and begin no change any more. Whether none is under way."""
        idle = True
        try:
            async with asyncio.timeout(_TURN_S):
                await self._turn.acquire()  # and never let go of it
        except TimeoutError:
            idle = False
        for active in self.active:
            if active.timer is not None:
                active.timer.cancel()
        for effect in self._effects:
            await effect.close()
        return idle

    async def _end_at_once(self, active: Active) -> None:
        await self._revert(active)
        self._require_gone([active])
        if any(not isinstance(action, Trigger) for action in active.record.actions):
            active.evidence += "; then as before again"

    def _require_gone(self, tried: Iterable[Active]) -> None:
        remaining = [active for active in tried if not active.ended]
        if remaining:
            raise RevertError(
                "\n".join(f"fault {a.record.fault_id} ({a.record.fault.kind}): {a.trouble}" for a in remaining),
                f"It is tried again every {_RETRY_REVERT_S:g} s; labctl heal tries now; labctl down ends everything.",
            )

    async def _revert_these(self, faults: Collection[Active]) -> None:
        """One may stand in the way of another that is older, so what fails is tried once more after the others."""
        for active in faults:
            await self._revert(active)
        if len(faults) > 1:
            for active in faults:
                if not active.ended:
                    await self._revert(active)

    def _due(self, active: Active) -> None:
        task = asyncio.ensure_future(self._revert_at_deadline(active))
        self._reverting.add(task)
        task.add_done_callback(self._reverting.discard)

    async def _revert_at_deadline(self, active: Active) -> None:
        async with self._turn:
            if active.record.fault_id in self._active:
                await self._revert(active)

    async def _revert(self, active: Active) -> None:
        """Drop its claims and bring the lab to what is left; note trouble, and try again later, instead of raising."""
        if active.timer is not None:
            active.timer.cancel()
        record = active.record
        if not active.reverting:
            with suppress(LabError):
                await self.feel(active)
        active.reverting = True
        self._failpoint("dropped")
        try:
            raise_together(
                [await _outcome(self._apply(record.actions)), await _outcome(self._prove_gone(record.actions))]
            )
        except LabError as error:
            if error.message != active.trouble:
                self._events.add("trouble", f"fault {record.fault_id} could not be reverted: {error.message}")
            active.trouble = error.message
            active.timer = asyncio.get_running_loop().call_later(_RETRY_REVERT_S, self._due, active)
            return
        with suppress(LabError):
            came_of_it = _together([await effect.aftermath(record.actions) for effect in self._effects])
            active.felt = came_of_it or active.felt
        self._failpoint("undone")
        self._journal.end(record.fault_id)
        del self._active[record.fault_id]
        active.trouble, active.ended = "", True
        self._events.add("fault-end", self._say(active, "ended"), detail=self._detail(active))

    @property
    def _standing(self) -> tuple[Action, ...]:
        """The claims of every fault that is not being undone."""
        return tuple(a for active in self._active.values() if not active.reverting for a in active.record.actions)

    async def _felt(self, actions: tuple[Action, ...]) -> list[Felt | None]:
        return [await effect.felt(actions) for effect in self._effects]

    async def _prepare(self, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        for effect in self._effects:
            actions = await effect.prepare(actions, self._standing)
        return actions

    async def _apply(self, actions: tuple[Action, ...]) -> None:
        """Bring everything that `actions` touch to what all standing claims say.

        A server that is started again has forgotten what it was told, so claims on a touched server are applied again.
        One effect that fails does not keep the others from their part.
        """
        nodes = {action.node for action in actions if not isinstance(action, LinkAction)}
        standing = self._standing
        again = (a for a in standing if not isinstance(a, LinkAction) and a.node in nodes and a not in actions)
        touched = (*actions, *again)
        raise_together([await _outcome(effect.apply(touched, standing)) for effect in self._effects])

    async def _prove(self, actions: tuple[Action, ...]) -> str:
        """Measure the effect; what was measured, in words. Raises InjectionError when it is not there."""
        words = [text for effect in self._effects for text in await effect.prove(actions)]
        return ", ".join(words)

    async def _prove_gone(self, actions: tuple[Action, ...]) -> None:
        """See that what the claims held is free again, unless another fault holds it still."""
        standing = self._standing
        raise_together([await _outcome(effect.prove_gone(actions, standing)) for effect in self._effects])

    def _failpoint(self, name: str) -> None:
        failpoint(self._bench.folder.path, name)

    def _say(self, active: Active, verb: str) -> str:
        fault = active.record.fault
        words = [active.evidence] if verb == "began" else []
        words += [active.felt.text] if active.felt else []
        told = f": {', '.join(words)}" if words else ""
        moved = f", which was fault {active.moved_from}" if active.moved_from and verb == "began" else ""
        return f"fault {active.record.fault_id} {verb}: {fault.kind} {fault.target}{moved}{told}"

    def _detail(self, active: Active) -> dict[str, object]:
        fault = active.record.fault
        detail: dict[str, object] = {
            "id": active.record.fault_id,
            "fault": fault.kind,
            "target": fault.target,
            "touches": touched(active),
        }
        if active.felt:
            detail["felt"] = active.felt.times
        if active.moved_from:
            detail["moved_from"] = active.moved_from
        return detail


def _together(found: Iterable[Felt | None]) -> Felt | None:
    """What several sorts of claims of one fault tell, as one."""
    felt = [each for each in found if each is not None]
    words = ", ".join(each.text for each in felt)
    return Felt(sum(each.times for each in felt), words.replace("{", "{{").replace("}", "}}"), words) if felt else None


def touched(active: Active) -> list[str]:
    """Nodes and links that a fault holds, for people."""
    return sorted({action.subject for action in active.record.actions})


async def _outcome(work: Awaitable[None]) -> LabError | None:
    """None, or the error. A defect becomes one too: it must keep no other effect from its part."""
    try:
        await work
    except LabError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the log has the traceback
        traceback.print_exc(file=sys.stderr)
        return LabError(f"labctl itself failed: {error!r}", "The traceback is in the lab's agent.log.")
    return None
