"""`register`: SET and GET of unique values on a few keys."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from labctl.workload.keys import Keys, Values
from labctl.workload.kind import WorkloadKind

if TYPE_CHECKING:
    from labctl.workload.options import Options
    from labctl.workload.process import Process


class Register(WorkloadKind):
    """Independent registers.

    History: `write` (value: a unique integer) and `read` (value: the integer read, None for a missing key) per key;
    `final-read` per key. For `register`, `acked-writes` and the checkers of sessions.

    Options:
        keys, distribution, theta, hot_share: See `Keys`; 16 keys by default.
        value_bytes: See `Values`.
        reads: Share of reads.
    """

    name = "register"
    summary = "SET and GET of unique values"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:  # noqa: ARG002
        self._keys = Keys(prefix, options, default=16)
        self._values = Values(options)
        self._reads = options.number("reads", 0.5, most=1)

    async def step(self, process: Process) -> None:
        """One read or one write."""
        key, client = self._keys.choose(process.rng), process.client
        if process.rng.random() < self._reads:
            await process.op("read", key, None, client.read("GET", key, key=key), self._values.decode)
            return
        value = process.unique()
        await process.op("write", key, value, client.write("SET", key, self._values.encode(value), key=key))

    async def final_reads(self, process: Process) -> None:
        """GET every key."""
        for key in self._keys.all:
            await process.final_read(key, partial(process.client.read, "GET", key, key=key), self._values.decode)
