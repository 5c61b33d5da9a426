"""`queue`: a reliable queue with LMOVE."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from labctl.workload.errors import DeclinedError
from labctl.workload.kind import WorkloadKind
from labctl.workload.kinds.counter import integer
from labctl.workload.roles import Roles

if TYPE_CHECKING:
    from labctl.workload.options import Options
    from labctl.workload.process import Process


class Queue(WorkloadKind):
    """Producers push, consumers move an element to a list of their own, do their work, and remove it from there.

    A consumer that does not know what became of its move looks into its own list and puts back what it finds: at least
    once, and nothing lost as long as Redis loses nothing (redis.io/commands/lmove, "Pattern: Reliable queue").

    History: `enqueue` (unique integer), `dequeue` (value: the integer, None from an empty queue), `ack` (the integer;
    `fail` with `Declined` where it was not in the consumer's list any more), `requeue` (the integer put back, or None),
    all of one key, the queue; `final-read` (value: every integer in the queue and in the consumers' lists). For
    `total-queue`.

    Options:
        consumers: Share of the clients that consume.
    """

    name = "queue"
    summary = "LPUSH, LMOVE to a consumer's own list, LREM"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:
        self._queue = f"{{{prefix}}}"
        self._roles = Roles(clients, options.number("consumers", 0.5, most=1))
        self._unsure: set[int] = set()

    def paced(self, process: Process) -> bool:
        """Producers are."""
        return not self._roles.consumes(process)

    async def step(self, process: Process) -> None:
        """Produce one element, or consume one."""
        if self._roles.consumes(process):
            await self._consume(process)
            return
        value = process.unique()
        request = process.client.write("LPUSH", self._queue, value, key=self._queue)
        await process.op("enqueue", self._queue, value, request)

    async def final_reads(self, process: Process) -> None:
        """LRANGE of the queue and of every consumer's list, in one transaction."""
        await process.final_read(self._queue, partial(self._remaining, process), _flattened)

    async def _consume(self, process: Process) -> None:
        own, client = self._own(process), process.client
        if process.number in self._unsure:
            request = client.write("LMOVE", own, self._queue, "LEFT", "RIGHT", key=own)
            answer = await process.op("requeue", self._queue, None, request, integer)
            if answer.ok and answer.value is None:
                self._unsure.discard(process.number)
            return
        request = client.write("LMOVE", self._queue, own, "RIGHT", "LEFT", key=own)
        taken = await process.op("dequeue", self._queue, None, request, integer)
        if not taken.ok:
            self._unsure.add(process.number)
        elif taken.value is None:
            await self._roles.idle()
        else:
            request = self._remove(process, own, taken.value)
            if not (await process.op("ack", self._queue, taken.value, request)).ok:
                self._unsure.add(process.number)

    async def _remove(self, process: Process, own: str, value: object) -> None:
        if not await process.client.write("LREM", own, 1, str(value), key=own):
            raise DeclinedError("not in the consumer's list")

    async def _remaining(self, process: Process) -> object:
        lists = [self._queue, *(self._own_of(number) for number in self._roles.consumers)]
        async with process.client.pinned(self._queue) as pinned:
            return await pinned.transaction(*[("LRANGE", key, 0, -1) for key in lists])

    def _own(self, process: Process) -> str:
        return self._own_of(process.number)

    def _own_of(self, number: int) -> str:
        return f"{self._queue}:{number}"


def _flattened(replies: object) -> list[int]:
    assert isinstance(replies, list)
    return [int(element) for reply in replies for element in reply]
