"""`unique-writes`: each write makes a key of its own."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from labctl.workload.keys import Keys, Values
from labctl.workload.kind import WorkloadKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labctl.workload.options import Options
    from labctl.workload.process import Process

_BATCH = 500  # keys of one MGET: well under a millisecond of the server's time


class UniqueWrites(WorkloadKind):
    """Plain keys, none of them ever written twice: the simplest evidence of a lost write.

    Keys are grouped into buckets of one hash slot each, so that MGET reads them back in batches on a Cluster too.

    History: `add` (key: the bucket, value: a unique integer, which also names the Redis key `BUCKET:VALUE`);
    `final-read` (key: the bucket, value: the list of integers that are there). For `acked-writes` and `set-full`.

    Options:
        keys, distribution, theta, hot_share: See `Keys`; 16 buckets by default.
        value_bytes: See `Values`.
    """

    name = "unique-writes"
    summary = "SET of a new key each time, MGET of all in the end"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:  # noqa: ARG002
        self._buckets = Keys(prefix, options, default=16)
        self._values = Values(options)
        self._attempted: dict[str, list[int]] = defaultdict(list)

    async def step(self, process: Process) -> None:
        """Write one key."""
        bucket, value = self._buckets.choose(process.rng), process.unique()
        self._attempted[bucket].append(value)
        key = _key(bucket, value)
        await process.op("add", bucket, value, process.client.write("SET", key, self._values.encode(value), key=key))

    async def final_reads(self, process: Process) -> None:
        """MGET of every key that was ever attempted, bucket by bucket."""
        for bucket in self._buckets.all:
            await process.final_read(bucket, partial(self._present, process, bucket), _as_read)

    async def _present(self, process: Process, bucket: str) -> list[int]:
        """The attempted values of a bucket whose keys exist."""
        attempted, present = self._attempted[bucket], list[int]()
        for start in range(0, len(attempted), _BATCH):
            batch: Sequence[int] = attempted[start : start + _BATCH]
            keys = [_key(bucket, value) for value in batch]
            replies = await process.client.read("MGET", *keys, key=keys[0])
            assert isinstance(replies, list)
            present += [value for value, reply in zip(batch, replies, strict=True) if reply is not None]
        return present


def _as_read(present: object) -> object:
    return present


def _key(bucket: str, value: int) -> str:
    return f"{{{bucket}}}:{value}"
