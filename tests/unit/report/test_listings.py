"""Topologies, scenarios and runs for people."""

from __future__ import annotations

from rich.console import Console, RenderableType

from labctl.declare import library
from labctl.drill import known_names
from labctl.model.fault import Fault
from labctl.report.plan import declared_lab, render_declared
from labctl.report.runs import render_runs
from labctl.report.scenario import fault_words, render_list, render_scenario, step_words


def text(renderable: RenderableType) -> str:
    console = Console(width=200, color_system=None, markup=False, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_a_topology_lists_nodes_and_what_was_stated() -> None:
    cluster = declared_lab(library.topology("cluster"))
    assert [n["follows"] for n in cluster["nodes"]] == [None, None, None, "redis-1", "redis-2", "redis-3"]
    assert cluster["settings"]["node-timeout"] == "2000 ms"
    sentinel = declared_lab(library.topology("sentinel-tls-acl"))
    shown = text(render_declared(sentinel))
    for words in ("redis-3", "sentinel-3", "quorum: 2 of 3", "down-after: 1000 ms", "tls: yes", "acl: yes"):
        assert words in shown


def test_persistence_in_words() -> None:
    from labctl.declare.topology import parse_topology  # noqa: PLC0415

    stated = "kind: standalone\npersistence: {rdb: 60 5, aof: always}\ndirectives: {all: {hz: 50}}"
    settings = declared_lab(parse_topology(stated, "own.yaml"))["settings"]
    assert settings["persistence"] == "dump after 60 s and 5 changes, append-only file, fsync always"
    assert settings["hz (all)"] == "50"


def test_the_shipped_scenarios_in_plain_words() -> None:
    known = known_names()
    for name in library.names("scenarios"):
        scenario = library.scenario(name, known)
        shown = " ".join(text(render_scenario(scenario)).split())
        assert scenario.title in shown
        for phase in scenario.phases:
            assert phase.title in shown
            assert all(" ".join(step_words(step).split()) in shown for step in phase.steps)
            assert all(check.name in shown for check in phase.checks)


def test_a_fault_in_a_few_words() -> None:
    assert fault_words(Fault("kill", "primary", 4)) == "kill primary for 4 s"
    assert fault_words(Fault("isolate", "redis-1", None, {"how": "drop"})) == "isolate redis-1 until healed, how drop"


def test_lists() -> None:
    rows = text(render_list([{"group": "g", "name": "n", "topology": "t", "title": "[x] a title"}]))
    assert "[x] a title" in rows
    assert "verdict [b]" in text(render_runs([{"run": "r", "engine": "e", "verdict": "verdict [b]"}]))
    assert "There is no run yet" in text(render_runs([]))
