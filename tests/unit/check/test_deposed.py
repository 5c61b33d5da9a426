from __future__ import annotations

from labctl.check.deposed import check
from labctl.model.history import ROLE, SENTINEL, Event, History, Op
from labctl.model.verdict import Outcome

MS = 1_000_000


def write(node: str, at_ms: int, process: int = 1) -> Op:
    return Op(process, "add", "k", at_ms, at_ms * MS, at_ms * MS + 1, node=node)


def primary(node: str, at_ms: int, epoch: int | None = None) -> Event:
    return Event(ROLE, at_ms * MS, node, {"role": "primary", **({"epoch": epoch} if epoch else {})})


def told(by: str, node: str, epoch: int, at_ms: int) -> Event:
    return Event(SENTINEL, at_ms * MS, by, {"primary": node, "epoch": epoch})


def test_a_deposed_primary_that_goes_on_is_measured_from_the_promotion_not_from_the_sentinels_word() -> None:
    events = [primary("a", 0, 1), primary("b", 1000), told("s1", "b", 2, 1800)]
    ops = [write("a", 500), write("b", 1500, 2), write("a", 3000)]
    finding = check(History.of(ops, events))
    assert finding.outcome is Outcome.INVALID
    assert finding.stats["deposed_writes"] == 1
    assert finding.stats["deposed_ms"] == 2000.0
    assert finding.witness == (2,)


def test_a_primary_that_comes_back_believing_in_its_role_deposes_nobody() -> None:
    events = [primary("a", 0, 1), primary("b", 1000), told("s1", "b", 2, 1800), primary("a", 4000)]
    ops = [write("a", 500), write("b", 1500), write("b", 5000)]
    assert check(History.of(ops, events)).outcome is Outcome.VALID


def test_a_deposed_primary_that_is_promoted_again_is_judged_only_in_between() -> None:
    events = [primary("a", 0, 1), primary("b", 1000, 2), primary("a", 3000, 3)]
    assert check(History.of([write("a", 500), write("b", 1500), write("a", 3500)], events)).outcome is Outcome.VALID
    finding = check(History.of([write("a", 500), write("a", 2000), write("a", 3500)], events))
    assert finding.outcome is Outcome.INVALID
    assert finding.stats["deposed_writes"] == 1


def test_nothing_to_hold_against_each_other_is_unknown() -> None:
    assert check(History.of([write("a", 1)], [])).outcome is Outcome.UNKNOWN
    assert check(History.of([], [primary("a", 0, 1)])).outcome is Outcome.UNKNOWN
