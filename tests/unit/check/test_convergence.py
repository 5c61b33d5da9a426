"""Convergence: what the last look at the lab said."""

from __future__ import annotations

import pytest

from labctl.check.convergence import check
from labctl.model.history import SETTLED, Event, History
from labctl.model.verdict import Outcome


def settled(at_ns: int, reasons: object, nodes: int = 3) -> Event:
    return Event(SETTLED, at_ns, None, {"reasons": reasons, "waited_ms": 1500.0, "nodes": nodes})


def test_no_reason_left() -> None:
    finding = check(History.of([], [settled(1, [])]))
    assert finding.outcome is Outcome.VALID
    assert finding.stats == {"nodes": 3, "waited_ms": 1500.0, "reasons": 0}


def test_reasons_left() -> None:
    finding = check(History.of([], [settled(1, ["redis-2 lags", "redis-3 is down"])]))
    assert finding.outcome is Outcome.INVALID
    assert "redis-2 lags; redis-3 is down" in finding.explanation
    assert finding.stats["reasons"] == 2


def test_the_last_look_counts() -> None:
    assert check(History.of([], [settled(1, ["lags"]), settled(2, [])])).outcome is Outcome.VALID
    assert check(History.of([], [settled(1, []), settled(2, ["lags"])])).outcome is Outcome.INVALID


@pytest.mark.parametrize("events", [[], [Event("other", 1)], [settled(1, [], nodes=0)]])
def test_nobody_looked_or_nobody_was_there(events: list[Event]) -> None:
    assert check(History.of([], events)).outcome is Outcome.UNKNOWN


def test_haste_is_told_beside_the_time_that_it_made_shorter() -> None:
    natural, hurried = settled(1, []), Event(SETTLED, 1, None, {**settled(1, []).detail, "hastened": True})
    assert "hurry" not in check(History.of([], [natural])).summary
    assert "hurry" in check(History.of([], [hurried])).summary
