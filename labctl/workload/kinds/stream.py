"""`stream`: a consumer group with acknowledgement, takeover of abandoned entries, and a dead-letter stream."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from redis import ResponseError

from labctl.workload.errors import DeclinedError
from labctl.workload.kind import WorkloadKind
from labctl.workload.roles import Roles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from labctl.workload.options import Options
    from labctl.workload.process import Process

_GROUP = "workers"
_START = "0-0"


class Stream(WorkloadKind):
    """Producers XADD, consumers read as a group, work, and XACK; what a consumer abandons others take over.

    History, all of one key, the stream; entries are named by the unique integer that they carry:

    - `add` (the integer).
    - `deliver` (value: the integers that XREADGROUP gave, maybe none), `claim` (those that XAUTOCLAIM gave).
    - `ack` (the integer; `fail` with `Declined` where the entry was not pending any more).
    - `dead-letter` (the integer: copied to the dead-letter stream after `deliveries` attempts and acknowledged, in one
      transaction).
    - In the end the group is read to its end, and then come `final-read` (every integer in the stream), `final-pending`
      (those that were delivered and not acknowledged) and `final-dead` (those in the dead-letter stream).

    For `stream`; `add` and `final-read` also for `acked-writes`.

    Options:
        consumers: Share of the clients that consume.
        batch: COUNT of XREADGROUP and XAUTOCLAIM.
        abandon: Share of entries that a consumer takes and never acknowledges, as if it had crashed over them.
        min_idle_ms: Idle time after which others take an entry over.
        deliveries: Deliveries after which an entry goes to the dead-letter stream.
    """

    name = "stream"
    summary = "XADD, XREADGROUP, XACK, XAUTOCLAIM and dead letters"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:
        self._stream = f"{{{prefix}}}"
        self._dead = f"{{{prefix}}}:dead"
        self._roles = Roles(clients, options.number("consumers", 0.5, most=1))
        self._batch = options.whole("batch", 10, least=1, most=1000)
        self._abandon = options.number("abandon", 0.02, most=1)
        self._min_idle_ms = options.whole("min_idle_ms", 500, least=1)
        self._deliveries = options.whole("deliveries", 3, least=1)
        self._cursor: dict[int, str] = {}
        self._ids: dict[int, str] = {}
        self._values: dict[str, int] = {}

    def paced(self, process: Process) -> bool:
        """Producers are."""
        return not self._roles.consumes(process)

    async def setup(self, process: Process) -> None:
        """Make the stream and its group."""
        try:
            await process.client.write("XGROUP", "CREATE", self._stream, _GROUP, 0, "MKSTREAM", key=self._stream)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def step(self, process: Process) -> None:
        """Add an entry, or take some and work on them."""
        if not self._roles.consumes(process):
            value = process.unique()
            await process.op(
                "add", self._stream, value, process.client.write(*self._add(self._stream, value), key=self._stream)
            )
            return
        if process.rng.random() < 0.1:
            await self._take_over(process)
        else:
            await self._consume(process)

    async def final_reads(self, process: Process) -> None:
        """Read the group to its end, then XRANGE both streams, and XPENDING."""
        key, client = self._stream, process.client
        while True:
            answer = await process.persist("deliver", key, partial(self._read, process), self._delivered)
            await self._work(process, answer.value, abandon=0)
            if not answer.value:
                break
        await process.final_read(key, partial(client.read, "XRANGE", key, "-", "+", key=key), self._noted)
        await process.persist("final-pending", key, partial(self._all_pending, process), _as_read)
        await process.persist("final-dead", key, partial(client.read, "XRANGE", self._dead, "-", "+", key=key), _values)

    @staticmethod
    def _add(stream: str, value: int) -> tuple[str | int, ...]:
        return ("XADD", stream, "*", "v", value)

    async def _consume(self, process: Process) -> None:
        answer = await process.op("deliver", self._stream, None, self._read(process), self._delivered)
        if answer.ok and not answer.value:
            await self._roles.idle()
        await self._work(process, answer.value, self._abandon)

    async def _read(self, process: Process) -> object:
        consumer = ("GROUP", _GROUP, f"c{process.number}")
        command = ("XREADGROUP", *consumer, "COUNT", self._batch, "STREAMS", self._stream, ">")
        return await process.client.write(*command, key=self._stream)

    async def _take_over(self, process: Process) -> None:
        if await self._bury(process):
            return
        start = self._cursor.get(process.number, _START)
        name = f"c{process.number}"
        command = ("XAUTOCLAIM", self._stream, _GROUP, name, self._min_idle_ms, start, "COUNT", self._batch)

        def claimed(reply: object) -> list[int]:
            assert isinstance(reply, list)
            self._cursor[process.number] = str(reply[0])
            return self._noted(reply[1])

        answer = await process.op(
            "claim", self._stream, None, process.client.write(*command, key=self._stream), claimed
        )
        await self._work(process, answer.value, self._abandon)

    async def _work(self, process: Process, values: object, abandon: float) -> None:
        for value in values if isinstance(values, list) else []:
            if process.rng.random() >= abandon:
                await process.op("ack", self._stream, value, self._acknowledge(process, value))

    async def _acknowledge(self, process: Process, value: int) -> None:
        if not await process.client.write("XACK", self._stream, _GROUP, self._ids[value], key=self._stream):
            raise DeclinedError("not pending any more")

    async def _bury(self, process: Process) -> bool:
        """Move the oldest entry that was delivered too often to the dead-letter stream. False when there is none."""
        reply = await process.peek(
            process.client.write(
                "XPENDING", self._stream, _GROUP, "IDLE", self._min_idle_ms, "-", "+", self._batch, key=self._stream
            )
        )
        for entry, _consumer, _idle, deliveries in reply if isinstance(reply, list) else []:
            if int(deliveries) >= self._deliveries and entry in self._values:
                value = self._values[entry]
                await process.op("dead-letter", self._stream, value, self._move(process, entry, value))
                return True
        return False

    async def _move(self, process: Process, entry: str, value: int) -> None:
        async with process.client.pinned(self._stream) as pinned:
            await pinned.transaction(self._add(self._dead, value), ("XACK", self._stream, _GROUP, entry))

    async def _all_pending(self, process: Process) -> list[int]:
        """The integers of every pending entry, page by page."""
        pending: list[int] = []
        start = "-"
        while True:
            reply = await process.client.read("XPENDING", self._stream, _GROUP, start, "+", 1000, key=self._stream)
            assert isinstance(reply, list)
            pending += [self._values[row[0]] for row in reply if row[0] in self._values]
            if len(reply) < 1000:
                return pending
            start = f"({reply[-1][0]}"

    def _delivered(self, reply: object) -> list[int]:
        """The integers in XREADGROUP's reply: None, or one [stream, entries]."""
        return self._noted(reply[0][1]) if isinstance(reply, list) and reply else []

    def _noted(self, entries: Iterable[tuple[str, list[str]]] | object) -> list[int]:
        """The integers of entries, whose ids are kept for XACK. An entry that was deleted comes without fields."""
        assert isinstance(entries, list)
        found = {str(entry): int(fields[1]) for entry, fields in entries if fields}
        self._values.update(found)
        self._ids.update((value, entry) for entry, value in found.items())
        return list(found.values())


def _as_read(values: object) -> object:
    return values


def _values(entries: object) -> list[int]:
    assert isinstance(entries, list)
    return [int(fields[1]) for _entry, fields in entries]
