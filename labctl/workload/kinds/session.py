"""`session`: what a user sees of their own writes, with reads from replicas."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from labctl.model.topology import Kind
from labctl.workload.kind import WorkloadKind
from labctl.workload.kinds.counter import integer

if TYPE_CHECKING:
    from labctl.model.endpoints import Endpoints
    from labctl.workload.habits import Habits
    from labctl.workload.options import Options
    from labctl.workload.process import Process


class Session(WorkloadKind):
    """Each process writes a key of its own, with growing values, and reads its own and others'.

    Since a key has one writer and its values grow, a read that returns less than the process wrote, or less than it
    has read before, breaks the session guarantee by itself.

    History per key: `write` (unique integers, growing), `read` (the integer, None for a missing key); `final-read`.
    For `read-your-writes`, `monotonic-reads` and `register`.

    Options:
        reads: Share of reads.
        own: Share of reads of the process's own key.
    """

    name = "session"
    summary = "own writes and growing values, read from replicas"
    runs_on = frozenset(Kind) - {Kind.STANDALONE}
    refusal = "session guarantees are trivial on a single server: there is no replica to read from"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:  # noqa: ARG002
        self._prefix = prefix
        self._reads = options.number("reads", 0.7, most=1)
        self._own = options.number("own", 0.7, most=1)
        self._members: list[int] = []

    def refuse(self, endpoints: Endpoints, habits: Habits) -> str | None:
        """Without reads from replicas it shows nothing."""
        if not habits.read_from_replica and endpoints.kind in self.runs_on:
            return "set read_from_replica: true; with reads from the primary the guarantees hold trivially"
        return super().refuse(endpoints, habits)

    async def step(self, process: Process) -> None:
        """One read or one write."""
        number, client = process.number, process.client
        if number not in self._members:
            self._members.append(number)
        if process.rng.random() < self._reads:
            whose = number if process.rng.random() < self._own else process.rng.choice(self._members)
            key = self._key(whose)
            await process.op("read", key, None, client.read("GET", key, key=key), integer)
        else:
            key, value = self._key(number), process.unique()
            await process.op("write", key, value, client.write("SET", key, value, key=key))

    async def final_reads(self, process: Process) -> None:
        """GET every key."""
        for member in self._members:
            key = self._key(member)
            await process.final_read(key, partial(process.client.read, "GET", key, key=key), integer)

    def _key(self, number: int) -> str:
        return f"{self._prefix}:{number}"
