"""Arrivals against a clock of their own: nothing here waits."""

from __future__ import annotations

import asyncio
import itertools
import random
import time

import pytest

from labctl.workload.arrivals import Arrivals


def taken(rate: float, count: int, seed: int = 1) -> list[int]:
    """Arrivals that are all overdue, so that taking them needs no time."""
    start = time.monotonic_ns() - 10**12

    async def take() -> list[int]:
        arrivals, stop = Arrivals(rate, random.Random(seed), start), asyncio.Event()
        return [due - start for _ in range(count) if (due := await arrivals.take(stop)) is not None]

    return asyncio.run(take())


def test_arrivals_come_at_their_rate_with_exponential_gaps() -> None:
    dues = taken(rate=1000, count=20_000)
    gaps = [later - earlier for earlier, later in itertools.pairwise(dues)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(1e6, rel=0.03)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation == pytest.approx(mean, rel=0.05)


def test_a_seed_repeats_them() -> None:
    assert taken(50, 100, seed=3) == taken(50, 100, seed=3) != taken(50, 100, seed=4)


def test_no_arrival_is_handed_out_before_it_is_due() -> None:
    async def take() -> list[tuple[int, int]]:
        arrivals, stop = Arrivals(2000, random.Random(1), time.monotonic_ns()), asyncio.Event()
        return [(await arrivals.take(stop) or 0, time.monotonic_ns()) for _ in range(50)]

    assert all(due <= now for due, now in asyncio.run(take()))


def test_a_client_that_waits_for_the_next_arrival_can_be_stopped() -> None:
    async def take() -> object:
        arrivals, stop = Arrivals(1e-6, random.Random(1), time.monotonic_ns()), asyncio.Event()
        waiting = asyncio.create_task(arrivals.take(stop))
        await asyncio.sleep(0)
        stop.set()
        return await waiting

    assert asyncio.run(take()) is None
