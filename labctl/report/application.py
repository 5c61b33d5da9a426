"""The user's own program in a report: a few of its lines, and the options that run it again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby

from labctl.model.history import APPLICATION_LINE, Event

_SHOWN_AT_EACH_END = 1


def thinned(events: Iterable[Event]) -> Iterator[Event]:
    """The events with long runs of the program's lines cut down to their ends, so that they do not drown the rest."""
    for lines, run in groupby(events, lambda event: event.kind == APPLICATION_LINE):
        every = list(run)
        hidden = len(every) - 2 * _SHOWN_AT_EACH_END
        if not lines or hidden <= 1:
            yield from every
            continue
        first = every[_SHOWN_AT_EACH_END]
        yield from every[:_SHOWN_AT_EACH_END]
        yield replace(first, detail={**first.detail, "text": f"… {hidden} more lines of the application"})
        yield from every[-_SHOWN_AT_EACH_END:]
