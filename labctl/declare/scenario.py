"""YAML of a scenario to the model: phases, promises, the cells of a matrix, and every reason why it cannot be run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from labctl.declare import matrix, needs, spellings, yaml
from labctl.declare.targets import GROUPS
from labctl.declare.timeline import TimelineReader, seconds
from labctl.declare.topology import apply, check_consistency
from labctl.declare.yaml import near, shown
from labctl.errors import DeclarationError, UsageError
from labctl.model.scenario import Axis, Check, Expectation, Phase, Preload, Recovery, Scenario, Workload
from labctl.model.topology import Topology

if TYPE_CHECKING:
    from labctl.declare import shapes

Topologies = Callable[[str], Topology]
"""Finds a topology by the name or path that a scenario states; raises UsageError if there is none."""
ConditionRule = Callable[[str, Topology], "str | None"]
"""`(argument, topology)` → why a condition cannot have this argument there; None if it can."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_STAT = re.compile(r"[a-z][a-z0-9_]{0,63}")
_ENDLESS_MS = 10**12
"""What a phase lasts whose duration is missing: no step of it is told to come too late."""
_SINGLE = ("duration", "load", "workloads", "steps", "checks", "recovery")
ONLY_PHASE = "main"
"""The name of the phase of a scenario that states none."""


@dataclass(frozen=True, slots=True)
class Known:
    """Registry names that a scenario may use.

    Attributes:
        faults: Fault kinds.
        checks: Checkers.
        workloads: Workloads.
        actions: Maintenance actions.
        conditions: What a step may wait for, each with the rule of its argument.
        momentary: Fault kinds that are over once they are done.
        stops: Fault kinds that leave their target without a running process until they are undone.
        needs_process: Fault kinds that only bite on a running process.
    """

    faults: frozenset[str]
    checks: frozenset[str]
    workloads: frozenset[str]
    actions: frozenset[str] = frozenset()
    conditions: Mapping[str, ConditionRule] = field(default_factory=dict)
    momentary: frozenset[str] = frozenset()
    stops: frozenset[str] = frozenset({"kill", "stop", "shutdown", "power-loss"})
    needs_process: frozenset[str] = frozenset(
        {"kill", "stop", "shutdown", "power-loss", "pause", "restart", "crash-loop"}
    )


@dataclass(frozen=True, slots=True)
class Declared:
    """A scenario file, read.

    Attributes:
        scenario: As declared.
        cells: One scenario for each cell of its matrix; the scenario alone where it has none.
    """

    scenario: Scenario
    cells: tuple[Scenario, ...]


def parse_scenario(text: str, source: str, topologies: Topologies, known: Known) -> Scenario:
    """Read a scenario file; the declaration as a whole. Arguments and errors as for `parse_cells`."""
    return parse_cells(text, source, topologies, known).scenario


def parse_cells(text: str, source: str, topologies: Topologies, known: Known) -> Declared:
    """Read a scenario file, with every cell of its matrix.

    Args:
        text: The file's text.
        source: Its path, for messages and for the scenario's name.
        topologies: Finds the topology that the scenario names.
        known: Faults, actions, conditions, checks and workloads that there are.

    Raises:
        DeclarationError: Every problem of the file, each as `source:line:col: …`.
    """
    from labctl.declare.shapes import ScenarioFile  # noqa: PLC0415 - pydantic, only once there is YAML to read
    from labctl.declare.validate import validate  # noqa: PLC0415

    document = yaml.load(text, source)
    shape = validate(ScenarioFile, document)
    if shape is None:
        document.refuse_if_wrong()
        raise AssertionError("a shape was refused without a reason")
    base = _base(shape.topology, topologies, document)
    topology = None if base is None else _with_overrides(shape.topology, base, document, ("topology",))
    if not _NAME.fullmatch(name := PurePath(source).stem):
        rule = "small letters, digits and dashes"
        document.problem((), f"{shown(name)} cannot name a scenario: {rule}; rename the file")
    for index, need in enumerate(shape.requires):
        if reason := needs.problem(" ".join(need.split())):
            document.problem(("requires", index), reason)
    axes = matrix.axes(shape.matrix or {}, document)
    reader = _Reader(document, known, topology, axes)
    phases = reader.phases(shape)
    in_cells: list[tuple[dict[str, str], Topology, tuple[Phase, ...]]] = []
    if axes and base is not None and not document.wrong:
        for cell in matrix.cells(axes):
            changed = _topology_of(cell, axes, shape, base, document)
            if changed is not None:
                in_cells.append((cell, changed, replace(reader, topology=changed).phases(shape)))
    document.refuse_if_wrong()
    assert topology is not None, "a topology was refused without a reason"
    scenario = Scenario(
        name=name,
        title=shape.title,
        description=shape.description.strip(),
        topology=topology,
        phases=phases,
        learn=tuple(line.strip() for line in shape.learn),
        tags=tuple(shape.tags),
        chapter=shape.chapter or "",
        requires=tuple(" ".join(need.split()) for need in shape.requires),
        matrix=axes,
    )
    every = tuple(
        matrix.in_cell(replace(scenario, topology=changed, phases=read), cell) for cell, changed, read in in_cells
    )
    return Declared(scenario, every or (scenario,))


def _base(reference: shapes.TopologyReference, topologies: Topologies, document: yaml.Document) -> Topology | None:
    """The topology that is named; None (with the problems noted) if none is, or there is no such topology."""
    from labctl.declare.shapes import MISSING  # noqa: PLC0415 - imported by now

    if reference.name == MISSING:
        return None
    try:
        return topologies(reference.name)
    except DeclarationError as error:
        for problem in error.problems:
            document.problem(("topology", "name"), f"topology `{reference.name}` is wrong: {problem}")
    except UsageError as error:
        document.problem(("topology", "name"), f"{error.message} {error.hint}".strip())
    return None


def _with_overrides(
    reference: shapes.TopologyReference, base: Topology, document: yaml.Document, at: yaml.Path
) -> Topology:
    topology = apply(reference, base)
    check_consistency(topology, reference, document, at)
    return topology


def _topology_of(
    cell: Mapping[str, str],
    axes: tuple[Axis, ...],
    shape: shapes.ScenarioFile,
    base: Topology,
    document: yaml.Document,
) -> Topology | None:
    """The topology of a cell; None (with the problem noted at the matrix) if there can be no such one."""
    from pydantic import ValidationError  # noqa: PLC0415 - imported by now

    from labctl.declare.shapes import TopologyReference  # noqa: PLC0415
    from labctl.declare.validate import complaint  # noqa: PLC0415

    assert shape.matrix is not None
    stated: dict[str, Any] = {}
    for axis in axes:
        stated[axis.path] = shape.matrix[axis.path][axis.values.index(cell[axis.name])]
    value = matrix.overridden(document.value["topology"], stated)
    try:
        reference = TopologyReference.model_validate(value, context={})
    except ValidationError as error:
        for details in error.errors(include_url=False):
            path = ".".join(str(part) for part in details["loc"])
            axis_path = next((p for p in stated if path.startswith(p) or p.startswith(path)), "")
            extra = details["type"] == "extra_forbidden"
            what = "is nothing that a scenario overrides in its topology" if extra else complaint(details)
            document.problem(("matrix", axis_path), f"`{path}` {what} ({matrix.label(cell)})", at_key=True)
        return None
    noted = yaml.Document(document.source)
    topology = _with_overrides(reference, base, noted, ())
    if noted.wrong:
        try:
            noted.refuse_if_wrong()
        except DeclarationError as error:
            for problem in error.problems:
                reason = problem.split(": ", 1)[1]
                document.problem(("matrix",), f"{matrix.label(cell)}: {reason}", at_key=True)
        return None
    return topology


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns shapes into the model and notes in the document what cannot be.

    Attributes:
        document: Where the problems go.
        known: What there is to be named.
        topology: What targets are held against; None if it is wrong itself.
        axes: Of the matrix.
    """

    document: yaml.Document
    known: Known
    topology: Topology | None
    axes: tuple[Axis, ...]

    def phases(self, shape: shapes.ScenarioFile) -> tuple[Phase, ...]:
        phases = self.only_phase(shape) if shape.phases is None else self.stated_phases(shape, shape.phases)
        if phases and not self.document.lost & {"phases", "checks"} and not any(phase.checks for phase in phases):
            self.document.problem((), "there is nothing to judge: state at least one check")
        return phases

    def stated_phases(self, shape: shapes.ScenarioFile, phases: dict[str, shapes.Phase]) -> tuple[Phase, ...]:
        for key in _SINGLE:
            if getattr(shape, key) is not None:
                self.document.problem((key,), f"`{key}` belongs into each phase where there are `phases`", at_key=True)
        if not phases and "phases" not in self.document.lost:
            self.document.problem(("phases",), "`phases` states none")
        for name in phases:
            if not _NAME.fullmatch(name):
                self.document.problem(
                    ("phases", name),
                    f"{shown(name)} cannot name a phase: small letters, digits and dashes",
                    at_key=True,
                )
        return tuple(self.phase(name, phase, ("phases", name)) for name, phase in phases.items())

    def only_phase(self, shape: shapes.ScenarioFile) -> tuple[Phase, ...]:
        from labctl.declare import shapes  # noqa: PLC0415 - pydantic, imported by now

        if shape.duration is None and not self.document.lost & {"duration", "phases"}:
            self.document.problem((), "key `duration` is missing (or `phases`, each with its own)")
        if shape.duration is None and "phases" in self.document.lost:
            return ()
        phase = shapes.Phase.model_construct(
            title=shape.title,
            duration=_ENDLESS_MS if shape.duration is None else shape.duration,
            load=shape.load,
            workloads=shape.workloads or [],
            steps=shape.steps or [],
            checks=shape.checks or [],
            recovery=shape.recovery,
        )
        return (self.phase(ONLY_PHASE, phase, ()),)

    def phase(self, name: str, shape: shapes.Phase, at: yaml.Path) -> Phase:
        duration_s = shape.duration / 1000
        workloads = tuple(self.workload(w, duration_s, (*at, "workloads", i)) for i, w in enumerate(shape.workloads))
        groups = set(GROUPS) if "workloads" in self.document.lost else {workload.group for workload in workloads}
        timeline = TimelineReader(self.document, self.known, self.topology, duration_s, groups)
        checks = tuple(self.check(check, (*at, "checks", i)) for i, check in enumerate(shape.checks))
        for index, check in enumerate(checks):
            if any(
                (check.name, check.options, check.only) == (other.name, other.options, other.only)
                for other in checks[:index]
            ):
                self.document.problem((*at, "checks", index), f"check `{check.name}` is stated twice")
        return Phase(
            name=name,
            title=shape.title or name,
            duration_s=duration_s,
            workloads=workloads,
            steps=timeline.read(shape.steps, at),
            checks=checks,
            load=_preload(shape.load),
            recovery=_recovery(shape.recovery),
        )

    def workload(self, shape: shapes.Workload, duration_s: float, at: yaml.Path) -> Workload:
        self.must_be_known((*at, "run"), "workload", shape.run, self.known.workloads)
        stop_s = shape.stop / 1000 if shape.stop else None
        if shape.start >= duration_s:
            self.document.problem(
                (*at, "start"), f"`start` is not within the phase, which ends at {seconds(duration_s)}"
            )
        elif stop_s is not None and stop_s <= shape.start:
            self.document.problem((*at, "stop"), f"`stop` must be after `start` ({seconds(shape.start)})")
        return Workload(shape.run, shape.clients, shape.from_, shape.rate, shape.with_, shape.start, stop_s)

    def check(self, shape: shapes.Check, at: yaml.Path) -> Check:
        self.must_be_known((*at, "check"), "check", shape.check, self.known.checks)
        for stat, bound in shape.bounds.items():
            if not _STAT.fullmatch(stat):
                self.document.problem((*at, "bounds", stat), f"{shown(stat)} is no name of a number", at_key=True)
            if bound < 0:
                self.document.problem((*at, "bounds", stat), f"`{stat}` must be at least 0")
        by_cell = tuple((selector, Expectation(word)) for selector, word in shape.expect.items())
        plain = len(by_cell) == 1 and by_cell[0][0] == spellings.ELSE
        check = Check(
            name=shape.check,
            promise=" ".join(shape.promise.split()),
            expect=by_cell[-1][1],
            bounds=shape.bounds,
            options=shape.with_,
            expect_by_cell=() if plain else by_cell,
            only=shape.only or "",
        )
        self.check_cells(check, at)
        return check

    def check_cells(self, check: Check, at: yaml.Path) -> None:
        """Selectors that name no cell, and cells that are left without an expectation."""
        stated = [("expect", selector) for selector, _ in check.expect_by_cell if selector != spellings.ELSE]
        if check.only:
            stated.append(("only", check.only))
        if "matrix" in self.document.lost:
            return
        wrong = False
        for key, selector in stated:
            if reason := matrix.selector_problem(selector, self.axes):
                wrong = True
                self.document.problem((*at, key), reason)
        if wrong:
            return
        for cell in matrix.cells(self.axes):
            if check.only and not matrix.matches(check.only, cell):
                continue
            if matrix.expectation(check, cell) is None:
                reason = f"nothing is expected of {matrix.label(cell) or 'the scenario'}: state `else`"
                self.document.problem((*at, "expect"), reason)
                return

    def must_be_known(self, path: yaml.Path, what: str, name: str, names: frozenset[str]) -> None:
        if name not in names:
            self.document.problem(path, f"there is no {what} {shown(name)}; {near(name, sorted(names))}")


def _preload(shape: shapes.Preload | None) -> Preload | None:
    if shape is None:
        return None
    return Preload(shape.keys, shape.bytes_, shape.prefix, shape.ttl / 1000 if shape.ttl else None)


def _recovery(shape: shapes.Recovery | None) -> Recovery:
    return Recovery() if shape is None else Recovery(shape.within / 1000, shape.required, shape.natural)
