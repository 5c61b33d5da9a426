"""Operations and events as sentences, with times counted from the start of the history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.model.history import FAULT_END, FAULT_START, FINAL_READ, ROLE, OpOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from labctl.model.history import Event, History

_ASKING = frozenset({"read", FINAL_READ, "dequeue", "deliver", "claim", "requeue", "generate", "hit"})
"""Functions whose value is the answer."""

_VALUE_LENGTH = 60
_EVENTS = 6


def moment(history: History, at_ns: int) -> str:
    """`+1.204567 s` since the history began."""
    return f"{(at_ns - history.start_ns) / 1e9:+.6f} s"


def duration(ns: float) -> str:
    """A length of time in the unit that reads best."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if abs(ns) >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


def shorten(value: object) -> str:
    """A value in at most sixty characters."""
    text = repr(value)
    return text if len(text) <= _VALUE_LENGTH else f"{text[: _VALUE_LENGTH - 1]}…"


def tell(history: History, position: int) -> str:
    """One operation as a sentence without its full stop."""
    op = history[position]
    asks = op.function in _ASKING
    what = f"{op.function} {op.key}" if asks else f"{op.function} {op.key} = {shorten(op.value)}"
    asked = f"process {op.process} sent {what} at {moment(history, op.invoke_ns)}"
    who = f" by {op.node}" if op.node else ""
    when = "" if op.complete_ns is None else f" at {moment(history, op.complete_ns)}"
    if op.outcome is OpOutcome.OK:
        return f"{asked}, answered {shorten(op.value)}{who}{when}" if asks else f"{asked}, acknowledged{who}{when}"
    why = f" ({op.error})" if op.error else ""
    if op.outcome is OpOutcome.FAIL:
        return f"{asked}, refused{who}{when}{why}"
    return f"{asked}, never learned the outcome{why}"


def sentence(history: History, position: int) -> str:
    """One operation as the beginning of a sentence."""
    text = tell(history, position)
    return text[0].upper() + text[1:]


def tell_event(history: History, event: Event) -> str:
    """One event as a few words."""
    at, node = moment(history, event.at_ns), event.node or "the system"
    if event.kind == FAULT_START:
        return f"fault {event.detail.get('fault', '')} began on {node} at {at}"
    if event.kind == FAULT_END:
        return f"fault {event.detail.get('fault', '')} ended on {node} at {at}"
    if event.kind == ROLE:
        epoch = f" in epoch {event.detail['epoch']}" if "epoch" in event.detail else ""
        return f"{node} became {event.detail.get('role')}{epoch} at {at}"
    return f"{event.kind} on {node} at {at}"


def surroundings(history: History, positions: Iterable[int]) -> str:
    """The faults and role changes around these operations, as a sentence; empty when there were none.

    Those between the first invocation and the last completion, and the last one before.
    """
    ops = [history[position] for position in positions]
    if not ops or not history.events:
        return ""
    first = min(op.invoke_ns for op in ops)
    last = max(op.invoke_ns if op.complete_ns is None else op.complete_ns for op in ops)
    notable = [event for event in history.events if event.kind in {FAULT_START, FAULT_END, ROLE}]
    before = [event for event in notable if event.at_ns < first][-1:]
    between = [event for event in notable if first <= event.at_ns <= last]
    told = [tell_event(history, event) for event in (before + between)[:_EVENTS]]
    more = len(before + between) - len(told)
    if not told:
        return ""
    return f" Around it: {'; '.join(told)}{f'; and {more} more events' if more else ''}."
