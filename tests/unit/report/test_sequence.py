"""The message diagram: what is one to a reader is one arrow, and a stretch of quiet ends a window."""

from __future__ import annotations

from labctl.model.message import Heard, Message, Topic
from labctl.report.diagram import draw
from labctl.report.moments import Moment
from labctl.report.sequence import Arrow, windows

NODES = ["redis-1", "redis-2", "sentinel-1", "sentinel-2", "sentinel-3"]
Said = tuple[float, str, str, Topic, str]


def shown(*said: Said, moments: tuple[Moment, ...] = ()) -> list[list[str]]:
    heard = Heard(tuple(Message(round(at * 1e9), *rest) for at, *rest in said))
    return [[told(row) for row in window.rows] for window in windows(heard, moments, 0, NODES)]


def told(row: Arrow | Moment) -> str:
    if isinstance(row, Moment):
        return f"* {row.text}"
    return f"{'+'.join(row.sources)} > {'+'.join(row.targets)}: {row.said}"


def test_words_of_one_go_are_one_arrow() -> None:
    assert shown(
        (1.00, "redis-1", "redis-2", Topic.SYNC, "REPLCONF listening-port"),
        (1.01, "redis-1", "redis-2", Topic.SYNC, "REPLCONF capa"),
        (1.02, "redis-1", "redis-2", Topic.SYNC, "PSYNC ? -1"),
        (1.03, "redis-2", "redis-1", Topic.SYNC, "+CONTINUE"),
        (1.50, "sentinel-1", "redis-2", Topic.ORDER, "SLAVEOF NO ONE"),
        (1.50, "sentinel-1", "redis-2", Topic.ORDER, "CLIENT KILL"),
        (1.50, "sentinel-1", "redis-2", Topic.ORDER, "CLIENT KILL"),
    ) == [
        [
            "redis-1 > redis-2: REPLCONF listening-port, capa; PSYNC ? -1",
            "redis-2 > redis-1: +CONTINUE",
            "sentinel-1 > redis-2: SLAVEOF NO ONE; CLIENT KILL",
        ]
    ]


def test_one_to_several_and_several_to_one() -> None:
    assert shown(
        (1.00, "sentinel-1", "sentinel-2", Topic.VOTE, "vote for me"),
        (1.00, "sentinel-1", "sentinel-3", Topic.VOTE, "vote for me"),
        (1.02, "sentinel-2", "sentinel-1", Topic.VOTE, "votes for sentinel-1"),
        (1.05, "sentinel-3", "sentinel-1", Topic.VOTE, "votes for sentinel-1"),
        (1.30, "sentinel-3", "sentinel-2", Topic.VOTE, "votes for sentinel-1"),
    ) == [
        [
            "sentinel-1 > sentinel-2+sentinel-3: vote for me",
            "sentinel-2+sentinel-3 > sentinel-1: votes for sentinel-1",
            "sentinel-3 > sentinel-2: votes for sentinel-1",
        ]
    ]


def test_repeats_are_counted() -> None:
    said = [(1.0 + n, "sentinel-1", "sentinel-2", Topic.VOTE, "is redis-1 down?") for n in range(3)]
    assert shown(*said) == [["sentinel-1 > sentinel-2: is redis-1 down? (×3, until 3.00 s)"]]


def test_a_quiet_stretch_begins_another_window_and_its_cause_goes_with_it() -> None:
    moments = (
        Moment(1.0, "fault-start", None, "fault 1 began", "begin"),
        Moment(3.2, "role", "redis-2", "redis-2 is primary", "strong"),
        Moment(3.3, "sentinel", "sentinel-1", "not a note: it is an arrow already"),
        Moment(30.0, "fault-end", None, "fault 1 ended", "end"),
    )
    found = shown(
        (3.0, "sentinel-1", "redis-2", Topic.ORDER, "SLAVEOF NO ONE"),
        (20.0, "sentinel-1", "redis-1", Topic.ORDER, "SLAVEOF redis-2"),
        moments=moments,
    )
    assert found == [
        ["* fault 1 began", "sentinel-1 > redis-2: SLAVEOF NO ONE", "* redis-2 is primary"],
        ["sentinel-1 > redis-1: SLAVEOF redis-2"],
    ]


def test_what_several_nodes_see_at_once_is_one_note() -> None:
    moments = tuple(Moment(1.0, "cluster", f"redis-{n}", f"redis-{n} sees the cluster fail") for n in (1, 2))
    assert shown((1.1, "redis-1", "redis-2", Topic.FAIL, "FAIL"), moments=moments) == [
        ["* redis-1, redis-2 see the cluster fail", "redis-1 > redis-2: FAIL"]
    ]


def test_what_was_said_before_the_phase_is_not_in_it() -> None:
    assert shown((-0.5, "redis-1", "redis-2", Topic.SYNC, "PSYNC ? -1")) == []


def test_a_long_stretch_says_what_it_leaves_out() -> None:
    said = [(n / 10, f"redis-{n % 2 + 1}", "sentinel-1", Topic.SYNC, f"text {n}") for n in range(100)]
    (window,) = windows(Heard(tuple(Message(round(a * 1e9), *rest) for a, *rest in said)), (), 0, NODES)
    assert (len(window.rows), window.left_out) == (60, 40)


def test_a_picture_stays_within_itself() -> None:
    said = [
        (1.0, "redis-1", "redis-2", Topic.SYNC, "words " * 20),
        (1.2, "sentinel-3", "sentinel-2", Topic.VOTE, "short"),
        (1.4, "stranger", "redis-1", Topic.SYNC, "from nobody that the views know"),
    ]
    heard = Heard(tuple(Message(round(a * 1e9), *rest) for a, *rest in said))
    (window,) = windows(heard, (Moment(1.1, "role", "redis-1", "redis-1 is primary", "strong"),), 0, NODES)
    picture = draw(window)
    assert [name for name, _ in picture.lifelines] == ["redis-1", "redis-2", "sentinel-2", "sentinel-3", "stranger"]
    assert all(64 <= x <= picture.width for _, x in picture.lifelines)
    rows = sorted([*(line.y for line in picture.lines), *(note.y for note in picture.notes)])
    assert len(set(rows)) == 4
    assert rows[-1] < picture.height
    places = dict(picture.lifelines)
    assert picture.lines[0].tails == (places["redis-1"],)
    assert picture.lines[0].heads == ((places["redis-2"], "right"),)
    assert picture.lines[1].heads == ((places["sentinel-2"], "left"),)
