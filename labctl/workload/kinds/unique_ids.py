"""`unique-ids`: numbers from INCR, which nobody may get twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.workload.keys import Keys
from labctl.workload.kind import WorkloadKind
from labctl.workload.kinds.counter import integer

if TYPE_CHECKING:
    from labctl.workload.options import Options
    from labctl.workload.process import Process


class UniqueIds(WorkloadKind):
    """A sequence of identifiers, as applications take them from INCR. A failover that loses writes gives some twice.

    History: `generate` (value: the number given, None until it is known) per key; no final read. For `unique-ids`.

    Options:
        keys, distribution, theta, hot_share: Sequences, see `Keys`; 1 by default.
    """

    name = "unique-ids"
    summary = "INCR as a source of identifiers"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:  # noqa: ARG002
        self._keys = Keys(prefix, options, default=1)

    async def step(self, process: Process) -> None:
        """Take one number."""
        key = self._keys.choose(process.rng)
        await process.op("generate", key, None, process.client.write("INCR", key, key=key), integer)

    async def final_reads(self, process: Process) -> None:
        """What counts is what clients were given."""
