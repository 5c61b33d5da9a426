"""The page of a run in a real browser: it draws, asks for nothing, complains of nothing, and fits a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labctl.report.compare import compare
from labctl.report.html import render_compared_page
from labctl.reporting import summary_of, write_page
from labctl.store.runs import RunFolder
from tests.support.loaded_page import DESKTOP, PHONE, Opened, Scheme, chromium, opened
from tests.support.runs import HOSTILE, LOST, stored

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Position

pytestmark = pytest.mark.system

CHARTS = ("Who was what", "Acknowledged", "Latency", "Not acknowledged", "Lost", "Replication lag")

ENOUGH = {
    "Who was what": (500, 500, 0),
    "Acknowledged": (50, 100, 0),
    "Latency": (0, 0, 100),
    "Not acknowledged": (0, 0, 100),
    "Lost": (20, 0, 0),
    "Replication lag": (0, 20, 0),
}
"""Pixels of redis-1's colour, of redis-2's and of ink that each chart has at the very least: data, not axes."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return stored(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def page(folder: RunFolder) -> Path:
    return write_page(folder)


def assert_quiet(shown: Opened, file: Path) -> None:
    assert shown.complaints == []
    assert shown.requests == [file.as_uri()]
    assert shown.page.title() != "taken", "a key's script ran"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_draws_and_fits(browser: Browser, page: Path, size: tuple[int, int], scheme: Scheme) -> None:
    with opened(browser, page, size, scheme) as shown:
        titles = shown.page.locator(".chart figcaption strong").all_inner_texts()
        assert tuple(titles) == CHARTS
        drawn = dict(zip(titles, shown.painted("--c0", "--c1", "--ink"), strict=True))
        for title, enough in ENOUGH.items():
            for pixels, least in zip(drawn[title], enough, strict=True):
                assert pixels >= least, f"{title}: {drawn[title]} pixels of redis-1, of redis-2 and of ink"
        assert shown.overflow() <= 0
        paper, ink = shown.page.evaluate(
            "() => { const s = getComputedStyle(document.body); return [s.backgroundColor, s.color].map("
            "(c) => c.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + +part, 0) / 765); }"
        )
        assert (paper < 0.2 and ink > 0.8) if scheme == "dark" else (ink < 0.2 and paper > 0.8)
        assert_quiet(shown, page)


def test_changing_to_dark_draws_anew(browser: Browser, page: Path) -> None:
    corner = "() => [...document.querySelectorAll('canvas')].map((c) => c.toDataURL())"
    with opened(browser, page) as shown:
        light = shown.page.evaluate(corner)
        shown.page.emulate_media(color_scheme="dark")
        shown.page.wait_for_function(f"(light) => ({corner})().every((url, i) => url !== light[i])", arg=light)
        assert_quiet(shown, page)


def pressed(shown: Opened) -> list[str]:
    return shown.page.locator(".zoom button[aria-pressed=true]").all_inner_texts()


def test_zoom_by_button_by_dragging_and_back(browser: Browser, page: Path) -> None:
    with opened(browser, page) as shown:
        assert pressed(shown) == ["the whole phase"]
        whole = shown.page.locator("canvas").nth(1).evaluate("(c) => c.toDataURL()")
        shown.page.get_by_role("button", name="kill primary").click()
        assert pressed(shown) == ["kill primary"]
        assert shown.page.locator("canvas").nth(1).evaluate("(c) => c.toDataURL()") != whole
        shown.page.locator(".u-over").nth(1).scroll_into_view_if_needed()
        box = shown.page.locator(".u-over").nth(1).bounding_box()
        assert box
        middle = box["y"] + box["height"] / 2
        shown.page.mouse.move(box["x"] + 100, middle)
        shown.page.mouse.down()
        shown.page.mouse.move(box["x"] + 300, middle, steps=4)
        shown.page.mouse.up()
        assert pressed(shown) == []
        shown.page.locator(".u-over").nth(2).dblclick()
        assert pressed(shown) == ["the whole phase"]
        assert_quiet(shown, page)


def test_the_cursor_reads_every_chart(browser: Browser, page: Path) -> None:
    with opened(browser, page) as shown:
        lanes = shown.page.locator(".u-over").first
        box = lanes.bounding_box()
        assert box
        lanes.hover(position={"x": box["width"] * 1.5 / 4.201, "y": 70})
        said = shown.page.locator(".readout").inner_text()
        assert said.startswith("1.50 s")
        assert "redis-2 is primary" in said, "the change of primary at 1.5 s of 4.2 s"
        values = shown.page.locator(".chart figcaption").nth(2).inner_text()
        assert "ms" in values
        assert_quiet(shown, page)


def test_a_lost_write_tells_its_story(browser: Browser, page: Path) -> None:
    with opened(browser, page) as shown:
        shown.page.get_by_role("button", name="kill primary").click()
        lost = CHARTS.index("Lost")
        bar = shown.page.locator(".u-over").nth(lost)
        box = bar.bounding_box()
        assert box
        where: Position = {"x": box["width"] * (0.953 - 0.5) / 3, "y": 30}  # the button shows 0.5 s to 3.5 s
        bar.hover(position=where)
        bar.click(position=where)
        story = shown.page.locator(".lost details[open]")
        assert "acknowledged it at 0.952000 s" in story.inner_text()
        assert HOSTILE.split(" ", maxsplit=1)[0] in story.inner_text(), "the key as it is"
        assert "dropped what it had written on its own" in story.inner_text()
        assert "acknowledged between" in shown.page.locator(".chosen").inner_text()
        assert_quiet(shown, page)


def test_the_story_needs_no_script(browser: Browser, page: Path) -> None:
    with opened(browser, page, PHONE, scripts=False) as shown:
        text = shown.page.locator("body").inner_text()
        for words in ("Promised and measured", "5 lost", "The charts need JavaScript", "redis-2 is primary"):
            assert words in text
        assert shown.page.locator("ol.lost > li").count() == LOST
        assert shown.overflow() <= 0


def test_runs_side_by_side_draw(browser: Browser, folder: RunFolder, tmp_path: Path) -> None:
    summary = summary_of(folder)
    file = tmp_path / "compared.html"
    file.write_text(render_compared_page(compare([summary, summary, summary])), encoding="utf-8")
    for size in (DESKTOP, PHONE):
        with opened(browser, file, size) as shown:
            charts = shown.painted("--c2")
            assert len(charts) == 2
            assert min(charts) > [100], "the third run lies on top"
            assert shown.overflow() <= 0
            assert_quiet(shown, file)
