"""`cas`: compare-and-set on a few keys, by WATCH and MULTI or by a script."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from redis import WatchError

from labctl.workload.errors import DeclinedError
from labctl.workload.keys import Keys, Values
from labctl.workload.kind import WorkloadKind

if TYPE_CHECKING:
    from labctl.workload.options import Options
    from labctl.workload.process import Answer, Process

_SCRIPT = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2])
  return 1
end
return 0
"""


class Cas(WorkloadKind):
    """Registers with compare-and-set.

    History: `write` (unique integer), `read` (integer or None) and `cas` (value: [old, new], `ok` only when it
    swapped; `fail` with `Declined` where the old value did not match and `WatchError` where somebody was faster) per
    key; `final-read` per key. For `linearizable` with the model `cas-register`.

    Options:
        keys, distribution, theta, hot_share: See `Keys`; 4 keys by default.
        value_bytes: See `Values`.
        by: `watch` (WATCH, GET, MULTI, SET, EXEC) or `lua` (one EVAL).
        reads: Share of reads; of the rest a fifth are plain writes.
    """

    name = "cas"
    summary = "compare-and-set by WATCH/MULTI or in Lua"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:  # noqa: ARG002
        self._keys = Keys(prefix, options, default=4)
        self._values = Values(options)
        self._reads = options.number("reads", 0.3, most=1)
        self._by_script = options.choice("by", "watch", ("watch", "lua")) == "lua"
        self._seen: dict[tuple[int, str], int] = {}

    async def step(self, process: Process) -> None:
        """Read, write, or swap what this process saw last for something new."""
        key, rng = self._keys.choose(process.rng), process.rng
        old = self._seen.get((process.number, key))
        if old is None or rng.random() < self._reads:
            await self._read(process, key)
            return
        new = process.unique()
        if rng.random() < 0.2:
            request = process.client.write("SET", key, self._values.encode(new), key=key)
            answer = await process.op("write", key, new, request)
        else:
            swap = self._swap_in_script if self._by_script else self._swap_watched
            answer = await process.op("cas", key, [old, new], swap(process, key, old, new), scripted=self._by_script)
        if answer.ok:
            self._seen[process.number, key] = new
        else:
            self._seen.pop((process.number, key), None)

    async def final_reads(self, process: Process) -> None:
        """GET every key."""
        for key in self._keys.all:
            await process.final_read(key, partial(process.client.read, "GET", key, key=key), self._values.decode)

    async def _read(self, process: Process, key: str) -> Answer:
        answer = await process.op("read", key, None, process.client.read("GET", key, key=key), self._values.decode)
        if isinstance(answer.value, int):
            self._seen[process.number, key] = answer.value
        elif answer.ok:  # nothing there yet: a first value to swap
            value = process.unique()
            await process.op("write", key, value, process.client.write("SET", key, self._values.encode(value), key=key))
        return answer

    async def _swap_in_script(self, process: Process, key: str, old: int, new: int) -> None:
        encode = self._values.encode
        if not await process.client.write("EVAL", _SCRIPT, 1, key, encode(old), encode(new), key=key):
            raise DeclinedError("another value")

    async def _swap_watched(self, process: Process, key: str, old: int, new: int) -> None:
        async with process.client.pinned(key) as pinned:
            await pinned.call("WATCH", key)
            if self._values.decode(await pinned.call("GET", key)) != old:
                raise DeclinedError("another value")
            if await pinned.transaction(("SET", key, self._values.encode(new))) is None:
                raise WatchError("the key changed")
