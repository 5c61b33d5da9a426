"""The general search agrees with trying every order, keeps its limits, and explains what it finds."""

from __future__ import annotations

import itertools
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.check.linearizability import check
from labctl.check.models import MODELS
from labctl.errors import UsageError
from labctl.model.history import History, Op, OpOutcome
from labctl.model.verdict import Outcome
from tests.support.brute_force import linearizable
from tests.support.objects import OBJECTS, AnyObject, CasRegister, Queue, record

OK, FAIL, UNKNOWN = OpOutcome.OK, OpOutcome.FAIL, OpOutcome.UNKNOWN
RESULTS = {
    "cas-register": {"read": st.none() | st.integers(0, 2), "write": st.integers(0, 2),
                     "cas": st.lists(st.integers(0, 2), min_size=2, max_size=2)},
    "set": {"add": st.integers(0, 2), "remove": st.integers(0, 2),
            "read": st.lists(st.integers(0, 2), unique=True).map(sorted)},
    "queue": {"enqueue": st.integers(0, 2), "dequeue": st.none() | st.integers(0, 2)},
    "counter": {"incr": st.integers(1, 4), "add": st.integers(1, 2), "read": st.integers(0, 4)},
    "lock": {"acquire": st.none(), "release": st.none()},
}  # fmt: skip


@st.composite
def any_history(draw: st.DrawFn, model: str) -> History:
    """Few operations with any result, overlapping at random, ties included; mostly wrong."""
    ops: list[Op] = []
    for process in range(draw(st.integers(1, 3))):
        now = draw(st.integers(0, 3))
        for _ in range(draw(st.integers(1, 3))):
            begin = now
            now += draw(st.integers(0, 4))
            function = draw(st.sampled_from(sorted(RESULTS[model])))
            outcome = draw(st.sampled_from([OK, OK, OK, UNKNOWN, FAIL]))
            value = draw(RESULTS[model][function])
            if outcome is UNKNOWN and function in {"read", "dequeue", "incr"}:
                value = None
            ops.append(Op(process, function, "x", value, begin, now, outcome))
            now += draw(st.integers(0, 2))
    return History.of(ops)


@pytest.mark.parametrize("kind", OBJECTS)
@settings(max_examples=400)
@given(st.data())
def test_it_agrees_with_trying_every_order(kind: type[AnyObject], data: st.DataObject) -> None:
    history = data.draw(any_history(kind.model))
    finding = check(history, model=kind.model)
    if not history.ok.any():
        assert finding.outcome is Outcome.UNKNOWN
    else:
        assert (finding.outcome is Outcome.VALID) == linearizable(history, kind())


def forget(op: Op) -> Op:
    """The same operation, never answered."""
    value = None if op.function in {"read", "dequeue", "incr"} else op.value
    return Op(op.process, op.function, op.key, value, op.invoke_ns, None, UNKNOWN)


@pytest.mark.parametrize("kind", OBJECTS)
@given(st.data())
def test_the_witness_of_an_invalid_history_is_invalid_by_itself(kind: type[AnyObject], data: st.DataObject) -> None:
    """With all reads but those named left out, and all that ended later forgotten, there still is no order."""
    history = data.draw(any_history(kind.model))
    finding = check(history, model=kind.model)
    if finding.outcome is not Outcome.INVALID:
        return
    assert finding.witness
    assert finding.explanation
    last = max(history[p].complete_ns or 0 for p in finding.witness)
    cut = [
        op if op.outcome is not OK or (op.complete_ns or 0) <= last else forget(op)
        for position, op in enumerate(history)
        if position in finding.witness or op.outcome is not OK or not MODELS[kind.model].pure(op)
    ]
    assert not linearizable(History.of(cut), kind())


@pytest.mark.parametrize("kind", OBJECTS)
@given(st.integers(0, 10**9), st.sampled_from([0.0, 0.1, 0.2]))
def test_a_correct_object_is_never_accused(kind: type[AnyObject], seed: int, unknown_share: float) -> None:
    thing, rng = kind(), random.Random(seed)
    count = 10 if kind is Queue else 20  # the order of enqueues shows late: all of them have to be kept
    history = record(rng, thing.apply, thing.draw, operations=count, clients=4, unknown_share=unknown_share)
    finding = check(history, model=kind.model, memory_mb=64, max_steps=100_000)
    assert finding.outcome is not Outcome.INVALID
    if unknown_share == 0 and history.ok.any():
        assert finding.outcome is Outcome.VALID


@given(st.integers(0, 10**9), st.data())
def test_an_unknown_operation_more_never_makes_valid_invalid(seed: int, data: st.DataObject) -> None:
    thing = CasRegister(3)
    history = record(random.Random(seed), thing.apply, thing.draw, operations=25, clients=3)
    at = data.draw(st.integers(0, history.end_ns))
    extra = Op(77, data.draw(st.sampled_from(["write", "read"])), "x", data.draw(st.integers(0, 3)), at, None, UNKNOWN)
    assert check(History.of([*history, extra])).outcome is check(history).outcome


@given(st.data())
def test_forgetting_an_outcome_never_makes_valid_invalid(data: st.DataObject) -> None:
    history = data.draw(any_history("cas-register"))
    if check(history).outcome is not Outcome.VALID:
        return
    ops = list(history)
    which = data.draw(st.integers(0, len(ops) - 1))
    op = ops[which]
    if op.outcome is FAIL:
        return
    ops[which] = forget(op)
    assert check(History.of(ops)).outcome is not Outcome.INVALID


def stale_read(key: str = "x") -> list[Op]:
    return [
        Op(0, "write", key, 1, 0, 10),
        Op(0, "write", key, 2, 20, 30),
        Op(1, "read", key, 2, 40, 50),
        Op(2, "read", key, 1, 60, 70),
        Op(1, "read", key, 2, 80, 90),
    ]


def test_the_witness_starts_from_the_last_certain_state() -> None:
    finding = check(History.of(stale_read()))
    assert finding.outcome is Outcome.INVALID
    assert finding.witness == (2, 3)
    assert "it was 2, in every possible order" in finding.explanation
    assert finding.anomalies[0]["possible_states"] == ["2"]


def test_reads_that_prove_nothing_are_not_in_the_witness() -> None:
    ops = [Op(0, "write", "x", 1, 0, 10), Op(0, "write", "x", 2, 15, 100)]
    ops += [Op(9, "read", "x", 1, 16 + 2 * i, 17 + 2 * i) for i in range(20)]
    ops += [Op(1, "read", "x", 2, 60, 70), Op(2, "read", "x", 1, 80, 90)]
    finding = check(History.of(ops))
    assert finding.outcome is Outcome.INVALID
    assert [finding.witness[-1], len(finding.witness)] == [len(ops) - 1, 4]


def test_keys_are_independent_and_the_first_illegal_one_ends_the_check() -> None:
    good = [Op(k, "write", f"k{k}", 1, 0, 10) for k in range(5)]
    finding = check(History.of([*good, *stale_read("bad")]))
    assert finding.outcome is Outcome.INVALID
    assert finding.anomalies[0]["key"] == "bad"


def hopeless(unknown: int) -> History:
    """Unknown writes and compare-and-sets that all stay needed to the end: every subset is possible."""
    rng, ops = random.Random(1), []
    for i in range(unknown):
        ops.append(Op(i, "cas", "x", [rng.randrange(9), rng.randrange(9)], i, None, UNKNOWN))
        ops.append(Op(1000 + i, "write", "x", rng.randrange(9), i, None, UNKNOWN))
    reads = [Op(5000, "read", "x", rng.randrange(9), 10_000 + 10 * i, 10_005 + 10 * i) for i in range(unknown * 3)]
    return History.of([*ops, *reads])


@pytest.mark.parametrize("memory_mb", [1, 4])
def test_memory_runs_out_into_unknown_and_never_above_the_limit(memory_mb: int) -> None:
    history = hopeless(60)
    tracemalloc.start()
    finding = check(history, memory_mb=memory_mb, max_steps=None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert finding.outcome is Outcome.UNKNOWN
    assert "out of memory" in finding.summary
    assert peak < (memory_mb << 20) + 2_000_000  # the history and the calls themselves


def test_memory_is_counted_the_same_every_time() -> None:
    assert check(hopeless(60), memory_mb=2) == check(hopeless(60), memory_mb=2)


def test_time_and_steps_run_out_into_unknown() -> None:
    ticks = itertools.count()
    finding = check(hopeless(60), deadline=lambda: next(ticks) > 3)
    assert (finding.outcome, finding.summary[:11]) == (Outcome.UNKNOWN, "out of time")
    assert check(hopeless(60), max_steps=10_000).summary.startswith("out of steps")


def test_an_illegal_key_is_found_beside_a_hopeless_one() -> None:
    finding = check(History.of([*hopeless(60), *stale_read("bad")]), memory_mb=8)
    assert finding.outcome is Outcome.INVALID


def test_a_large_queue_counts_its_states_by_weight() -> None:
    thing = Queue()
    history = record(random.Random(3), thing.apply, thing.draw, operations=200, clients=4)
    assert check(history, model="queue").outcome is Outcome.VALID
    small = check(history, model="queue", memory_mb=0)
    assert small.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("ops", [[], [Op(0, "write", "x", 1, 0, None, UNKNOWN)], [Op(0, "push", "x", 1, 0, 1)]])
def test_nothing_to_judge_is_unknown(ops: list[Op]) -> None:
    assert check(History.of(ops)).outcome is Outcome.UNKNOWN


def test_a_model_that_does_not_exist_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="There are: register"):
        check(History.of(), model="tree")
