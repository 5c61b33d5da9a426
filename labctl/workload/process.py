"""One sequential client of a history: it records each operation before it is sent, and how it ended."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from labctl.model.history import FINAL_READ, OpOutcome
from labctl.workload.errors import classify

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping

    from labctl.workload.client import Client

VALUES_PER_PROCESS: Final = 1_000_000_000
"""Unique values of process p are p * this + 1, 2, 3 …: unique without talk between worker processes, and readable."""

_FINAL_READ_PAUSE_S: Final = 0.05


class Recorder(Protocol):
    """What is needed of `store.history.HistoryWriter`."""

    def invoke(self, process: int, function: str, key: str, value: object = None, due_ns: int | None = None) -> int:
        """Record that an operation is about to be sent."""
        ...

    def complete(
        self, handle: int, outcome: OpOutcome, value: object = ..., node: str | None = None, error: str | None = None
    ) -> None:
        """Record how it ended."""
        ...

    def flush(self) -> None:
        """Let others read what was recorded so far."""
        ...


class Answer(NamedTuple):
    """How an operation ended, for the workload to go on from.

    Attributes:
        outcome: As recorded.
        value: The reply, decoded; None unless `outcome` is OK.
    """

    outcome: OpOutcome
    value: object = None

    @property
    def ok(self) -> bool:
        """Whether it was acknowledged."""
        return self.outcome is OpOutcome.OK


class Process:
    """A sequential client.

    Attributes:
        number: Its number in the history.
        client: Its connection to the lab.
        rng: Its own random source; the same seed gives the same sequence of choices.
        due_ns: When the arrival that it serves was due; None in a closed loop. Counts for the next operation only.
        failed: Whether an operation since the runner last looked did not succeed.
    """

    def __init__(
        self, number: int, client: Client, rng: random.Random, recorder: Recorder, nodes: Mapping[int, str]
    ) -> None:
        self.number = number
        self.client = client
        self.rng = rng
        self.due_ns: int | None = None
        self.failed = False
        self._recorder = recorder
        self._nodes = nodes
        self._values = number * VALUES_PER_PROCESS

    def unique(self) -> int:
        """A value that no process of this run has used."""
        self._values += 1
        return self._values

    async def op(
        self,
        function: str,
        key: str,
        value: object,
        request: Awaitable[object],
        decode: Callable[[object], object] | None = None,
        *,
        scripted: bool = False,
    ) -> Answer:
        """Do one operation and record it.

        Args:
            function: The history's function.
            key: The history's key.
            value: The argument, recorded before anything is sent.
            request: What does it; a coroutine that has not started.
            decode: Makes the recorded value out of the reply (of a read, say); without it the argument stays.
            scripted: The request is a script that writes; see `errors.classify`.

        Returns:
            How it ended. Errors of the server and of the network do not come out of here.
        """
        trace = self.client.trace
        trace.begin()
        handle = self._recorder.invoke(self.number, function, key, value, self.due_ns)
        self.due_ns = None
        try:
            reply = await request
            if decode is not None:
                reply = decode(reply)
        except asyncio.CancelledError as error:
            outcome, name = classify(error, trace.unanswered > 0, scripted=scripted)
            self._recorder.complete(handle, outcome, node=self._node(), error=name)
            raise
        except Exception as error:  # noqa: BLE001  # whatever a client library raises in a failover, the history goes on
            outcome, name = classify(error, trace.unanswered > 0, scripted=scripted)
            self._recorder.complete(handle, outcome, node=self._node(), error=name)
            self.failed = True
            return Answer(outcome)
        if decode is None:
            self._recorder.complete(handle, OpOutcome.OK, node=self._node())
        else:
            self._recorder.complete(handle, OpOutcome.OK, reply, node=self._node())
        return Answer(OpOutcome.OK, reply)

    def note(self, function: str, key: str, value: object, node: int | None = None) -> None:
        """Record something that this process knows without asking: a message that came, a parameter.

        Args:
            function: As in `op`.
            key: As in `op`.
            value: As in `op`.
            node: Port of the server that it came from.
        """
        name = None if node is None else self._nodes.get(node)
        self._recorder.complete(self._recorder.invoke(self.number, function, key, value), OpOutcome.OK, node=name)

    async def peek(self, request: Awaitable[object]) -> object:
        """Ask for something that is no operation of the history. None when it fails."""
        try:
            return await request
        except Exception:  # noqa: BLE001  # as in `op`
            return None

    async def final_read(
        self,
        key: str,
        request: Callable[[], Awaitable[object]],
        decode: Callable[[object], object],
        within_s: float = 10.0,
    ) -> Answer:
        """Read what the system kept; tried again until it answers or `within_s` seconds have passed."""
        return await self.persist(FINAL_READ, key, request, decode, within_s)

    async def persist(
        self,
        function: str,
        key: str,
        request: Callable[[], Awaitable[object]],
        decode: Callable[[object], object],
        within_s: float = 10.0,
    ) -> Answer:
        """Do an operation again and again, each time recorded, until it succeeds or `within_s` seconds have passed."""
        deadline = time.monotonic() + within_s
        while True:
            answer = await self.op(function, key, None, request(), decode)
            if answer.ok or time.monotonic() >= deadline:
                return answer
            await asyncio.sleep(_FINAL_READ_PAUSE_S)

    def _node(self) -> str | None:
        port = self.client.trace.port
        return None if port is None else self._nodes.get(port, f"port {port}")
