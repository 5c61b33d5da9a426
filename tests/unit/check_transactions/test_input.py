"""Histories that cannot be judged: refused with the operations named, or left UNKNOWN at a limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labctl.check import registry
from labctl.check.transactions import Model, check, check_columns, pack
from labctl.check.transactions.columns import Function
from labctl.errors import HistoryError, UsageError
from labctl.model.history import FINAL_READ, History, Op, OpOutcome
from labctl.model.verdict import Outcome
from tests.unit.check_transactions.notation import one_after_another, overlapping, txn


def of_value(value: object) -> History:
    return History.of([Op(0, "txn", "", value, 0, 5)])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("append x 1", "list of micro-operations"),
        (None, "list of micro-operations"),
        ([["append", "x"]], "['append', 'x'] is not a micro-operation"),
        (["append"], "'append' is not a micro-operation"),
        ([["incr", "x", 1]], "unknown micro-operation 'incr'"),
        ([[["r"], "x", 1]], "unknown micro-operation ['r']"),
        ([["append", "x", None]], "append of nothing"),
        ([["append", "x", [1]]], "append of a list"),
        ([["append", ["x"], 1]], "['x'] cannot be a key"),
        ([["r", "x", {"a": 1}]], "of a mapping"),
        ([["append", "x", 1], ["w", "x", 2]], "key x is used both as a list and as a register"),
        ([["r", "x", [1]], ["r", "x", 1]], "key x is used both as a list and as a register"),
    ],
)
def test_what_is_no_transaction_is_refused_and_named(value: object, words: str) -> None:
    with pytest.raises(HistoryError) as refused:
        pack(of_value(value))
    assert words in str(refused.value)
    finding = check(of_value(value))
    assert finding.outcome is Outcome.UNKNOWN
    assert words in finding.summary


def test_every_problem_is_named_with_its_operation() -> None:
    history = History.of([Op(i, "txn", "", "nonsense", i, 50) for i in range(13)])
    with pytest.raises(HistoryError) as refused:
        pack(history)
    assert refused.value.problems[0].startswith("operation 0 (process 0")
    assert refused.value.problems[-1] == "… and 3 more problems"


def test_a_bad_transaction_does_not_garble_the_ones_around_it() -> None:
    """The quick way into the columns gives up in the middle of a transaction and starts it again the slow way."""
    history = overlapping("ax1 rx[1]", 'ax"two" rx[1,"two"]', "ax3 rx[1,3]")
    columns = pack(history)
    assert [columns.text(i) for i in range(3)] == [
        "append x 1, read x [1]",
        "append x 'two', read x [1 'two']",
        "append x 3, read x [1 3]",
    ]
    assert columns.start.tolist() == [0, 2, 4, 6]
    assert columns.list_length.tolist() == [0, 1, 0, 2, 0, 2]


@pytest.mark.parametrize("big", [2**62, -(2**62), -(2**62) - 1, 2**80])
def test_integers_beyond_those_that_stand_for_themselves_are_values_like_others(big: int) -> None:
    assert check(overlapping(f'ax{big} ax"b"', f'rx[{big},"b"]')).outcome is Outcome.VALID
    assert check(overlapping('ax"b"', f"rx[{big}]")).outcome is Outcome.INVALID


def test_reads_may_share_their_elements() -> None:
    apart = pack(overlapping("ax1 ax2 ax3", "rx[1,2,3]", "rx[1]", "rx[1,2]", "rx[2]"))
    together = replace(apart, elements=apart.elements[:4].copy(), list_begin=apart.list_begin * 0)
    together.elements[3] = 2
    together.list_begin[-1] = 3
    assert [together.text(i) for i in range(5)] == [apart.text(i) for i in range(5)]
    assert check_columns(together) == check_columns(apart)


@pytest.mark.parametrize("text", ["ax1", "wx1"])
def test_a_value_that_was_written_twice_is_refused_and_both_are_named(text: str) -> None:
    finding = check(overlapping(text, text))
    assert finding.outcome is Outcome.UNKNOWN
    assert "operation 1 (process 1)" in finding.summary
    assert "operation 0 (process 0)" in finding.summary


def test_a_retry_may_repeat_what_certainly_failed() -> None:
    assert check(overlapping("ax1", "ax1", "rx[1]", failed=(0,))).outcome is Outcome.VALID


def test_the_same_value_in_two_keys_is_two_values() -> None:
    assert check(one_after_another("ax1 ay1", "rx[1] ry[1]")).outcome is Outcome.VALID


@pytest.mark.parametrize("values", [(-(2**61), 2**61), ("a", "b"), (1, "1"), (2**70, -(2**70))])
def test_values_of_any_size_and_type(values: tuple[object, object]) -> None:
    first, second = values
    micros: list[object] = [["append", "x", first], ["append", "x", second], ["r", "x", [first, second]]]
    assert check(of_value(micros)).outcome is Outcome.VALID
    swapped: list[object] = [*micros[:2], ["r", "x", [second, first]]]
    assert check(of_value(swapped)).outcome is Outcome.INVALID


def test_a_list_that_does_not_exist_is_an_empty_list() -> None:
    columns = pack(overlapping("rx_", "ax1", "rx[1]"))
    assert columns.function.tolist() == [Function.READ_LIST, Function.APPEND, Function.READ_LIST]


def test_a_final_read_is_a_transaction() -> None:
    ops = [txn("ax1", process=0, span=(0, 5)), Op(1, FINAL_READ, "x", [], 10, 15)]
    finding = check(History.of(ops))
    assert finding.outcome is Outcome.INVALID
    assert finding.witness == (0, 1)


def test_a_final_read_of_another_workload_is_not_looked_at() -> None:
    ops = [txn("ax1", process=0, span=(0, 5)), Op(1, FINAL_READ, "other", {"a": 1}, 10, 15)]
    finding = check(History.of(ops))
    assert (finding.outcome, finding.stats["transactions"]) == (Outcome.VALID, 1)


def test_a_final_read_finds_a_key_that_is_no_string() -> None:
    ops = [Op(0, "txn", "", [["append", 7, 1]], 0, 5), Op(1, FINAL_READ, "7", [], 10, 15)]
    assert check(History.of(ops)).outcome is Outcome.INVALID


def test_other_operations_are_not_looked_at() -> None:
    ops = [Op(1, "write", "x", 1, 0, 2), txn("ax1 rx[1]", process=0, span=(3, 5))]
    finding = check(History.of(ops))
    assert (finding.outcome, finding.stats["transactions"]) == (Outcome.VALID, 1)


@pytest.mark.parametrize(
    "history",
    [
        History.of(),
        History.of([Op(0, "write", "x", 1, 0, 2)]),
        overlapping("ax1", failed=(0,)),
        overlapping("ax1", unknown=(0,)),
    ],
    ids=["empty", "no transactions", "all failed", "all unknown"],
)
def test_nothing_to_judge_is_unknown(history: History) -> None:
    assert check(history).outcome is Outcome.UNKNOWN


def test_an_empty_transaction_is_judged() -> None:
    assert check(of_value([])).outcome is Outcome.VALID


def test_a_history_that_needs_more_memory_than_allowed_is_unknown() -> None:
    finding = check(overlapping(*(f"ax{i}" for i in range(4000))), memory_mb=1)
    assert finding.outcome is Outcome.UNKNOWN
    assert "1 MiB are allowed" in finding.summary


def test_time_up_is_unknown() -> None:
    assert check(overlapping("ax1 ry[]", "ay1 rx[]"), deadline=lambda: True).outcome is Outcome.UNKNOWN


def test_a_search_without_steps_still_proves_one_cycle() -> None:
    """That there is a cycle is known without a search; one of them is always shown."""
    finding = check(overlapping("ax1 ry[]", "ay1 rx[]"), max_steps=0)
    assert finding.outcome is Outcome.INVALID
    assert not finding.stats["search_finished"]


def test_a_search_without_steps_does_not_acquit() -> None:
    """The cycle that is shown rules out less than the model asked for, and others were not looked for."""
    history = overlapping("ax1 ry[]", "ay1 rx[]", "aw1 az1", "rw[1] rz[]", "rz[1]")
    assert check(history, model=Model.SNAPSHOT_ISOLATION).outcome is Outcome.INVALID
    assert check(history, model=Model.SNAPSHOT_ISOLATION, max_steps=0).outcome is not Outcome.VALID


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="snapshot-isolation"):
        check(overlapping("ax1"), model="eventual")


def test_the_registry_runs_it() -> None:
    finding = registry.run("transactions", overlapping("ax1 ry[]", "ay1 rx[]"), parameters={"model": "serializable"})
    assert finding.outcome is Outcome.INVALID


def test_a_process_with_two_transactions_at_once_is_refused() -> None:
    ops = [txn("ax1", process=0, span=(0, 9)), txn("ax2", process=0, span=(5, 12))]
    finding = registry.run("transactions", History.of(ops))
    assert finding.outcome is Outcome.UNKNOWN
    assert "refused" in finding.summary


def test_reads_of_what_did_not_end_ok_are_not_looked_at() -> None:
    ops = [
        txn("ax1 rx[7]", process=0, span=(0, 5), outcome=OpOutcome.FAIL),
        txn("ax2 rx[8,9]", process=1, span=(0, 5), outcome=OpOutcome.UNKNOWN),
        txn("rx[2]", process=2, span=(6, 7)),
    ]
    assert check(History.of(ops)).outcome is Outcome.VALID
