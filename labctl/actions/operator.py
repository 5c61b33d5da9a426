"""What an operator has: the lab's plan, what is observed, a connection to each node, and the lab's agent."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from labctl.errors import LabError
from labctl.faults.targets import resolve
from labctl.model.fault import Fault
from labctl.model.view import NodeView, View
from labctl.observe.access import Access, Reply, Session
from labctl.store.codec import from_data, to_data

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from labctl.lab import Lab
    from labctl.model.plan import LabPlan

PATIENCE_S = 60.0
"""For one thing to come about: a node to load its data, a failover to be over."""
_LOOK_S = 0.05
_REPLY_S = 30.0
"""A command of an operator, MIGRATE of many keys or SAVE among them, may take long; longer than this it hangs."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The lab at one moment.

    Attributes:
        view: What each node says.
        unhealthy: Reasons why it is not healthy.
        unconverged: Reasons why replicas differ from their primaries.
        out: Nodes that were taken out of it.
        faults: Numbers of the faults in force.
    """

    view: View
    unhealthy: tuple[str, ...]
    unconverged: tuple[str, ...]
    out: frozenset[str]
    faults: frozenset[int]


class Connections:
    """One connection as admin to each node that was spoken to, past the links; opened again when it was lost."""

    def __init__(self, plan: LabPlan, access: Access) -> None:
        self._plan = plan
        self._access = access
        self._sessions: dict[str, Session] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    async def call_all(self, node: str, commands: Sequence[Sequence[str | int]]) -> list[Reply]:
        """See `Operator.call_all`."""
        async with self._turns.setdefault(node, asyncio.Lock()):
            try:
                async with asyncio.timeout(_REPLY_S):
                    replies = await (await self._open(node)).call(*commands)
            except (RedisError, OSError) as error:  # TimeoutError is an OSError
                await self._drop(node)
                raise LabError(f"{node} did not do {_words(commands[0])}: {str(error) or 'no answer'}") from error
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, RedisError):
                raise LabError(f"{node} did not do {_words(command)}: {reply}")
        return replies

    async def _open(self, node: str) -> Session:
        """A connection that answers: nothing is ever sent twice, so one that was lost has to show before it is used."""
        session = self._sessions.get(node)
        if session is not None:
            try:
                await session.call(("PING",))
            except (RedisError, OSError):
                await self._drop(node)
            else:
                return session
        self._sessions[node] = session = self._access.session(self._plan.node(node))
        return session

    async def _drop(self, node: str) -> None:
        session = self._sessions.pop(node, None)
        if session is not None:
            await session.close()

    async def close(self) -> None:
        """Close all."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()


@dataclass(slots=True)
class Operator:
    """The means of an action. Everything goes past the links, as an operator's own network would.

    Attributes:
        lab: The lab.
        plan: Its plan.
        folder: The run's folder, for what an action leaves behind (a backup).
        connections: To its nodes.
        seed: For random targets.
        say: Told each thing that is done, for the timeline.
    """

    lab: Lab
    plan: LabPlan
    folder: Path
    connections: Connections
    seed: int
    say: Callable[[str], None]

    async def look(self) -> Seen:
        """The lab as it is now, and what its agent thinks of it."""
        status = await asyncio.to_thread(self.lab.call, "GET", "/status")
        view = from_data(View, status["view"])
        return Seen(
            view,
            tuple(status["unhealthy"]),
            tuple(status["unconverged"]),
            frozenset(status["out"]),
            frozenset(fault["id"] for fault in status["faults"]),
        )

    async def view(self) -> View:
        """The lab as it is now."""
        return (await self.look()).view

    async def targets(self, target: str) -> tuple[str, ...]:
        """Nodes that a target means now. Raises UsageError when it means none."""
        return resolve(target, self.plan, await self.view(), Random(self.seed))

    async def data_targets(self, target: str) -> tuple[NodeView, ...]:
        """Nodes that a target means now, as observed; those that hold data and answer.

        Raises:
            LabError: There is none of that sort among them.
        """
        names, view = await self.targets(target), await self.view()
        found = tuple(node for node in view.data_nodes if node.name in names)
        if not found:
            raise LabError(f"None of '{target}' holds data and answers.", "labctl status")
        return found

    async def call(self, node: str, *command: str | int) -> Reply:
        """Send one command to a node as its admin. Raises as `call_all`."""
        return (await self.call_all(node, [command]))[0]

    async def call_all(self, node: str, commands: Sequence[Sequence[str | int]]) -> list[Reply]:
        """Send commands to a node as its admin, in one round trip; one reply each.

        Raises:
            LabError: It refused one of them, or did not answer.
        """
        return await self.connections.call_all(node, commands)

    async def fault(self, kind: str, target: str, **params: str | float) -> int:
        """Have the agent inject a fault, a momentary one (a restart, a failover) or one that `heal` ends.

        Returns:
            Its number, for `heal`.

        Raises:
            LabError: It did not take effect.
        """
        fault = to_data(Fault(kind, target, None, params))
        active = await asyncio.to_thread(self.lab.call, "POST", "/faults", {"fault": fault, "seed": self.seed})
        return int(active["id"])

    async def heal(self, number: int) -> None:
        """Have the agent revert one fault. Raises LabError when it cannot be."""
        await asyncio.to_thread(self.lab.call, "DELETE", "/faults", id=number)

    async def upkeep(self, node: str, **what: str | bool) -> None:
        """Have the agent do maintenance of a node; see `agent.upkeep`. Raises LabError when it cannot be done."""
        await asyncio.to_thread(self.lab.call, "POST", "/upkeep", {"node": node, **what})

    async def until(self, what: str, reasons: Callable[[View], list[str]], within_s: float = PATIENCE_S) -> View:
        """Look until `reasons` gives none; return that view.

        Raises:
            LabError: It still gives some after `within_s` seconds; the message has them.
        """
        deadline = time.monotonic() + within_s
        while True:
            view = await self.view()
            left = reasons(view)
            if not left:
                return view
            if time.monotonic() > deadline:
                raise LabError(f"{what}: not within {within_s:g} s: {'; '.join(left[:4])}")
            await asyncio.sleep(_LOOK_S)

    async def until_healthy(self, what: str) -> None:
        """Wait until everybody agrees that the lab is well. Raises as `until`."""
        deadline = time.monotonic() + PATIENCE_S
        while reasons := (await self.look()).unhealthy:
            if time.monotonic() > deadline:
                raise LabError(f"{what}: the lab is not healthy within {PATIENCE_S:g} s: {'; '.join(reasons[:4])}")
            await asyncio.sleep(_LOOK_S)


def _words(command: Sequence[str | int]) -> str:
    """The beginning of a command, for messages."""
    return " ".join(map(str, command[:3]))
