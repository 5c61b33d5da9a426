"""Schedules: as many as asked for, in order, and the same for the same seed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.errors import UsageError
from labctl.faults.registry import FAULTS
from labctl.faults.schedule import at_random, repeated
from labctl.model.fault import Fault

_KINDS = st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=5)


@settings(deadline=None)
@given(_KINDS, st.floats(0.01, 100), st.integers(1, 50), st.integers(0, 2**32))
def test_random(kinds: list[str], every_s: float, times: int, seed: int) -> None:
    first = at_random(kinds, every_s=every_s, times=times, lasts_s=1, seed=seed)
    assert first == at_random(kinds, every_s=every_s, times=times, lasts_s=1, seed=seed)
    assert len(first) == times
    assert {planned.fault.kind for planned in first} <= set(kinds)
    gaps = [later.at_s - earlier.at_s for earlier, later in pairwise(first)]
    assert all(0.499 * every_s <= gap <= 1.501 * every_s for gap in gaps)
    assert len({planned.seed for planned in first}) == times


def test_another_seed_gives_another_schedule() -> None:
    schedules = {str(at_random(sorted(FAULTS), every_s=1, times=5, lasts_s=1, seed=seed)) for seed in range(20)}
    assert len(schedules) == 20


def test_repeated() -> None:
    fault = Fault("kill", "primary", 1.0)
    assert [(p.at_s, p.seed) for p in repeated(fault, 5, 3, 7)] == [(0, 7), (5, 8), (10, 9)]
    assert [p.seed for p in repeated(fault, 5, 2, None)] == [None, None]


@pytest.mark.parametrize(("every_s", "times"), [(0, 3), (-1, 3), (1, 0)])
def test_no_schedule(every_s: float, times: int) -> None:
    with pytest.raises(UsageError):
        repeated(Fault("kill"), every_s, times, None)


def test_no_such_kind() -> None:
    with pytest.raises(UsageError, match="explode"):
        at_random(["kill", "explode"], every_s=1, times=1, lasts_s=1, seed=1)
