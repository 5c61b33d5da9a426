"""Every drill of the library, each cell of its matrix: what it expects is what comes out."""

from __future__ import annotations

import shutil

import pytest

from labctl.cli import series
from labctl.declare import library
from labctl.drill import known_names
from labctl.model.plan import RuntimeName
from labctl.model.scenario import Expectation
from tests.support.command import Labctl
from tests.support.votes import ATTEMPTS, drilled

LONGEST_S = 240.0
"""Seconds that a drill may take."""
pytestmark = [pytest.mark.system, pytest.mark.timeout(ATTEMPTS * LONGEST_S + 60)]

KNOWN = known_names()
CELLS = {
    f"{name} {cell.cell}".strip(): cell
    for name in library.names("scenarios")
    if library.group("scenarios", name) != "track-record"  # those have tests of their own
    for cell in library.declared(name, KNOWN).cells
}
HEALTHY = {Expectation.HOLDS: {"held"}, Expectation.LOSES: {"lost data as documented"}}
MAY_LOSE = {"held", "lost data as documented"}

LOSSES = {
    "aof-power-loss aof=no": {"acked-writes"},
    "cache-stampede": {"cache"},
    "cluster-full-coverage cluster-require-full-coverage=yes": {"availability"},
    "cluster-minority": {"acked-writes"},
    "incr-retried": {"counter-bounds"},
    "lock-fencing": {"mutex"},
    "min-replicas": {"acked-writes"},
    "promoted-by-hand": {"acked-writes"},
    "redlock-pause": {"mutex"},
    "sentinel-quorum-lost": {"availability"},
    "slow-command": {"availability"},
    "stale-reads": {"read-your-writes"},
    "aof-truncated": {"acked-writes"},
    "aof-corrupted": {"availability"},
    "rdb-kill": {"acked-writes"},
    "sentinel-failover": {"acked-writes", "split-brain", "deposed-writes"},
    "sentinel-planned-failover": {"acked-writes", "deposed-writes"},
    "sentinel-quorum-choice quorum=3": {"availability"},
    "sentinel-shared-failure-domain": {"availability"},
    "waitaof-power-loss": {"acked-writes"},
    "redlock-clock-jump": {"mutex"},
    "hot-key": {"availability"},
    "cluster-majority-dies": {"availability"},
    "cluster-epoch-collision": {"acked-writes"},
}
"""Drills that are there to show a loss, whatever their file says: a checker that sees nothing any more fails here."""


@pytest.mark.parametrize("which", CELLS)
def test_a_drill_ends_as_it_says(labctl: Labctl, which: str) -> None:
    scenario = CELLS[which]
    reasons = series.reasons((scenario,), RuntimeName.PROCESS, None)
    if any(reasons.values()):
        pytest.skip(f"cannot be run here: {reasons}")
    cell = ("--cell", scenario.cell) if scenario.cell else ()
    done = drilled(labctl, scenario.name, *cell, "-o", "json", within_s=LONGEST_S)
    assert done.code == 0, str(done)
    result = done.data
    seen = {(p["phase"], v["finding"]["check"], i): v for p in result["phases"] for i, v in enumerate(p["verdicts"])}
    expected = {
        (phase.name, check.name, i): HEALTHY.get(check.expect, MAY_LOSE)
        for phase in scenario.phases
        for i, check in enumerate(phase.checks)
    }
    assert seen.keys() == expected.keys()
    wrong = {
        place: f"{verdict['judgement']}: {verdict['finding']['summary']}"
        for place, verdict in seen.items()
        if verdict["judgement"] not in expected[place]
    }
    assert not wrong
    lost = {check for (_, check, _), verdict in seen.items() if verdict["judgement"] == "lost data as documented"}
    assert lost >= LOSSES.get(which, set())
    shutil.rmtree(labctl.home / "runs")


def test_losses_name_drills() -> None:
    assert LOSSES.keys() <= CELLS.keys()


def test_the_library_is_what_it_should_be() -> None:
    drills = {name: library.declared(name, KNOWN).scenario for name in library.names("scenarios")}
    assert len(drills) >= 40
    for name, drill in drills.items():
        assert drill.learn, name
        assert drill.tags, name
        assert drill.chapter.startswith("https://"), name
        assert all(check.promise for phase in drill.phases for check in phase.checks), name
