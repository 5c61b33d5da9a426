"""Session guarantees, expiry, rate limits and publish/subscribe against their definitions, spelled out slowly."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.check import cache, expiry, pubsub, rate_limit
from labctl.check.session import monotonic_reads, read_your_writes
from labctl.model.history import History, Op, OpOutcome
from labctl.model.verdict import Outcome

OK, FAIL, UNKNOWN = OpOutcome.OK, OpOutcome.FAIL, OpOutcome.UNKNOWN
MS = 1_000_000


# Sessions.


@st.composite
def stale_histories(draw: st.DrawFn) -> History:
    """Unique writes, and reads of anything that was written before they ended, or of nothing."""
    ops: list[Op] = []
    written: list[tuple[str, int, int]] = []
    for process in range(3):
        now = draw(st.integers(0, 3))
        for _ in range(draw(st.integers(0, 6))):
            begin, now = now, now + draw(st.integers(0, 4))
            key = draw(st.sampled_from("xy"))
            if draw(st.booleans()):
                value = len(written) + 1
                written.append((key, value, begin))
                ops.append(Op(process, "write", key, value, begin, now, draw(st.sampled_from([OK, OK, UNKNOWN]))))
            else:
                ops.append(Op(process, "read", key, None, begin, now))
            now += draw(st.integers(0, 2))
    for i, op in enumerate(ops):
        if op.function == "read":
            choices = [
                v for k, v, begin in written if k == op.key and op.complete_ns is not None and begin <= op.complete_ns
            ]
            ops[i] = Op(
                op.process, "read", op.key, draw(st.sampled_from([None, *choices])), op.invoke_ns, op.complete_ns
            )
    return History.of(ops)


def in_place(history: History, key: str, value: object) -> float:
    """When a value was certainly there: its write was acknowledged or a read of it had ended."""
    if value is None:
        return -1
    return min(
        (op.complete_ns for op in history
         if (op.key, op.value) == (key, value) and op.outcome is OK and op.complete_ns is not None),
        default=float("inf"),
    )  # fmt: skip


def sent(history: History, key: str, value: object) -> float:
    return next((op.invoke_ns for op in history if op.function == "write" and (op.key, op.value) == (key, value)), -2)


def violations(history: History, function: str) -> set[int]:
    """Reads older than what their process read, or wrote, before: by the definition."""
    found = set()
    for position, read in enumerate(history):
        for knew in list(history)[:position] if read.function == "read" else ():
            mine = (knew.process, knew.key, knew.function, knew.outcome) == (read.process, read.key, function, OK)
            if mine and knew.value is not None:
                newer = sent(history, read.key, knew.value)
                if in_place(history, read.key, read.value) < newer:
                    found.add(position)
    return found


@pytest.mark.parametrize(("check", "function"), [(monotonic_reads, "read"), (read_your_writes, "write")])
@given(stale_histories())
def test_session_guarantees_are_those_of_the_definition(check: object, function: str, history: History) -> None:
    assert callable(check)
    finding = check(history)
    expected = violations(history, function)
    assert finding.stats.get("violations", 0) == len(expected)
    assert (finding.outcome is Outcome.INVALID) == bool(expected)
    for anomaly in finding.anomalies:
        assert max(anomaly["operations"]) in expected or set(anomaly["operations"]) & expected


def test_reading_backwards_is_told_with_both_values() -> None:
    ops = [Op(0, "write", "x", 1, 0, 10), Op(0, "write", "x", 2, 20, 30)]
    ops += [Op(1, "read", "x", 2, 40, 50), Op(1, "read", "x", 1, 60, 70), Op(2, "read", "x", 1, 80, 90)]
    finding = monotonic_reads(History.of(ops))
    assert finding.outcome is Outcome.INVALID
    assert finding.witness == (0, 1, 2, 3)
    assert "A process read 2 and then 1" in finding.explanation
    assert read_your_writes(History.of(ops)).outcome is Outcome.UNKNOWN


def test_one_may_not_miss_ones_own_write_but_others_may() -> None:
    ops = [Op(0, "write", "x", 1, 0, 10), Op(0, "write", "x", 2, 20, 30)]
    assert read_your_writes(History.of([*ops, Op(0, "read", "x", 1, 40, 50)])).outcome is Outcome.INVALID
    assert read_your_writes(History.of([*ops, Op(0, "read", "x", None, 40, 50)])).outcome is Outcome.INVALID
    assert read_your_writes(History.of([*ops, Op(0, "read", "x", 2, 40, 50)])).outcome is Outcome.VALID
    assert read_your_writes(History.of([*ops, Op(1, "read", "x", 1, 40, 50)])).outcome is Outcome.UNKNOWN


# Expiry.


LIVES = Op(7, "init", "x", {"ttl_ms": 100}, -5, -4)


def stored(value: int, begin_ms: int, outcome: OpOutcome = OK) -> Op:
    return Op(0, "write", "x", value, begin_ms * MS, (begin_ms + 5) * MS, outcome)


def got(value: int | None, begin_ms: int) -> Op:
    return Op(1, "read", "x", value, begin_ms * MS, (begin_ms + 5) * MS)


@pytest.mark.parametrize(
    ("ops", "outcome", "late"),
    [
        ([LIVES, stored(1, 0), got(1, 50)], Outcome.VALID, 0),
        ([LIVES, stored(1, 0), got(1, 105)], Outcome.VALID, 0),  # may have been stored at 5 ms
        ([LIVES, stored(1, 0), got(1, 120)], Outcome.INVALID, 1),
        ([stored(1, 0), got(1, 9999)], Outcome.UNKNOWN, 0),  # nobody says how long it lives
        ([LIVES, stored(1, 0, UNKNOWN), got(1, 9999)], Outcome.UNKNOWN, 0),
        ([LIVES, stored(1, 0), got(None, 120)], Outcome.UNKNOWN, 0),
        ([LIVES, stored(1, 0), stored(1, 10), got(1, 50)], Outcome.UNKNOWN, 0),  # not unique
        ([], Outcome.UNKNOWN, 0),
    ],
)
def test_values_are_not_served_after_their_time(ops: list[Op], outcome: Outcome, late: int) -> None:
    finding = expiry.check(History.of(ops))
    assert finding.outcome is outcome
    assert finding.stats.get("late", 0) == late


def test_lateness_is_told_in_milliseconds() -> None:
    history = History.of([stored(1, 0), got(1, 120)])
    assert expiry.check(history, ttl_ms=100).anomalies[0]["late_ms"] == 15.0
    assert expiry.check(history, ttl_ms=100, slack_ms=20).outcome is Outcome.VALID


def test_keys_that_go_early_are_counted_but_accuse_nobody() -> None:
    ops = [stored(1, 0), got(1, 10), got(None, 50), got(None, 2000)]
    finding = expiry.check(History.of(ops), ttl_ms=1000)
    assert (finding.outcome, finding.stats["early"]) == (Outcome.VALID, 1)
    overwritten = [stored(1, 0), stored(2, 48), got(1, 10), got(None, 50)]
    assert expiry.check(History.of(overwritten), ttl_ms=1000).stats["early"] == 0


@given(st.integers(0, 10**9))
def test_a_server_that_expires_on_time_is_never_accused_and_a_slow_one_is(seed: int) -> None:
    rng = random.Random(seed)
    for delay in (0, 500):
        ops, now, caught = [LIVES], 0, False
        for value in range(1, 20):
            begin = now
            effect = begin + rng.randrange(5)
            ops.append(stored(value, begin))
            for _ in range(4):
                now += rng.randrange(5, 60)
                served = now + rng.randrange(5) < effect + 100 + delay
                ops.append(got(value if served else None, now))
                caught = caught or (served and now > begin + 5 + 100 + 1)
                now += 5
            now += 10
        finding = expiry.check(History.of(ops))
        assert (finding.outcome is Outcome.INVALID) == caught
        assert delay or not caught


# Rate limits.


def hits(*at_ms: float, each_ms: float = 1) -> list[Op]:
    ops = [Op(i, "hit", "u", 1, round(t * MS), round((t + each_ms) * MS)) for i, t in enumerate(at_ms)]
    return [*ops, Op(99, "hit", "u", 0, 0, MS)]


def limiter(limit: int) -> Op:
    return Op(98, "init", "u", {"limit": limit, "window_ms": 100}, -5, -4)


def test_a_window_with_one_request_too_many_is_found_wherever_it_begins() -> None:
    assert rate_limit.check(History.of([limiter(2), *hits(0, 50, 101)])).outcome is Outcome.VALID
    finding = rate_limit.check(History.of([limiter(2), *hits(0, 90, 110, 150)]))
    assert finding.outcome is Outcome.INVALID
    assert finding.stats["fullest_window"] == 1.5
    assert [finding.stats["passed"], finding.stats["refused"]] == [4, 1]
    assert "3 requests for u were let through within 100 ms, 2 are allowed" in finding.explanation


def test_requests_that_may_lie_outside_the_window_prove_nothing() -> None:
    assert rate_limit.check(History.of([limiter(1), *hits(0, 0, 0, each_ms=200)])).outcome is Outcome.VALID


def test_without_a_promise_or_a_request_let_through_there_is_nothing_to_judge() -> None:
    assert rate_limit.check(History.of()).outcome is Outcome.UNKNOWN
    assert rate_limit.check(History.of(hits(0, 1, 2))).outcome is Outcome.UNKNOWN
    assert rate_limit.check(History.of(hits(0, 1, 2)), limit=2, window_ms=10).outcome is Outcome.INVALID
    assert rate_limit.check(History.of([limiter(1), *hits()])).outcome is Outcome.UNKNOWN
    assert rate_limit.check(History.of([limiter(1), *hits(0)]), deadline=lambda: True).outcome is Outcome.UNKNOWN


@given(st.integers(0, 10**9), st.integers(1, 4))
def test_a_sliding_window_limiter_is_never_accused_and_one_too_generous_is(seed: int, limit: int) -> None:
    rng = random.Random(seed)
    for allowed in (limit, limit + 1):
        ops, passed_at, now = [limiter(limit)], [], 0.0
        for i in range(80):
            now += rng.random() * 40
            effect = now + rng.random()
            passed_at = [t for t in passed_at if t > effect - 100]
            yes = len(passed_at) < allowed
            passed_at += [effect] if yes else []
            ops.append(Op(i, "hit", "u", int(yes), round(now * MS), round((now + 1) * MS)))
            now += 1
        finding = rate_limit.check(History.of(ops))
        if allowed == limit:
            assert finding.outcome is Outcome.VALID
        passed = [op for op in ops if op.value == 1]
        certain = any(
            sum(o.invoke_ns >= p.invoke_ns and (o.complete_ns or 0) <= p.invoke_ns + 100 * MS for o in passed) > limit
            for p in passed
        )
        assert (finding.outcome is Outcome.INVALID) == certain


# Caches.


def cached(*reads: tuple[int | None, int, bool]) -> History:
    """1 written at 0 ms, 2 at 10 ms, and reads (value, begin in ms, whether it loaded), each of 5 ms."""
    ops = [Op(0, "write", "x", 1, 0, 5 * MS), Op(0, "write", "x", 2, 10 * MS, 15 * MS)]
    for process, (value, begin, loaded) in enumerate(reads, 1):
        ops.append(Op(process, "read", "x", value, begin * MS, (begin + 5) * MS))
        if loaded:
            ops.append(Op(process, "load", "x", value, (begin + 5) * MS, (begin + 5) * MS))
    return History.of(ops)


def test_what_a_cache_serves_may_be_old_but_not_too_old() -> None:
    history = cached((1, 6, True), (1, 20, False), (1, 95, False), (2, 100, True))
    assert cache.check(history).outcome is Outcome.VALID
    assert [cache.check(history).stats[k] for k in ("stale_reads", "stale_max_ms", "loads")] == [2, 80.0, 2]
    assert cache.check(history, max_stale_ms=80).outcome is Outcome.VALID
    finding = cache.check(history, max_stale_ms=79)
    assert (finding.outcome, finding.stats["too_old"]) == (Outcome.INVALID, 1)
    assert "A read returned 1, 80.0 ms after 2 took its place" in finding.explanation


def test_reads_that_load_the_same_at_once_are_a_stampede() -> None:
    history = cached((2, 20, True), (2, 22, True), (2, 23, False), (2, 24, True), (2, 40, True))
    assert cache.check(history).stats["most_loading"] == 3
    assert cache.check(history, max_loading=3).outcome is Outcome.VALID
    finding = cache.check(history, max_loading=2)
    assert finding.anomalies[0]["loading"] == 3
    assert len(finding.witness) == 3


def test_a_cache_that_serves_what_nobody_wrote_is_wrong_in_itself() -> None:
    assert cache.check(cached((7, 20, False))).stats["phantom"] == 1
    assert cache.check(History.of()).outcome is Outcome.UNKNOWN


# Publish and subscribe.


def published(value: int, at: int, process: int = 0, outcome: OpOutcome = OK, node: str | None = None) -> Op:
    return Op(process, "publish", "c", value, at, at + 5, outcome, node)


def received(value: int, at: int, process: int = 9) -> Op:
    return Op(process, "receive", "c", value, at, at)


SUBSCRIBED = Op(9, "subscribe", "c", None, 0, 5)


@pytest.mark.parametrize(
    ("ops", "kind"),
    [
        ([published(1, 10), received(1, 20)], None),
        ([published(1, 10), published(2, 20), received(1, 20)], "lost"),
        ([published(1, 10), received(1, 20), received(1, 30)], "duplicated"),
        ([published(1, 10), received(1, 20), received(7, 30)], "phantom"),
        ([published(1, 10), published(2, 20, outcome=FAIL), received(1, 20), received(2, 30)], "phantom"),
        ([published(1, 10), published(2, 20), received(2, 30), received(1, 40)], "reordered"),
        ([published(1, 10, node="a"), published(2, 20, node="a"), received(2, 30), received(1, 40)], "reordered"),
        (
            [published(1, 10, node="a"), published(2, 20, node="b"), received(2, 30), received(1, 40)],
            None,
        ),  # two routes
        ([published(1, 10, outcome=UNKNOWN), published(2, 20), received(2, 30), received(1, 40)], None),  # sent late
        ([published(1, 10, 0), published(2, 20, 1), received(2, 30), received(1, 40)], None),  # two publishers
        ([published(1, 3), published(2, 10), received(2, 20)], None),  # sent before the subscription was certain
        ([published(1, 10), published(2, 20, outcome=UNKNOWN), received(1, 20)], None),
        ([published(1, 10), received(1, 20), Op(9, "unsubscribe", "c", None, 30, 35), published(2, 28)], None),
        ([published(1, 10), received(1, 20), published(2, 21), Op(9, "disconnect", "c", None, 90, 90)], None),
        ([published(1, 10), published(2, 16), received(2, 30), Op(9, "disconnect", "c", None, 90, 90)], "lost"),
    ],
)
def test_what_may_happen_to_messages(ops: list[Op], kind: str | None) -> None:
    finding = pubsub.check(History.of([SUBSCRIBED, *ops]))
    if kind is None:
        assert finding.outcome is Outcome.VALID
    else:
        assert finding.outcome is Outcome.INVALID
        assert finding.anomalies[0]["kind"] == kind
        assert finding.stats[kind] == 1


def test_without_a_certain_subscription_nothing_is_due() -> None:
    assert pubsub.check(History.of([published(1, 10)])).outcome is Outcome.UNKNOWN
    unknown = Op(9, "subscribe", "c", None, 0, 5, UNKNOWN)
    assert pubsub.check(History.of([unknown, published(1, 10)])).outcome is Outcome.UNKNOWN
    assert pubsub.check(History.of([SUBSCRIBED, published(1, 10)]), deadline=lambda: True).outcome is Outcome.UNKNOWN


@given(st.integers(0, 10**9))
def test_a_reliable_broker_is_never_accused_and_each_planted_fault_is_counted(seed: int) -> None:
    rng = random.Random(seed)
    ops = [Op(p, "subscribe", "c", None, 0, 5) for p in (8, 9)]
    lost = doubled = 0
    for value in range(1, 40):
        begin = 10 * value
        ops.append(published(value, begin, process=value % 3))
        for process in (8, 9):
            chance = rng.random()
            lost += chance < 0.1
            doubled += chance > 0.9
            copies = 0 if chance < 0.1 else 2 if chance > 0.9 else 1
            ops += [received(value, begin + rng.randrange(5, 9), process)] * copies
    finding = pubsub.check(History.of(ops))
    assert (finding.stats["lost"], finding.stats["duplicated"]) == (lost, doubled)
    assert (finding.outcome is Outcome.VALID) == (not lost and not doubled)
