"""Alerts: those that should fire do, and are over in the end.

Model. Whoever ran the lab asked Prometheus every so often which alerts fire for the lab, from before the first fault until
it had settled again, and noted each change as an `ALERT` event: `watched` once when it began to look, `standing` for what
fired already then, `firing` and `cleared` afterwards, and `blind` where Prometheus stopped answering. An alert that was
firing and cleared between two looks is not seen. An alert of one name may fire for several nodes; it is over when it has
cleared for all of them. What was standing at the start says nothing about the faults, so an alert that is expected and
stood already is not judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from labctl.check.common import Anomaly, Deadline, Stats, milliseconds, never, unknown
from labctl.model.history import ALERT, FAULT_START, History
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from labctl.model.history import Event
    from labctl.model.scenario import Scenario

NAME: Final = "alerts"
WATCHED, BLIND, STANDING, FIRING, CLEARED = "watched", "blind", "standing", "firing", "cleared"


def check(history: History, *, deadline: Deadline = never, fire: str = "", silent: str = "") -> Finding:
    """UNKNOWN when nobody asked Prometheus, when it stopped answering, or when an expected alert fired before any fault.

    Args:
        history: The run.
        deadline: Not consulted.
        fire: Names of alerts that must fire and clear, with commas between them.
        silent: Names of alerts that must not fire.
    """
    del deadline
    seen = [event for event in history.events if event.kind == ALERT]
    if not any(event.detail.get("state") == WATCHED for event in seen):
        return unknown(NAME, "nobody asked Prometheus for alerts")
    if any(event.detail.get("state") == BLIND for event in seen):
        return unknown(NAME, "Prometheus stopped answering meanwhile")
    expected, unwanted = names(fire), names(silent)
    stood = [name for name in expected if _first(seen, name, STANDING) is not None]
    begun = min((event.at_ns for event in history.events if event.kind == FAULT_START), default=None)
    fired = {name: event.at_ns for name in expected if (event := _first(seen, name, FIRING)) is not None}
    stats: Stats = {"expected": len(expected), "fired": len(fired), "unwanted": 0}
    if stood:
        return unknown(NAME, f"{', '.join(stood)} fired before anything was broken", stats)
    if fired and begun is not None:
        stats["slowest_ms"] = milliseconds(max(fired.values()) - begun)
    wrong = list(_wrong(seen, expected, unwanted))
    stats["unwanted"] = sum(1 for row in wrong if row["kind"] == "unwanted")
    if wrong:
        told = "; ".join(f"{row['alert']} {row['what']}" for row in wrong)
        return Finding(NAME, Outcome.INVALID, told, f"{told}.", (), stats, tuple(wrong))
    quiet = f"; silent: {', '.join(unwanted)}" if unwanted else ""
    return Finding(NAME, Outcome.VALID, f"{_told(fired, begun)}{quiet}", stats=stats)


def asked_by(scenario: Scenario) -> bool:
    """Whether one of the scenario's checks is this one, so that it needs a Prometheus."""
    return any(check_.name == NAME for phase in scenario.phases for check_ in phase.checks)


def names(text: str) -> tuple[str, ...]:
    """The names in a list with commas."""
    return tuple(part for part in text.replace(",", " ").split() if part)


def firing(seen: Iterable[Event], name: str) -> Iterator[tuple[Event, str]]:
    """Each change of an alert, and then in words for whom it fires: `fires for redis-1, redis-2`; empty when for nobody."""
    series: dict[str, str | None] = {}
    for event in seen:
        if event.kind != ALERT or event.detail.get("alert") != name:
            continue
        labels = str(event.detail.get("labels"))
        if event.detail.get("state") == CLEARED:
            series.pop(labels, None)
        else:
            series[labels] = event.node
        nodes = ", ".join(sorted({node for node in series.values() if node}))
        yield event, f"fires{f' for {nodes}' if nodes else ''}" if series else ""


def _wrong(seen: Sequence[Event], expected: Sequence[str], unwanted: Sequence[str]) -> Iterator[Anomaly]:
    for name in expected:
        if _first(seen, name, FIRING) is None:
            yield {"kind": "silent", "alert": name, "what": "did not fire"}
        elif left := [about for _, about in firing(seen, name)][-1]:
            yield {"kind": "stuck", "alert": name, "what": f"still {left}"}
    for name in unwanted:
        if (event := _first(seen, name, FIRING)) is not None:
            where = f" for {event.node}" if event.node else ""
            yield {"kind": "unwanted", "alert": name, "what": f"fired{where} and should not"}


def _first(seen: Sequence[Event], name: str, state: str) -> Event | None:
    return next((e for e in seen if e.detail.get("alert") == name and e.detail.get("state") == state), None)


def _told(fired: dict[str, int], begun: int | None) -> str:
    if not fired:
        return "nothing was to fire"
    if begun is None:
        return f"fired and cleared: {', '.join(fired)}"
    after = (f"{name} {(at_ns - begun) / 1e9:.1f} s" for name, at_ns in fired.items())
    return f"fired and cleared, the time since the first fault: {', '.join(after)}"
