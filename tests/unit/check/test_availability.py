"""Availability: gap, outage, recovery and phases are what the timestamps say."""

from __future__ import annotations

from labctl.check.availability import check
from labctl.model.history import FAULT_END, FAULT_START, Event, History, Op, OpOutcome
from labctl.model.verdict import Outcome

MS = 1_000_000
FAIL, UNKNOWN = OpOutcome.FAIL, OpOutcome.UNKNOWN


def write(
    at_ms: float, ms: float, node: str | None = "n1", outcome: OpOutcome = OpOutcome.OK, due_ms: float | None = None
) -> Op:
    begin = round(at_ms * MS)
    due = None if due_ms is None else round(due_ms * MS)
    return Op(0, "write", "x", begin, begin, begin + round(ms * MS), outcome, node, due_ns=due)


def failover() -> History:
    """n1 serves until it is killed at 100 ms; n2 takes over at 400 ms; the fault ends at 600 ms."""
    before = [write(t, 1) for t in range(0, 100, 10)]
    failing = [write(101, 50, None, UNKNOWN), write(160, 1, None, FAIL), write(300, 1, None, FAIL)]
    during = [write(t, 2, "n2") for t in range(400, 600, 10)]
    after = [write(t, 1, "n2") for t in range(600, 700, 10)]
    events = [
        Event(FAULT_START, 100 * MS, "n1", {"fault": "kill", "id": 1}),
        Event(FAULT_END, 600 * MS, "n1", {"fault": "kill", "id": 1}),
    ]
    return History.of([*before, *failing, *during, *after], events)


def test_a_failover_is_measured_from_what_clients_saw() -> None:
    finding = check(failover())
    assert finding.outcome is Outcome.VALID
    (fault,) = finding.anomalies
    assert finding.stats["longest_gap_ms"] == 402 - 91
    assert fault["outage_ms"] == 402 - 101
    assert fault["recovery_ms"] == 402 - 91
    assert (fault["old_primary"], fault["new_primary"]) == ("n1", "n2")
    during = fault["during"]
    assert isinstance(during, dict)
    assert (during["good"], during["failed"], during["unknown"], during["goodput_per_s"]) == (20, 2, 1, 40.0)
    assert during["latency_ms"]["p50"] == 2.0
    assert "fault kill began on n1" in finding.explanation


def test_bounds_judge() -> None:
    assert check(failover(), max_gap_ms=400, max_recovery_ms=400).outcome is Outcome.VALID
    broken = check(failover(), max_gap_ms=300)
    assert broken.outcome is Outcome.INVALID
    assert [failover()[p].node for p in broken.witness] == ["n1", "n2"]
    assert check(failover(), max_recovery_ms=300).outcome is Outcome.INVALID


def test_a_recovery_that_nobody_saw_is_unknown_not_quick() -> None:
    history = History.of([write(t, 1) for t in range(5)], [Event(FAULT_START, 2 * MS, "n1", {"fault": "kill"})])
    assert check(history, max_recovery_ms=10).outcome is Outcome.UNKNOWN


def test_recovery_of_a_split_brain_counts_from_the_old_primarys_last_write_before_the_new_one() -> None:
    ops = [write(0, 1), write(10, 1), write(30, 1), write(50, 1, "n2"), write(60, 1), write(70, 1, "n2")]
    (fault,) = check(History.of(ops, [Event(FAULT_START, 5 * MS, "n1", {"fault": "partition"})])).anomalies
    assert fault["recovery_ms"] == 51 - 31


def test_latency_counts_from_when_an_operation_was_due() -> None:
    stats = check(History.of([write(10, 1), write(500, 1, due_ms=20)])).stats
    assert stats["latency_p100_ms"] == 481.0


def test_an_outage_without_end_lasts_to_the_end() -> None:
    ops = [write(0, 1), write(2, 1), write(10, 5, None, FAIL), write(90, 10, None, FAIL)]
    (fault,) = check(History.of(ops, [Event(FAULT_START, 5 * MS, "n1", {"fault": "kill"})])).anomalies
    assert fault["outage_ms"] == 90.0
    assert fault["end_ms"] is None


def test_nothing_acknowledged_is_unknown() -> None:
    assert check(History.of()).outcome is Outcome.UNKNOWN
    assert check(History.of([write(0, 1, None, FAIL)])).outcome is Outcome.UNKNOWN


def test_waiting_for_the_reads_at_the_end_is_no_gap() -> None:
    final = Op(0, "final-read", "x", [1], 60_000 * MS, 60_001 * MS)
    finding = check(History.of([*failover(), final], failover().events), max_gap_ms=400)
    assert finding.outcome is Outcome.VALID
    assert finding.stats == check(failover()).stats


def test_an_outage_that_outlasts_the_load_is_a_gap_up_to_the_last_attempt() -> None:
    history = History.of([write(0, 1), write(10, 1), write(20, 50, None, FAIL), write(900, 100, None, UNKNOWN)])
    finding = check(history, max_gap_ms=500)
    assert finding.stats["longest_gap_ms"] == 1000 - 11
    assert finding.outcome is Outcome.INVALID
    assert finding.witness == (1, 3)
    late = History.of([write(0, 300, None, FAIL), write(400, 1), write(410, 1)])
    assert check(late).stats["longest_gap_ms"] == 401


def test_positions_of_a_witness_are_those_of_the_whole_history() -> None:
    final = Op(0, "final-read", "x", [1], 12 * MS, 13 * MS)
    history = History.of([write(0, 1), write(10, 1), final, write(900, 1)])
    assert check(history, max_gap_ms=500).witness == (1, 3)
