"""Several runs as tables, and steps in words."""

from __future__ import annotations

import pytest
from rich.console import Console

from labctl.declare import library
from labctl.declare.scenario import parse_scenario
from labctl.drill import known_names
from labctl.report.scenario import render_reasons, render_scenario, step_words
from labctl.report.series import render_series, reproduction


def text(rendered: object) -> str:
    console = Console(width=200, markup=False, highlight=False)
    with console.capture() as captured:
        console.print(rendered)
    return captured.get()


def run(name: str, cell: str, verdict: str, outcome: str) -> dict[str, object]:
    check = {"phase": "main", "check": "acked-writes", "outcome": outcome, "verdict": verdict, "summary": f"{name}!"}
    return {"run": name, "cell": cell, "seed": 1, "engine": "redis 8.2.3", "verdict": verdict, "checks": [check]}


def test_how_often_each_cell_came_to_what() -> None:
    runs = [
        run("one", "aof=no", "held", "valid"),
        run("two", "aof=no", "lost data as documented", "invalid"),
        run("three", "aof=always", "held", "valid"),
    ]
    shown = text(render_series(runs))
    (no,) = [line for line in shown.splitlines() if line.startswith("aof=no")]
    assert no.split() == [
        *("aof=no", "main", "acked-writes", "1", "of", "2", "runs"),
        *("1", "×", "held,", "1", "×", "lost", "data", "as", "documented", "two!"),
    ]
    assert "aof=always  main   acked-writes  0 of 1 run " in shown


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["valid"], "0 of 1 run"),
        (["invalid"] * 7 + ["valid"] * 3, "7 of 10 runs"),
        (["unknown", "unknown"], "0 of 0 runs (2 not judged)"),
    ],
)
def test_a_run_that_was_not_judged_is_none_without_an_anomaly(outcomes: list[str], expected: str) -> None:
    assert reproduction([{"outcome": outcome} for outcome in outcomes]) == expected


SCENARIO = """title: T
description: D
topology: sentinel
requires: [redis >= 7]
matrix: {persistence.aof: [no, always]}
learn: [One thing.]
duration: 9s
load: {keys: 10000, bytes: 100}
workloads: [{run: set, start: 1s, stop: 8s, rate: 5}]
steps:
  - {at: 1s, id: first, kill: primary, for: 4s}
  - {after: first, when: [promoted, {writes: 50}], delay: 300ms, rolling-restart: replicas, with: {by: term}}
  - {after: first.end, pause: redis-1, for: 1s}
checks:
  - {check: recovery, bounds: {recovery_ms: 5}, expect: {aof=no: loses, else: holds}, only: aof=no|always, promise: P.}
recovery: {within: 5s, required: false}
"""


def test_a_scenario_in_plain_words() -> None:
    read = parse_scenario(SCENARIO, "d.yaml", library.topology, known_names())
    assert [step_words(step) for step in read.phases[0].steps] == [
        "at 1 s: kill primary for 4 s [first]",
        "after first began, when promoted and writes 50 (within 30 s), 0.3 s later: rolling-restart replicas, by term",
        "after first ended: pause redis-1 for 1 s",
    ]
    shown = text(render_scenario(read))
    for words in (
        "Requires: redis >= 7",
        "Run for each combination of: aof (persistence.aof): no, always",
        "before it begins: 10,000 keys of 100 bytes are loaded",
        "run `set` from 1 s until 8 s, 5 operations a second",
        "(at most 5 s; a lab that does not recover is judged all the same)",
        "recovery (only aof=no|always: aof=no: loses; else: holds; recovery_ms at most 5): P.",
        "• One thing.",
    ):
        assert words in shown, words


def test_reasons_by_cell() -> None:
    shown = text(render_reasons({"a": {"": []}, "b": {"aof=no": ["no compiler"], "aof=always": []}}))
    assert shown.split("\n")[:3] == ["a: can be run here", "b: cannot be run here", f"{'  aof=no: no compiler':<200}"]
