"""The history model: columns say what the operations said, and validation names what cannot have happened."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.errors import HistoryError
from labctl.model.history import (
    FAULT_END,
    FAULT_START,
    NEVER,
    Event,
    FaultWindow,
    History,
    Op,
    OpOutcome,
    duplicates,
    find_problems,
    validate,
)

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False).map(lambda x: x + 0.0) | st.text(max_size=5)
)  # no -0.0: equal to 0.0
VALUES = SCALARS | st.lists(SCALARS, max_size=3)


@st.composite
def operations(draw: st.DrawFn) -> Op:
    invoke = draw(st.integers(0, 1000))
    outcome = draw(st.sampled_from(OpOutcome))
    complete = invoke + draw(st.integers(0, 50))
    return Op(
        process=draw(st.integers(0, 5)),
        function=draw(st.sampled_from(["read", "write", "txn"])),
        key=draw(st.sampled_from(["x", "y"])),
        value=draw(VALUES),
        invoke_ns=invoke,
        complete_ns=None if outcome is OpOutcome.UNKNOWN and draw(st.booleans()) else complete,
        outcome=outcome,
        node=draw(st.sampled_from([None, "n1", "n2"])),
        error=draw(st.sampled_from([None, "TimeoutError"])),
        due_ns=draw(st.sampled_from([None, invoke - 7])),
    )


@given(st.lists(operations(), max_size=12))
def test_columns_say_what_the_operations_said(ops: list[Op]) -> None:
    history = History.of(ops)
    expected = sorted(ops, key=lambda op: op.invoke_ns)
    assert [repr(op) for op in history] == [repr(op) for op in expected]


@given(st.lists(SCALARS, max_size=12))
def test_equal_scalars_have_equal_codes_and_only_they(values: list[object]) -> None:
    history = History.of([Op(i, "write", "x", value, i, i + 1) for i, value in enumerate(values)])
    for i, a in enumerate(values):
        for j, b in enumerate(values):
            same = type(a) is type(b) and a == b
            assert (history.value[i] == history.value[j]) == same
        assert history.code_of(a) == history.value[i]


def test_an_unknown_operation_may_take_effect_for_ever() -> None:
    history = History.of([Op(0, "write", "x", 1, 0, 10), Op(1, "write", "x", 2, 5, 9, OpOutcome.UNKNOWN)])
    assert list(history.latest_ns) == [10, NEVER]


def test_by_key_groups_every_operation_once_in_order() -> None:
    history = History.of([Op(0, "read", k, None, i, i) for i, k in enumerate("abacb")])
    assert [(key, list(rows)) for key, rows in history.by_key()] == [("a", [0, 2]), ("b", [1, 4]), ("c", [3])]
    assert list(History.of().by_key()) == []


def test_faults_are_paired_by_id() -> None:
    def fault(kind: str, at: int, name: str, identity: int) -> Event:
        return Event(kind, at, "n1", {"fault": name, "id": identity})

    events = [fault(FAULT_START, 5, "kill", 1), fault(FAULT_START, 7, "cut", 2), fault(FAULT_END, 9, "kill", 1)]
    assert History.of(events=events).faults() == (
        FaultWindow("kill", "n1", 5, 9),
        FaultWindow("cut", "n1", 7, None),
    )


def test_a_correct_history_is_accepted() -> None:
    ops = [
        Op(0, "write", "x", 1, 0, 10),
        Op(0, "write", "x", 2, 10, 12),
        Op(1, "read", "x", 1, 3, None, OpOutcome.UNKNOWN),
    ]
    validate(History.of(ops), unique=["write"])


@pytest.mark.parametrize(
    ("ops", "says"),
    [
        ([Op(0, "write", "x", 1, 10, 5)], "operation 0 (process 0, write x = 1): completed before it was invoked"),
        ([Op(0, "write", "x", 1, 10)], "has an outcome but no completion"),
        (
            [Op(3, "read", "x", 1, 0, 10), Op(3, "read", "x", 2, 9, 12)],
            "operation 1 (process 3, read x = 2): invoked while",
        ),
        ([Op(3, "read", "x", 1, 0, None, OpOutcome.UNKNOWN), Op(3, "read", "x", 2, 9, 12)], "one operation at a time"),
        ([Op(0, "write", "x", 1, 0, 1), Op(1, "write", "x", 1, 2, 3)], "repeats the value of operation 0"),
        ([Op(0, "write", "x", 1, 5, 6, due_ns=7)], "was sent before it was due"),
    ],
)
def test_what_cannot_have_happened_is_refused_by_name(ops: list[Op], says: str) -> None:
    with pytest.raises(HistoryError) as refused:
        validate(History.of(ops), unique=["write"])
    assert says in str(refused.value)


def test_a_clock_that_goes_backwards_is_refused() -> None:
    history = History.of([Op(0, "read", "x", None, 5, 6), Op(1, "read", "x", None, 7, 8)])
    history.invoke_ns[1] = 4
    assert "operation 1 (process 1, read x = None): invoked before" in find_problems(history)[0]


def test_many_problems_of_one_sort_are_summed_up() -> None:
    problems = find_problems(History.of([Op(i, "read", "x", None, 10, 5) for i in range(40)]))
    assert len(problems) == 6
    assert "35 more" in problems[-1]


def test_the_same_value_under_another_key_is_no_duplicate() -> None:
    history = History.of([Op(0, "write", "x", 1, 0, 1), Op(0, "write", "y", 1, 2, 3), Op(0, "write", "x", True, 4, 5)])
    assert duplicates(history, history.where("write")) == []
