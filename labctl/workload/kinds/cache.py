"""`cache`: cache-aside over a database, with TTL and eviction."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from labctl.workload.keys import Keys, Values
from labctl.workload.kind import WorkloadKind

if TYPE_CHECKING:
    from labctl.workload.options import Options
    from labctl.workload.process import Process


class Cache(WorkloadKind):
    """Readers look into Redis first and fill it from a database on a miss; writers update the database and delete.

    The database lives in this program: linearizable, and as slow as `database_ms` says. Cache-aside is known to serve
    old values (a reader that loaded before an update may fill after its delete), for as long as the TTL at most; this
    workload measures how many and how old.

    History per key: `write` (unique integer: the database has it now), `invalidate` (the same integer: the cached copy
    was deleted; where that fails the old one is served until its TTL), `read` (the integer that the application got,
    from wherever), and `load` (the integer: one query to the database, made by the read before it in the same process;
    many at once are a stampede). For `register`, which measures staleness, and `cache`.

    Options:
        keys, distribution, theta, hot_share: See `Keys`; 100 keys by default.
        value_bytes: See `Values`.
        reads: Share of reads.
        ttl_ms: TTL of cached copies.
        database_ms: Mean time of a query (exponential).
    """

    name = "cache"
    summary = "cache-aside with TTL over a slow database"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:  # noqa: ARG002
        self._keys = Keys(prefix, options, default=100)
        self._values = Values(options)
        self._reads = options.number("reads", 0.9, most=1)
        self._ttl_ms = options.whole("ttl_ms", 1000, least=1)
        self._database_s = options.number("database_ms", 2.0) / 1000
        self._database: dict[str, int] = {}

    async def step(self, process: Process) -> None:
        """One read or one update."""
        key = self._keys.choose(process.rng)
        if process.rng.random() >= self._reads:
            value = process.unique()
            await process.op("write", key, value, self._update(process, key, value))
            await process.op("invalidate", key, value, process.client.write("DEL", key, key=key))
            return
        loaded: list[int | None] = []
        await process.op("read", key, None, self._lookup(process, key, loaded), self._values.decode)
        for value_loaded in loaded:
            process.note("load", key, value_loaded)

    async def final_reads(self, process: Process) -> None:
        """Nothing is kept on purpose."""

    async def _lookup(self, process: Process, key: str, loaded: list[int | None]) -> object:
        cached = await process.client.read("GET", key, key=key)
        if cached is not None:
            return cached
        await self._query(process)
        value = self._database.get(key)
        loaded.append(value)
        if value is not None:
            await process.client.write("SET", key, self._values.encode(value), "PX", self._ttl_ms, key=key)
        return value

    async def _update(self, process: Process, key: str, value: int) -> None:
        await self._query(process)
        self._database[key] = value

    async def _query(self, process: Process) -> None:
        if self._database_s:
            await asyncio.sleep(process.rng.expovariate(1 / self._database_s))
