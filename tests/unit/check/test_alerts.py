"""Alerts: fired and cleared, not fired, stuck, unwanted, standing, or never asked for."""

from __future__ import annotations

import pytest

from labctl.check.alerts import check, names
from labctl.model.history import ALERT, FAULT_START, Event, History
from labctl.model.verdict import Outcome

WATCHED = Event(ALERT, 1, None, {"state": "watched"})
FAULT = Event(FAULT_START, 1_000_000_000, "redis-1", {"fault": "kill", "id": "1"})


def alert(at_s: float, state: str, name: str = "RedisDown", node: str = "redis-1") -> Event:
    return Event(ALERT, int(at_s * 1e9), node, {"state": state, "alert": name, "labels": {"node": node}})


def history(*events: Event) -> History:
    return History.of([], [WATCHED, FAULT, *events])


def test_fired_and_cleared() -> None:
    finding = check(history(alert(2.5, "firing"), alert(9, "cleared")), fire="RedisDown", silent="RedisFailover")
    assert finding.outcome is Outcome.VALID
    assert finding.stats["slowest_ms"] == 1500
    assert "RedisDown 1.5 s" in finding.summary
    assert "silent: RedisFailover" in finding.summary


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ((), "RedisDown did not fire"),
        ((alert(2, "firing"),), "RedisDown still fires for redis-1"),
        ((alert(2, "firing"), alert(2, "firing", node="redis-2"), alert(3, "cleared")), "still fires for redis-2"),
        ((alert(2, "firing"), alert(3, "cleared"), alert(4, "firing")), "still fires"),
        ((alert(2, "firing"), alert(3, "cleared"), alert(4, "firing", "RedisFailover")), "RedisFailover fired"),
    ],
)
def test_wrong(events: tuple[Event, ...], words: str) -> None:
    finding = check(history(*events), fire="RedisDown", silent="RedisFailover")
    assert finding.outcome is Outcome.INVALID
    assert words in finding.summary
    assert len(finding.anomalies) == 1


def test_what_fired_before_anything_was_broken_says_nothing() -> None:
    events = (alert(0.5, "standing"), alert(2, "cleared"), alert(3, "firing"), alert(4, "cleared"))
    assert check(history(*events), fire="RedisDown").outcome is Outcome.UNKNOWN
    assert check(history(*events), silent="RedisFailover").outcome is Outcome.VALID


def test_nobody_asked() -> None:
    assert check(History.of([], [FAULT]), silent="RedisDown").outcome is Outcome.UNKNOWN


def test_nobody_answered_any_more() -> None:
    blind = Event(ALERT, 2_000_000_000, None, {"state": "blind", "text": "gone"})
    finding = check(history(alert(1.5, "firing"), alert(1.8, "cleared"), blind), fire="RedisDown")
    assert finding.outcome is Outcome.UNKNOWN
    assert "stopped answering" in finding.summary


def test_names() -> None:
    assert names("A, B,C D") == ("A", "B", "C", "D")
    assert names("") == ()
