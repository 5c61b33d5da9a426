"""Split brain: overlapping acknowledgements are found with their length; failovers there and back are not mistaken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.check.split_brain import check
from labctl.model.history import ROLE, Event, History, Op
from labctl.model.slots import key_slot
from labctl.model.verdict import Outcome

MS = 1_000_000


def ack(node: str, begin_ms: int, end_ms: int, key: str = "x") -> Op:
    return Op(0, "write", key, begin_ms, begin_ms * MS, end_ms * MS, node=node)


def role(node: str, at_ms: float, name: str, epoch: int | None = None) -> Event:
    return Event(ROLE, round(at_ms * MS), node, {"role": name, "epoch": epoch} if epoch else {"role": name})


PROMOTED = role("b", 22, "primary", 2)
DEPOSED = [ack("a", 0, 1), ack("a", 10, 11), ack("b", 20, 21), ack("b", 30, 31), ack("a", 40, 41), ack("b", 50, 51)]


def test_a_deposed_primary_that_still_acknowledges_is_found_with_its_window() -> None:
    finding = check(History.of(DEPOSED, [role("a", 0, "primary", 1), PROMOTED, role("a", 60, "replica")]))
    assert finding.outcome is Outcome.INVALID
    (window,) = finding.anomalies
    assert window["nodes"] == ["a", "b"]
    assert window["epochs"] == [1, 2]
    assert window["window_ms"] == 40 - 21
    assert window["writes"] == [1, 2]
    assert finding.stats["same_epoch_windows"] == 0
    assert [DEPOSED[p].node for p in finding.witness] == ["a", "b", "a"]
    assert "both acknowledged writes" in finding.explanation


def test_two_primaries_of_one_epoch_are_counted_apart() -> None:
    finding = check(History.of(DEPOSED, [role("a", 0, "primary", 7), role("b", 22, "primary", 7)]))
    assert finding.stats["same_epoch_windows"] == 1
    assert "Both were primary in epoch 7" in finding.explanation


def test_without_role_events_it_cannot_be_told_from_two_failovers() -> None:
    finding = check(History.of(DEPOSED))
    assert finding.outcome is Outcome.UNKNOWN
    assert finding.stats["windows"] == 1


@pytest.mark.parametrize(
    "events",
    [
        [role("a", 12, "replica"), role("b", 13, "primary", 2), role("b", 35, "replica"), role("a", 36, "primary", 3)],
        [
            role("a", 0, "primary", 1),
            role("b", 13, "primary", 2),
            role("b", 35, "replica"),
            role("a", 36, "primary", 3),
        ],
    ],
)
def test_a_failover_there_and_back_is_no_split_brain(events: list[Event]) -> None:
    ops = [ack("a", 0, 1), ack("a", 10, 11), ack("b", 20, 21), ack("b", 30, 31), ack("a", 40, 41)]
    assert check(History.of(ops, events)).outcome is Outcome.VALID


def test_acknowledgements_that_only_touch_in_flight_prove_nothing() -> None:
    ops = [ack("a", 0, 1), ack("a", 10, 25), ack("b", 20, 24), ack("b", 30, 31)]
    assert check(History.of(ops, [PROMOTED])).outcome is Outcome.VALID


def test_one_write_inside_the_others_term_is_enough() -> None:
    finding = check(History.of([ack("a", 0, 1), ack("b", 20, 21), ack("a", 40, 41)], [PROMOTED]))
    assert finding.outcome is Outcome.INVALID


def test_a_slot_of_its_own_may_have_a_primary_of_its_own() -> None:
    ops = [
        ack("a", 0, 1, "x"),
        ack("b", 5, 6, "y"),
        ack("a", 10, 11, "x"),
        ack("b", 15, 16, "y"),
        ack("a", 20, 21, "x"),
    ]
    events = [role("a", 0, "primary", 1)]
    assert check(History.of(ops, events), scope="all").outcome is Outcome.INVALID
    assert check(History.of(ops, events), scope="slot").outcome is Outcome.VALID
    assert check(History.of(ops, events), scope="key").outcome is Outcome.VALID
    same = [ack("a", 0, 1, "{u}1"), ack("b", 5, 6, "{u}2"), ack("a", 10, 11, "{u}3")]
    assert check(History.of(same, events), scope="slot").outcome is Outcome.INVALID


@pytest.mark.parametrize(("key", "slot"), [("foo", 12182), ("{foo}bar", 12182), ("a{}b", 13694), ("123456789", 12739)])
def test_key_slots_are_those_of_the_specification(key: str, slot: int) -> None:
    assert key_slot(key) == slot


def test_no_write_with_a_node_is_unknown() -> None:
    assert check(History.of()).outcome is Outcome.UNKNOWN
    assert check(History.of([Op(0, "write", "x", 1, 0, 1)])).outcome is Outcome.UNKNOWN


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5)), min_size=1, max_size=8), st.integers(0, 9))
def test_orderly_failovers_with_recorded_roles_are_never_accused(terms: list[tuple[str, int]], lag_ms: int) -> None:
    ops: list[Op] = []
    events: list[Event] = []
    now = 0
    previous: str | None = None
    for epoch, (node, writes) in enumerate(terms):
        if node == previous:
            continue
        if previous is not None:
            events.append(role(previous, now, "replica"))
        events.append(role(node, now + 10 + lag_ms, "primary", epoch + 1))
        now += 10
        for _ in range(writes):
            ops.append(ack(node, now, now + 3))
            now += 5
        now += 10
        previous = node
    assert check(History.of(ops, events)).outcome is Outcome.VALID
