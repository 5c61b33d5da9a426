"""A drill from end to end: its story, its verdicts, its evidence, and what happens when it is interrupted or killed."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from labctl.model.message import Topic
from labctl.store.messages import read_messages
from tests.support.command import Done, Labctl, Running, labctl_at, send, until
from tests.support.loaded_page import PHONE, chromium, opened
from tests.support.votes import ATTEMPTS, drilled

pytestmark = [pytest.mark.system, pytest.mark.timeout(ATTEMPTS * 170 + 60)]

LOSSY = """
title: A server without persistence is killed
description: Everything that it acknowledged before is gone.
topology: standalone
duration: 3s
workloads: [{{run: set, clients: 2, rate: 200}}]
steps:
  - {{at: 1s, kill: redis-1, for: 500ms}}
checks:
  - {{check: acked-writes, expect: {expect}, promise: Nothing that was acknowledged is lost.}}
"""
TOOTHLESS = """
title: The second fault finds nobody
description: The only server is dead when it is to be frozen.
topology: standalone
duration: 2s
workloads: [{run: set, clients: 1, rate: 50}]
steps:
  - {when: {operations: 20}, id: killed, kill: redis-1}
  - {after: killed, pause: any, for: 1s}
checks:
  - {check: convergence, promise: Any.}
"""
LONG = """
title: A long fault
description: Long enough to be interrupted.
topology: replica
duration: 10m
workloads: [{run: set, clients: 2, rate: 100}]
steps:
  - {at: 200ms, isolate: redis-2, for: 9m}
  - {at: 200ms, pause: redis-3, for: 9m}
checks:
  - {check: acked-writes, promise: "Nobody was promoted, so nothing that was acknowledged is lost."}
  - {check: convergence, promise: Replicas catch up.}
"""


def scenario(folder: Path, text: str, name: str = "own") -> str:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return str(path)


def judgements(verdicts: Any) -> dict[str, dict[str, str]]:
    return {p["phase"]: {v["finding"]["check"]: v["judgement"] for v in p["verdicts"]} for p in verdicts["phases"]}


# The drill of the README.


@pytest.fixture(scope="module")
def failover(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Labctl, Done]]:
    """`labctl drill sentinel-failover`, run once for all tests that look at it."""
    with labctl_at(tmp_path_factory.mktemp("failover") / "home") as labctl:
        yield labctl, drilled(labctl, "sentinel-failover", "--seed", "11", within_s=170)


def test_the_failover_drill_shows_the_documented_loss(failover: tuple[Labctl, Done]) -> None:
    labctl, done = failover
    verdicts = labctl.json("check", code=done.code)
    judged = judgements(verdicts)
    assert judged["partition"]["acked-writes"] == "lost data as documented"
    assert judged["partition"]["split-brain"] == "lost data as documented"
    assert judged["kill"]["acked-writes"] in ("held", "lost data as documented")
    assert judged["kill"]["convergence"] == judged["partition"]["convergence"] == "held"
    slow = [phase for phase, checks in judged.items() if checks["recovery"] != "held"]
    assert done.code == (1 if slow else 0), "a machine that is too busy for 10 s of recovery breaks that promise"

    lost = next(v for v in verdicts["phases"][1]["verdicts"] if v["finding"]["check"] == "acked-writes")["finding"]
    assert lost["stats"]["lost"] > 0
    assert len(lost["anomalies"]) == min(100, lost["stats"]["lost"])
    assert {anomaly["kind"] for anomaly in lost["anomalies"]} == {"lost"}


def test_its_report_reads_like_a_story(failover: tuple[Labctl, Done]) -> None:
    _, done = failover
    story = (
        "Sentinel fails over, and what that costs in acknowledged writes",
        "on redis ",
        "seed 11",
        "fault 1 began: kill primary: redis-1 gone",
        "is primary",
        "fault 1 ended: kill primary",
        "redis-1 is a replica of",
        "healthy again, replicas converged",
        "fault 2 began: partition primary,clients-a: 14 links cut",
        "fault 2 ended",
        "PROMISED",
        "MEASURED",
        "lost data as",
        "lost: ",
        "What to take away",
        "Data was lost in the way that Redis documents.",
        "labctl drill sentinel-failover --seed 11",
    )
    text = done.out
    for words in story if done.code == 0 else story[:-2]:
        assert words in text, words
        text = text[text.index(words) :]
    steps = done.err.splitlines()
    assert all(re.match(r" *\d+\.\d\d s  \S", line) for line in steps), "plain lines where there is no terminal"
    assert any("phase partition" in line for line in steps)


def test_check_says_the_same_from_the_folder_alone(failover: tuple[Labctl, Done], tmp_path: Path) -> None:
    labctl, done = failover
    run = labctl.json("runs")[-1]
    moved = tmp_path / "elsewhere"
    shutil.copytree(labctl.home / "runs" / run["run"], moved)
    kept = json.loads((moved / "verdicts.json").read_bytes())
    (moved / "verdicts.json").unlink()
    assert labctl.json("check", str(moved), code=done.code)["phases"] == kept["phases"]
    assert labctl.json("report")["phases"] == kept["phases"]
    assert JUnitXml.fromstring(labctl.run("report", "--format", "junit").out.encode()).tests == 12
    assert "| △ lost data as documented | partition | acked-writes |" in labctl.run("report", "-f", "markdown").out
    report = labctl.run("report").out
    assert report == done.out
    kept_files = {p.name for p in moved.iterdir() if not p.name.endswith(".acked-writes.csv")}
    kinds = ("history", "views.gz", "messages.gz")
    phases = {f"{phase}.{kind}" for phase in ("1-kill", "2-partition") for kind in kinds}
    assert kept_files == {*phases, "logs", "run.json", "report.html"}
    logs = {p.stem for p in (moved / "logs").iterdir()}
    assert logs == {"agent", *(f"{kind}-{n}" for kind in ("redis", "sentinel") for n in (1, 2, 3))}


def test_its_page_opens_in_a_browser(failover: tuple[Labctl, Done]) -> None:
    labctl, done = failover
    run = labctl.json("runs")[-1]
    page = Path(run["page"])
    assert f"Page:     {page}" in done.out
    assert page.stat().st_size < 2_000_000
    assert page.stat().st_mode & 0o777 == 0o600
    with chromium() as browser, opened(browser, page, PHONE) as shown:
        assert shown.page.locator(".chart").count() >= 10, "two phases"
        assert shown.overflow() <= 0
        assert shown.complaints == []
        assert shown.requests == [page.as_uri()]


def test_what_sentinels_said_is_in_the_run(failover: tuple[Labctl, Done]) -> None:
    labctl, _ = failover
    run = labctl.json("runs")[-1]
    for phase in ("1-kill", "2-partition"):
        heard = read_messages(labctl.home / "runs" / run["run"] / f"{phase}.messages.gz")
        assert (heard.dropped, heard.unreadable, heard.why_not) == (0, (), "")
        said = {(message.source.partition("-")[0], message.topic): message.text for message in heard.messages}
        assert {("sentinel", Topic.VOTE), ("sentinel", Topic.ORDER), ("sentinel", Topic.HELLO)} <= set(said)
        assert ("redis", Topic.SYNC) in said
        texts = {message.text for message in heard.messages}
        assert "SLAVEOF NO ONE" in texts
        votes = [text for text in texts if text.startswith("votes for sentinel-")]
        assert votes, "ids are told as names"
    page = Path(run["page"]).read_text()
    assert page.count('<svg class="sequence"') >= 2
    assert "SLAVEOF NO ONE" in page


def test_two_reports_side_by_side(failover: tuple[Labctl, Done], tmp_path: Path) -> None:
    labctl, _ = failover
    run = labctl.json("runs")[-1]
    moved = tmp_path / "elsewhere"
    shutil.copytree(labctl.home / "runs" / run["run"], moved)
    compared = labctl.json("report", "--compare", run["run"], str(moved))
    assert [phase["phase"] for phase in compared["phases"]] == ["kill", "partition"]
    page = tmp_path / "compared.html"
    assert labctl.run(
        "report", "--compare", run["run"], str(moved), "-f", "html", "--to", str(page)
    ).out.strip() == str(page)
    assert "Promised" not in page.read_text()
    assert "lost data as documented" in page.read_text()
    assert "two runs or more" in labctl.run("report", "--compare", run["run"], code=2).err
    assert "--compare" in labctl.run("report", run["run"], str(moved), code=2).err
    assert "cannot be written" in labctl.run("report", "-f", "markdown", "--to", "/nowhere/x.md", code=2).err


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def without_its_end(data: bytes) -> bytes:
    return data[:-24]


def changed(data: bytes) -> bytes:
    half = len(data) // 2
    return data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]


def emptied(data: bytes) -> bytes:
    return data[:0]


@pytest.mark.parametrize("damage", [truncated, without_its_end, changed, emptied])
def test_a_damaged_history_is_refused(
    failover: tuple[Labctl, Done], tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    labctl, _ = failover
    run = labctl.json("runs")[-1]
    moved = tmp_path / "elsewhere"
    shutil.copytree(labctl.home / "runs" / run["run"], moved)
    history = moved / "2-partition.history"
    history.write_bytes(damage(history.read_bytes()))
    done = labctl.run("check", str(moved), code=None)
    assert done.code in (2, 3)
    assert "2-partition.history" in done.err
    assert done.out == "", "no verdict"


def test_a_damaged_run_is_refused(failover: tuple[Labctl, Done], tmp_path: Path) -> None:
    labctl, _ = failover
    run = labctl.json("runs")[-1]
    moved = tmp_path / "elsewhere"
    shutil.copytree(labctl.home / "runs" / run["run"], moved)
    text = (moved / "run.json").read_text()
    for edited in (text[: len(text) // 2], text.replace('"name": "kill"', '"name": "kiln"', 1), "{}"):
        (moved / "run.json").write_text(edited)
        done = labctl.run("check", str(moved), code=2)
        assert "edited" in done.err
    (moved / "run.json").write_text(text)
    (moved / "verdicts.json").write_text("[]")
    assert "labctl check" in labctl.run("report", str(moved), code=2).err
    (moved / "1-kill.history").unlink()
    assert "1-kill.history" in labctl.run("check", str(moved), code=2).err


# Verdicts and exit codes.


@pytest.mark.parametrize(("expect", "code", "judgement"), [("holds", 1, "broke"), ("loses", 0, "lost data")])
def test_a_lossy_lab_is_caught(labctl: Labctl, tmp_path: Path, expect: str, code: int, judgement: str) -> None:
    path = scenario(tmp_path, LOSSY.format(expect=expect))
    answer = labctl.json("drill", path, code=code)
    (verdict,) = answer["phases"][0]["verdicts"]
    assert verdict["finding"]["stats"]["lost"] > 0
    assert verdict["judgement"].startswith(judgement)
    assert answer["verdict"] == verdict["judgement"]
    labctl.json("check", code=code)


def test_a_fault_without_effect_is_no_pass(labctl: Labctl, tmp_path: Path) -> None:
    done = labctl.run("drill", scenario(tmp_path, TOOTHLESS), code=3)
    assert "a fault did not take effect: pause any" in done.out
    assert "redis-1 is not running" in done.out
    assert "Inconclusive" in done.out
    labctl.run("check", code=3)


def test_the_same_seed_is_the_same_schedule(labctl: Labctl, tmp_path: Path) -> None:
    text = TOOTHLESS.replace("kill: redis-1", "pause: any, for: 500ms").replace("after: killed", "after: killed.end")
    path = scenario(tmp_path, text.replace("topology: standalone", "topology: replica"))
    told = []
    for _ in range(2):
        done = labctl.run("drill", path, "--seed", "5")
        told.append(re.findall(r"fault \d began: .*", done.out))
    assert told[0] == told[1]
    assert len(told[0]) == 2


def test_keep_leaves_the_lab_up(labctl: Labctl, tmp_path: Path) -> None:
    labctl.run("drill", scenario(tmp_path, LOSSY.format(expect="loses")), "--keep")
    (row,) = labctl.json("ls")
    assert (row["state"], row["faults"]) == ("healthy", 0)
    labctl.run("down")


# Interrupted and killed.


def in_the_fault(drill: Running) -> None:
    until(lambda: "fault 2 began" in drill.err or drill.process.poll() is not None, "two faults")
    assert drill.process.poll() is None, drill.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_the_first_interrupt_heals_checks_and_reports(labctl: Labctl, tmp_path: Path, number: signal.Signals) -> None:
    drill = labctl.start("drill", scenario(tmp_path, LONG))
    in_the_fault(drill)
    drill.send(number)
    done = drill.finish(code=130)
    assert "interrupted: healing, checking and reporting" in done.err
    for words in (
        "fault 1 ended",
        "fault 2 ended",
        "healthy again, replicas converged",
        "Aborted. Every promise held.",
    ):
        assert words in done.out
    labctl.assert_nothing_left()
    assert labctl.json("check", code=130)["aborted"] is True


def test_the_second_interrupt_ends_it(labctl: Labctl, tmp_path: Path) -> None:
    drill = labctl.start("drill", scenario(tmp_path, LONG))
    in_the_fault(drill)
    drill.send(signal.SIGINT)
    until(lambda: "interrupted" in drill.err, "an answer to the first")
    drill.send(signal.SIGINT)
    done = drill.finish(code=130)
    assert not done.out or "Aborted." in done.out
    labctl.assert_nothing_left()
    labctl.run("runs")
    labctl.run("check", code=None)


@pytest.mark.parametrize("interrupts", [1, 2])
def test_interrupted_while_its_lab_comes_up(labctl: Labctl, tmp_path: Path, interrupts: int) -> None:
    drill = labctl.start("drill", scenario(tmp_path, LONG))
    drill.said(1)
    for _ in range(interrupts):
        drill.send(signal.SIGINT)
    drill.finish(code=130)
    labctl.assert_nothing_left()


def test_killed_in_the_middle_of_a_fault(labctl: Labctl, tmp_path: Path) -> None:
    """The lab and its faults are the agent's: they are seen, healed, and end in time; down removes it all."""
    drill = labctl.start(
        "drill", scenario(tmp_path, LONG.replace("isolate: redis-2, for: 9m", "isolate: redis-2, for: 2s"))
    )
    in_the_fault(drill)
    drill.send(signal.SIGKILL)
    drill.finish()
    (row,) = labctl.json("ls")
    assert row["faults"] >= 1
    until(lambda: [f["kind"] for f in labctl.json("chaos", "ls")] == ["pause"], "the end of the shorter fault")
    labctl.run("heal")
    assert set(labctl.json("status")["servers"].values()) == {"running"}
    labctl.run("down")
    labctl.assert_nothing_left()
    assert "inconclusive" in labctl.run("check", "-o", "json", code=3).out


def test_the_agent_is_killed_in_the_middle_of_a_fault(labctl: Labctl, tmp_path: Path) -> None:
    """Its faults ended early and nobody watched: that is no verdict."""
    path = scenario(tmp_path, LONG.replace("duration: 10m", "duration: 15s").replace("9m", "14s"))
    drill = labctl.start("drill", path)
    in_the_fault(drill)
    _, agent = labctl.agents()
    send([agent], signal.SIGKILL)
    done = drill.finish(code=3)
    assert "agent ended" in done.out
    labctl.assert_nothing_left()
