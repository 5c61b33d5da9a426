"""Waiting for a condition on the observed view: never a sleep in the hope that it holds afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from labctl.errors import LabError
from labctl.model.view import View
from labctl.observe.poll import Observer

Condition = Callable[[View], list[str]]
"""Reasons why a view does not meet the condition; empty when it does (`model.conditions`)."""

POLL_INTERVAL_S = 0.02
_SHARE_OF_THE_WAIT = 0.02
_REASONS_SHOWN = 8


class ConditionError(LabError):
    """A condition was not met in time. `reasons` are those of the last view, `view` that view."""

    def __init__(self, what: str, deadline_s: float, reasons: list[str], view: View) -> None:
        shown = reasons[:_REASONS_SHOWN]
        if len(reasons) > len(shown):
            shown.append(f"… and {len(reasons) - len(shown)} more")
        super().__init__(
            f"{what} not observed within {deadline_s:g} s:\n" + "\n".join(f"  {reason}" for reason in shown)
        )
        self.reasons = reasons
        self.view = view


async def wait_for(
    observer: Observer,
    condition: Condition,
    deadline_s: float,
    *,
    what: str = "the condition",
    interval_s: float = POLL_INTERVAL_S,
    on_change: Callable[[list[str]], None] | None = None,
) -> View:
    """Poll until `condition` is met by a view; return that view.

    Args:
        observer: Who polls.
        condition: Returns the reasons why it is not met.
        deadline_s: Seconds until giving up.
        what: Subject of the error message, `a healthy lab` for example.
        interval_s: Pause between rounds. A round that takes longer than this is followed by a pause as long as
            itself, so that watching a big lab does not take the processor from it. A long wait pauses longer, by a
            fiftieth of it so far: that is the most that it is told late.
        on_change: Told the reasons each time they change.

    Raises:
        ConditionError: Not met in time; the message lists the last reasons.
    """
    began = time.monotonic()
    until = began + deadline_s
    last: list[str] | None = None
    while True:
        started = time.monotonic()
        view = await observer.poll()
        reasons = condition(view)
        if not reasons:
            return view
        if reasons != last and on_change is not None:
            on_change(reasons)
        last = reasons
        now = time.monotonic()
        if now >= until:
            raise ConditionError(what, deadline_s, reasons, view)
        pause = max(interval_s, now - started, _SHARE_OF_THE_WAIT * (now - began))
        await asyncio.sleep(min(pause, until - now))
