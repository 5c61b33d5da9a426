"""Whether a scenario can be run here, before anything is started: every reason why not, or the engine to run it on.

What a scenario needs follows from its topology, its faults and its actions as far as it can; `requires` states the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labctl.actions.registry import complete as complete_action
from labctl.actions.upgrade import refusal as upgrade_refusal
from labctl.check import alerts, counters
from labctl.check.registry import CHECKERS, parameters_of
from labctl.declare.needs import FACILITIES, engine_ranges
from labctl.declare.yaml import near
from labctl.engines.doctor import can
from labctl.engines.find import find_engines, is_path
from labctl.engines.select import select_engine
from labctl.errors import LabError
from labctl.faults.registry import FAULTS, complete, require_possible
from labctl.model.fault import Fault
from labctl.model.plan import Containers, RuntimeName
from labctl.model.topology import Kind
from labctl.monitoring.folder import monitoring_folder
from labctl.monitoring.rules import RuleSettings
from labctl.monitoring.rules import alerts as all_alerts
from labctl.workload.registry import problems as workload_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labctl.model.engine import Engine
    from labctl.model.scenario import Check, Phase, Scenario, Step

_LOCAL_ACTIONS = frozenset({"rolling-upgrade", "restore", "backup", "cert-rotate"})
"""Actions that work on files of the servers."""
_GROUPS = "control group of the kernel"
"""Words of `FaultKind.needs` of those that limit a process."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What was found.

    Attributes:
        reasons: Why the scenario cannot be run; empty when it can.
        engine: What to run it on, as `labctl up --engine` takes it; None for what it would take by itself.
    """

    reasons: tuple[str, ...]
    engine: str | None = None


def check(
    scenario: Scenario, runtime: RuntimeName, engine: str | None, containers: Containers | None = None
) -> Readiness:
    """Look for every reason why this machine cannot run a scenario (one cell, where it has a matrix).

    Args:
        scenario: What is to be run.
        runtime: Where.
        engine: What `--engine` says.
        containers: What `--links` and `--limit` say, where the runtime has containers.
    """
    made_of = (containers or Containers()) if runtime is RuntimeName.DOCKER else None
    reasons = [*_of_phases(scenario), *_of_machine(scenario, runtime, made_of)]
    chosen, wrong = _engine(scenario, runtime, engine)
    return Readiness(tuple(dict.fromkeys([*reasons, *wrong])), chosen)


def _of_phases(scenario: Scenario) -> Iterator[str]:
    """What the registries say about names and parameters that the file's own parser does not know."""
    for phase in scenario.phases:
        where = f"phase {phase.name}: " if len(scenario.phases) > 1 else ""
        for reason in (*_of_steps(phase, scenario), *_of_workloads(phase, scenario), *_of_checks(phase)):
            yield where + reason


def _of_steps(phase: Phase, scenario: Scenario) -> Iterator[str]:
    topology = scenario.topology
    for step in phase.steps:
        try:
            if isinstance(step.does, Fault):
                complete(step.does, in_cluster=topology.kind is Kind.CLUSTER)
            else:
                complete_action(step.does, topology)
        except LabError as error:
            yield f"{_name(step)}: {error.message} {error.hint}".strip()
        if step.fault and (lacking := _lacking(step.fault, scenario)):
            yield f"{_name(step)}: it needs {lacking}, which `{topology.name}` has not"


def _lacking(fault: Fault, scenario: Scenario) -> str:
    """What of the topology a kind of fault cannot do without."""
    needs, topology = FAULTS[fault.kind].needs, scenario.topology
    there = {
        "Sentinels": topology.kind is Kind.SENTINEL,
        "a Cluster": topology.kind is Kind.CLUSTER,
        "persistence": bool(topology.persistence.rdb or topology.persistence.aof),
    }
    return ", ".join(what for what, is_there in there.items() if what in needs.split(", ") and not is_there)


def _of_workloads(phase: Phase, scenario: Scenario) -> Iterator[str]:
    for workload in phase.workloads:
        yield from workload_problems(workload, scenario.topology.kind)


def _of_checks(phase: Phase) -> Iterator[str]:
    for check_ in phase.checks:
        known = parameters_of(check_.name)
        for option in check_.options:
            if option not in known:
                yield f"check {check_.name}: there is no option `{option}`; there are: {', '.join(sorted(known))}"
        if check_.name == alerts.NAME:
            yield from (f"check {check_.name}: {wrong}" for wrong in _alert_problems(check_))
        if check_.name == counters.NAME and (wrong := _counter_problem(check_)):
            yield f"check {check_.name}: {wrong}"
    assert all(check_.name in CHECKERS for check_ in phase.checks), "the parser knows the names"


def _alert_problems(check_: Check) -> Iterator[str]:
    known = [alert.name for alert in all_alerts(RuleSettings())]
    stated = [name for option in ("fire", "silent") for name in alerts.names(str(check_.options.get(option, "")))]
    if not stated:
        yield "it names no alert: `with: {fire: RedisDown}`"
    for name in stated:
        if name not in known:
            yield f"there is no alert `{name}`; {near(name, known)}"


def _counter_problem(check_: Check) -> str | None:
    stated = check_.options
    bounds = [stated.get(name) for name in ("at_most", "at_least")]
    if any(bound is not None and not isinstance(bound, int | float) for bound in bounds):
        return "`at_most` and `at_least` are numbers"
    at_most, at_least = (None if bound is None else float(bound) for bound in bounds)
    field, of, per, as_ = (
        str(stated.get(name, default)) for name, default in (("field", ""), ("of", "all"), ("per", ""), ("as", "last"))
    )
    return counters.problem(field, of, per, as_, at_most, at_least)


def _of_machine(scenario: Scenario, runtime: RuntimeName, containers: Containers | None) -> Iterator[str]:
    """Facilities that the faults need, and those that are stated."""
    for phase in scenario.phases:
        for step in phase.steps:
            if isinstance(step.does, Fault):
                yield from _of_fault(step, step.does, runtime, containers)
            elif step.does.action in _LOCAL_ACTIONS and runtime is not RuntimeName.PROCESS:
                yield f"{_name(step)}: it works on files of local processes: --runtime process"
    if alerts.asked_by(scenario) and not monitoring_folder().follows:
        yield from _facility("prometheus", f"check {alerts.NAME}")
    for need in scenario.requires:
        if need in FACILITIES:
            yield from _facility(need, f"`requires: {need}`")
        if need.startswith("runtime ") and need != f"runtime {runtime}":
            yield f"`requires: {need}`: it is to be run with --runtime {runtime}"


def _of_fault(step: Step, fault: Fault, runtime: RuntimeName, containers: Containers | None) -> Iterator[str]:
    try:
        require_possible(fault, runtime, containers)
    except LabError as error:
        yield f"{_name(step)}: {error.message} {error.hint}".strip()
        return
    if runtime is RuntimeName.PROCESS:
        kind = FAULTS[fault.kind]
        if kind.shim:
            yield from _facility("compiler", _name(step))
        if kind.wires:
            yield from _facility("tun", _name(step))
        if _GROUPS in kind.needs:
            yield from _facility("cgroups", _name(step))


def _facility(name: str, who: str) -> Iterator[str]:
    found = can(name)
    if not found.available:
        remedy = f"; {found.remedy}" if found.remedy else ""
        yield f"{who}: {found.name}: {found.detail}{remedy}"


def _engine(scenario: Scenario, runtime: RuntimeName, asked: str | None) -> tuple[str | None, list[str]]:
    """The engine to ask for, and why there is none."""
    varied = any(axis.path == "engine" for axis in scenario.matrix)
    if varied and asked and asked != scenario.topology.engine:
        return asked, [f"the matrix varies the engine, so --engine {asked} contradicts it: --cell engine=… picks one"]
    request = scenario.topology.engine if varied else asked
    if runtime is not RuntimeName.PROCESS:
        return request, []
    try:
        here = find_engines(request if request and is_path(request) else None)
        chosen = select_engine(request, scenario.topology, [e for e in here if not _unfit(e, scenario)])
    except LabError as error:
        stated = [need for need in scenario.requires if engine_ranges(need) or need == "tls"]
        why = f"of those that fit `requires: {', '.join(stated)}`: " if stated else ""
        return request, [f"engine: {why}{error.message} {error.hint}".strip()]
    return chosen.path, list(_of_upgrades(scenario, chosen))


def _of_upgrades(scenario: Scenario, chosen: Engine) -> Iterator[str]:
    """Rolling upgrades to what is not here, or to what could not read the data."""
    for phase in scenario.phases:
        for step in phase.steps:
            if isinstance(step.does, Fault) or step.does.action != "rolling-upgrade" or "to" not in step.does.params:
                continue
            try:
                reason = upgrade_refusal(chosen.name, select_engine(str(step.does.params["to"]), scenario.topology))
            except LabError as error:
                reason = f"{error.message} {error.hint}".strip()
            if reason:
                yield f"{_name(step)}: {reason}"


def _unfit(engine: Engine, scenario: Scenario) -> bool:
    """Whether an engine fails something that the scenario states."""
    for need in scenario.requires:
        ranges = engine_ranges(need)
        if ranges and not any(each.holds(engine) for each in ranges):
            return True
        if need == "tls" and not engine.tls:
            return True
    return False


def _name(step: Step) -> str:
    does = step.does
    return f"{does.kind if isinstance(does, Fault) else does.action} {does.target}".strip()
