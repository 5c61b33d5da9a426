"""JUnit, Markdown, JSON and comparisons: each is read back as whoever consumes it would."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from junitparser import Error, Failure, JUnitXml, TestSuite

from labctl.model.run import PhaseVerdicts, Run
from labctl.model.scenario import Axis
from labctl.model.verdict import Finding, Judgement, Outcome, Verdict
from labctl.report.compare import as_data as compared_data
from labctl.report.compare import compare, render_comparison
from labctl.report.data import as_data
from labctl.report.junit import render_junit
from labctl.report.markdown import fenced, plain, render_markdown
from labctl.report.replay import repeatable, replay
from labctl.report.summary import RunSummary
from tests.support.runs import HOSTILE, LOST, run_and_history, summary
from tests.unit.report.test_story import text


def verdict(judgement: Judgement, check: str = "acked-writes") -> Verdict:
    finding = Finding(check, Outcome.INVALID, f"7 lost {HOSTILE}", "This <is> why.\x1b[31m", stats={"lost": 7})
    return Verdict(finding, "Nothing\n is lost.", judgement)


def judged(*judgements: Judgement) -> tuple[Run, tuple[PhaseVerdicts, ...]]:
    run, _, _ = run_and_history()
    return run, (PhaseVerdicts("kill", tuple(verdict(j, f"check-{i}") for i, j in enumerate(judgements))),)


# JUnit


def test_junit_is_what_ci_systems_read() -> None:
    order = (Judgement.HELD, Judgement.DOCUMENTED_LOSS, Judgement.BROKEN, Judgement.INCONCLUSIVE)
    report = render_junit([judged(*order)])
    (suite,) = JUnitXml.fromstring(report.encode())
    assert isinstance(suite, TestSuite)
    assert (suite.name, suite.tests, suite.failures, suite.errors, suite.skipped) == ("own & hostile.kill", 4, 1, 1, 0)
    assert suite.time == pytest.approx(4.3)
    assert suite.timestamp == "2026-01-01T00:00:00"
    held, lost, broken, unsure = suite
    assert held.result == lost.result == []
    assert [type(result) for result in (*broken.result, *unsure.result)] == [Failure, Error]
    assert "This <is> why." in broken.result[0].text
    assert broken.result[0].type == "broke its own documented bound"
    assert "Promised: Nothing is lost." in lost.system_out
    properties = {each.name: each.value for each in suite.properties()}
    assert properties["seed"] == "7"
    assert properties["replay"].startswith("labctl drill")


def test_junit_follows_the_order_of_its_schema() -> None:
    root = ET.fromstring(render_junit([judged(Judgement.BROKEN), judged(Judgement.HELD)]).encode())
    assert root.tag == "testsuites"
    assert {name: root.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "2",
        "failures": "1",
        "errors": "0",
    }
    for suite in root:
        assert [child.tag for child in suite] == ["properties", "testcase"]
        for case in suite.iter("testcase"):
            assert {"classname", "name", "time"} <= set(case.attrib)
            assert [child.tag for child in case][-1] == "system-out"


def test_junit_holds_no_character_that_xml_cannot() -> None:
    report = render_junit([judged(Judgement.BROKEN)])
    assert not set("\x00\x1b") & set(report)
    assert "\N{REPLACEMENT CHARACTER}" in report


def test_a_lab_that_never_was_healthy_is_an_error_and_no_empty_pass() -> None:
    run, _, _ = run_and_history()
    report = render_junit([(replace(run, phases=(), trouble="Nobody <answers>."), ())])
    (suite,) = JUnitXml.fromstring(report.encode())
    assert (suite.tests, suite.errors) == (1, 1)
    (case,) = suite
    assert case.result[0].message == "Nobody <answers>."


# Markdown


def test_markdown_begins_with_the_verdicts() -> None:
    lines = render_markdown(summary()).splitlines()
    assert lines[0].startswith("### △ A title")
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 3
    assert all(row.replace(r"\|", "").count("|") == 5 for row in rows), "no cell is broken in two"
    assert "Data was lost in the way that Redis documents." in lines[2]
    assert any("5 writes acknowledged by redis-1" in line for line in lines)


def test_markdown_shows_markup_as_text() -> None:
    told = render_markdown(summary())
    assert "<script" not in told.replace(r"\<script", "")
    assert "@here" not in told, "nobody is told about it"
    assert plain("a|b *c* <d> `e`\n@f") == r"a\|b \*c\* \<d\> \`e\` @" + "\N{WORD JOINER}f"


def test_a_fence_is_longer_than_any_within() -> None:
    assert list(fenced("a ```` b")) == ["`````", "a ```` b", "`````"]


def test_markdown_fits_into_a_comment() -> None:
    long = summary()
    many = replace(long.phases[0], verdicts=long.phases[0].verdicts * 300)
    assert len(render_markdown(RunSummary(long.run, (many,), long.judged))) < 65_536


# JSON


def test_json_is_json() -> None:
    data = json.loads(json.dumps(as_data(summary(), "/runs/here"), allow_nan=False))
    assert data["verdict"] == "lost data as documented"
    (phase,) = data["measured"]
    assert phase["losses"]["total"] == LOST
    assert phase["clients"]["acknowledged"] + phase["clients"]["refused"] == 400
    assert phase["clients"]["errors"] == [
        {"error": "NoPrimary", "outcome": "refused", "count": 50, "first_s": 1.002, "last_s": 1.492}
    ]


# Side by side


def test_what_differs_is_what_names_the_runs() -> None:
    one = summary()
    other = RunSummary(replace(one.run, engine="valkey 9.1.2", seed=8), one.phases, one.judged)
    compared = compare([one, other])
    assert compared.labels == ("redis 7.0.15", "valkey 9.1.2")
    assert {row.name: row.values for row in compared.facts} == {
        "engine": ("redis 7.0.15", "valkey 9.1.2"),
        "seed": ("7", "8"),
    }
    assert not any(row.differs for row in compared.phases[0].verdicts)
    assert compared_data(compared)["phases"][0]["numbers"]["lost writes"] == ["5", "5"]
    told = text(render_comparison(compared))
    assert "△ lost data as documented" in told
    assert "recovery" in told


def test_the_cells_of_a_matrix_name_the_runs() -> None:
    one = summary()
    runs = [replace(one.run, scenario=replace(one.run.scenario, cell=f"aof={value}")) for value in ("no", "always")]
    compared = compare([RunSummary(run, one.phases, one.judged) for run in runs])
    assert compared.labels == ("aof=no", "aof=always")


def test_a_phase_that_a_run_lacks_is_empty() -> None:
    one = summary()
    compared = compare([one, RunSummary(one.run, (), ())])
    (phase,) = compared.phases
    assert phase.runs[1] is None
    assert all(row.verdicts[1] is None and row.differs for row in phase.verdicts)
    assert "–" in text(render_comparison(compared))


# Again


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (["drill", "x", "--seed", "3", "-o", "json", "--engine", "redis-8"], ("drill", "x", "--engine", "redis-8")),
        (["drill", "--seed=3", "x", "--keep", "--junit", "f.xml", "-ojson"], ("drill", "x")),
        (["drill", "x", "--cell", "aof=always", "--repeat=3"], ("drill", "x")),
        (["-q", "tests"], ()),
    ],
)
def test_the_command_line_without_seed_and_output(typed: list[str], kept: tuple[str, ...]) -> None:
    assert repeatable(typed) == kept


def test_the_replay_states_seed_and_engine_once() -> None:
    run, _, _ = run_and_history()
    assert replay(run) == "labctl drill 'own & hostile' --seed 7 --engine redis-7"
    typed = replace(run, command=("drill", "./own file.yaml", "--engine", "valkey-9"), engine="valkey 9.1.2")
    assert replay(typed) == "labctl drill './own file.yaml' --engine valkey-9 --seed 7"
    cell = replace(run, scenario=replace(run.scenario, cell="aof=always"), command=("drill", "x"))
    assert replay(cell) == "labctl drill x --seed 7 --cell aof=always --engine redis-7"
    docker = replace(run, command=("drill", "x", "--runtime", "docker"), runtime="docker")
    assert replay(docker) == "labctl drill x --runtime docker --seed 7"


def test_the_replay_of_a_cell_is_of_that_cell_alone() -> None:
    run, _, _ = run_and_history()
    words = repeatable(["drill", "x", "--cell", "aof=no|always", "--repeat", "5", "--seed", "7"])
    axes = (Axis("persistence.aof", "aof", ("no", "always")),)
    cell = replace(run, command=words, scenario=replace(run.scenario, matrix=axes, cell="aof=no"))
    assert replay(cell) == "labctl drill x --seed 7 --cell aof=no --engine redis-7"
    varied = replace(
        cell, scenario=replace(run.scenario, matrix=(Axis("engine", "engine", ("redis-7",)),), cell="engine=redis-7")
    )
    assert replay(varied) == "labctl drill x --seed 7 --cell engine=redis-7"
