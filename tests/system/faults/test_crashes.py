"""SIGKILL at every step of a fault: of the command, of the agent, of agent and guard. Afterwards nothing is left."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Callable

import pytest

from labctl.agent.failpoint import POINTS
from labctl.errors import LabError
from tests.support.command import kernel_state, send, until
from tests.support.needs import require_for
from tests.system.faults.trial import CASES, Case, Trial

pytestmark = pytest.mark.system

_BY_KIND = {case.kind: case for case in CASES}
_STEPS = [(case.kind, point) for case in CASES for point in POINTS]
_IN_SHORT = {step for number, step in enumerate(_STEPS) if number % len(POINTS) == number // len(POINTS) % len(POINTS)}
"""Every kind at one point, the next kind at the next point."""


_ROLES_MOVE = ("failover", "sentinel-failover", "cluster-failover")
"""What comes of these is the lab's own matter, and may take its time."""


def _lab(case: Case) -> str:
    """Without Sentinels where there need be none: with its agent its links die, and Sentinels look only every 10 s."""
    return "plain" if case.lab == "sentinel" and case.kind != "sentinel-failover" else case.lab


def _step(kind: str, point: str) -> object:
    return pytest.param(kind, point, marks=() if (kind, point) in _IN_SHORT else pytest.mark.thorough)


@pytest.mark.parametrize(("kind", "point"), [_step(*step) for step in _STEPS])
def test_the_agent_is_killed(kind: str, point: str, trial: Callable[[str], Trial]) -> None:
    """The guard starts its successor, which reverts before it answers."""
    require_for(kind)
    case = _BY_KIND[kind]
    lab = trial(_lab(case))
    lab.until_well()
    before = lab.settings()
    killed = lab.status()["agent_pid"]
    _set_failpoint(lab, point)
    with contextlib.suppress(LabError, OSError):
        lab.perform(case)
        lab.heal()
    assert not (lab.folder / "failpoint").exists(), "it never came that far"
    until(lambda: _succeeded(lab, killed), "a successor of the killed agent")
    assert lab.faults() == []
    assert _journal_is_even(lab)
    if case.kind not in _ROLES_MOVE:
        lab.until_well()
    assert lab.residue() == []
    assert lab.settings() == before


def test_agent_and_guard_are_killed(trial: Callable[[str], Trial]) -> None:
    """Nobody is left to revert at the deadline; the next command is."""
    lab = trial("plain")
    lab.until_well()
    lab.inject(_BY_KIND["kill"])
    lab.inject(Case("pause", "plain", ("redis-3",)))
    lab.inject(Case("partition", "plain", ("redis-1",)))
    ours = lab.labctl.agents(lab.name)
    send(ours, signal.SIGKILL)
    until(lambda: not any(map(kernel_state, ours)), "their end")
    lab.run("heal")
    assert lab.faults() == []
    lab.until_well()
    assert lab.residue() == []


def test_the_command_is_killed_and_the_deadline_holds(trial: Callable[[str], Trial]) -> None:
    """At whichever moment it dies: the fault never began, or it ends by itself."""
    lab = trial("plain")
    lab.until_well()
    for delay_s in (0.01, 0.3, 0.6):
        running = lab.labctl.start("chaos", "pause", "redis-3", "--for", "1s", "--lab", lab.name)
        with contextlib.suppress(subprocess.TimeoutExpired):  # it still runs, as it should
            running.process.wait(delay_s)
        running.send(signal.SIGKILL)
        running.finish()
        until(lambda: lab.faults() == [] and lab.residue() == [], "the deadline")


def _succeeded(lab: Trial, killed: int) -> bool:
    try:
        return bool(lab.status()["agent_pid"] != killed)
    except LabError:  # it is just being killed
        return False


def _set_failpoint(lab: Trial, point: str) -> None:
    partial = lab.folder / "failpoint.new"
    partial.write_text(point)
    partial.rename(lab.folder / "failpoint")


def _journal_is_even(lab: Trial) -> bool:
    """Every begin has its end."""
    begun, ended = set(), set()
    for line in (lab.folder / "journal.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if "begin" in entry:
            begun.add(entry["begin"]["fault_id"])
        else:
            ended.add(entry["end"])
    return begun == ended
