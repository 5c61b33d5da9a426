"""`lock`: a lease in one key, with or without fencing tokens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from labctl.workload.errors import DeclinedError
from labctl.workload.keys import Keys
from labctl.workload.kind import WorkloadKind

if TYPE_CHECKING:
    from labctl.workload.options import Options
    from labctl.workload.process import Process

_ACQUIRE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return redis.call('INCR', KEYS[2]) end
return 0
"""
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
_BUSY_S = 0.01


class Lock(WorkloadKind):
    """SET NX PX, work, release by compare-and-delete; the work is a write to a resource outside Redis.

    With fencing, the token is counted by the same script that takes the lock, and the resource refuses a token lower
    than the highest that it has seen. A client stalls over its lease now and then, as in a long garbage collection;
    without fencing two clients then work at once, and with it the late one is refused.

    History per lock: `acquire` and `release` (value: [owner, token], the owner unique to this tenure, the token None
    without fencing; `acquire` fails with `Declined` where the lock is taken, `release` where it was lost), `guarded`
    (value: [owner, token]: the resource took a write; `fail` with `Declined` where it refused the token). For `mutex`.

    Options:
        keys, distribution, theta, hot_share: Locks, see `Keys`; 1 by default.
        lease_ms: PX of the lock.
        hold_ms: Mean time of the work (exponential).
        stall: Share of tenures in which the client stalls for longer than its lease.
        fencing: Use fencing tokens.
    """

    name = "lock"
    summary = "SET NX PX with and without fencing tokens"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:  # noqa: ARG002
        self._keys = Keys(prefix, options, default=1)
        self._lease_ms = options.whole("lease_ms", 500, least=1)
        self._hold_s = options.number("hold_ms", 20, above=0) / 1000
        self._stall = options.number("stall", 0.0, most=1)
        self._fencing = options.flag("fencing", False)
        self._highest: dict[str, int] = {}

    async def step(self, process: Process) -> None:
        """One attempt at a lock, and a tenure when it succeeds."""
        lock = self._keys.choose(process.rng)
        owner = process.unique()
        taken = await process.op(
            "acquire",
            lock,
            [owner, None],
            self._acquire(process, lock, owner),
            lambda token: [owner, token],
            scripted=True,
        )
        if not taken.ok:
            await asyncio.sleep(_BUSY_S)
            return
        assert isinstance(taken.value, list)
        await asyncio.sleep(self._work_s(process))
        await process.op("guarded", lock, taken.value, self._write(lock, taken.value[1]))
        await process.op("release", lock, taken.value, self._release(process, lock, owner), scripted=True)

    async def final_reads(self, process: Process) -> None:
        """What counts is who held the lock when."""

    def _work_s(self, process: Process) -> float:
        if process.rng.random() < self._stall:
            return self._lease_ms / 1000 * (1 + process.rng.random())
        return process.rng.expovariate(1 / self._hold_s)

    async def _acquire(self, process: Process, lock: str, owner: int) -> int | None:
        """Take the lock; returns the fencing token."""
        key = f"{{{lock}}}"
        if self._fencing:
            token = await process.client.write("EVAL", _ACQUIRE, 2, key, f"{key}:fence", owner, self._lease_ms, key=key)
            assert isinstance(token, int)
            taken: object = token
        else:
            token = None
            taken = await process.client.write("SET", key, owner, "NX", "PX", self._lease_ms, key=key)
        if not taken:
            raise DeclinedError("taken")
        return token

    async def _write(self, lock: str, token: int | None) -> None:
        """The resource: it lives in this program and is linearizable."""
        if token is None:
            return
        if token < self._highest.get(lock, 0):
            raise DeclinedError("an old token")
        self._highest[lock] = token

    async def _release(self, process: Process, lock: str, owner: int) -> None:
        key = f"{{{lock}}}"
        if not await process.client.write("EVAL", RELEASE, 1, key, owner, key=key):
            raise DeclinedError("lost before it was released")
