"""Each workload's checker never accuses a correct system, and counts the bugs that were planted into one."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.check import bank, counter, mutex, set_full, stream, total_queue, unique_ids
from labctl.check.registry import run
from labctl.model.history import FINAL_READ, History, Op, OpOutcome
from labctl.model.verdict import Finding, Outcome
from tests.support.objects import record
from tests.support.workloads import (
    Bank,
    FencedLock,
    GroupStream,
    GrowingSet,
    Identifiers,
    Increments,
    ReliableQueue,
    System,
    WorkQueue,
)

if TYPE_CHECKING:
    from collections.abc import Callable

OK, FAIL, UNKNOWN = OpOutcome.OK, OpOutcome.FAIL, OpOutcome.UNKNOWN
DRAINED = [("dequeue", None)] * 85
FINALS: dict[type[System], list[tuple[str, object]]] = {
    GrowingSet: [("read", None)],
    WorkQueue: DRAINED,
    GroupStream: [("deliver", None), ("ack", None), ("ack", None)] * 45
    + [("deliver", None), ("final-read", None), ("final-pending", None)],
    ReliableQueue: [("dequeue", None)] * 20 + [("final-read", None)],
    FencedLock: [],
    Bank: [("read", None)],
    Identifiers: [],
    Increments: [("read", None)],
}
CHECKERS: dict[type[System], Callable[..., Finding]] = {
    GrowingSet: set_full.check,
    WorkQueue: total_queue.check,
    GroupStream: stream.check,
    ReliableQueue: total_queue.check,
    FencedLock: mutex.check,
    Bank: bank.check,
    Identifiers: unique_ids.check,
    Increments: counter.check,
}


def simulate(
    kind: type[Any], seed: int, *, unknown_share: float = 0.0, bug: str = "", bug_share: float = 0.2
) -> tuple[System, History]:
    rng = random.Random(seed)
    system = kind(rng, bug, bug_share)
    history = record(
        rng,
        system.apply,
        system.draw,
        operations=80,
        clients=5,
        unknown_share=unknown_share,
        final=FINALS[kind],
        # What the first two name is chosen when they take effect; a late release would free the next hold.
        answered=["ack", "dead-letter", "release"],
    )
    return system, history


@pytest.mark.parametrize("kind", CHECKERS)
@given(seed=st.integers(0, 10**9), unknown_share=st.sampled_from([0.0, 0.15]))
def test_a_correct_system_is_never_accused(kind: type[System], seed: int, unknown_share: float) -> None:
    _, history = simulate(kind, seed, unknown_share=unknown_share)
    finding = CHECKERS[kind](history)
    assert finding.outcome is not Outcome.INVALID
    if not unknown_share and kind is not FencedLock:
        assert finding.outcome is Outcome.VALID


@pytest.mark.parametrize(
    ("kind", "bug", "counted"),
    [
        (WorkQueue, "lose", "lost"),
        (WorkQueue, "invent", "phantom"),
        (WorkQueue, "twice", "duplicated"),
        (GroupStream, "lose", "lost"),
        (GroupStream, "skip", "skipped"),
        (GroupStream, "invent", "phantom"),
        (ReliableQueue, "lose", "lost"),
        (Identifiers, "again", "duplicates"),
    ],
)
@given(seed=st.integers(0, 10**9))
def test_every_planted_bug_is_counted(kind: type[System], bug: str, counted: str, seed: int) -> None:
    system, history = simulate(kind, seed, bug=bug)
    finding = CHECKERS[kind](history)
    assert finding.stats[counted] == sum(system.planted.values())
    assert (finding.outcome is Outcome.INVALID) == bool(system.planted)
    if system.planted:
        assert finding.witness
        assert finding.explanation.endswith(".")


@pytest.mark.parametrize(
    ("kind", "bug"),
    [
        (GroupStream, "after-ack"),
        (ReliableQueue, "twice"),
        (ReliableQueue, "return"),
        (FencedLock, "two-holders"),
        (FencedLock, "old-token"),
        (FencedLock, "no-fence"),
        (Bank, "half"),
        (Increments, "lose"),
        (Increments, "twice"),
        (GrowingSet, "lose"),
        (GrowingSet, "forget-later"),
        (GrowingSet, "duplicate"),
        (GrowingSet, "invent"),
    ],
)
def test_a_bug_that_concurrency_may_hide_is_caught_in_most_runs(kind: type[System], bug: str) -> None:
    findings = [CHECKERS[kind](simulate(kind, seed, bug=bug, bug_share=0.6)[1]) for seed in range(20)]
    assert sum(finding.outcome is Outcome.INVALID for finding in findings) >= 15


@given(st.integers(0, 10**9))
def test_a_set_that_loses_is_caught_losing_exactly_what_it_lost(seed: int) -> None:
    system, history = simulate(GrowingSet, seed, bug="forget-later")
    assert isinstance(system, GrowingSet)
    finding = set_full.check(history)
    assert finding.stats["lost"] == len(system.lost)
    assert {a["value"] for a in finding.anomalies} == system.lost


@pytest.mark.parametrize("kind", CHECKERS)
@settings(max_examples=25)
@given(seed=st.integers(0, 10**9), data=st.data())
def test_forgetting_an_acknowledgement_never_makes_it_invalid(
    kind: type[System], seed: int, data: st.DataObject
) -> None:
    _, history = simulate(kind, seed)
    ops = list(history)
    changes = [i for i, op in enumerate(ops) if op.function in {"add", "enqueue", "incr", "transfer", "generate"}]
    if not changes:
        return
    i = data.draw(st.sampled_from(changes))
    op = ops[i]
    ops[i] = Op(op.process, op.function, op.key, op.value, op.invoke_ns, op.complete_ns, UNKNOWN)
    assert CHECKERS[kind](History.of(ops)).outcome is not Outcome.INVALID


@pytest.mark.parametrize("kind", CHECKERS)
def test_nothing_to_judge_is_unknown_and_so_is_a_checker_out_of_time(kind: type[System]) -> None:
    assert CHECKERS[kind](History.of()).outcome is Outcome.UNKNOWN
    _, history = simulate(kind, 1)
    if kind is not Identifiers:
        assert CHECKERS[kind](history, deadline=lambda: True).outcome is Outcome.UNKNOWN


# Sets.


def set_history(*reads: list[int], final: list[int]) -> History:
    ops = [Op(0, "add", "s", 1, 0, 10, node="n1"), Op(0, "add", "s", 2, 20, 30, node="n1")]
    ops += [Op(1, "read", "s", seen, 40 + 20 * i, 45 + 20 * i) for i, seen in enumerate(reads)]
    return History.of([*ops, Op(2, FINAL_READ, "s", final, 1000, 1010)])


def test_a_lost_element_is_told_with_when_it_was_last_seen() -> None:
    finding = set_full.check(set_history([1, 2], [1], final=[1]))
    assert finding.outcome is Outcome.INVALID
    assert finding.witness == (1, 2, 4)
    (anomaly,) = finding.anomalies
    assert (anomaly["value"], anomaly["node"]) == (2, "n1")


def test_a_stale_element_counts_only_where_linearizability_was_promised() -> None:
    history = set_history([1], [1, 2], final=[1, 2])
    assert set_full.check(history).outcome is Outcome.VALID
    assert set_full.check(history).stats["stale"] == 1
    assert set_full.check(history).stats["stale_max_ms"] == round(10 / 1e6, 3)
    assert set_full.check(history, linearizable=True).outcome is Outcome.INVALID


def test_a_read_that_began_before_the_element_was_known_proves_nothing() -> None:
    ops = [Op(0, "add", "s", 1, 0, 10), Op(1, "read", "s", [], 5, 50)]
    assert set_full.check(History.of(ops)).outcome is Outcome.UNKNOWN


def test_an_unknown_element_that_was_seen_once_must_stay() -> None:
    ops = [Op(0, "add", "s", 1, 0, 10, UNKNOWN), Op(1, "read", "s", [1], 20, 30), Op(1, "read", "s", [], 40, 50)]
    assert set_full.check(History.of(ops)).stats["lost"] == 1


# Queues and streams.


def test_unknown_dequeues_may_have_taken_what_is_missing() -> None:
    ops = [Op(0, "enqueue", "q", v, 10 * v, 10 * v + 5) for v in (1, 2, 3)]
    empty = Op(1, "dequeue", "q", None, 100, 105)
    unknown = Op(2, "dequeue", "q", None, 50, 60, UNKNOWN)
    assert total_queue.check(History.of([*ops, empty])).stats["lost"] == 3
    finding = total_queue.check(History.of([*ops, unknown, empty]))
    assert (finding.outcome, finding.stats["lost"], finding.stats["missing_perhaps_taken"]) == (Outcome.INVALID, 2, 1)
    took = [Op(3, "dequeue", "q", v, 70 + v, 71 + v) for v in (1, 2)]
    assert total_queue.check(History.of([*ops, unknown, *took, empty])).outcome is Outcome.UNKNOWN


def test_what_is_left_in_the_queue_is_not_lost() -> None:
    ops = [Op(0, "enqueue", "q", v, 10 * v, 10 * v + 5) for v in (1, 2)]
    assert total_queue.check(History.of(ops)).outcome is Outcome.UNKNOWN
    assert total_queue.check(History.of([*ops, Op(1, FINAL_READ, "q", [2, 1], 90, 95)])).outcome is Outcome.VALID
    assert total_queue.check(History.of([*ops, Op(1, FINAL_READ, "q", [2], 90, 95)])).outcome is Outcome.INVALID


def test_a_queue_seen_empty_before_an_enqueue_had_ended_was_not_drained() -> None:
    ops = [Op(0, "enqueue", "q", 1, 0, 50), Op(1, "dequeue", "q", None, 20, 25)]
    assert total_queue.check(History.of(ops)).outcome is Outcome.UNKNOWN
    assert total_queue.check(History.of([*ops, Op(1, "dequeue", "q", None, 51, 55)])).outcome is Outcome.INVALID


@pytest.mark.parametrize(("check", "function"), [(total_queue.check, "enqueue"), (stream.check, "add")])
def test_what_was_put_in_while_the_final_read_ran_may_be_missing(check: Callable[..., Finding], function: str) -> None:
    ops = [Op(0, function, "q", 1, 0, 5), Op(0, function, "q", 2, 90, 100)]
    assert check(History.of([*ops, Op(1, FINAL_READ, "q", [1], 95, 105)])).stats["lost"] == 0
    assert check(History.of([*ops, Op(1, FINAL_READ, "q", [1], 101, 105)])).stats["lost"] == 1


def queue_of(*ops: tuple[str, int | list[int] | None]) -> History:
    """One value put in, then these operations one after the other."""
    calls = [("enqueue", 1), *ops]
    return History.of([Op(0, function, "q", value, 10 * i, 10 * i + 5) for i, (function, value) in enumerate(calls)])


@pytest.mark.parametrize(
    ("history", "kind"),
    [
        (queue_of(("dequeue", 1), ("final-read", [])), None),
        (queue_of(("dequeue", 1), ("final-read", [1])), "duplicated"),
        (queue_of(("dequeue", 1), ("dequeue", 1), ("dequeue", None)), "duplicated"),
        (queue_of(("dequeue", 1), ("requeue", 1), ("dequeue", 1), ("final-read", [])), None),
        (queue_of(("dequeue", 1), ("ack", 1), ("final-read", [])), None),
        (queue_of(("dequeue", 1), ("ack", 1), ("final-read", [1])), "returned"),
        (queue_of(("dequeue", 1), ("ack", 1), ("dequeue", 1), ("final-read", [])), "returned"),
        (queue_of(("dequeue", 7), ("final-read", [1])), "phantom"),
    ],
)
def test_how_often_a_value_may_come_out(history: History, kind: str | None) -> None:
    finding = total_queue.check(history)
    assert [a["kind"] for a in finding.anomalies] == ([] if kind is None else [kind])
    assert finding.outcome is (Outcome.VALID if kind is None else Outcome.INVALID)


def test_a_reliable_queue_keeps_what_was_taken_and_not_acknowledged() -> None:
    assert total_queue.check(queue_of(("dequeue", 1), ("final-read", [1])), reliable=True).outcome is Outcome.VALID
    unknown = Op(2, "dequeue", "q", None, 20, 25, UNKNOWN)
    history = History.of([*queue_of(), unknown, Op(1, FINAL_READ, "q", [], 90, 95)])
    assert total_queue.check(history).outcome is Outcome.UNKNOWN
    assert total_queue.check(history, reliable=True).outcome is Outcome.INVALID


def test_a_delivery_that_began_before_the_ack_was_acknowledged_is_no_violation() -> None:
    def deliveries(begin: int) -> History:
        ops = [Op(0, "add", "s", 1, 0, 5), Op(1, "deliver", "s", [1], 10, 15), Op(1, "ack", "s", 1, 20, 30)]
        return History.of([*ops, Op(2, "claim", "s", [1], begin, 50)])

    assert stream.check(deliveries(25)).outcome is Outcome.VALID
    assert stream.check(deliveries(25)).stats["redelivered"] == 1
    late = stream.check(deliveries(35))
    assert late.stats["after_ack"] == 1
    assert late.witness == (2, 3)


def stream_of(*ops: tuple[str, list[int]]) -> History:
    """One entry added, then these operations one after the other."""
    calls: list[tuple[str, object]] = [("add", 1), *ops]
    return History.of([Op(0, function, "s", value, 10 * i, 10 * i + 5) for i, (function, value) in enumerate(calls)])


def test_a_group_that_found_nothing_before_an_entry_was_added_skipped_nothing() -> None:
    ops = [Op(0, "add", "s", 1, 0, 50), Op(1, "deliver", "s", [], 20, 25)]
    lists = [Op(2, FINAL_READ, "s", [1], 90, 95), Op(2, "final-pending", "s", [], 96, 99)]
    assert stream.check(History.of([*ops, *lists])).outcome is Outcome.VALID
    late = Op(1, "deliver", "s", [], 60, 65)
    assert stream.check(History.of([*ops, late, *lists])).stats["skipped"] == 1


@pytest.mark.parametrize(
    ("history", "outcome", "kind"),
    [
        (stream_of(), Outcome.UNKNOWN, None),
        (stream_of(("deliver", []), ("final-read", [])), Outcome.INVALID, "lost"),
        (stream_of(("final-read", [1])), Outcome.VALID, None),  # still to come
        (stream_of(("final-read", [1]), ("final-pending", [])), Outcome.VALID, None),  # nobody asked for more
        (stream_of(("deliver", []), ("final-read", [1])), Outcome.VALID, None),  # perhaps pending: nobody asked
        (stream_of(("deliver", []), ("final-read", [1]), ("final-pending", [1])), Outcome.VALID, None),
        (stream_of(("deliver", []), ("final-read", [1]), ("final-pending", [])), Outcome.INVALID, "skipped"),
        (stream_of(("final-read", []), ("final-dead", [1])), Outcome.VALID, None),
        (stream_of(("deliver", [9])), Outcome.INVALID, "phantom"),
    ],
)
def test_what_may_become_of_an_entry(history: History, outcome: Outcome, kind: str | None) -> None:
    finding = stream.check(history)
    assert finding.outcome is outcome
    assert kind is None or finding.anomalies[0]["kind"] == kind


# Locks.


def hold(process: int, begin: int, until: int | None, token: int | None = None) -> list[Op]:
    ops = [Op(process, "acquire", "l", [begin, token], begin, begin + 5)]
    return ops if until is None else [*ops, Op(process, "release", "l", None, until, until + 5, FAIL)]


def test_a_paused_holder_overlaps_the_next_for_as_long_as_it_believes() -> None:
    ops = [*hold(0, 0, 1000), *hold(1, 500, 900)]
    finding = mutex.check(History.of(ops))
    assert finding.outcome is Outcome.INVALID
    assert finding.stats["longest_overlap_ms"] == round((900 - 505) / 1e6, 3)
    assert mutex.check(History.of(ops), lease_ms=300 / 1e6).outcome is Outcome.VALID
    assert mutex.check(History.of(ops), overlap_allowed=True).outcome is Outcome.VALID


def test_a_holder_that_never_releases_is_certain_of_a_moment_only() -> None:
    finding = mutex.check(History.of([*hold(0, 0, None), *hold(1, 500, 900)]))
    assert finding.outcome is Outcome.VALID
    assert finding.stats["holds_without_end"] == 1


def test_a_release_belongs_to_the_last_acquisition_before_it() -> None:
    finding = mutex.check(History.of([*hold(0, 0, None), *hold(0, 100, 200), *hold(1, 20, 60)]))
    assert finding.outcome is Outcome.VALID


def test_a_process_is_no_rival_of_itself() -> None:
    finding = mutex.check(History.of([*hold(0, 0, None), *hold(0, 100, 200)]), lease_ms=1)
    assert finding.outcome is Outcome.VALID


def test_tokens_must_grow_and_the_resource_must_refuse_old_ones() -> None:
    ops = [*hold(0, 0, 100, token=5), *hold(1, 200, 300, token=5)]
    assert mutex.check(History.of(ops)).stats["token_order"] == 1
    uses = [Op(p, "guarded", "r", [p, token], at, at + 5) for p, token, at in [(0, 7, 0), (1, 6, 4), (1, 6, 10)]]
    finding = mutex.check(History.of([*hold(0, 0, 100, token=5), *uses]))
    assert finding.stats["stale_use"] == 1
    assert finding.witness == (1, 3)


# Counters, against the definition.


@st.composite
def counting(draw: st.DrawFn) -> History:
    ops: list[Op] = []
    for process in range(3):
        now = draw(st.integers(0, 3))
        for _ in range(draw(st.integers(0, 4))):
            begin, now = now, now + draw(st.integers(0, 4))
            function = draw(st.sampled_from(["incr", "add", "read"]))
            outcome = draw(st.sampled_from([OK, OK, UNKNOWN, FAIL]))
            delta, result = draw(st.integers(-2, 2)), draw(st.integers(-3, 6))
            values = {"add": delta, "read": result, "incr": [delta, result if outcome is OK else None]}
            ops.append(Op(process, function, "c", values[function], begin, now, outcome))
            now += draw(st.integers(0, 2))
    return History.of(ops)


@given(counting())
def test_counter_bounds_are_those_of_the_definition(history: History) -> None:
    def delta(op: Op) -> int:
        value = op.value[0] if isinstance(op.value, list) else op.value
        assert isinstance(value, int)
        return value

    applied = [op for op in history if op.function != "read" and op.outcome is not FAIL]
    wrong = 0
    for op in history:
        result = op.value if op.function == "read" else op.value[1] if isinstance(op.value, list) else None
        if op.outcome is not OK or result is None:
            continue
        assert op.complete_ns is not None
        low = high = 0
        for other in applied:
            certain = other == op or (
                other.outcome is OK and other.complete_ns is not None and other.complete_ns < op.invoke_ns
            )
            possible = other.invoke_ns <= op.complete_ns
            change = delta(other)
            low += change if (certain if change > 0 else possible) else 0
            high += change if (possible if change > 0 else certain) else 0
        assert isinstance(result, int)
        wrong += not low <= result <= high
    stats = counter.check(history).stats
    assert stats["below"] + stats["above"] == wrong  # type: ignore[operator]


def test_two_increments_with_one_result_lost_an_update() -> None:
    finding = counter.check(History.of([Op(0, "incr", "c", 1, 0, 10), Op(1, "incr", "c", 1, 5, 15)]))
    assert finding.stats["repeated"] == 1
    assert "Two increments returned 1" in finding.explanation


# The registry.


def test_a_contradictory_history_is_refused_and_a_crash_is_unknown() -> None:
    refused = run("counter-bounds", History.of([Op(0, "read", "c", 1, 10, 5)]))
    assert (refused.outcome, refused.summary[:7]) == (Outcome.UNKNOWN, "refused")
    crashed = run("bank", History.of([Op(0, "read", "b", {"a": 7}, 0, 1)]), parameters={"no_such": 1})
    assert crashed.outcome is Outcome.UNKNOWN
    assert "crashed: TypeError" in crashed.summary


def test_identifiers_of_two_keys_may_be_the_same_only_where_that_was_said() -> None:
    history = History.of([Op(0, "generate", key, 7, 0, 1) for key in "xy"])
    assert unique_ids.check(history).outcome is Outcome.INVALID
    assert unique_ids.check(history, per_key=True).outcome is Outcome.VALID


def test_overdrawn_accounts_are_named() -> None:
    ops = [Op(0, "transfer", "b", ["a", "b", 5], 0, 5), Op(0, "read", "b", {"a": -5, "b": 5}, 10, 15)]
    finding = bank.check(History.of(ops), total=0)
    assert finding.stats["negative"] == 1
    assert "['a']" in finding.explanation
    assert bank.check(History.of(ops), total=0, negative_allowed=True).outcome is Outcome.VALID


def test_an_account_that_is_gone_is_empty_and_what_init_says_counts() -> None:
    ops = [Op(0, "init", "b", {"a": 5, "b": 5}, 0, 1), Op(0, "transfer", "b", ["a", "b", 5], 2, 5)]
    assert bank.check(History.of([*ops, Op(0, "read", "b", {"a": None, "b": 10}, 10, 15)])).outcome is Outcome.VALID
    lost = bank.check(History.of([*ops, Op(0, "read", "b", {"a": None, "b": 5}, 10, 15)]))
    assert lost.stats["wrong_total"] == 1
    assert lost.witness == (0, 2)
