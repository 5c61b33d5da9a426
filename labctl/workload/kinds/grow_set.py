"""`set`: unique elements added to a few sets, and read in the end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from labctl.workload.keys import Keys, Values
from labctl.workload.kind import WorkloadKind

if TYPE_CHECKING:
    from labctl.workload.options import Options
    from labctl.workload.process import Process


class GrowSet(WorkloadKind):
    """Sets that only grow: what was acknowledged has to be there in the end.

    History: `add` (value: a unique integer) per set; `read` (value: the elements as a list) where `reads` asks for
    them; `final-read` (value: the elements) per set. For `acked-writes` and `set-full`.

    Options:
        keys, distribution, theta, hot_share: See `Keys`; 8 sets by default, which a Cluster spreads over its slots.
        value_bytes: See `Values`.
        reads: Share of reads of a whole set; 0 by default, for they grow with the set.
    """

    name = "set"
    summary = "SADD of unique elements, SMEMBERS in the end"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:  # noqa: ARG002
        self._keys = Keys(prefix, options, default=8)
        self._values = Values(options)
        self._reads = options.number("reads", 0.0, most=1)

    async def step(self, process: Process) -> None:
        """Add one element, or read a set."""
        key, client = self._keys.choose(process.rng), process.client
        if self._reads and process.rng.random() < self._reads:
            await process.op("read", key, None, client.read("SMEMBERS", key, key=key), self._elements)
            return
        value = process.unique()
        await process.op("add", key, value, client.write("SADD", key, self._values.encode(value), key=key))

    async def final_reads(self, process: Process) -> None:
        """SMEMBERS of every set."""
        for key in self._keys.all:
            await process.final_read(key, partial(process.client.read, "SMEMBERS", key, key=key), self._elements)

    def _elements(self, reply: object) -> list[int | None]:
        assert isinstance(reply, list)
        return [self._values.decode(element) for element in reply]
