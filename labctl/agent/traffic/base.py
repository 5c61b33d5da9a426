"""What a pattern of traffic is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from redis.exceptions import MovedError, ResponseError

from labctl.errors import RevertError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labctl.agent.effects.base import Bench, Felt
    from labctl.model.fault import Parameters, Scalar
    from labctl.observe.access import Session


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
        """Remove a key of labctl's own from whichever primary has it now; a Cluster's other primaries say MOVED."""
        view = await self.bench.observer.poll()
        for node in view.nodes:
            if node.up and node.role == "primary":
                session = self.bench.session(node.name)
                try:
                    async with asyncio.timeout(10):
                        (reply,) = await session.call(("UNLINK", key))
                finally:
                    await session.close()
                if isinstance(reply, ResponseError) and not isinstance(reply, MovedError):
                    raise RevertError(f"{node.name} keeps {key}: {reply}")
