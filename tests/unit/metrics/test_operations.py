"""Counts read from a history that grows: whatever the moment of each look, the end is what the history says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from labctl.metrics import operations
from labctl.metrics.exposition import Exposition
from labctl.metrics.operations import BOUNDS_S, Tail
from labctl.model.history import OpOutcome
from labctl.model.run import Recording
from labctl.store.history import HistoryWriter, read_history

MS = 1_000_000


def samples(tail: Tail) -> dict[tuple[str, str, str], float]:
    """By name, function and outcome or bucket."""
    out = Exposition()
    tail.write(out)
    return {
        (s.name, s.labels.get("function", ""), s.labels.get("outcome", s.labels.get("le", ""))): s.value
        for family in text_string_to_metric_families(out.render())
        for s in family.samples
    }


def tail_of(path: Path, pid: int | None = None) -> Tail:
    return Tail(Recording("r", "s", "p", str(path), os.getpid() if pid is None else pid))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(["write", "read", "txn"]), st.sampled_from([*OpOutcome, None])), max_size=60),
    st.integers(1, 7),
)
def test_counts_and_buckets_are_those_of_the_history(
    tmp_path: Path, ops: list[tuple[str, OpOutcome | None]], every: int
) -> None:
    path = tmp_path / f"{abs(hash((tuple(ops), every)))}.history"
    path.unlink(missing_ok=True)
    now = 0
    tail = tail_of(path)
    with HistoryWriter(path, clock=lambda: now, flush_interval_s=0) as writer:
        for number, (function, outcome) in enumerate(ops):
            due = now + 3 * MS if number % 3 == 0 else None
            handle = writer.invoke(0, function, "k", due_ns=due)
            now += (number * number + 4) * MS
            if outcome is not None:
                writer.complete(handle, outcome)
            if number % every == 0:
                tail.look()
    tail.look()
    tail.look()
    history = read_history(path)
    answered = history.complete_ns < 2**62
    wanted = Counter(
        (history.functions[history.function[i]], OpOutcome(int(history.outcome[i])).label)
        for i in np.flatnonzero(answered)
    )
    assert tail.outcomes == wanted
    assert tail.ended
    found = samples(tail)
    for function in {f for f, outcome in wanted if outcome == "ok"}:
        good = history.ok & history.where(function)
        took = (history.complete_ns - history.due_ns)[good] / 1e9
        for bound in BOUNDS_S:
            assert found["labctl_operation_duration_seconds_bucket", function, f"{bound:g}"] == (took <= bound).sum()
        assert found["labctl_operation_duration_seconds_count", function, ""] == good.sum()
    assert found["labctl_acknowledged_writes_total", "", ""] == (history.ok & history.where("write", "txn")).sum()
    assert found["labctl_operations_under_way", "", ""] == 0, "nobody waits any more"


def test_a_file_that_arrives_byte_by_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, path = tmp_path / "whole", tmp_path / "part"
    with HistoryWriter(whole) as writer:
        for _ in range(20):
            writer.complete(writer.invoke(1, "write", "k", 1), OpOutcome.OK)
    data = whole.read_bytes()
    tail = tail_of(path)
    tail.look()
    assert not tail.ended, "not there yet"
    for size in range(0, len(data) + 1, 5):
        path.write_bytes(data[:size])
        tail.look()
    path.write_bytes(data)
    tail.look()
    assert tail.ended
    assert tail.outcomes == {("write", "ok"): 20}


def test_one_look_takes_in_no_more_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "h"
    with HistoryWriter(path, flush_bytes=480) as writer:
        for _ in range(500):
            writer.complete(writer.invoke(1, "write", "k", 1), OpOutcome.OK)
    monkeypatch.setattr(operations, "MOST_BYTES", 4096)
    tail = tail_of(path)
    tail.look()
    assert 0 < tail.invoked < 500
    for _ in range(20):
        tail.look()
    assert tail.outcomes == {("write", "ok"): 500}


def test_a_file_that_is_no_history_ends_the_tail(tmp_path: Path) -> None:
    path = tmp_path / "h"
    path.write_bytes(b"certainly no history")
    tail = tail_of(path)
    tail.look()
    assert tail.ended
    assert not tail.outcomes


def test_a_file_that_is_removed_keeps_its_counts(tmp_path: Path) -> None:
    path = tmp_path / "h"
    with HistoryWriter(path, flush_interval_s=0) as writer:
        writer.complete(writer.invoke(1, "write", "k", 1), OpOutcome.OK)
        tail = tail_of(path)
        tail.look()
    path.unlink()
    tail.look()
    assert tail.outcomes == {("write", "ok"): 1}
    assert tail.ended


def test_operations_are_under_way_until_they_are_answered(tmp_path: Path) -> None:
    path = tmp_path / "h"
    with HistoryWriter(path, flush_interval_s=0) as writer:
        tail = tail_of(path)
        handle = writer.invoke(1, "write", "k", 1)
        tail.look()
        assert samples(tail)["labctl_operations_under_way", "", ""] == 1
        writer.complete(handle, OpOutcome.OK)
        tail.look()
        assert samples(tail)["labctl_operations_under_way", "", ""] == 0


def test_a_recorder_that_was_killed_ends_the_tail(tmp_path: Path) -> None:
    path = tmp_path / "h"
    killed = subprocess.Popen([sys.executable, "-c", "pass"])
    killed.wait()
    writer = HistoryWriter(path, flush_interval_s=0)
    writer.invoke(1, "write", "k", 1)
    tail = tail_of(path, killed.pid)
    tail.look()
    assert tail.ended
    assert tail.invoked == 1, "what it had written is taken in"
    assert samples(tail)["labctl_operations_under_way", "", ""] == 0
    writer.close()
