"""Recovery: from the old primary's last acknowledged write to the new one's first, as one group of clients saw it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.check.recovery import check
from labctl.model.history import CLIENTS, FAULT_END, FAULT_START, Event, History, Op, OpOutcome
from labctl.model.verdict import Outcome

MS = 1_000_000


def ack(node: str, at_ms: float, process: int = 0, function: str = "add", outcome: OpOutcome = OpOutcome.OK) -> Op:
    at = round(at_ms * MS)
    return Op(process, function, "k", at, at, at + MS, outcome, node)


def fault(began_ms: float, ended_ms: float, number: int = 1) -> list[Event]:
    detail = {"fault": "kill", "id": number}
    return [
        Event(FAULT_START, round(began_ms * MS), None, detail),
        Event(FAULT_END, round(ended_ms * MS), None, detail),
    ]


def test_it_runs_from_the_last_of_the_old_to_the_first_of_the_new() -> None:
    ops = [ack("a", 10), ack("a", 90), ack("a", 110), ack("b", 2500), ack("b", 2600)]
    finding = check(History.of(ops, fault(100, 4000)))
    assert finding.outcome is Outcome.VALID
    assert finding.stats == {"writes": 5, "faults": 1, "recoveries": 1, "recovery_ms": 2390.0}
    assert finding.witness == (2, 3)
    assert finding.summary == "b took over from a after 2390 ms"
    assert "a acknowledged its last write at" in finding.explanation


def test_the_longest_of_several_faults_counts() -> None:
    ops = [ack("a", 10), ack("b", 500), ack("b", 900), ack("a", 3000), ack("a", 3100)]
    finding = check(History.of(ops, fault(100, 200) + fault(1000, 1100, 2)))
    assert finding.stats["recoveries"] == 2
    assert finding.stats["recovery_ms"] == 2100.0
    assert [row["new"] for row in finding.anomalies] == ["b", "a"]


@pytest.mark.parametrize(
    "ops",
    [
        [],
        [ack("a", 10), ack("a", 500)],  # nobody else took over
        [ack("b", 500)],  # nothing before
        [ack("a", 10), ack("b", 500, outcome=OpOutcome.UNKNOWN)],
        [ack("a", 10), ack("b", 500, function="read")],  # a replica may answer those
    ],
)
def test_without_another_node_there_is_nothing_to_measure(ops: list[Op]) -> None:
    finding = check(History.of(ops, fault(100, 200)))
    assert finding.outcome is Outcome.UNKNOWN
    assert "recovery_ms" not in finding.stats


def test_no_fault_no_recovery() -> None:
    assert check(History.of([ack("a", 10), ack("b", 500)])).outcome is Outcome.UNKNOWN


def test_only_the_group_counts() -> None:
    """On the other side of a partition the old primary goes on acknowledging, and that is not what this is about."""
    ops = [ack("a", 10, 1), ack("a", 20, 2), ack("a", 600, 1), ack("b", 700, 2), ack("a", 800, 1)]
    groups = [Event(CLIENTS, 0, None, {"group": "near", "processes": [1]})]
    groups += [Event(CLIENTS, 0, None, {"group": "far", "processes": [2]})]
    history = History.of(ops, fault(100, 900) + groups)
    assert check(history, group="far").stats["recovery_ms"] == 680.0
    assert check(history).stats["recovery_ms"] == 100.0
    assert check(history, group="near").outcome is Outcome.UNKNOWN
    assert "near" in check(history, group="near").summary
    assert check(history, group="nosuch").outcome is Outcome.UNKNOWN


@given(st.lists(st.integers(1, 400), max_size=20), st.integers(0, 400), st.lists(st.integers(1, 400), max_size=20))
def test_it_is_what_the_definition_says(old: list[int], quiet: int, new: list[int]) -> None:
    """Old acknowledges at the times of `old` (one before the fault), new at those of `new` after a pause."""
    old = sorted({0, *old})
    start = old[-1] + 1 + quiet
    new = sorted({start + t for t in new})
    history = History.of([*(ack("a", t) for t in old), *(ack("b", t) for t in new)], fault(0.5, 1))
    finding = check(history)
    if new:
        assert finding.stats["recovery_ms"] == float(new[0] - old[-1])
    else:
        assert finding.outcome is Outcome.UNKNOWN
