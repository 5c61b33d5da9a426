"""Rounds of questions to all nodes of a lab, one connection a node, none waiting for another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from labctl.model.plan import LabPlan, NodePlan
from labctl.observe.access import Session

T = TypeVar("T")
_TOO_LATE = (RedisTimeoutError, TimeoutError)
_LATE_S = 0.1
_READ_S = 0.01
"""Time to read what came right at the deadline."""


class Rounds(Generic[T]):
    """Asks every node the same thing, over a connection of its own that it keeps.

    A node that does not answer within the deadline has no answer in this round. Its request stays outstanding and later
    rounds do not wait for it again: a hung node costs one deadline, not one each round.

    Args:
        plan: The lab.
        connect: How to reach a node; `Access.session`.
        ask: What to ask: a node and its session → an answer.
    """

    def __init__(
        self,
        plan: LabPlan,
        connect: Callable[[NodePlan], Session],
        ask: Callable[[NodePlan, Session], Awaitable[T]],
    ) -> None:
        self._plan = plan
        self._ask_node = ask
        self._sessions = {node.name: connect(node) for node in plan.nodes}
        self._outstanding: dict[str, asyncio.Task[T | str]] = {}
        self._turn = asyncio.Lock()

    async def round(self, deadline_s: float, began: Callable[[], None] = lambda: None) -> dict[str, T | str]:
        """Each node's answer by name, or why there is none, as a string. Callers at the same time take turns.

        Args:
            deadline_s: How long to wait for nodes.
            began: Called when it is this round's turn.
        """
        async with self._turn:
            began()
            fresh = [node for node in self._plan.nodes if not self._hangs(node)]
            for node in fresh:
                self._outstanding[node.name] = asyncio.create_task(self._ask(node), name=f"ask {node.name}")
            await _wait({self._outstanding[node.name] for node in fresh}, deadline_s)
            asked = {node.name: self._collect(node, deadline_s) for node in fresh}
            return {node.name: asked.get(node.name, _no_answer(deadline_s)) for node in self._plan.nodes}

    async def close(self) -> None:
        """Close every connection and forget outstanding requests."""
        tasks = list(self._outstanding.values())
        self._outstanding.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for session in self._sessions.values():
            await session.close()

    def _hangs(self, node: NodePlan) -> bool:
        """Whether its request of an earlier round is outstanding. An answer that came since then is too old to count."""
        task = self._outstanding.get(node.name)
        return task is not None and not task.done()

    def _collect(self, node: NodePlan, deadline_s: float) -> T | str:
        """Take a node's answer, or leave its request outstanding."""
        task = self._outstanding[node.name]
        if not task.done():
            return _no_answer(deadline_s)
        del self._outstanding[node.name]
        return task.result()

    async def _ask(self, node: NodePlan) -> T | str:
        """Ask one node.

        A connection that was lost since the last round is opened again within this one: Sentinel kills the clients of a
        node that it promotes. One that took too long to open is tried once more: it may be this process that was away.
        """
        session = self._sessions[node.name]
        reused = session.connected
        try:
            try:
                return await self._ask_node(node, session)
            except (RedisError, OSError) as error:
                if not reused and not isinstance(error, _TOO_LATE):
                    raise
                return await self._ask_node(node, session)
        except (RedisError, OSError) as error:
            return str(error) or type(error).__name__


def _no_answer(deadline_s: float) -> str:
    return f"no answer within {deadline_s:g} s"


async def _wait(tasks: set[asyncio.Task[T | str]], deadline_s: float) -> None:
    """Wait for answers, as long as this process was there to read them.

    Where it was not run for a while, its timer is due before it has read what came in the meantime, and how long the nodes took
    is not known: then they have their time once more.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + deadline_s
    if tasks:
        _, tasks = await asyncio.wait(tasks, timeout=deadline_s)
    if tasks:
        await asyncio.wait(tasks, timeout=deadline_s if clock() > until + _LATE_S else _READ_S)
