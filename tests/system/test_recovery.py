"""What is waited for when a drill's faults are gone: at once where nobody asked otherwise, and nothing stays borrowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labctl.model.history import SETTLED
from labctl.store.history import read_history
from tests.support import periods
from tests.support.client import lab_client
from tests.support.command import Labctl

pytestmark = pytest.mark.system

RETURNS = """
title: A primary is killed and comes back
description: Sentinel demotes it four hello periods after it saw its role, and looks at it each ten seconds.
topology: {topology}
duration: 5s
workloads: [{{run: set, clients: 1, rate: 50}}]
steps:
{steps}
checks:
  - {{check: convergence, promise: Replicas catch up.}}
{more}
"""


FOR_A_WHILE = "  - {at: 500ms, kill: redis-1, for: 4s}"
UNTIL_A_FAILOVER = """
  - {when: {writes: 25}, id: killed, kill: redis-1}
  - {after: killed, when: promoted, within: 45s, delay: 1s, command: primary, with: {send: PING}}
"""
"""However many votes it takes: a fault without an end of its own lasts until the last step is done."""
SENTINEL = "{name: sentinel, sentinel: {failover-timeout: 5s}}"
"""Which votes again after 10 s."""


def drilled(labctl: Labctl, path: Path, topology: str, *options: str, steps: str, more: str = "") -> dict[str, Any]:
    """Run it; what its history says of the recovery."""
    file = path / "returns.yaml"
    file.write_text(RETURNS.format(topology=topology, steps=steps, more=more))
    folder = Path(labctl.json("drill", str(file), *options)["folder"])
    (history,) = folder.glob("*.history")
    (settled,) = (event for event in read_history(history).events if event.kind == SETTLED)
    return dict(settled.detail)


def test_haste_changes_nothing_for_good(labctl: Labctl, tmp_path: Path) -> None:
    """The demoted primary was told to write its file while the other one was in haste."""
    settled = drilled(labctl, tmp_path, SENTINEL, "--keep", steps=UNTIL_A_FAILOVER)
    assert settled["hastened"] is True
    assert settled["reasons"] == []
    (lab,) = labctl.json("ls")
    plan = labctl.plan(lab["lab"])
    for node in plan["nodes"]:
        client = lab_client(plan, node["name"], direct=True)
        if node["role"] == "sentinel":
            assert periods.borrowed(client.ask("SENTINEL", "DEBUG")) == periods.OWN
        else:
            assert client.ask("CONFIG", "GET", "repl-diskless-sync-delay") == ["repl-diskless-sync-delay", "5"]
            written = (labctl.lab_folder(lab["lab"]) / "nodes" / node["name"] / "redis.conf").read_text()
            assert "repl-diskless-sync-delay 0" not in written
            assert node["name"] != "redis-1" or "replicaof 127.0.0.1" in written, "Sentinel had it write its file"
    labctl.run("down")


def test_sentinels_that_were_not_run_for_a_while_are_not_waited_for(labctl: Labctl, tmp_path: Path) -> None:
    """They trust nothing for thirty seconds then (TILT), and a lab is not healthy as long as one does not."""
    frozen = "  - {at: 1s, pause: sentinels, for: 3s}"
    settled = drilled(labctl, tmp_path, "sentinel", steps=frozen, more="recovery: {within: 20s}")
    assert settled["reasons"] == []
    (run,) = (labctl.home / "runs").iterdir()
    for log in (run / "logs").glob("sentinel-*.log"):
        assert "+tilt" in log.read_text()


@pytest.mark.parametrize(("options", "more"), [(("--natural",), ""), ((), "recovery: {natural: true}")])
def test_without_it_where_it_is_not_wanted(labctl: Labctl, tmp_path: Path, options: tuple[str, ...], more: str) -> None:
    settled = drilled(labctl, tmp_path, "replica", *options, steps=FOR_A_WHILE, more=more)
    assert settled["hastened"] is False
    assert "at its own pace" in labctl.run("drill", str(tmp_path / "returns.yaml"), *options, "--dry-run").out
