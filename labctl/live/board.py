"""The whole terminal: headline, picture, panels, in whatever room there is. Pure: a frame and a size make lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from rich.text import Text

from labctl.live import panels
from labctl.live.frame import Frame
from labctl.live.sketch import Curves, sketch
from labctl.live.words import FAINT, GOOD

_WIDE = 130
"""From so many columns on, faults and events stand beside the picture instead of below it."""
_SIDE_SHARE = 0.36
_MOST_SIDE = 72
_BESIDE = 76
"""From so many columns on, clients stand beside the Sentinels."""
_SENTINELS = 36
_LEAST_EVENTS = 3
_MOST_FAULTS = 4


@dataclass(frozen=True, slots=True)
class State:
    """What a viewer knows.

    Attributes:
        frame: The last one.
        curves: See `sketch.Curves`.
        events: Oldest first, as the agent dates them.
    """

    frame: Frame
    curves: Curves
    events: Sequence[Mapping[str, Any]]


def board(known: State, width: int, height: int) -> list[Text]:
    """Exactly `height` lines of at most `width` columns."""
    lines = [panels.headline(known.frame, known.curves, width)]
    if width >= _WIDE:
        lines += _beside(known, width, height - 1)
    else:
        lines += _below(known, width, height - 1)
    lines = (lines + [Text()] * max(0, height - len(lines)))[:height]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _below(known: State, width: int, height: int) -> list[Text]:
    band, faults = _band(known, width), _faults(known, width)
    room = height - len(band) - len(faults) - _LEAST_EVENTS - 1
    picture = sketch(known.frame.picture, known.curves, width, max(1, room))
    spare = room - len(picture)
    gap = [Text()] if spare >= 3 else []
    lines = [*gap, *picture, *gap, *band, *gap, *faults]
    return lines + _events(known, width, height - len(lines))


def _beside(known: State, width: int, height: int) -> list[Text]:
    side = min(_MOST_SIDE, int(width * _SIDE_SHARE))
    main = width - side - 3
    band = _band(known, main)
    picture = sketch(known.frame.picture, known.curves, main, max(1, height - len(band) - 2))
    lines = [Text(), *picture, Text(), *band, Text()]
    left = [*lines, *panels.charts(known.curves, main, height - len(lines))]
    right = [*(_faults(known, side) or [_title("Faults"), Text("No fault is in force.", GOOD)]), Text()]
    right += _events(known, side, height - len(right))
    rows = zip_longest(left[:height], right[:height], fillvalue=Text())
    return [_joined(one, other, main) for one, other in rows]


def _band(known: State, width: int) -> list[Text]:
    """Sentinels and clients, side by side where both have room."""
    left = max(_SENTINELS, (width - 2) * 2 // 5)
    beside = width >= _BESIDE and bool(known.frame.picture.sentinels)
    clients = (
        panels.clients(known.frame, known.curves, width - left - 2 if beside else width) if known.frame.pings else []
    )
    watchers = panels.sentinels(known.frame, left if beside else width)
    if not beside:
        return [*watchers, *clients]
    return [_joined(one, other, left) for one, other in zip_longest(watchers, clients, fillvalue=Text())]


def _faults(known: State, width: int) -> list[Text]:
    lines = panels.faults(known.frame, width)
    if not lines:
        return []
    more = len(lines) - _MOST_FAULTS
    title = _title("Faults", f"  the last {_MOST_FAULTS} of {len(lines)}" if more > 0 else "")
    return [title, *lines[-_MOST_FAULTS:]]


def _events(known: State, width: int, height: int) -> list[Text]:
    return [_title("Events"), *panels.events(known.events, width, height - 1)]


def _title(text: str, more: str = "") -> Text:
    return Text.assemble((text, "bold"), (more, FAINT))


def _joined(left: Text, right: Text, width: int) -> Text:
    """Two lines as one, the right one beginning behind `width` columns and a gap of two."""
    line = left.copy()
    line.truncate(width, overflow="ellipsis", pad=True)
    return Text.assemble(line, "  ", right, no_wrap=True)
