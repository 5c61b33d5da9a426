"""When operations are due: the clock of an open loop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_LOOK_S = 0.05  # how long a client may sleep before it looks whether it should stop


class Arrivals:
    """Arrival times of a Poisson process at a rate, shared by the clients of a workload.

    Whichever client is free takes the next arrival. When all of them are stuck, arrivals queue up and are served late,
    with the time at which they were due: so a stall shows in latencies as its users felt it, and not only in the few
    operations that were in flight (what Gil Tene calls coordinated omission).

    Args:
        rate: Mean arrivals a second.
        rng: Decides the gaps.
        start_ns: Monotonic nanoseconds from which arrivals count.
    """

    def __init__(self, rate: float, rng: random.Random, start_ns: int) -> None:
        self._mean_ns = 1e9 / rate
        self._rng = rng
        self._next_ns = float(start_ns)

    async def take(self, stop: asyncio.Event) -> int | None:
        """Wait for the next arrival. Returns when it was due (monotonic ns), or None when told to stop."""
        self._next_ns += self._rng.expovariate(1.0) * self._mean_ns
        due_ns = int(self._next_ns)
        while not stop.is_set():
            left_ns = due_ns - time.monotonic_ns()
            if left_ns <= 0:
                return due_ns
            await asyncio.sleep(min(left_ns / 1e9, _LOOK_S))
        return None
