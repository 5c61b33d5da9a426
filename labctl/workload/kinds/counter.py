"""`counter`: INCRBY on a few keys."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from labctl.workload.keys import Keys
from labctl.workload.kind import WorkloadKind

if TYPE_CHECKING:
    from labctl.workload.options import Options
    from labctl.workload.process import Process


class Counter(WorkloadKind):
    """Counters that only grow.

    With `retries` above 0 a counter may count an increment twice, and a checker of bounds shows it.

    History: `incr` (value: [delta, new value], the latter None until it is known), `read` and `final-read` (value: an
    integer, None for a missing key) per key. For `counter-bounds`, and `linearizable` with the model `counter`.

    Options:
        keys, distribution, theta, hot_share: See `Keys`; 4 counters by default.
        reads: Share of reads.
        most: Largest increment.
    """

    name = "counter"
    summary = "INCRBY and GET"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:  # noqa: ARG002
        self._keys = Keys(prefix, options, default=4)
        self._reads = options.number("reads", 0.2, most=1)
        self._most = options.whole("most", 5, least=1)

    async def step(self, process: Process) -> None:
        """One increment or one read."""
        key, client = self._keys.choose(process.rng), process.client
        if process.rng.random() < self._reads:
            await process.op("read", key, None, client.read("GET", key, key=key), integer)
            return
        delta = process.rng.randint(1, self._most)
        request = client.write("INCRBY", key, delta, key=key)
        await process.op("incr", key, [delta, None], request, lambda reply: [delta, integer(reply)])

    async def final_reads(self, process: Process) -> None:
        """GET every counter."""
        for key in self._keys.all:
            await process.final_read(key, partial(process.client.read, "GET", key, key=key), integer)


def integer(reply: object) -> int | None:
    """A number that was read; None for a missing key."""
    return None if reply is None else int(str(reply))
