"""What a pattern of traffic is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from redis.exceptions import RedisError

from labctl.agent.effects.base import eventually
from labctl.errors import LabError, RevertError
from labctl.model.topology import Persistence, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labctl.agent.effects.base import Bench, Felt
    from labctl.model.fault import Parameters, Scalar
    from labctl.observe.access import Session

_AGAIN_S = 0.2
_REMOVED_S = 15.0
"""A failover may be on its way, and a primary that was started again may refuse writes for a moment."""


class Pattern:
    """Connections that do something to a server until they are told to stop.

    Args:
        bench: The lab.
        node: The server.
        parameters: As planned; complete.

    Attributes:
        name: In claims.
        bitten: Set once the effect was measured.
        evidence: What was measured.
    """

    name: ClassVar[str]

    def __init__(self, bench: Bench, node: str, parameters: Mapping[str, Scalar]) -> None:
        self.bench = bench
        self.node = node
        self.parameters = parameters
        self.bitten = asyncio.Event()
        self.evidence = ""
        self._sessions: list[Session] = []

    async def note(self) -> Parameters:
        """What the aftermath will be held against, read before anything is done; journalled with the claim."""
        return ()

    async def aftermath(self) -> Felt | None:
        """What came of it, where that shows only after it is over. See `Effect.aftermath`."""
        return None

    async def run(self) -> None:
        """Do it until cancelled. An error before `bitten` is set says why it cannot be done."""
        raise NotImplementedError

    async def persist(self) -> None:
        """Run until cancelled: also when the server has been away, or has refused it for a while, once it has bitten."""
        while True:
            try:
                return await self.run()
            except (LabError, RedisError, OSError):
                if not self.bitten.is_set():
                    raise
            await self.close()
            await asyncio.sleep(_AGAIN_S)

    async def clean(self) -> None:
        """Remove what it left behind and see that the server is as before. Called also where it never ran.

        Raises:
            LabError: Names what remains.
        """
        if await self.bench.runs(self.node):
            await self.bench.ask(self.node, "PING", within_s=30)

    async def close(self) -> None:
        """End its connections."""
        for session in self._sessions:
            await session.close()
        self._sessions.clear()

    def number(self, name: str) -> int:
        """A parameter that is a whole number."""
        return int(self.parameters[name])

    def session(self) -> Session:
        """A connection that ends with the pattern."""
        session = self.bench.session(self.node)
        self._sessions.append(session)
        return session

    def bite(self, evidence: str) -> None:
        """Note that the effect was measured."""
        if not self.bitten.is_set():
            self.evidence = evidence
            self.bitten.set()

    async def unlink_everywhere(self, key: str) -> None:
        """Remove a key of labctl's own from whichever primary has it now.

        Raises:
            RevertError: No primary says that the key is gone, and some server has it still, in memory or on disk.
        """
        said = ""

        async def removed() -> bool:
            nonlocal said
            view = await self.bench.observer.poll()
            replies = [await self._unlink(n.name, key) for n in view.nodes if n.up and n.role is Role.PRIMARY]
            said = "; ".join(str(reply) for reply in replies if isinstance(reply, Exception)) or "no primary answers"
            return any(isinstance(reply, int) for reply in replies)

        if self.bench.plan.topology.persistence == Persistence() and not await self._somebody_runs():
            return
        if not await eventually(removed, _REMOVED_S):
            raise RevertError(f"{key} could not be removed: {said}.", "labctl status")

    async def _unlink(self, name: str, key: str) -> object:
        """How many it removed, or why none: of a Cluster's primaries all but one say MOVED."""
        session = self.bench.session(name)
        try:
            async with asyncio.timeout(_REMOVED_S):
                (reply,) = await session.call(("UNLINK", key))
        except (RedisError, OSError) as error:
            return error
        finally:
            await session.close()
        return reply

    async def _somebody_runs(self) -> bool:
        return any([await self.bench.runs(node.name) for node in self.bench.plan.data_nodes])
