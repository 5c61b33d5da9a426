"""The page: what was chosen by others stays data, and everything that charts show is there as text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from labctl.model.verdict import Judgement
from labctl.report.compare import compare
from labctl.report.html import asset, embedded, milliseconds, render_compared_page, render_page
from labctl.report.summary import RunSummary
from tests.support.runs import HOSTILE, LOST, summary


class Elements(HTMLParser):
    """Start tags with attributes, and the text of each script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._within = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._within = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._within:
            self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within == "script":
            self.scripts[-1] += data
        elif self._within != "style":
            self.text += data


PAGE = render_page(summary())
ELEMENTS = Elements(PAGE)


def test_hostile_names_are_text() -> None:
    names = [tag for tag, _ in ELEMENTS.tags]
    assert names.count("script") == 2, "the data and the code, and none of the key's"
    assert not {"img", "b", "i"} & set(names) - {"i"}
    assert not any(name.startswith("on") for _, attributes in ELEMENTS.tags for name in attributes)
    links = [attributes.get("href") or "" for tag, attributes in ELEMENTS.tags if tag == "a"]
    assert links
    assert all(link.startswith("#") for link in links), "a chapter that is no web address is no link"
    assert "<script>document.title='taken'" in ELEMENTS.text, "shown as it was"
    assert "The primary <b>goes</b> away" in ELEMENTS.text


def test_the_data_is_whole() -> None:
    data = json.loads(ELEMENTS.scripts[0])
    assert data["nodes"] == ["redis-1", "redis-2"]
    assert data["phases"][0]["losses"]["keys"] == [HOSTILE]
    assert data["phases"][0]["losses"]["total"] == LOST
    assert not set("<>&") & set(ELEMENTS.scripts[0])


@pytest.mark.parametrize("value", ["</script>", "<!--", "<script", "]]>", "&lt;", "\u2028\u2029", "\ud800", '"\\'])
def test_no_value_ends_its_script(value: str) -> None:
    text = str(embedded({value: [value]}))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {value: [value]}


def test_its_policy_allows_its_own_code_and_nothing_else() -> None:
    (policy,) = [a["content"] or "" for tag, a in ELEMENTS.tags if tag == "meta" and "http-equiv" in a]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    code = ELEMENTS.scripts[1]
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    style = re.search(r"<style>(.*?)</style>", PAGE, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert not any("style" in attributes for _, attributes in ELEMENTS.tags), "the policy would drop it"


def test_it_needs_nothing_else() -> None:
    for tag, attributes in ELEMENTS.tags:
        assert "src" not in attributes, tag
        if tag == "link":
            assert attributes["href"] == "data:,"
    assert "@import" not in PAGE
    assert "url(" not in PAGE


def test_the_story_is_there_without_scripts() -> None:
    text = " ".join(ELEMENTS.text.split())
    for words in (
        "Every promise held. Data was lost in the way that Redis documents.",
        "Promised and measured",
        "5 lost",
        "redis-2 took over from redis-1 after",
        "fault 1 began",
        "redis-2 is primary",
        "99th percentile",
        "NoPrimary",
        "primary, epoch 1",
        "holds redis-1 for down",
        "redis-2 became primary at 1.50 s; when last seen as a replica, at 1.10 s, it had applied 9,400 bytes",
        "redis-1 became its replica at 3.20 s and dropped what it had written on its own.",
        "at a replication offset between 5,000 and 9,900",
        "One thing <i>matters</i>.",
        "labctl drill 'own & hostile' --seed 7 --engine redis-7",
    ):
        assert words in text, words
    assert text.count("acknowledged it at") == LOST
    assert text.index("Promised and measured") < text.index("Acknowledged")


def test_a_lab_that_never_was_healthy() -> None:
    told = summary()
    page = render_page(RunSummary(replace(told.run, phases=(), trouble="Nobody <answers>."), (), ()))
    text = Elements(page).text
    assert "Nobody <answers>." in text
    assert "Inconclusive" in text


def test_an_aborted_run_and_a_phase_with_trouble() -> None:
    text = Elements(render_page(summary(trouble="a fault <did> not take effect", aborted=True))).text
    assert "Aborted." in text
    assert "a fault <did> not take effect" in text


@pytest.mark.parametrize("judgement", list(Judgement))
def test_every_judgement_has_a_shape_and_a_colour(judgement: Judgement) -> None:
    from labctl.report.wording import CLOSING, SLUGS, SYMBOLS  # noqa: PLC0415

    assert CLOSING[judgement]
    assert len(set(SYMBOLS.values())) == len(Judgement)
    assert asset("page.css").count(f"--{SLUGS[judgement]}:") == 2, "one for paper, one for the dark"


def test_the_library_comes_with_its_licence() -> None:
    assert "MIT License" in asset("uplot/LICENSE")
    assert "uPlot" in asset("uplot/uPlot.iife.min.js")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.8568, "0.857 ms"), (12.3456, "12.3 ms"), (1641.5, "1,642 ms"), (18_539.7, "18.5 s"), (0.0, "0 ms")],
)
def test_lengths_of_time(value: float, shown: str) -> None:
    assert milliseconds(value) == shown


def test_runs_side_by_side() -> None:
    page = render_compared_page(compare([summary(), summary(aborted=True)]))
    elements = Elements(page)
    assert [tag for tag, _ in elements.tags].count("script") == 2
    assert elements.text.count("lost data as documented") >= 4
    data = json.loads(elements.scripts[0])
    assert data["labels"] == ["A", "B"]
    assert len(data["phases"][0]["runs"]) == 2
