from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from labctl.live.canvas import LIGHT, Canvas, chart, count, fit, milliseconds, size, sparkline


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1.0k"),
        (1000, "1.0k"),
        (12_345, "12.3k"),
        (123_456, "123k"),
        (1_250_000, "1.2M"),
        (3e9, "3.0G"),
    ],
)
def test_count(value: float, text: str) -> None:
    assert count(value) == text


def test_size() -> None:
    assert [size(0), size(999), size(1500), size(2.5e6)] == ["0 B", "999 B", "1.5 kB", "2.5 MB"]


def test_milliseconds() -> None:
    assert [milliseconds(0.314), milliseconds(9.99), milliseconds(12.4), milliseconds(1234)] == [
        "0.31 ms", "9.99 ms", "12 ms", "1.2 s",
    ]  # fmt: skip


def test_sparkline_is_from_zero_to_the_highest_and_says_where_nothing_is_known() -> None:
    assert sparkline([0, 4, 8], 3) == "▁▅█"
    assert sparkline([0, 4, 8], 5) == "  ▁▅█"
    assert sparkline([9, 0, 4, 8], 3) == "▁▅█"
    assert sparkline([8, None, -1, 8], 4) == "█ ╳█"
    assert sparkline([0.1, 0.2], 2, least=100) == "▁▁"
    assert sparkline([], 3) == "   "
    assert sparkline([1, 2], 0) == ""


@given(st.lists(st.none() | st.floats(0, 1e12) | st.just(-1.0)), st.integers(0, 50))
def test_sparkline_is_as_wide_as_asked(values: list[float | None], width: int) -> None:
    assert cell_len(sparkline(values, width)) == width


@given(st.text(), st.integers(0, 30))
def test_fit_is_as_wide_as_asked(text: str, width: int) -> None:
    assert cell_len(fit(text, width)) == width


def test_fit_says_that_something_is_missing() -> None:
    assert fit("redis-1", 5) == "redi…"
    assert fit("redis-1", 9) == "redis-1  "


def test_what_lies_beside_a_canvas_is_cut_off() -> None:
    canvas = Canvas(4, 2)
    canvas.put(-1, 0, "abc", "red")
    canvas.put(3, 1, "xyz")
    canvas.put(0, 5, "gone")
    assert [line.plain for line in canvas.lines()] == ["bc", "   x"]


def test_a_wide_character_does_not_shift_what_is_behind_it() -> None:
    canvas = Canvas(3, 1)
    canvas.put(0, 0, "漢b")
    assert canvas.lines()[0].plain == "?b"


def test_a_box() -> None:
    canvas = Canvas(5, 3)
    canvas.box(0, 0, 5, 3, LIGHT)
    assert [line.plain for line in canvas.lines()] == ["╭───╮", "│   │", "╰───╯"]


def test_styles_run_as_far_as_they_go() -> None:
    canvas = Canvas(6, 1)
    canvas.put(0, 0, "aa", "red")
    canvas.put(2, 0, "bb", "blue")
    (line,) = canvas.lines()
    assert [(span.start, span.end, span.style) for span in line.spans] == [(0, 2, "red"), (2, 4, "blue")]


def test_a_chart_is_a_sparkline_of_several_rows() -> None:
    assert chart([0, 4, 8, 12, 16, None, -1], 7, 2) == ["   ▄█  ", "▁▄███ ╳"]
    assert chart([1, 2], 4, 1, least=8) == ["  ▁▂"]
    assert chart([], 3, 2) == ["   ", "   "]


@given(st.lists(st.none() | st.floats(0, 1e12) | st.just(-1.0)), st.integers(0, 50), st.integers(1, 9))
def test_a_chart_has_the_size_asked_for(values: list[float | None], width: int, height: int) -> None:
    rows = chart(values, width, height)
    assert [cell_len(row) for row in rows] == [width] * height
