"""What happened during a phase, moment by moment, as words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from labctl.model.history import APPLICATION_LINE, CLIENTS, FAULT_END, FAULT_START, ROLE, SETTLED, Event, History
from labctl.model.scenario import Phase
from labctl.report.application import thinned

_CHATTER = frozenset({APPLICATION_LINE, "link"})


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened.

    Attributes:
        at_s: Seconds since the phase began.
        kind: The event's, or `load` for the first one.
        node: Whom it concerns, if anybody in particular.
        text: For people.
        weight: `begin` and `end` of a fault, `strong` for what a reader looks for, empty otherwise.
    """

    at_s: float
    kind: str
    node: str | None
    text: str
    weight: str = ""


def moments(declared: Phase, history: History) -> Iterator[Moment]:
    """The load and the roles at the start as one moment, then everything that was observed."""
    start = history.start_ns
    load = "; ".join(
        f"{w.clients} clients ({w.group}) run `{w.kind}`" + (f", {w.rate:g}/s together" if w.rate else "")
        for w in declared.workloads
    )
    at_start = [e for e in history.events if e.kind == ROLE and e.at_ns <= start]
    primaries = ", ".join(e.node or "?" for e in at_start if e.detail.get("role") == "primary")
    yield Moment(0.0, "load", None, f"{load or 'no workload of the scenario'}; primary: {primaries}")
    every = (e for e in history.events if e.at_ns > start and e.kind != CLIENTS and words(e))
    for event in thinned(every):
        yield Moment((event.at_ns - start) / 1e9, event.kind, event.node, words(event), _weight(event))


def notable(told: Sequence[Moment], most: int) -> tuple[Moment, ...]:
    """At most so many of them, in order: of an application's lines and of the unimportant the last ones go first."""
    if len(told) <= most:
        return tuple(told)
    order = sorted(range(len(told)), key=lambda i: (told[i].kind in _CHATTER, not told[i].weight, i))
    return tuple(told[i] for i in sorted(order[:most]))


def words(event: Event) -> str:
    """An event in a sentence; empty when it has nothing to say."""
    if event.kind == SETTLED:
        reasons = event.detail.get("reasons") or []
        assert isinstance(reasons, list)
        return (
            "healthy again, replicas converged" if not reasons else f"not settled: {'; '.join(map(str, reasons[:3]))}"
        )
    return str(event.detail.get("text", ""))


def _weight(event: Event) -> str:
    if event.kind in (FAULT_START, FAULT_END):
        return "begin" if event.kind == FAULT_START else "end"
    primary = event.kind == ROLE and event.detail.get("role") == "primary"
    return "strong" if primary or event.kind == SETTLED else ""
