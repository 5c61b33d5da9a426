"""The check of the user's own program: how it may end, and how it may not."""

from __future__ import annotations

import pytest

from labctl.check import application, registry
from labctl.model.history import APPLICATION, APPLICATION_LINE, Event, History
from labctl.model.verdict import Outcome
from labctl.report.application import thinned

STARTED = Event(APPLICATION, 1, None, {"what": "started", "text": "started"})


def ended(code: int | None, signal: str | None = None, *, told: bool) -> History:
    detail = {"what": "ended", "exit_code": code, "signal": signal, "told": told, "ran_ms": 1500.0, "lines": 7}
    return History.of(events=[STARTED, Event(APPLICATION, 2, None, {**detail, "last_lines": ["the last one"]})])


@pytest.mark.parametrize(
    ("code", "signal", "told", "wanted", "outcome"),
    [
        (0, None, False, 0, Outcome.VALID),
        (0, None, True, 0, Outcome.VALID),
        (3, None, False, 3, Outcome.VALID),
        (None, "SIGTERM", True, 0, Outcome.VALID),
        (143, None, True, 0, Outcome.VALID),
        (1, None, False, 0, Outcome.INVALID),
        (1, None, True, 0, Outcome.INVALID),
        (0, None, False, 3, Outcome.INVALID),
        (143, None, False, 0, Outcome.INVALID),
        (None, "SIGTERM", False, 0, Outcome.INVALID),
        (None, "SIGSEGV", True, 0, Outcome.INVALID),
        (None, "SIGKILL", True, 0, Outcome.INVALID),
    ],
)
def test_how_it_may_end(code: int | None, signal: str | None, told: bool, wanted: int, outcome: Outcome) -> None:
    finding = application.check(ended(code, signal, told=told), exit_code=wanted)
    assert finding.outcome is outcome
    assert finding.stats["ended_early"] is not told
    assert ("the last one" in finding.explanation) is (outcome is Outcome.INVALID)


def test_without_an_end_there_is_no_verdict() -> None:
    assert application.check(History.of()).outcome is Outcome.UNKNOWN
    assert application.check(History.of(events=[STARTED])).outcome is Outcome.UNKNOWN


def test_checks_that_need_no_workload() -> None:
    """What --exec-only still judges. A checker that looks at operations must not be among them."""
    without = {name for name, checker in registry.CHECKERS.items() if not checker.of_operations}
    assert {"application", "convergence", "refusals", "sentinels-agree"} <= without
    assert not {"acked-writes", "recovery", "split-brain", "register", "deposed-writes"} & without


def test_long_runs_of_lines_are_cut_down_to_their_ends() -> None:
    lines = [Event(APPLICATION_LINE, n, None, {"text": f"line {n}"}) for n in range(10)]
    other = Event("role", 10, "redis-1", {"text": "a role"})
    told = [event.detail["text"] for event in thinned([*lines, other, *lines[:2]])]
    assert told == ["line 0", "… 8 more lines of the application", "line 9", "a role", "line 0", "line 1"]
