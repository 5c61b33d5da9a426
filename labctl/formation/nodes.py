"""What the formations of all kinds share: sessions to the nodes, one deadline, and borrowed settings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from labctl.errors import StartError
from labctl.formation.borrow import flat, pairs
from labctl.model.conditions import healthy
from labctl.model.plan import Formation, LabPlan, NodePlan
from labctl.model.view import View
from labctl.observe.access import Access, Reply
from labctl.observe.poll import Observer
from labctl.observe.wait import Condition, wait_for
from labctl.plan.borrowed import given_back

RETRY_S = 0.005
"""Pause between attempts to reach a server that is starting; it needs some tens of milliseconds."""

Command = Sequence[str | int]


class Formed:
    """The lab that is being formed."""

    def __init__(
        self,
        plan: LabPlan,
        access: Access,
        observer: Observer,
        progress: Callable[[str], None],
        deadline_s: float | None,
    ) -> None:
        self.plan = plan
        self.seeded = plan.formation is Formation.SEEDED
        self.progress = progress
        if deadline_s is None:
            deadline_s = 10 + 0.5 * len(plan.nodes) if self.seeded else 60 + len(plan.nodes)
        self._until = time.monotonic() + deadline_s
        self._observer = observer
        self._sessions = {node.name: access.session(node) for node in plan.nodes}

    async def reach(self, nodes: Iterable[NodePlan]) -> None:
        """Wait until every one of the servers answers. Raises StartError when one does not in time."""
        await asyncio.gather(*(self._reach(node) for node in nodes))

    async def call(self, node: NodePlan, *commands: Command) -> list[Reply]:
        """Commands to one node in one round trip. Raises StartError when a reply is an error or the node is gone."""
        try:
            async with asyncio.timeout(self._left()):
                replies = await self._sessions[node.name].call(*commands)
        except (RedisError, OSError) as error:
            raise StartError(f"{node.name} stopped answering while the lab was formed: {error}") from error
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, ResponseError):
                raise StartError(f"{node.name} refused {' '.join(map(str, command[:3]))}: {reply}")
        return replies

    async def call_all(self, nodes: Iterable[NodePlan], *commands: Command) -> list[list[Reply]]:
        """The same commands to several nodes at once; the replies of each, in the order of `nodes`."""
        return await asyncio.gather(*(self.call(node, *commands) for node in nodes))

    async def until(self, condition: Condition, what: str) -> View:
        """Wait for a condition on the view, as long as the deadline allows. Raises ConditionError."""
        return await wait_for(self._observer, condition, self._left(), what=what)

    async def until_healthy(self) -> View:
        """Wait for strict agreement of all nodes. Raises ConditionError."""
        return await self.until(lambda view: healthy(self.plan, view), "a healthy lab")

    async def give_back(self) -> None:
        """Set all borrowed configuration to what it should be, and read it back. Raises StartError when it differs."""
        await asyncio.gather(*(self._give_back(node) for node in self.plan.data_nodes))

    async def close(self) -> None:
        """Close the sessions."""
        for session in self._sessions.values():
            await session.close()

    async def _give_back(self, node: NodePlan) -> None:
        own = given_back(self.plan, node)
        if own:
            _, now = await self.call(node, ("CONFIG", "SET", *flat(own)), ("CONFIG", "GET", *own))
            if pairs(now) != own:
                raise StartError(f"{node.name} did not take its own settings back: wanted {own}, reads {pairs(now)}")

    async def _reach(self, node: NodePlan) -> None:
        session = self._sessions[node.name]
        while True:
            try:
                async with asyncio.timeout(self._left()):
                    await session.one("PING")
            except BusyLoadingError:
                return  # it serves CONFIG and INFO, and health waits for the data
            except (RedisError, OSError) as error:
                if self._left() <= RETRY_S:
                    host, port = node.direct
                    raise StartError(f"{node.name} does not answer at {host}:{port}: {error!s}") from error
            else:
                return
            await asyncio.sleep(RETRY_S)

    def _left(self) -> float:
        """Seconds until the deadline, a little when it is over."""
        return max(self._until - time.monotonic(), 0.001)


def answering(plan: LabPlan) -> str:
    """The step after which every server answers."""
    return "the server answers" if len(plan.nodes) == 1 else f"{len(plan.nodes)} servers answer"
