"""Characters on a grid, each with a style, and small things that are drawn with them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

_BARS = "▁▂▃▄▅▆▇█"
_NO_ANSWER = "╳"

LIGHT = tuple("╭─╮│╰╯")
DOUBLE = tuple("╔═╗║╚╝")
BROKEN = tuple("┌╌┐╎└┘")
"""Frames of boxes: the upper line from left to right, a side, the lower corners."""


class Canvas:
    """A grid of so many columns and rows. What is put beside it is cut off; every character is one column wide."""

    def __init__(self, width: int, height: int) -> None:
        self.width = max(0, width)
        self.height = max(0, height)
        self._characters = [[" "] * self.width for _ in range(self.height)]
        self._styles = [[""] * self.width for _ in range(self.height)]

    def put(self, x: int, y: int, text: str, style: str = "") -> None:
        """Write from a place on."""
        if not 0 <= y < self.height:
            return
        for offset, character in enumerate(text):
            if 0 <= x + offset < self.width:
                self._characters[y][x + offset] = character if cell_len(character) == 1 else "?"
                self._styles[y][x + offset] = style

    def box(self, x: int, y: int, width: int, height: int, frame: Sequence[str], style: str = "") -> None:
        """An empty box."""
        upper_left, top, upper_right, side, lower_left, lower_right = frame
        self.put(x, y, upper_left + top * (width - 2) + upper_right, style)
        for row in range(y + 1, y + height - 1):
            self.put(x, row, side, style)
            self.put(x + width - 1, row, side, style)
        self.put(x, y + height - 1, lower_left + top * (width - 2) + lower_right, style)

    def lines(self) -> list[Text]:
        """Its rows, runs of one style together, without what is blank at their ends."""
        return [
            self._line(characters, styles) for characters, styles in zip(self._characters, self._styles, strict=True)
        ]

    @staticmethod
    def _line(characters: Sequence[str], styles: Sequence[str]) -> Text:
        line, start = Text(no_wrap=True), 0
        for at in range(1, len(characters) + 1):
            if at == len(characters) or styles[at] != styles[start]:
                line.append("".join(characters[start:at]), styles[start])
                start = at
        line.rstrip()
        return line


def sparkline(values: Sequence[float | None], width: int, *, least: float = 1.0) -> str:
    """The last `width` values as bars from zero to the highest of them, or to `least` when all are lower.

    Where there is no value there is no bar; a negative one is an answer that did not come.
    """
    shown = list(values)[-width:] if width > 0 else []
    top = max([least, *(value for value in shown if value is not None)])
    return "".join(_bar(value, top) for value in shown).rjust(max(0, width))


def _bar(value: float | None, top: float) -> str:
    if value is None:
        return " "
    return _NO_ANSWER if value < 0 else _BARS[min(len(_BARS) - 1, int(value / top * len(_BARS)))]


def chart(values: Sequence[float | None], width: int, height: int, *, least: float = 1.0) -> list[str]:
    """A sparkline of several rows, the upper ones first."""
    shown = list(values)[-width:] if width > 0 else []
    top = max([least, *(value for value in shown if value is not None)])
    steps = len(_BARS)
    heights = [None if value is None else -1 if value < 0 else round(value / top * steps * height) for value in shown]
    return [
        "".join(_block(level, row * steps, lowest=row == 0) for level in heights).rjust(max(0, width))
        for row in reversed(range(height))
    ]


def _block(level: int | None, below: int, *, lowest: bool) -> str:
    """The part of a column that lies in one row: `below` eighths of it are in the rows under this one."""
    if level is None:
        return " "
    if level < 0:
        return _NO_ANSWER if lowest else " "
    part = min(len(_BARS), max(1 if lowest else 0, level - below))
    return _BARS[part - 1] if part > 0 else " "


def fit(text: str, width: int) -> str:
    """`text` in exactly so many columns; an ellipsis where its end is missing."""
    if cell_len(text) <= width:
        return set_cell_size(text, max(0, width))
    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def count(value: float) -> str:
    """A number in at most five characters: `950`, `12.3k`, `1.2M`."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit * 0.9995:
            scaled = value / limit
            return f"{scaled:.1f}{unit}" if scaled < 99.95 else f"{scaled:.0f}{unit}"
    return f"{value:.0f}"


def size(octets: float) -> str:
    """A number of bytes: `12 B`, `1.3 MB`; decimal units, as in redis-cli's own words for offsets."""
    text = count(octets)
    return f"{text[:-1]} {text[-1]}B" if text[-1] in "kMG" else f"{text} B"


def milliseconds(value: float) -> str:
    """A duration in at most seven characters: `0.31 ms`, `12 ms`, `1.2 s`."""
    if value >= 999.5:
        return f"{value / 1000:.1f} s"
    return f"{value:.2f} ms" if value < 9.995 else f"{value:.0f} ms"
