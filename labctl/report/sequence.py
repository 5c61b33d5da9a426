"""Who told whom what: messages between nodes as a sequence diagram, in windows of time around what happened.

What is the same is said once. Words of one handshake or one transaction are one arrow; what a node tells several others at
the same time is one arrow with several heads, and what several tell one is one with several tails; what is repeated is
counted. A window ends where nobody says anything of note for a while.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from labctl.model.message import Heard, Message, Topic
from labctl.report.moments import Moment

_TOGETHER_S = 0.03
_SAME_TIME_S = 0.06
_QUIET_S = 1.5
_REPEAT_S = 4.0
_CAUSE_S = 6.0
"""What happened so long before anybody spoke is shown with what was said."""

_NOTED = frozenset({"fault-start", "fault-end", "role", "down", "up", "cluster"})
_JOINED = frozenset({Topic.SYNC, Topic.ORDER})
_FAINT = frozenset({Topic.HELLO, Topic.SUSPECT})
_MOST_ROWS = 60
_MOST_WINDOWS = 8


@dataclass(frozen=True, slots=True)
class Arrow:
    """A message, or several that are one to a reader.

    Attributes:
        at_s: When the first was heard, since the phase began.
        sources, targets: Who told whom; one of the two has one name.
        topic: What it is about.
        text: What was said.
        times: How often.
        last_s: When the last was heard.
    """

    at_s: float
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    topic: Topic
    text: str
    times: int
    last_s: float

    @property
    def said(self) -> str:
        """Its text with how often."""
        return self.text if self.times == 1 else f"{self.text} (×{self.times}, until {self.last_s:.2f} s)"

    @property
    def faint(self) -> bool:
        """Whether it is of less interest than the others."""
        return self.topic in _FAINT or self.text.startswith(("is ", "no, "))


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time with what was said and what happened, in order.

    Attributes:
        title: What happened in it.
        nodes: Who speaks or is spoken to, in the order of lifelines.
        rows: Arrows, and moments that nobody told anybody.
        left_out: Rows beyond those that are shown.
    """

    title: str
    nodes: tuple[str, ...]
    rows: tuple[Arrow | Moment, ...]
    left_out: int = 0

    @property
    def arrows(self) -> tuple[Arrow, ...]:
        """What was said in it."""
        return tuple(row for row in self.rows if isinstance(row, Arrow))

    @property
    def votes(self) -> bool:
        """Whether Sentinels ask each other in it."""
        return any(arrow.topic is Topic.VOTE for arrow in self.arrows)

    @property
    def from_s(self) -> float:
        """When it begins."""
        return self.rows[0].at_s

    @property
    def to_s(self) -> float:
        """When it ends."""
        return max(row.last_s if isinstance(row, Arrow) else row.at_s for row in self.rows)


def windows(heard: Heard, moments: Iterable[Moment], start_ns: int, nodes: Sequence[str]) -> tuple[Window, ...]:
    """The diagram of a phase that began at `start_ns`, its lifelines in the order of `nodes`."""
    arrows = _repeated(_side_by_side(_joined([_arrow(m, start_ns) for m in heard.messages if m.at_ns >= start_ns])))
    notes = _together([moment for moment in moments if moment.kind in _NOTED])
    rows: list[Arrow | Moment] = sorted([*notes, *arrows], key=lambda row: (row.at_s, isinstance(row, Arrow)))
    cuts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(rows)) if b.at_s - a.at_s > _QUIET_S), len(rows)]
    parts = [rows[a:b] for a, b in pairwise(cuts)]
    told: list[list[Arrow | Moment]] = []
    silent: list[Arrow | Moment] = []
    for part in parts:
        if any(isinstance(row, Arrow) for row in part):
            told.append([*(row for row in silent if part[0].at_s - row.at_s <= _CAUSE_S), *part])
            silent = []
        else:
            silent += part
    return tuple(_window(part, nodes) for part in told[:_MOST_WINDOWS])


def _together(notes: Sequence[Moment]) -> list[Moment]:
    """What several nodes see at the same time, as one note."""
    found: list[Moment] = []
    seen: dict[str, tuple[int, list[str]]] = {}
    for note in notes:
        says = note.text.removeprefix(f"{note.node} ")
        known = seen.get(says)
        if note.kind == "cluster" and known and note.at_s - found[known[0]].at_s <= _SAME_TIME_S:
            known[1].append(note.node or "?")
            text = f"{', '.join(known[1])} see {says.removeprefix('sees ')}"
            found[known[0]] = replace(found[known[0]], text=text)
        else:
            seen[says] = len(found), [note.node or "?"]
            found.append(note)
    return found


def _arrow(message: Message, start_ns: int) -> Arrow:
    at_s = (message.at_ns - start_ns) / 1e9
    return Arrow(at_s, (message.source,), (message.target,), message.topic, message.text, 1, at_s)


def _joined(arrows: Sequence[Arrow]) -> list[Arrow]:
    """Words that one node says to another in one go as one arrow."""
    found: list[Arrow] = []
    open_at: dict[tuple[object, ...], int] = {}
    for arrow in arrows:
        key = (arrow.sources, arrow.targets, arrow.topic)
        place = open_at.get(key)
        if arrow.topic in _JOINED and place is not None and arrow.at_s - found[place].last_s <= _TOGETHER_S:
            found[place] = replace(found[place], text=_sentence(found[place].text, arrow.text), last_s=arrow.at_s)
        else:
            open_at[key] = len(found)
            found.append(arrow)
    return [replace(arrow, last_s=arrow.at_s) for arrow in found]


def _sentence(text: str, more: str) -> str:
    """`REPLCONF a` and `REPLCONF b` are `REPLCONF a, b`; anything else goes behind a semicolon."""
    if more in text.split("; "):
        return text
    command, _, rest = more.partition(" ")
    last = text.rpartition("; ")[2]
    return f"{text}, {rest}" if rest and last.partition(" ")[0] == command else f"{text}; {more}"


def _side_by_side(arrows: Sequence[Arrow]) -> list[Arrow]:
    """The same words to several nodes, or from several nodes to one, at about the same time, as one arrow."""
    found: list[Arrow] = []
    for arrow in arrows:
        for place in range(len(found) - 1, -1, -1):
            other = found[place]
            if arrow.at_s - other.at_s > _SAME_TIME_S:
                found.append(arrow)
                break
            if (merged := _merged(other, arrow)) is not None:
                found[place] = merged
                break
        else:
            found.append(arrow)
    return found


def _merged(one: Arrow, other: Arrow) -> Arrow | None:
    if (one.topic, one.text) != (other.topic, other.text):
        return None
    if one.sources == other.sources and other.targets[0] not in one.targets:
        return replace(one, targets=one.targets + other.targets)
    if one.targets == other.targets and other.sources[0] not in one.sources:
        return replace(one, sources=one.sources + other.sources)
    return None


def _repeated(arrows: Sequence[Arrow]) -> list[Arrow]:
    """The same arrow again soon afterwards is counted instead of drawn."""
    found: list[Arrow] = []
    known: dict[tuple[object, ...], int] = {}
    for arrow in arrows:
        key = (frozenset(arrow.sources), frozenset(arrow.targets), arrow.topic, arrow.text)
        place = known.get(key)
        if place is not None and arrow.at_s - found[place].last_s <= _REPEAT_S:
            found[place] = replace(found[place], times=found[place].times + 1, last_s=arrow.at_s)
        else:
            known[key] = len(found)
            found.append(arrow)
    return found


def _window(rows: Sequence[Arrow | Moment], nodes: Sequence[str]) -> Window:
    shown = rows[:_MOST_ROWS]
    speaking = {name for row in shown if isinstance(row, Arrow) for name in (*row.sources, *row.targets)}
    order = [name for name in nodes if name in speaking] + sorted(speaking - set(nodes))
    notes = [row for row in shown if isinstance(row, Moment)]
    telling = next((note for note in notes if note.weight == "strong"), notes[0] if notes else None)
    first = shown[0]
    title = telling.text if telling else first.text
    return Window(title, tuple(order), tuple(shown), len(rows) - len(shown))
