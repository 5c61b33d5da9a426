"""Downsampling: every operation is counted once, and no spike is lost at any level."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.model.history import FINAL_READ, History, Op, OpOutcome
from labctl.report.buckets import MS, OTHERS, RATE_NS, Level, ended, levels, width_for


def load(seed: int) -> History:
    """A load with stalls and spikes: mostly quick operations, some very slow, some never answered."""
    draw = Random(seed)
    ops = []
    for number in range(draw.randint(1, 150)):
        invoke = draw.randint(0, 90_000) * MS
        latency = draw.randint(1, draw.choice([5, 60_000]) * MS)
        outcome = draw.choice(list(OpOutcome))
        answered = outcome is not OpOutcome.UNKNOWN or draw.random() < 0.5
        due = max(invoke - draw.randint(0, 3) * MS, 0)
        node = draw.choice(["redis-1", "redis-2", None])
        ops.append(
            Op(number, "add", "k", number, invoke, invoke + latency if answered else None, outcome, node, due_ns=due)
        )
    return History.of(ops)


histories = st.integers(0, 2**32).map(load)


def made(history: History, most: tuple[int, ...] = (7, 50, 400)) -> list[Level]:
    return levels(history, ended(history), most)


@given(histories)
def test_no_largest_latency_is_lost(history: History) -> None:
    operations = ended(history)
    for level in made(history):
        if operations.ok.any():
            assert level.most_ns.max() == operations.latency_ns[operations.ok].max()
            assert level.least_ns[level.least_ns > 0].min() == operations.latency_ns[operations.ok].min()
        bucket = np.minimum(operations.at_ns // level.width_ns, len(level) - 1)
        for number in np.unique(bucket[operations.ok]):
            mine = np.sort(operations.latency_ns[operations.ok & (bucket == number)])
            ranks = (mine[0], mine[-(-len(mine) // 2) - 1], mine[-(-99 * len(mine) // 100) - 1], mine[-1])
            found = (level.least_ns, level.median_ns, level.p99_ns, level.most_ns)
            assert tuple(column[number] for column in found) == ranks


@given(histories)
def test_every_operation_is_counted_once_at_every_level(history: History) -> None:
    for level in made(history):
        counted = sum(int(counts.sum()) for counts in level.acked.values())
        assert counted == int(history.ok.sum())
        assert int(level.refused.sum()) == int(history.failed.sum())
        assert int(level.unknown.sum()) == int(history.unknown.sum())
        empty = sum(level.acked.values(), start=np.zeros(len(level), np.int64)) == 0
        assert ((level.most_ns == 0) == empty).all()


@given(histories)
def test_the_slowest_and_fastest_stretches_bound_what_is_within(history: History) -> None:
    operations = ended(history)
    whole = max((history.end_ns - history.start_ns) // RATE_NS, 1)
    stretch = operations.at_ns[operations.ok] // RATE_NS
    counts = np.bincount(stretch[stretch < whole], minlength=whole)
    for level in made(history):
        if level.width_ns <= RATE_NS:
            assert level.slowest is level.fastest is None
        else:
            assert level.slowest is not None
            assert level.fastest is not None
            assert level.fastest.max() == counts.max()
            assert level.slowest.min() == counts.min()
            assert (level.slowest <= level.fastest).all()


def test_levels_get_finer_and_stay_within_their_number_of_buckets() -> None:
    history = History.of([Op(0, "add", "k", n, n * MS, (n + 1) * MS) for n in range(60_000)])
    found = made(history, (400, 2000, 8000))
    assert [level.width_ns // MS for level in found] == [200, 50, 10]
    assert [len(level) for level in found] == [300, 1200, 6000]


def test_a_short_phase_has_one_level() -> None:
    history = History.of([Op(0, "add", "k", n, n * MS, (n + 1) * MS) for n in range(100)])
    (level,) = made(history, (400, 2000, 8000))
    assert level.width_ns == 5 * MS


@pytest.mark.parametrize(
    ("span_ms", "most", "width_ms"), [(1000, 400, 5), (30_000, 400, 100), (8_000_000, 1, 10_000_000)]
)
def test_widths_are_round(span_ms: int, most: int, width_ms: int) -> None:
    if most == 1:
        assert width_for(span_ms * MS, most) >= span_ms * MS
    else:
        assert width_for(span_ms * MS, most) == width_ms * MS


def test_an_empty_history_has_empty_buckets() -> None:
    (level,) = made(History.of([]))
    assert len(level) == 1
    assert not level.acked
    assert not level.refused.any()


def test_final_reads_are_no_load() -> None:
    history = History.of([Op(0, "add", "k", 1, 0, MS), Op(1, FINAL_READ, "k", [1], 2 * MS, 500 * MS)])
    assert all(sum(int(counts.sum()) for counts in level.acked.values()) == 1 for level in made(history))


def test_nodes_beyond_the_busiest_are_counted_together() -> None:
    history = History.of(
        [Op(0, "add", "k", 100 * n + i, (100 * n + i) * MS, (100 * n + i + 1) * MS, node=f"redis-{n}")
         for n in range(12) for i in range(12 - n)]
    )  # fmt: skip
    level = made(history)[0]
    assert len(level.acked) == 9
    assert int(level.acked[OTHERS].sum()) == 4 + 3 + 2 + 1
