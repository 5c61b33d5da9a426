"""Histories that no workload writes: values of the wrong sort are refused with the operation named, nothing crashes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.check import registry
from labctl.check.models import MODELS
from labctl.model.history import (
    CLIENTS,
    FAULT_END,
    FAULT_START,
    FINAL_READ,
    REFUSAL,
    ROLE,
    SENTINEL,
    SETTLED,
    Event,
    History,
    Op,
    OpOutcome,
)
from labctl.model.verdict import Outcome

FUNCTIONS = (
    *(
        "write",
        "read",
        "cas",
        "add",
        "remove",
        "incr",
        "generate",
        "txn",
        "init",
        "transfer",
        "hit",
        "load",
        "invalidate",
    ),
    *("enqueue", "dequeue", "ack", "requeue", "deliver", "claim", "dead-letter", "final-pending", "final-dead"),
    *("publish", "subscribe", "receive", "disconnect", "unsubscribe", "acquire", "release", "guarded", FINAL_READ),
)
scalars = st.one_of(
    st.integers(0, 3), st.none(), st.text(max_size=1), st.booleans(), st.just(1.5), st.just(2**70), st.just(-(2**62))
)
names = st.sampled_from(["a", "ttl_ms", "limit", "window_ms"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=2), max_leaves=5
)
micros = st.lists(st.tuples(st.sampled_from(["append", "r", "w"]), st.just("x"), values).map(list), max_size=3)


@st.composite
def histories(draw: st.DrawFn) -> History:
    used = draw(st.lists(st.sampled_from(FUNCTIONS), min_size=1, max_size=4))
    ops = []
    for process in range(draw(st.integers(1, 3))):
        now = 0
        for _ in range(draw(st.integers(0, 4))):
            begin = now + draw(st.integers(0, 4))
            now = begin + draw(st.integers(0, 4))
            ops.append(
                Op(
                    process,
                    draw(st.sampled_from(used)),
                    draw(st.sampled_from(["x", "y"])),
                    draw(values | micros),
                    begin,
                    now,
                    draw(st.sampled_from([OpOutcome.OK, OpOutcome.OK, OpOutcome.UNKNOWN, OpOutcome.FAIL])),
                    draw(st.sampled_from([None, "n1", "n2"])),
                )
            )
    kinds = st.sampled_from([ROLE, FAULT_START, FAULT_END, CLIENTS, SETTLED, REFUSAL, SENTINEL])
    details = st.sampled_from([
        {}, {"role": "primary", "epoch": 1}, {"role": "primary"}, {"fault": "kill", "id": 1}, {"reasons": ["a"], "nodes": 2},
        {"reasons": [], "nodes": 2, "waited_ms": 12.5}, {"nodes": "two", "waited_ms": 1},
        {"group": "clients", "processes": [0, 1]}, {"what": "PING", "refused": False, "how": "it answered"}, {"primary": "n1"},
    ])  # fmt: skip
    events = st.builds(Event, kinds, st.integers(0, 20), st.sampled_from([None, "n1", "n2"]), details)
    return History.of(ops, draw(st.lists(events, max_size=3)))


@given(histories())
def test_no_checker_crashes_whatever_the_values_are(history: History) -> None:
    for name, checker in registry.CHECKERS.items():
        if not checker.of_views:
            finding = registry.run(name, history)
            assert "crashed" not in finding.summary, f"{name}: {finding.summary}"
    for model in MODELS:
        finding = registry.run("linearizable", history, parameters={"model": model, "max_steps": 10_000})
        assert "crashed" not in finding.summary, f"{model}: {finding.summary}"


@pytest.mark.parametrize(
    ("name", "op", "says"),
    [
        (
            "linearizable",
            Op(3, "cas", "x", [1], 0, 5),
            "cas x = [1] (process 3, sent at 0 ns): its value must be [old, new]",
        ),
        ("counter-bounds", Op(3, "incr", "x", ["one", 1], 0, 5), "operation 0 (process 3, incr x = ['one', 1])"),
        ("counter-bounds", Op(3, "incr", "x", [2**70, 1], 0, 5), "operation 0 (process 3"),
        ("bank", Op(3, "init", "x", [1, 2], 0, 5), "operation 0 (process 3, init x = [1, 2])"),
        ("expiry", Op(3, "init", "x", {"ttl_ms": "soon"}, 0, 5), "operation 0 (process 3, init x"),
        ("rate-limit", Op(3, "init", "x", {"limit": 0, "window_ms": 5}, 0, 5), "operation 0 (process 3, init x"),
        ("mutex", Op(3, "acquire", "x", [1, 2**70], 0, 5), "operation 0 (process 3, acquire x"),
    ],
)
def test_a_value_of_the_wrong_sort_is_refused_and_its_operation_named(name: str, op: Op, says: str) -> None:
    used = {"rate-limit": "hit", "expiry": "write"}.get(name)
    finding = registry.run(name, History.of([op, *([Op(4, used, "x", 1, 10, 15)] if used else [])]))
    assert finding.outcome is Outcome.UNKNOWN
    assert finding.summary.startswith("refused: ")
    assert says in finding.summary


def test_a_string_in_a_final_read_that_nobody_put_there_is_told() -> None:
    taken = [Op(0, "enqueue", "q", "a", 0, 1), Op(0, FINAL_READ, "q", ["never", "never"], 2, 3)]
    finding = registry.run("total-queue", History.of(taken))
    assert finding.outcome is Outcome.INVALID
    assert "a value nobody wrote" in str(finding.anomalies)


def test_a_node_that_had_acknowledged_before_is_no_successor() -> None:
    """Without a change of primary there is nothing to recover from, however the fault fell between two writes."""
    ops = [Op(0, "write", "x", 1, 0, 9, node="n1"), Op(1, "write", "y", 2, 1, 5, node="n2")]
    finding = registry.run("recovery", History.of(ops, [Event(FAULT_START, 1, "n1", {"fault": "kill"})]))
    assert finding.outcome is Outcome.UNKNOWN
    assert "crash" not in finding.summary
