"""A matrix: one scenario run once for each combination of values, and what differs from cell to cell.

An axis is `engine` or a path into what a scenario may override in its topology, `persistence.aof` or
`directives.all.min-replicas-to-write`. A *selector* names cells: `aof=always`, `aof=always|everysec,engine=redis-8`;
every stated axis must match.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

from labctl.declare import spellings
from labctl.declare.yaml import near, shown
from labctl.errors import UsageError
from labctl.model.scenario import Axis, Check, Expectation, Phase, Scenario

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from labctl.declare import yaml

MAX_CELLS = 64
_VALUE = re.compile(r"[^,=|\s]{1,60}")


def axes(stated: Mapping[str, Sequence[Any]], document: yaml.Document) -> tuple[Axis, ...]:
    """The axes of a matrix, each with the shortest name that is not ambiguous."""
    found = []
    lasts = [path.rpartition(".")[2] for path in stated]
    for path, values in stated.items():
        last = path.rpartition(".")[2]
        words = [word(value) for value in values]
        for index, text in enumerate(words):
            if not _VALUE.fullmatch(text):
                document.problem(("matrix", path, index), f"{shown(text)} cannot be a value of a matrix: one word")
            elif text in words[:index]:
                document.problem(("matrix", path, index), f"{shown(text)} is stated twice")
        found.append(Axis(path, last if lasts.count(last) == 1 else path, tuple(words)))
    if (count := len(list(product(*(axis.values for axis in found))))) > MAX_CELLS:
        document.problem(("matrix",), f"{count} cells are more than {MAX_CELLS}", at_key=True)
    return tuple(found)


def word(value: Any) -> str:
    """A value as `--cell` states it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def cells(found: Sequence[Axis]) -> list[dict[str, str]]:
    """Every combination: axis name → value, in the order of the file; a single empty one without axes."""
    names = [axis.name for axis in found]
    return [dict(zip(names, values, strict=True)) for values in product(*(axis.values for axis in found))]


def label(cell: Mapping[str, str]) -> str:
    """A cell in a line, `aof=always,engine=redis-8`."""
    return ",".join(f"{name}={value}" for name, value in cell.items())


def overridden(reference: Any, stated: Mapping[str, Any]) -> dict[str, Any]:
    """A topology reference as YAML has it, with these values at these paths."""
    result: dict[str, Any] = {"name": reference} if isinstance(reference, str) else dict(reference)
    for path, value in stated.items():
        at = result
        *parents, last = path.split(".")
        for parent in parents:
            below = at.get(parent)
            if parent == "persistence" and isinstance(below, str):
                below = spellings.persistence(below)
            at[parent] = dict(below) if isinstance(below, dict) else {}
            at = at[parent]
        at[last] = value
    return result


def matches(selector: str, cell: Mapping[str, str]) -> bool:
    """Whether a selector names this cell."""
    return all(cell.get(name) in values for name, values in _parts(selector))


def selector_problem(selector: str, found: Sequence[Axis]) -> str | None:
    """Why a selector can name no cell; None if it can."""
    if not found:
        return f"{shown(selector)} names cells of a matrix, and the scenario has none"
    names = {axis.name: axis.values for axis in found}
    for name, values in _parts(selector):
        if name not in names:
            return f"{shown(selector)}: the matrix has no {shown(name)}; {near(name, names)}"
        for value in values:
            if value not in names[name]:
                return f"{shown(selector)}: {name} is never {shown(value)}; {near(value, names[name])}"
    return None


def chosen(every: Iterable[Scenario], selector: str) -> tuple[Scenario, ...]:
    """The cells that a user's `--cell` names. Raises UsageError when it names none."""
    scenarios = tuple(every)
    wrong = selector_problem(selector, scenarios[0].matrix)
    if wrong:
        raise UsageError(f"--cell {wrong}", f"Cells: {'; '.join(s.cell for s in scenarios)}.")
    return tuple(s for s in scenarios if matches(selector, dict(part.split("=", 1) for part in s.cell.split(","))))


def in_cell(scenario: Scenario, cell: Mapping[str, str]) -> Scenario:
    """The scenario with the checks and expectations of one cell."""
    return replace(
        scenario, cell=label(cell), phases=tuple(replace(p, checks=_checks(p, cell)) for p in scenario.phases)
    )


def _checks(phase: Phase, cell: Mapping[str, str]) -> tuple[Check, ...]:
    return tuple(
        replace(check, expect=expectation(check, cell) or check.expect)
        for check in phase.checks
        if not check.only or matches(check.only, cell)
    )


def expectation(check: Check, cell: Mapping[str, str]) -> Expectation | None:
    """What is expected of a check in a cell; None if nothing is stated for it."""
    for selector, expected in check.expect_by_cell:
        if selector == spellings.ELSE or matches(selector, cell):
            return expected
    return None if check.expect_by_cell else check.expect


def _parts(selector: str) -> list[tuple[str, list[str]]]:
    pairs = (part.partition("=") for part in selector.split(","))
    return [(name.strip(), [value.strip() for value in values.split("|")]) for name, _, values in pairs]
