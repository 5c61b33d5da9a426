"""Numbers of INFO against bounds: what is judged, and what nobody can judge."""

from __future__ import annotations

import pytest

from labctl.check import counters, registry
from labctl.model.history import ACTION_END, Event, History
from labctl.model.topology import Role
from labctl.model.verdict import Outcome
from labctl.model.view import NodeView, View


def history(*events: Event) -> History:
    return History.of([], list(events))


def view(at_s: float, **nodes: dict[str, object]) -> View:
    """Nodes by name (`a`, `b`): `role`, `run` and numbers."""
    made = []
    for name, given in nodes.items():
        role, run = given.pop("role", "primary"), given.pop("run", "r1")
        numbers = {key: float(str(value)) for key, value in given.items()}
        made.append(NodeView(name, up=True, role=Role(str(role)), run_id=str(run), counters=numbers))
    return View(round(at_s * 1e9), tuple(made))


def series(*values: float, run: str = "r1", field: str = "sync_full") -> list[View]:
    return [view(n, a={field: value, "run": run}) for n, value in enumerate(values)]


@pytest.mark.parametrize(
    ("as_", "bound", "outcome"),
    [
        ("last", {"at_most": 4}, Outcome.VALID),
        ("last", {"at_most": 3}, Outcome.INVALID),
        ("max", {"at_most": 6}, Outcome.INVALID),
        ("max", {"at_most": 7}, Outcome.VALID),
        ("min", {"at_least": 2}, Outcome.VALID),
        ("min", {"at_least": 3}, Outcome.INVALID),
        ("last", {"at_least": 4, "at_most": 4}, Outcome.VALID),
    ],
)
def test_one_number_of_a_series(as_: counters.As, bound: dict[str, float], outcome: Outcome) -> None:
    assert counters.check(series(2, 7, 4), field="sync_full", as_=as_, **bound).outcome is outcome


def test_a_rise_is_counted_from_zero_after_a_restart() -> None:
    views = [*series(5, 6), *series(1, 3, run="r2")]
    finding = counters.check(views, field="sync_full", as_="delta", at_most=0)
    assert finding.outcome is Outcome.INVALID
    assert finding.stats["value_sum"] == 1 + 1 + 2


def test_rises_of_all_nodes_are_added_up() -> None:
    views = [view(0, a={"sync_full": 1}, b={"sync_full": 1}), view(1, a={"sync_full": 2}, b={"sync_full": 2})]
    assert counters.check(views, field="sync_full", as_="delta", at_most=1).outcome is Outcome.INVALID
    assert counters.check(views, field="sync_full", as_="delta", at_most=2).outcome is Outcome.VALID


def test_a_role_is_that_of_the_view() -> None:
    views = [
        view(0, a={"keys": 9}, b={"role": "replica", "keys": 1}),
        view(1, a={"role": "replica", "keys": 100}, b={"keys": 2}),
    ]
    finding = counters.check(views, field="keys", of="primary", as_="max", at_most=9)
    assert finding.outcome is Outcome.VALID
    assert finding.stats["value_max"] == 9
    assert counters.check(views, field="keys", of="replicas", as_="max", at_most=9).outcome is Outcome.INVALID
    assert counters.check(views, field="keys", of="b", as_="max", at_most=2).outcome is Outcome.VALID


def test_a_field_divided_by_another_of_the_same_view() -> None:
    views = [view(0, a={"used_memory": 50, "maxmemory": 100}), view(1, a={"used_memory": 5, "maxmemory": 0})]
    finding = counters.check(views, field="used_memory", per="maxmemory", as_="max", at_most=0.5)
    assert finding.outcome is Outcome.VALID
    assert finding.stats["value_max"] == 0.5, "a view in which the divisor is zero says nothing"


def test_what_no_view_states_is_unknown() -> None:
    finding = counters.check(series(1), field="keys", at_most=1)
    assert finding.outcome is Outcome.UNKNOWN
    assert counters.check([], field="keys", at_most=1).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"field": "nope", "at_most": 1}, "no number that views keep"),
        ({"field": "keys"}, "must be stated"),
        ({"field": "keys", "as": "mean", "at_most": 1}, "last, max, min or delta"),
        ({"field": "keys", "per": "nope", "at_most": 1}, "no number that views keep"),
    ],
)
def test_parameters_that_mean_nothing_are_no_verdict(parameters: dict[str, object], words: str) -> None:
    finding = registry.run("counters", history(), views=series(1), parameters=parameters)
    assert finding.outcome is Outcome.UNKNOWN
    assert words in finding.summary


def restore(**detail: object) -> Event:
    return Event(
        ACTION_END, 1, None, {"action": "restore", "ok": True, "node": "redis-1", "keys": 5, "keys_saved": 5, **detail}
    )


def test_a_restore_is_judged_by_what_was_saved() -> None:
    good, bad = restore(equal=True), restore(equal=False, keys=4)
    assert registry.run("restored", history(good)).outcome is Outcome.VALID
    finding = registry.run("restored", history(good, bad))
    assert finding.outcome is Outcome.INVALID
    assert "4 keys, 5 were saved" in finding.explanation


@pytest.mark.parametrize("events", [[], [restore(equal=None)], [restore(equal=True, ok=False)]])
def test_a_restore_that_was_not_compared_is_unknown(events: list[Event]) -> None:
    assert registry.run("restored", history(*events)).outcome is Outcome.UNKNOWN
