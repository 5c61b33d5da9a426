"""Where the lines of a sequence diagram go, in pixels. The template draws what this says."""

from __future__ import annotations

from dataclasses import dataclass

from labctl.report.sequence import Arrow, Window

_LEFT = 64
_APART = 124
_HEAD = 34
_ROW = 30
_NOTE = 24
_CHARACTER = 6.1
"""Width of an average character at 11 px; only decides where a label stays within the picture."""


@dataclass(frozen=True, slots=True)
class Line:
    """An arrow: its line from `left` to `right`, a dot at each tail, a head at each target, and its words."""

    y: int
    at: str
    left: int
    right: int
    tails: tuple[int, ...]
    heads: tuple[tuple[int, str], ...]
    text: str
    text_x: int
    faint: bool


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened, across all lifelines."""

    y: int
    at: str
    text: str
    weight: str


@dataclass(frozen=True, slots=True)
class Diagram:
    """A window as a picture. `lifelines` are pairs of name and x."""

    width: int
    height: int
    lifelines: tuple[tuple[str, int], ...]
    lines: tuple[Line, ...]
    notes: tuple[Note, ...]


def draw(window: Window) -> Diagram:
    """Lay a window out, a row for each arrow and each note."""
    place = {name: _LEFT + _APART // 2 + index * _APART for index, name in enumerate(window.nodes)}
    width = _LEFT + _APART * max(len(place), 3)
    y = _HEAD
    lines, notes = [], []
    for row in window.rows:
        if isinstance(row, Arrow):
            y += _ROW
            lines.append(_line(row, y, place, width))
        else:
            y += _NOTE
            notes.append(Note(y, f"{row.at_s:.3f}", row.text, row.weight))
    return Diagram(width, y + 16, tuple(place.items()), tuple(lines), tuple(notes))


def _line(arrow: Arrow, y: int, place: dict[str, int], width: int) -> Line:
    tails = tuple(place[name] for name in arrow.sources)
    heads = tuple((place[name], "right" if place[name] > tails[0] else "left") for name in arrow.targets)
    ends = [*tails, *(x for x, _ in heads)]
    half = len(arrow.said) * _CHARACTER / 2
    middle = (min(ends) + max(ends)) / 2
    text_x = round(min(max(middle, _LEFT + half), max(width - half, _LEFT + half)))
    return Line(y, f"{arrow.at_s:.3f}", min(ends), max(ends), tails, heads, arrow.said, text_x, arrow.faint)
