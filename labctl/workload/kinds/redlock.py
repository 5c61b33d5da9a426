"""`redlock`: one lock over several primaries."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from labctl.model.slots import SLOTS, key_slot
from labctl.model.topology import Kind
from labctl.workload.errors import DeclinedError
from labctl.workload.kind import WorkloadKind
from labctl.workload.kinds.lock import RELEASE

if TYPE_CHECKING:
    from labctl.model.endpoints import Endpoints
    from labctl.workload.habits import Habits
    from labctl.workload.options import Options
    from labctl.workload.process import Process

_DRIFT = 0.01
_DRIFT_MS = 2
_BUSY_S = 0.02


class Redlock(WorkloadKind):
    """The algorithm of redis.io/docs/manual/patterns/distributed-locks over independent primaries.

    That is `kind: standalone` with as many `primaries` as `instances`, which is what the algorithm asks for; or the
    primaries of a Cluster, which are independent enough. The lock has one key in each of `instances` equal ranges of
    hash slots, and with as many servers or shards as that each key lives on its own primary. The lock is held when more
    than half of the keys were set within the lease minus the clock drift that is allowed for.

    History per lock: `acquire` and `release` (value: [owner, None]; `acquire` fails with `Declined` without a majority
    in time), `guarded` (value: [owner, None]: work on the resource). For `mutex`.

    Options:
        instances: Keys of the lock, an odd number, 3 by default; as many as there are servers on their own, not more
            than the Cluster has shards.
        lease_ms, hold_ms, stall: As `lock`.
    """

    name = "redlock"
    summary = "Redlock over independent primaries, or those of a Cluster"
    runs_on = frozenset({Kind.CLUSTER, Kind.STANDALONE})
    refusal = "Redlock wants several primaries: a Cluster, or standalone servers (`primaries: 5`)"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:  # noqa: ARG002
        self._lock = prefix
        instances = options.whole("instances", 3, least=3, most=15)
        if instances % 2 == 0:
            options.problem("instances has to be odd: an even number adds no majority")
        self._keys = [_key_in_share(prefix, share, instances) for share in range(instances)]
        self._lease_ms = options.whole("lease_ms", 500, least=10)
        self._hold_s = options.number("hold_ms", 20, above=0) / 1000
        self._stall = options.number("stall", 0.0, most=1)

    def refuse(self, endpoints: Endpoints, habits: Habits) -> str | None:
        """Two keys on one server would be two votes of one voter."""
        servers = len(endpoints.nodes)
        if endpoints.kind is Kind.STANDALONE and servers != len(self._keys):
            return f"it wants a primary for each vote: instances is {len(self._keys)}, primaries is {servers}"
        return super().refuse(endpoints, habits)

    async def step(self, process: Process) -> None:
        """One attempt, and a tenure when it succeeds."""
        owner = process.unique()
        tenure = [owner, None]
        taken = await process.op("acquire", self._lock, tenure, self._acquire(process, owner))
        if not taken.ok:
            await self._release(process, owner)
            await asyncio.sleep(_BUSY_S * (1 + process.rng.random()))
            return
        stalls = process.rng.random() < self._stall
        await asyncio.sleep(self._lease_ms / 1000 * 1.5 if stalls else process.rng.expovariate(1 / self._hold_s))
        await process.op("guarded", self._lock, tenure, asyncio.sleep(0))
        await process.op("release", self._lock, tenure, self._release(process, owner))

    async def final_reads(self, process: Process) -> None:
        """What counts is who held the lock when."""

    async def _acquire(self, process: Process, owner: int) -> None:
        """Set a majority of the keys in time. One after another: each process has one operation at a time."""
        began, votes = time.monotonic(), 0
        for key in self._keys:
            vote = process.client.write("SET", key, owner, "NX", "PX", self._lease_ms, key=key)
            votes += bool(await process.peek(vote))
        left_ms = self._lease_ms - (time.monotonic() - began) * 1000 - (self._lease_ms * _DRIFT + _DRIFT_MS)
        process.client.trace.begin()  # a vote that was not answered does not count, and is released with the others
        if votes <= len(self._keys) // 2 or left_ms <= 0:
            raise DeclinedError(f"{votes} of {len(self._keys)} votes, {left_ms:.0f} ms left")

    async def _release(self, process: Process, owner: int) -> None:
        for key in self._keys:
            await process.peek(process.client.write("EVAL", RELEASE, 1, key, owner, key=key))
        process.client.trace.begin()


def _key_in_share(prefix: str, share: int, shares: int) -> str:
    """A key of which the hash slot lies in one of so many equal ranges, as Redis hands them out to shards."""
    return next(
        key for number in range(100_000) if key_slot(key := f"{prefix}:{share}:{number}") * shares // SLOTS == share
    )
