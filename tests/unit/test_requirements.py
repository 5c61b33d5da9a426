"""Every reason why a scenario cannot be run here is told at once, before anything is started."""

from __future__ import annotations

import pytest

from labctl import requirements
from labctl.declare import library
from labctl.declare.scenario import parse_cells
from labctl.drill import known_names
from labctl.engines.find import find_engines
from labctl.faults.registry import FAULTS
from labctl.model.engine import Facility
from labctl.model.plan import Containers, LinksBy, RuntimeName
from labctl.model.scenario import Scenario

HEAD = "title: T\ndescription: D\ntopology: {topology}\nduration: 9s\n"


def scenario(rest: str, topology: str = "standalone") -> Scenario:
    return cells(rest, topology)[0]


def cells(rest: str, topology: str = "standalone") -> tuple[Scenario, ...]:
    text = HEAD.format(topology=topology) + rest
    if "checks:" not in rest:
        text += "\nchecks: [{check: convergence, promise: P}]\n"
    return parse_cells(text, "d.yaml", library.topology, known_names()).cells


def reasons(rest: str, topology: str = "standalone", runtime: RuntimeName = RuntimeName.PROCESS) -> list[str]:
    return list(requirements.check(scenario(rest, topology), runtime, None).reasons)


def missing(what: str) -> Facility:
    return Facility(what, "for a test", available=False, detail="not here", remedy=f"install {what}")


def test_all_of_them_at_once() -> None:
    found = reasons(
        """requires: [runtime docker]
workloads: [{run: set, with: {kees: 1}}]
steps:
  - {at: 1s, kill: primary, for: 1s, with: {signal: 9}}
  - {at: 2s, latency: primary, for: 1s, with: {ms: -1}}
  - {at: 3s, sentinel-failover: primary}
  - {at: 4s, restart-node: primary, with: {by: magic}}
checks:
  - {check: recovery, with: {grup: a}, promise: P}
  - {check: counters, with: {field: nope, at_most: 1}, promise: P}
"""
    )
    expected = (
        "workload set: there is no option 'kees'",
        "kill primary: The fault 'kill' has no parameter 'signal'.",
        "latency primary: ms=-1 is not",
        "sentinel-failover primary: it needs Sentinels",
        "restart-node primary: by=magic is none of shutdown, term, kill.",
        "check recovery: there is no option `grup`",
        "check counters: `nope` is no number that views keep",
        "`requires: runtime docker`: it is to be run with --runtime process",
    )
    for words in expected:
        assert any(reason.startswith(words) for reason in found), (words, found)
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("step", "facility"),
    [
        ("power-loss: primary", "compiler"),
        ("memory-limit: primary", "cgroups"),
        ("slow-fsync: primary", "compiler"),
        ("packet-loss: primary", "tun"),
    ],
)
def test_what_a_fault_needs_is_derived(monkeypatch: pytest.MonkeyPatch, step: str, facility: str) -> None:
    monkeypatch.setattr(requirements, "can", missing)
    (reason,) = reasons(f"steps: [{{at: 1s, {step}, for: 1s}}]")
    assert reason == f"{step.replace(':', '')}: {facility}: not here; install {facility}"


def test_what_reaches_into_a_process_needs_processes() -> None:
    (reason,) = reasons("steps: [{at: 1s, power-loss: primary, for: 1s}]", runtime=RuntimeName.DOCKER)
    assert "power-loss primary: The fault 'power-loss' is not possible on the docker runtime." in reason
    (reason,) = reasons("steps: [{at: 1s, disconnect: primary, for: 1s}]")
    assert "not possible on the process runtime" in reason
    (reason,) = reasons("steps: [{at: 1s, backup: primary}]", runtime=RuntimeName.DOCKER)
    assert reason.startswith("backup primary: it works on files of local processes")


def test_links_that_know_resp_are_asked_for() -> None:
    cell = scenario("steps: [{at: 1s, command-delay: primary, for: 1s}]")
    (reason,) = requirements.check(cell, RuntimeName.DOCKER, None).reasons
    assert "--links labctl" in reason
    assert requirements.check(cell, RuntimeName.DOCKER, None, Containers(LinksBy.LABCTL)).reasons == ()


def test_a_need_that_is_told_in_words_is_one_that_is_looked_at() -> None:
    """Compiler and control groups follow from `shim` and from these words; the rest from the topology and the runtime."""
    for kind in FAULTS.values():
        if RuntimeName.PROCESS in (kind.runtimes or tuple(RuntimeName)):
            assert kind.shim == ("C compiler" in kind.needs), kind.name
    grouped = {kind.name for kind in FAULTS.values() if requirements._GROUPS in kind.needs}
    assert grouped == {"cpu-throttle", "memory-limit", "oom-kill"}


def test_an_engine_is_found_that_fits_what_is_stated() -> None:
    here = find_engines()
    newest = max((e for e in here if e.flavour == "redis"), key=lambda e: e.version)
    wanted = ".".join(map(str, newest.version[:2]))
    ready = requirements.check(scenario(f"requires: [redis == {wanted}]"), RuntimeName.PROCESS, None)
    assert ready.reasons == ()
    chosen = next(e for e in here if e.path == ready.engine)
    assert chosen.version[:2] == newest.version[:2]


def test_an_engine_that_nobody_has() -> None:
    (reason,) = reasons("requires: [redis >= 99]")
    assert reason.startswith("engine: of those that fit `requires: redis >= 99`: ")


def test_a_cell_names_its_engine_and_nobody_else_does() -> None:
    (cell,) = cells("matrix: {engine: [redis-8]}")
    assert requirements.check(cell, RuntimeName.PROCESS, None).reasons == ()
    (reason,) = requirements.check(cell, RuntimeName.PROCESS, "redis-7").reasons
    assert "--cell engine=" in reason


def test_an_upgrade_that_cannot_be() -> None:
    text = "matrix: {engine: [redis-8]}\nsteps: [{at: 1s, rolling-upgrade: all, with: {to: valkey-9}}]"
    (reason,) = reasons(text, "replica")
    assert "cannot read the dumps of redis 8" in reason
    (reason,) = reasons("steps: [{at: 1s, rolling-upgrade: all, with: {to: mysql}}]", "replica")
    assert "`mysql` names no engine" in reason
