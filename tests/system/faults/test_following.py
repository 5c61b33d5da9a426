"""A fault that follows a role: injected where the role is now, reverted where it was, both on disk, one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labctl.errors import UsageError
from tests.support.command import Labctl, until
from tests.system.faults.trial import Trial

pytestmark = pytest.mark.system


@pytest.fixture
def lab(command: Labctl, tmp_path: Path) -> Iterator[Trial]:
    """A lab of its own: after a failover it takes long until a Sentinel lab is as it was."""
    path = tmp_path / "chase.yaml"
    path.write_text("kind: sentinel\nreplicas: 2\n")
    command.run("up", str(path))
    one = Trial(command, "chase")
    yield one
    one.heal()
    one.until_well()
    assert one.residue() == []
    command.run("down", "chase")


def primary(lab: Trial) -> str:
    """The one that all Sentinels name: who did not lead the failover hears of it with a hello, some time later."""

    def only() -> str | None:
        names = {node["sentinel"]["primary"] for node in lab.status()["view"]["nodes"] if node.get("sentinel")}
        return names.pop() if len(names) == 1 else None

    return str(until(only, "one primary for all Sentinels"))


def moved(lab: Trial, before: Any) -> Any:
    """The fault after it moved, once nothing is left of it where it was."""

    def found() -> Any:
        faults = lab.faults()
        if before["id"] in [fault["id"] for fault in faults]:
            return None
        return next((fault for fault in faults if fault["moved_from"] == before["id"]), None)

    until(lambda: bool(found()), "a fault that has moved", patience_s=60)
    return found()


def journal(lab: Trial) -> list[tuple[str, int]]:
    lines = (lab.folder / "journal.jsonl").read_text().splitlines()
    return [("begin", e["begin"]["fault_id"]) if "begin" in e else ("end", e["end"]) for e in map(json.loads, lines)]


def test_a_fault_that_follows_moves_with_the_primary_and_one_that_does_not_stays(lab: Trial) -> None:
    old = primary(lab)
    stays = lab.fault("latency", "primary", origin="clients-b", duration_s=120, ms=20)
    fault = lab.fault("latency", "primary", origin="clients-a", duration_s=120, ms=20, follow=True)
    assert fault["touches"] == [f"clients-a.to.{old}"]
    lab.fault("sentinel-failover")
    now = moved(lab, fault)
    new = primary(lab)
    assert new != old
    assert now["touches"] == [f"clients-a.to.{new}"]
    assert now["ends_ns"] == fault["ends_ns"], "it ends when it would have ended"
    assert "answer after" in now["evidence"], "measured where it is now"
    assert journal(lab)[-2:] == [("begin", now["id"]), ("end", fault["id"])]
    healed = lab.run("heal", str(fault["id"]), "-o", "json").data
    assert healed["healed"] == [now["id"]], "by the number that it had when it began"
    assert [(left["id"], left["touches"]) for left in lab.faults()] == [(stays["id"], [f"clients-b.to.{old}"])]


def test_a_frozen_primary_goes_on_and_the_promoted_one_freezes(lab: Trial) -> None:
    old = primary(lab)
    fault = lab.fault("pause", "primary", duration_s=120, follow=True)
    now = moved(lab, fault)
    (new,) = now["touches"]
    states = lab.status()["servers"]
    assert new != old
    assert (states[old], states[new]) == ("running", "paused")


def test_what_cannot_follow_says_so(lab: Trial) -> None:
    for kind, target, reason in (
        ("pause", "redis-1", "the same servers"),
        ("pause", "any", "drawn at random"),
        ("restart", "primary", "over once it is done"),
    ):
        with pytest.raises(UsageError, match=reason):
            lab.fault(kind, target, follow=True)
    assert lab.faults() == []
