"""Finding against promise: the whole table, and that not knowing is never a pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.check.judge import exceeded, judge
from labctl.model.run import PhaseVerdicts, worst
from labctl.model.scenario import Check, Expectation
from labctl.model.verdict import Finding, Judgement, Outcome, Verdict

HOLDS, MAY_LOSE, LOSES = Expectation.HOLDS, Expectation.MAY_LOSE, Expectation.LOSES
VALID, INVALID, UNKNOWN = Outcome.VALID, Outcome.INVALID, Outcome.UNKNOWN
HELD, LOSS, BROKEN, OPEN = Judgement.HELD, Judgement.DOCUMENTED_LOSS, Judgement.BROKEN, Judgement.INCONCLUSIVE


def judgement(
    expect: Expectation,
    outcome: Outcome,
    stats: dict[str, float | int | str | bool | None] | None = None,
    bounds: dict[str, float] | None = None,
) -> Judgement:
    check = Check("c", "a promise", expect, bounds or {})
    return judge(check, Finding("c", outcome, "summary", stats=stats or {})).judgement


@pytest.mark.parametrize(
    ("expect", "outcome", "expected"),
    [
        (HOLDS, VALID, HELD),
        (HOLDS, INVALID, BROKEN),
        (HOLDS, UNKNOWN, OPEN),
        (MAY_LOSE, VALID, HELD),
        (MAY_LOSE, INVALID, LOSS),
        (MAY_LOSE, UNKNOWN, OPEN),
        (LOSES, VALID, OPEN),  # it was to show a loss, and showed none
        (LOSES, INVALID, LOSS),
        (LOSES, UNKNOWN, OPEN),
    ],
)
def test_outcome_against_expectation(expect: Expectation, outcome: Outcome, expected: Judgement) -> None:
    assert judgement(expect, outcome) is expected


@pytest.mark.parametrize(
    ("stats", "outcome", "expected"),
    [
        ({"ms": 8000}, VALID, HELD),  # at the bound is within it
        ({"ms": 8000.5}, VALID, BROKEN),
        ({"ms": 9000}, INVALID, BROKEN),
        ({"ms": 9000}, UNKNOWN, BROKEN),  # whatever else is not known, the bound is exceeded
        ({"ms": 1}, INVALID, LOSS),
        ({"ms": 1}, UNKNOWN, OPEN),
        ({}, VALID, OPEN),  # a bound on what nobody measured
        ({"ms": None}, VALID, OPEN),
        ({"ms": "fast"}, VALID, OPEN),
    ],
)
def test_bounds(stats: dict[str, float | int | str | bool | None], outcome: Outcome, expected: Judgement) -> None:
    assert judgement(MAY_LOSE, outcome, stats, {"ms": 8000}) is expected


def test_an_exceeded_bound_is_told_in_words() -> None:
    check = Check("recovery", "p", bounds={"recovery_ms": 8000, "gap_ms": 10})
    finding = Finding("recovery", VALID, "s", stats={"recovery_ms": 9500.0, "gap_ms": 10})
    assert exceeded(check, finding) == ["recovery_ms is 9500, at most 8000 is promised"]


def test_a_verdict_keeps_finding_and_promise() -> None:
    finding = Finding("c", VALID, "summary")
    assert judge(Check("c", "a promise"), finding) == Verdict(finding, "a promise", HELD)


@given(st.sampled_from(Expectation), st.dictionaries(st.sampled_from("ab"), st.floats(0, 10)))
def test_what_is_not_known_is_never_a_pass(expect: Expectation, stats: dict[str, float]) -> None:
    assert judgement(expect, UNKNOWN, dict(stats), {"a": 5.0}) in (OPEN, BROKEN)


@given(st.sampled_from(Expectation), st.sampled_from(Outcome), st.floats(0, 10), st.floats(0, 10))
def test_a_tighter_bound_never_mends_a_broken_promise(
    expect: Expectation, outcome: Outcome, measured: float, bound: float
) -> None:
    if judgement(expect, outcome, {"a": measured}, {"a": bound}) is BROKEN:
        assert judgement(expect, outcome, {"a": measured}, {"a": bound / 2}) is BROKEN


@given(st.lists(st.lists(st.sampled_from(Judgement), max_size=3), max_size=3))
def test_a_run_is_as_bad_as_its_worst_verdict(phases: list[list[Judgement]]) -> None:
    every = [each for phase in phases for each in phase]
    run = tuple(PhaseVerdicts("p", tuple(Verdict(Finding("c", VALID, ""), "", j) for j in phase)) for phase in phases)
    ranking = [BROKEN, OPEN, LOSS, HELD]
    assert worst(run) is (min(every, key=ranking.index) if every else OPEN)
