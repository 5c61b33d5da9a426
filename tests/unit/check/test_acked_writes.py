"""Acknowledged writes: lost, resurrected, duplicated and invented values are found, and no others accused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.check.acked_writes import check
from labctl.model.history import FAULT_START, FINAL_READ, ROLE, Event, History, Op, OpOutcome
from labctl.model.verdict import Outcome

OK, FAIL, UNKNOWN = OpOutcome.OK, OpOutcome.FAIL, OpOutcome.UNKNOWN
KINDS = ("lost", "resurrected", "duplicated", "phantom")


def final(key: str, value: object, at: int = 1000) -> Op:
    return Op(99, FINAL_READ, key, value, at, at + 5)


def add(value: int, at: int, outcome: OpOutcome = OK, key: str = "s", node: str = "n1") -> Op:
    return Op(value, "add", key, value, at, at + 5, outcome, node)


def counts(history: History) -> tuple[object, ...]:
    stats = check(history).stats
    return tuple(stats[kind] for kind in KINDS)


def test_a_lost_element_is_named_with_its_story() -> None:
    events = [
        Event(FAULT_START, 12, "n1", {"fault": "partition"}),
        Event(ROLE, 14, "n2", {"role": "primary", "epoch": 2}),
    ]
    finding = check(History.of([add(1, 0), add(2, 10), add(3, 20, FAIL), final("s", [1])], events))
    assert finding.outcome is Outcome.INVALID
    assert finding.witness == (1, 3)
    assert finding.anomalies == (
        {
            "kind": "lost", "position": 1, "key": "s", "value": 2, "process": 2, "node": "n1",
            "outcome": "ok", "completed_ns": 15, "completed_ms": 0.0,
        },
    )  # fmt: skip
    assert "Process 2 sent add s = 2" in finding.explanation
    assert "acknowledged by n1" in finding.explanation
    assert "n2 became primary in epoch 2" in finding.explanation
    assert "partition" in finding.explanation


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ([1, 2], (0, 0, 0, 0)),
        ([1, 2, 4], (0, 0, 0, 0)),  # 4 was unknown and may be there
        ([2], (1, 0, 0, 0)),
        ([], (2, 0, 0, 0)),
        ([1, 2, 3], (0, 1, 0, 0)),  # 3 was refused
        ([1, 2, 2], (0, 0, 1, 0)),
        ([1, 2, 77], (0, 0, 0, 1)),
        ([1, 2, "2"], (0, 0, 0, 1)),
    ],
)
def test_what_a_set_may_hold_at_the_end(left: list[object], expected: tuple[int, ...]) -> None:
    ops = [add(1, 0), add(2, 10), add(3, 20, FAIL), add(4, 30, UNKNOWN), final("s", left)]
    assert counts(History.of(ops)) == expected


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (3, (0, 0, 0, 0)),
        (2, (1, 1, 0, 0)),  # 3 began after 2 was acknowledged
        (1, (2, 1, 0, 0)),
        (None, (3, 0, 0, 0)),
        (4, (0, 1, 0, 0)),  # refused
        (5, (0, 0, 0, 0)),  # unknown: may have come last
        (9, (3, 0, 0, 1)),
    ],
)
def test_what_a_register_may_hold_at_the_end(left: int | None, expected: tuple[int, ...]) -> None:
    writes = [(1, 0, OK), (2, 10, OK), (3, 20, OK), (4, 30, FAIL), (5, 2, UNKNOWN)]
    ops = [Op(v, "write", "x", v, at, at + 5, outcome) for v, at, outcome in writes]
    assert counts(History.of([*ops, final("x", left)])) == expected


def test_concurrent_writes_of_a_register_may_end_in_either_order() -> None:
    ops = [Op(1, "write", "x", 1, 0, 10), Op(2, "write", "x", 2, 5, 15)]
    assert counts(History.of([*ops, final("x", 1)])) == (0, 0, 0, 0)
    assert counts(History.of([*ops, final("x", 2)])) == (0, 0, 0, 0)


def test_only_the_last_final_read_counts_and_only_writes_that_ended_before_it() -> None:
    ops = [add(1, 0), final("s", [], 500), final("s", [1], 700), add(2, 698)]
    finding = check(History.of(ops))
    assert finding.outcome is Outcome.VALID
    assert finding.stats["judged"] == 1


def test_unique_keys_are_judged_each_by_their_own_read() -> None:
    ops = [Op(0, "write", f"k{i}", i, 10 * i, 10 * i + 5) for i in range(5)]
    finals = [final(f"k{i}", i if i != 3 else None, 1000 + 10 * i) for i in range(5)]
    finding = check(History.of(ops + finals))
    assert [(a["kind"], a["key"]) for a in finding.anomalies] == [("lost", "k3")]
    assert finding.stats["keys_read"] == 5


def test_writes_that_were_never_read_back_leave_it_unknown() -> None:
    ops = [add(1, 0), add(2, 10, key="other"), final("s", [1])]
    assert check(History.of(ops)).outcome is Outcome.UNKNOWN
    assert check(History.of([*ops[:2], final("s", [])])).outcome is Outcome.INVALID


@pytest.mark.parametrize("ops", [[], [add(1, 0)], [final("s", [])], [add(1, 0, FAIL), final("s", [])]])
def test_nothing_to_judge_is_unknown(ops: list[Op]) -> None:
    assert check(History.of(ops)).outcome is Outcome.UNKNOWN


def test_repeated_values_are_refused() -> None:
    finding = check(History.of([add(1, 0), add(1, 10), final("s", [1])]))
    assert finding.outcome is Outcome.UNKNOWN
    assert finding.witness == (0, 1)


@given(st.data())
def test_a_correct_set_is_never_accused_and_each_planted_loss_is(data: st.DataObject) -> None:
    outcomes = data.draw(st.lists(st.sampled_from(OpOutcome), min_size=1, max_size=30))
    ops = [add(i, 10 * i, outcome) for i, outcome in enumerate(outcomes)]
    applied = [i for i, o in enumerate(outcomes) if o is OK or (o is UNKNOWN and data.draw(st.booleans()))]
    acked = [i for i, o in enumerate(outcomes) if o is OK]
    if not acked:
        return
    assert check(History.of([*ops, final("s", applied)])).outcome is Outcome.VALID
    lost = set(data.draw(st.lists(st.sampled_from(acked), min_size=1, unique=True)))
    finding = check(History.of([*ops, final("s", [v for v in applied if v not in lost])]))
    assert {a["value"] for a in finding.anomalies} == lost
