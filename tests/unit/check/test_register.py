"""The zones of Gibbons and Korach agree with the general search, and severity counts what it says."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.check.linearizability import check as search
from labctl.check.register import check
from labctl.check.register_zones import Axis, cluster, match, stale_reads
from labctl.model.history import FINAL_READ, NEVER, History, Op, OpOutcome
from labctl.model.verdict import Outcome
from tests.support.brute_force import linearizable
from tests.support.objects import CasRegister
from tests.support.registers import linearizable_registers

OK, FAIL, UNKNOWN = OpOutcome.OK, OpOutcome.FAIL, OpOutcome.UNKNOWN
MS = 1_000_000


@st.composite
def any_history(draw: st.DrawFn, most: int = 3, keys: str = "x") -> History:
    """Unique writes and reads of anything that was written, or of nothing, overlapping at random."""
    written, ops = 0, []
    for process in range(draw(st.integers(1, 3))):
        now = draw(st.integers(0, 3))
        for _ in range(draw(st.integers(1, most))):
            begin = now
            now += draw(st.integers(0, 5))
            outcome = draw(st.sampled_from([OK, OK, OK, OK, UNKNOWN, FAIL]))
            key = draw(st.sampled_from(keys))
            if draw(st.booleans()):
                written += 1
                ops.append(Op(process, "write", key, written, begin, now, outcome))
            else:
                value = draw(st.none() | st.integers(1, 5)) if outcome is OK else None
                ops.append(Op(process, "read", key, value, begin, now, outcome))
            now += draw(st.integers(0, 2))
    return History.of(ops)


@settings(max_examples=1500)
@given(any_history())
def test_it_agrees_with_trying_every_order(history: History) -> None:
    finding = check(history)
    if finding.outcome is Outcome.UNKNOWN:
        assert not (history.ok & history.where("read")).any()
    else:
        assert (finding.outcome is Outcome.VALID) == linearizable(history, CasRegister())


@settings(max_examples=300)
@given(any_history(most=8, keys="xyz"))
def test_it_agrees_with_the_general_search(history: History) -> None:
    finding = check(history)
    if finding.outcome is not Outcome.UNKNOWN:
        assert finding.outcome is search(history, model="register").outcome


@settings(max_examples=300)
@given(any_history())
def test_the_witness_by_itself_is_not_linearizable(history: History) -> None:
    finding = check(history)
    if finding.outcome is not Outcome.INVALID:
        return
    some = History.of([history[p] for p in finding.witness])
    assert len(some) <= 6
    assert check(some).outcome is Outcome.INVALID
    assert finding.explanation


@given(any_history())
def test_a_stale_read_always_means_invalid(history: History) -> None:
    if check(history).outcome is not Outcome.VALID:
        return
    matched = match(history, np.flatnonzero(history.where("write")), np.flatnonzero(history.where("read") & history.ok))
    assert not isinstance(matched, tuple)
    assert not len(stale_reads(history, cluster(history, np.flatnonzero(history.where("write")), matched)))


@pytest.mark.parametrize("keys", [1, 7, 400])
@given(seed=st.integers(0, 10**9), unknown=st.sampled_from([0.0, 0.1]), failed=st.sampled_from([0.0, 0.1]))
def test_correct_registers_are_never_accused(keys: int, seed: int, unknown: float, failed: float) -> None:
    history = linearizable_registers(1000, 8, keys, seed, unknown_share=unknown, failed_share=failed)
    assert check(history).outcome is Outcome.VALID


@pytest.mark.parametrize("keys", [1, 7])
@given(seed=st.integers(0, 10**9))
def test_a_planted_stale_read_is_always_caught(keys: int, seed: int) -> None:
    history = linearizable_registers(400, 4, keys, seed)
    rng = random.Random(seed)
    written: dict[int, list[int]] = {}
    for position in np.flatnonzero(history.where("write")).tolist():
        written.setdefault(int(history.key[position]), []).append(position)
    reads = np.flatnonzero(history.where("read")).tolist()
    rng.shuffle(reads)
    for read in reads:
        own = written.get(int(history.key[read]), [])
        old = [w for w in own if history.complete_ns[w] < history.invoke_ns[read]]
        newer = [(a, b) for a in old for b in old if history.complete_ns[a] < history.invoke_ns[b]]
        if newer:
            history.value[read] = history.value[newer[0][0]]
            break
    else:
        return
    finding = check(history)
    assert finding.outcome is Outcome.INVALID
    assert read in {a["position"] for a in finding.anomalies}


@given(any_history(), st.data())
def test_forgetting_an_outcome_or_adding_an_unknown_write_never_makes_valid_invalid(
    history: History, data: st.DataObject
) -> None:
    if check(history).outcome is not Outcome.VALID:
        return
    ops = list(history)
    which = data.draw(st.integers(0, len(ops) - 1))
    op = ops[which]
    if op.outcome is OK and (
        op.function == "read" or not any(o.value == op.value for o in ops if o.function == "read")
    ):
        ops[which] = Op(op.process, op.function, op.key, op.value, op.invoke_ns, op.complete_ns, UNKNOWN)
    ops.append(Op(88, "write", "x", 4711, data.draw(st.integers(0, 20)), None, UNKNOWN))
    assert check(History.of(ops)).outcome is not Outcome.INVALID


@given(any_history(), st.integers(1, 1000), st.integers(0, 10**15))
def test_time_scale_and_start_do_not_matter(history: History, scale: int, shift: int) -> None:
    def moved(at: int | None) -> int | None:
        return None if at is None else at * scale + shift

    ops = [
        Op(o.process, o.function, o.key, o.value, o.invoke_ns * scale + shift, moved(o.complete_ns), o.outcome)
        for o in history
    ]
    assert check(History.of(ops)).outcome is check(history).outcome


def test_severity_says_how_many_how_long_and_how_far_behind() -> None:
    ops = [Op(0, "write", "x", v, 10 * v * MS, (10 * v + 5) * MS) for v in range(1, 6)]
    ops += [Op(1, "read", "x", 2, 100 * MS, 101 * MS), Op(1, "read", "x", 5, 102 * MS, 103 * MS)]
    finding = check(History.of(ops))
    assert finding.outcome is Outcome.INVALID
    assert finding.stats["stale_reads"] == 1
    assert finding.stats["longest_staleness_ms"] == 100 - 35
    assert finding.stats["most_versions_behind"] == 3
    (anomaly,) = finding.anomalies
    assert (anomaly["value"], anomaly["newer_value"]) == (2, 3)
    assert "but a newer value was in place: process 0 sent write x = 3" in finding.explanation


def test_reading_nothing_after_a_write_was_acknowledged_is_stale() -> None:
    finding = check(History.of([Op(0, "write", "x", 1, 0, 5), Op(1, "read", "x", None, 10, 11)]))
    assert finding.outcome is Outcome.INVALID
    assert "Nothing had been written before" in finding.explanation


@pytest.mark.parametrize(
    ("ops", "kind"),
    [
        ([Op(1, "read", "x", 9, 0, 1)], "phantom"),
        ([Op(0, "write", "x", 1, 0, 5, FAIL), Op(1, "read", "x", 1, 10, 11)], "refused"),
        ([Op(1, "read", "x", 1, 0, 1), Op(0, "write", "x", 1, 5, 6)], "future"),
    ],
)
def test_reads_that_are_wrong_in_themselves(ops: list[Op], kind: str) -> None:
    finding = check(History.of(ops))
    assert finding.outcome is Outcome.INVALID
    assert finding.stats[f"{kind}_reads"] == 1
    assert finding.anomalies[0]["kind"] == f"{kind}-read"


def test_concurrent_writes_read_in_turn_contradict_themselves_without_a_stale_read() -> None:
    ops = [Op(0, "write", "x", 1, 0, 100), Op(1, "write", "x", 2, 0, 100)]
    ops += [Op(2, "read", "x", v, at, at + 1) for v, at in [(1, 10), (2, 20), (1, 30)]]
    finding = check(History.of(ops))
    assert finding.outcome is Outcome.INVALID
    assert finding.stats["stale_reads"] == 0
    assert finding.summary == "1 pairs of values whose order contradicts itself"
    assert "must have been 1 before it was 2" in finding.explanation


def test_an_unknown_write_may_take_effect_after_its_client_gave_up_but_not_before_it_was_sent() -> None:
    late = [Op(0, "write", "x", 1, 0, 5), Op(1, "write", "x", 2, 0, 5, UNKNOWN), Op(2, "read", "x", 1, 90, 91)]
    assert check(History.of([*late, Op(2, "read", "x", 2, 95, 96)])).outcome is Outcome.VALID
    assert check(History.of([*late, Op(3, "read", "x", 2, 50, 51)])).outcome is Outcome.INVALID


def test_final_reads_count() -> None:
    ops = [Op(0, "write", "x", 1, 0, 5), Op(0, "write", "x", 2, 6, 7), Op(9, FINAL_READ, "x", 1, 10, 11)]
    assert check(History.of(ops)).outcome is Outcome.INVALID


@pytest.mark.parametrize(
    "ops",
    [
        [Op(0, "write", "x", 1, 0, 5), Op(0, "write", "x", 1, 6, 7)],
        [Op(0, "write", "x", None, 0, 5)],
    ],
)
def test_values_that_are_not_unique_are_refused(ops: list[Op]) -> None:
    finding = check(History.of([*ops, Op(1, "read", "x", 1, 10, 11)]))
    assert finding.outcome is Outcome.UNKNOWN
    assert "operation 0" in finding.explanation


@pytest.mark.parametrize("ops", [[], [Op(0, "write", "x", 1, 0, 5)], [Op(0, "read", "x", 1, 0, 5, FAIL)]])
def test_nothing_to_judge_is_unknown(ops: list[Op]) -> None:
    assert check(History.of(ops)).outcome is Outcome.UNKNOWN


def test_out_of_time_is_unknown() -> None:
    assert check(History.of([Op(0, "read", "x", None, 0, 5)]), deadline=lambda: True).outcome is Outcome.UNKNOWN


@given(any_history(keys="xyz"))
def test_keys_may_be_so_many_and_runs_so_long_that_times_become_ranks(history: History) -> None:
    ops = [Op(o.process, o.function, o.key, o.value, o.invoke_ns, o.complete_ns, o.outcome) for o in history]
    far = [Op(50, "write", "far", 1, 2**60, 2**60 + 1), Op(50, "read", "far", 1, 2**60 + 2, 2**60 + 3)]
    long = History.of([*ops, *far])
    assert Axis.of(long).times is not None
    assert check(long).outcome is (
        Outcome.VALID if check(history).outcome is Outcome.UNKNOWN else check(history).outcome
    )


def test_the_axis_keeps_order_within_a_key_and_keys_apart() -> None:
    history = History.of([Op(0, "write", k, 1, at, 2**61) for k in "xy" for at in (0, 7)])
    key, times = np.array([0, 0, 0, 1, 1]), np.array([-1, 7, NEVER, -1, 0])
    for axis in (Axis.of(history), Axis(-1, 100, None)):
        points = axis.begin(key, times)
        assert (np.diff(points) > 0).all()
        assert (axis.end(key, times) == points + 1).all()
