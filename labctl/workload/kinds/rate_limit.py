"""`rate-limit`: a sliding window in Lua."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.workload.keys import Keys
from labctl.workload.kind import WorkloadKind
from labctl.workload.kinds.counter import integer

if TYPE_CHECKING:
    from labctl.workload.options import Options
    from labctl.workload.process import Process

_SCRIPT = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - ARGV[1] * 1000)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""


class RateLimit(WorkloadKind):
    """A limiter that lets `limit` requests through in any window of `window_ms`, by the server's clock.

    History: `init` (value: {limit, window_ms}, once per limiter, at its first use), `hit` (value: 1 when let through, 0
    when not) per limiter. For `rate-limit`.

    Options:
        keys, distribution, theta, hot_share: Limiters, see `Keys`; 4 by default.
        limit: Requests in a window.
        window_ms: Its length.
    """

    name = "rate-limit"
    summary = "a sliding-window limiter in Lua"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:  # noqa: ARG002
        self._keys = Keys(prefix, options, default=4)
        self._limit = options.whole("limit", 100, least=1)
        self._window_ms = options.whole("window_ms", 1000, least=1)

    async def setup(self, process: Process) -> None:
        """Say in the history what the limits are."""
        for key in self._keys.all:
            process.note("init", key, {"limit": self._limit, "window_ms": self._window_ms})

    async def step(self, process: Process) -> None:
        """One request."""
        key = self._keys.choose(process.rng)
        arguments = (self._window_ms, self._limit, process.unique())
        request = process.client.write("EVAL", _SCRIPT, 1, key, *arguments, key=key)
        await process.op("hit", key, None, request, integer, scripted=True)

    async def final_reads(self, process: Process) -> None:
        """What counts is what was let through."""
