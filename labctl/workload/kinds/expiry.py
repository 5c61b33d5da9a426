"""`expiry`: keys with a TTL, read around the moment at which they must go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from labctl.workload.keys import Keys
from labctl.workload.kind import WorkloadKind
from labctl.workload.kinds.counter import integer

if TYPE_CHECKING:
    from labctl.workload.options import Options
    from labctl.workload.process import Process


class Expiry(WorkloadKind):
    """SET with PX, and reads until after the TTL.

    A value whose `write` was acknowledged at time t must not be read by an operation that began after t plus its TTL.
    The TTL runs on the server's clock from the moment at which the command ran, so the client's bound is generous.

    History per key: `init` (value: {ttl_ms}, once), `write` (unique integer), `read` (the integer or None). For
    `expiry`.

    Options:
        keys, distribution, theta, hot_share: See `Keys`; 64 keys by default.
        ttl_ms: TTL of each value.
        writes: Share of writes.
    """

    name = "expiry"
    summary = "SET PX, and no read after the TTL"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:  # noqa: ARG002
        self._keys = Keys(prefix, options, default=64)
        self._ttl_ms = options.whole("ttl_ms", 200, least=1)
        self._writes = options.number("writes", 0.05, most=1)

    async def setup(self, process: Process) -> None:
        """Say in the history what the TTL is."""
        for key in self._keys.all:
            process.note("init", key, {"ttl_ms": self._ttl_ms})

    async def step(self, process: Process) -> None:
        """One read or one write."""
        key, client = self._keys.choose(process.rng), process.client
        if process.rng.random() < self._writes:
            value = process.unique()
            await process.op("write", key, value, client.write("SET", key, value, "PX", self._ttl_ms, key=key))
            return
        await process.op("read", key, None, client.read("GET", key, key=key), integer)

    async def final_reads(self, process: Process) -> None:
        """Wait until everything is due, and read: nothing may be left."""
        await asyncio.sleep(self._ttl_ms / 1000)
        for key in self._keys.all:
            await process.op("read", key, None, process.client.read("GET", key, key=key), integer)
