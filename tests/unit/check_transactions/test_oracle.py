"""The checker against brute force: it never accuses what has an explanation, and sees all it claims to see."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from labctl.check.transactions import Model, check
from labctl.check.transactions.models import ruled_out
from labctl.errors import HistoryError
from labctl.model.history import History, Op, OpOutcome
from tests.unit.check_transactions.oracle import PLAIN, SESSION, STRICT, Order, serializable, snapshot_isolated

SETTINGS = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def models_ruled_out(history: History) -> tuple[Model, ...]:
    finding = check(history)
    return ruled_out(str(anomaly["anomaly"]) for anomaly in finding.anomalies)


@st.composite
def tiny_histories(draw: st.DrawFn, outcomes: tuple[OpOutcome, ...] = tuple(OpOutcome)) -> History:
    """Up to five transactions of up to three processes that say anything about two lists and two registers."""
    count = draw(st.integers(1, 5))
    written: dict[str, list[int]] = {key: [] for key in "abxy"}
    shapes = [draw(st.lists(st.tuples(st.sampled_from("abxy"), st.booleans()), min_size=1, max_size=3))
              for _ in range(count)]  # fmt: skip
    for shape in shapes:
        for key, is_read in shape:
            if not is_read:
                written[key].append(len(written[key]) + 1)
    unused = {key: list(values) for key, values in written.items()}
    clock = dict.fromkeys(range(3), 0)
    ops = []
    for shape in shapes:
        micros: list[list[Any]] = []
        for key, is_read in shape:
            if not is_read:
                micros.append(["append" if key in "ab" else "w", key, unused[key].pop(0)])
            elif key in "ab":
                order = draw(st.permutations(written[key])) if draw(st.integers(0, 3)) == 0 else written[key]
                micros.append(["r", key, list(order[: draw(st.integers(0, len(order)))])])
            else:
                micros.append(["r", key, draw(st.sampled_from([None, *written[key]]))])
        process = draw(st.integers(0, 2))
        invoke = clock[process] + draw(st.integers(1, 4))
        complete = invoke + draw(st.integers(0, 6))
        clock[process] = complete
        ops.append(Op(process, "txn", "", micros, invoke, complete, draw(st.sampled_from(outcomes))))
    return History.of(ops)


@SETTINGS
@given(tiny_histories())
def test_never_accuses_what_an_execution_explains(history: History) -> None:
    ruled = models_ruled_out(history)
    event(f"ruled out {len(ruled)} models")
    explained: list[tuple[Model, bool]] = []
    for model, order in (
        (Model.SERIALIZABLE, PLAIN),
        (Model.STRONG_SESSION_SERIALIZABLE, SESSION),
        (Model.STRICT_SERIALIZABLE, STRICT),
    ):
        explained.append((model, model in ruled and serializable(history, order)))
    for model, order in (
        (Model.SNAPSHOT_ISOLATION, PLAIN),
        (Model.STRONG_SESSION_SNAPSHOT_ISOLATION, SESSION),
        (Model.STRONG_SNAPSHOT_ISOLATION, STRICT),
    ):
        explained.append((model, model in ruled and snapshot_isolated(history, order)))
    assert not [model for model, wrongly in explained if wrongly]


def everything_was_read(history: History) -> bool:
    """Whether each append is in an `ok` read, so that every order of versions is known in full."""
    micros = [micro for op in history for micro in op.value]  # type: ignore[attr-defined]
    lists = [(key, value) for function, key, value in micros if function == "r" and isinstance(value, list)]
    return all(
        any(key == k and value in elements for k, elements in lists)
        for function, key, value in micros
        if function == "append"
    ) and all(function != "w" for function, _, _ in micros)


@st.composite
def reader_histories(draw: st.DrawFn) -> History:
    """Tiny histories over lists, all `ok`, with last reads of every list that may contradict each other."""
    history = draw(tiny_histories((OpOutcome.OK,)))
    ops = [Op(**{name: getattr(op, name) for name in op.__slots__}) for op in history]
    for op in ops:
        op.value[:] = [micro for micro in op.value if micro[1] in "ab"]  # type: ignore[index, attr-defined]
    appended: dict[str, list[int]] = {"a": [], "b": []}
    for op in ops:
        for function, key, value in op.value:  # type: ignore[attr-defined]
            if function == "append":
                appended[key].append(value)
    last = [["r", key, list(draw(st.permutations(values)))] for key, values in appended.items()]
    return History.of([*ops, Op(9, "txn", "", last, draw(st.integers(0, 40)), 50)])


@SETTINGS
@given(reader_histories())
def test_misses_nothing_where_every_append_was_read(history: History) -> None:
    assert everything_was_read(history)
    ruled = models_ruled_out(history)
    expected: list[tuple[Model, Order]] = [
        (Model.SERIALIZABLE, PLAIN),
        (Model.STRONG_SESSION_SERIALIZABLE, SESSION),
        (Model.STRICT_SERIALIZABLE, STRICT),
    ]
    for model, order in expected:
        possible = serializable(history, order)
        event(f"{model}: {'explained' if possible else 'ruled out'}")
        assert (model in ruled) is not possible, model


@SETTINGS
@given(tiny_histories())
def test_an_unknown_outcome_never_turns_valid_into_invalid(history: History) -> None:
    """What is known of an `ok` transaction includes all that is known of an unknown one."""
    before = set(models_ruled_out(history))
    for forgotten in range(len(history)):
        ops = list(history)
        op = ops[forgotten]
        if op.outcome is not OpOutcome.OK:
            continue
        ops[forgotten] = Op(op.process, op.function, op.key, op.value, op.invoke_ns, None, OpOutcome.UNKNOWN)
        if not any(other.outcome is OpOutcome.OK for other in ops):
            continue
        ops[forgotten] = Op(100, op.function, op.key, op.value, op.invoke_ns, None, OpOutcome.UNKNOWN)
        try:
            after = set(models_ruled_out(History.of(ops)))
        except HistoryError:
            raise AssertionError("a process of its own cannot overlap") from None
        assert after <= before
