"""Drilling one's own program: its environment, its words and its end, and that it never outlives its drill."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from labctl import application
from tests.support.command import Labctl, environment, until

pytestmark = pytest.mark.system

SHORT = """
title: A server is frozen
description: For a moment.
topology: standalone
duration: 1500ms
workloads: [{run: set, clients: 1, rate: 50}]
steps:
  - {at: 500ms, pause: redis-1, for: 200ms}
checks:
  - {check: acked-writes, promise: A frozen server forgets nothing.}
  - {check: convergence, promise: It is healthy in the end.}
"""
LONG = SHORT.replace("1500ms", "10m").replace("for: 200ms", "for: 9m")
CLIENT = """
import os, redis
server = redis.Redis.from_url(os.environ["REDIS_URL"])
print("a", server.set("mine", "yes"), "\\x1b[31mred\\x1b[0m")
print("x" * 100_000)
for number in range(2000):
    print("line", number)
raise SystemExit(3)
"""
CLIENT_IS_THERE = ("--exec-ready", "line 1999")
STAYS = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("it stays", flush=True)
time.sleep(600)
"""
IT_STAYS = ("--exec-ready", "it stays")


def program(folder: Path, text: str) -> str:
    path = folder / "program.py"
    path.write_text(text)
    return shlex.join([sys.executable, str(path)])


def scenario(folder: Path, text: str) -> str:
    path = folder / "own.yaml"
    path.write_text(text)
    return str(path)


def verdicts(answer: Any) -> dict[str, str]:
    return {v["finding"]["check"]: v["judgement"] for v in answer["phases"][0]["verdicts"]}


def test_an_exit_code_is_a_verdict(labctl: Labctl, tmp_path: Path) -> None:
    """It talks to the lab that its environment names, says more than anybody reads, and ends early and wrongly."""
    path, command = scenario(tmp_path, SHORT), program(tmp_path, CLIENT)
    done = labctl.run("drill", path, "--exec", command, *CLIENT_IS_THERE, code=1)
    told = " ".join(done.out.split())
    for words in (
        "the application was started: ",
        "application: a True red ",
        "more lines of the application",
        "the application ended by itself: exit code 3",
        "fault 1 began",
        "application: It ran for",
        "should have ended with exit code 0",
        "line 1999",
        f"--exec '{command}'",
    ):
        assert words in told, words
    judged = verdicts(labctl.json("check", code=1))
    assert judged == {
        "acked-writes": "held",
        "convergence": "held",
        "application": "broke its own documented bound",
    }
    (log,) = labctl.home.glob("runs/*/1-main.application.log")
    lines = log.read_text().splitlines()
    assert len(lines) == 2002, "every line is in the file, also those that are too many for the timeline"
    assert max(map(len, lines)) < 2100
    (history,) = labctl.home.glob("runs/*/1-main.history")
    assert history.read_bytes().count(b"application: line") == application.LINES_AS_EVENTS - 2


def test_alone_it_replaces_the_workloads(labctl: Labctl, tmp_path: Path) -> None:
    path, command = scenario(tmp_path, SHORT), program(tmp_path, CLIENT)
    options = ("--exec", command, "--exec-only", "--exec-exit", "3", *CLIENT_IS_THERE)
    plan = labctl.run("drill", path, *options, "--dry-run").out
    assert "acked-writes" not in plan
    assert "application" in plan
    done = labctl.run("drill", path, *options)
    assert "not judged: acked-writes; the application replaces the workloads" in done.out
    assert "no workload of the scenario" in done.out
    assert "--exec-only --exec-exit 3" in done.out
    assert verdicts(labctl.json("check")) == {"convergence": "held", "application": "held"}


def test_the_timeline_waits_until_it_is_ready(labctl: Labctl, tmp_path: Path) -> None:
    command = program(tmp_path, "import time; time.sleep(1.5); print('it is up now', flush=True); time.sleep(600)")
    done = labctl.run("drill", scenario(tmp_path, SHORT), "--exec", command, "--exec-ready", "up now")
    assert done.out.index("it is up now") < done.out.index("fault 1 began"), "at 0.5 s of a timeline that waited"
    assert "--exec-ready 'up now'" in done.out


def test_what_it_starts_ends_with_it(labctl: Labctl, tmp_path: Path) -> None:
    """The program dies of SIGTERM; its child, in a session of its own, is found by the lab's marker."""
    done = labctl.run("drill", scenario(tmp_path, SHORT), "--exec", program(tmp_path, STAYS), *IT_STAYS)
    assert "the application ended when it was told to: killed by SIGTERM" in done.out
    labctl.assert_nothing_left()


def test_one_that_does_not_end_is_killed(labctl: Labctl, tmp_path: Path) -> None:
    command = program(tmp_path, STAYS.replace("import ", "import signal, ") + "\n")
    text = (tmp_path / "program.py").read_text().replace("print", "signal.signal(15, signal.SIG_IGN)\nprint")
    (tmp_path / "program.py").write_text(text)
    options = ("--exec", command, "--exec-grace", "200ms", *IT_STAYS)
    done = labctl.run("drill", scenario(tmp_path, SHORT), *options, code=1)
    assert "killed by SIGKILL. It did not end of SIGTERM" in done.out


def application_processes(labctl: Labctl) -> list[int]:
    return [p.pid for p in labctl.processes() if environment(p).get("LABCTL_NODE") == application.NODE]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_it_does_not_outlive_its_drill(labctl: Labctl, tmp_path: Path, number: signal.Signals) -> None:
    text = STAYS.replace(
        "subprocess.Popen", "() and subprocess.Popen"
    )  # what left its session needs labctl to be found
    drill = labctl.start("drill", scenario(tmp_path, LONG), "--exec", program(tmp_path, text), *IT_STAYS)
    until(lambda: "fault 1 began" in drill.err or drill.process.poll() is not None, "a fault")
    assert application_processes(labctl)
    drill.send(number)
    done = drill.finish(code=130 if number is signal.SIGINT else None)
    until(lambda: not application_processes(labctl), "the end of the application")
    if number is signal.SIGINT:
        assert "the application ended when it was told to" in done.out
    else:
        labctl.run("down")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--exec", "no-such-program -x"), "There is no program 'no-such-program'"),
        (("--exec", "echo 'x"), "Close every quote"),
        (("--exec", " "), "names no program"),
        (("--exec-only",), "--exec-only needs a program"),
        (("--exec", "true", "--exec-grace", "3"), "unit"),
        (("--exec", "true", "--exec-group", "nobody"), "There is no client group 'nobody'"),
    ],
)
def test_a_wrong_command_is_refused(labctl: Labctl, tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    done = labctl.run("drill", scenario(tmp_path, SHORT), *options, code=2)
    assert words in done.err
    assert not labctl.home.exists(), "nothing was started"
