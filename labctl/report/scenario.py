"""Scenarios and runs for people: lists, and one scenario in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from labctl.model.fault import Fault
from labctl.model.scenario import Check, Maintenance, Phase, Scenario, Step, Workload


def render_list(scenarios: Sequence[Mapping[str, object]]) -> RenderableType:
    """A row a scenario."""
    columns = ("GROUP", "SCENARIO", "TOPOLOGY", "TITLE")
    return _rows(columns, ((s["group"], s["name"], s["topology"], s["title"]) for s in scenarios))


def render_reasons(scenarios: Mapping[str, Mapping[str, Sequence[str]]]) -> RenderableType:
    """Whether scenarios can be run here: by name and cell, every reason why not."""
    lines: list[RenderableType] = []
    for name, cells in scenarios.items():
        refused = {cell: reasons for cell, reasons in cells.items() if reasons}
        if not refused:
            lines.append(Text(f"{name}: can be run here", "green"))
            continue
        lines.append(Text(f"{name}: cannot be run here", "red"))
        lines += [_line(f"{cell}: {each}" if cell else each) for cell, reasons in refused.items() for each in reasons]
    return Group(*lines)


def render_scenario(scenario: Scenario) -> RenderableType:
    """What would be done, when, and what it is held to."""
    parts: list[RenderableType] = [
        Text(scenario.title, "bold"),
        Text(),
        Text(scenario.description),
        Text(),
        Text(f"Lab: {scenario.topology.name} ({scenario.topology.nodes} nodes)"),
    ]
    if scenario.requires:
        parts.append(Text(f"Requires: {', '.join(scenario.requires)}"))
    if scenario.cell:
        parts.append(Text(f"Cell: {scenario.cell}"))
    elif scenario.matrix:
        axes = "; ".join(f"{axis.name} ({axis.path}): {', '.join(axis.values)}" for axis in scenario.matrix)
        parts.append(Text(f"Run for each combination of: {axes}"))
    for phase in scenario.phases:
        parts += [Text(), *_phase(phase)]
    if scenario.learn:
        parts += [Text(), Text("What to take away", "bold"), *(_line(f"• {sentence}") for sentence in scenario.learn)]
    if scenario.chapter:
        parts += [Text(), Text(f"Read on: {scenario.chapter}")]
    return Group(*parts)


def _phase(phase: Phase) -> Iterator[RenderableType]:
    yield Text(f"▌ {phase.title} ({phase.duration_s:g} s)", "bold cyan")
    for line in plan_lines(phase):
        yield _line(line)
    for check in phase.checks:
        yield _line(f"{check.name}{_options(check)} ({_expected(check)}): {' '.join(check.promise.split())}")


def _options(check: Check) -> str:
    return "".join(f", {name} {value}" for name, value in check.options.items())


def _expected(check: Check) -> str:
    """What may come out, with the bounds, and where it differs by cell."""
    if check.expect_by_cell:
        words = "; ".join(f"{selector}: {expected.value}" for selector, expected in check.expect_by_cell)
    else:
        words = check.expect.value
    bounds = "".join(f"; {name} at most {bound:g}" for name, bound in check.bounds.items())
    return f"{f'only {check.only}: ' if check.only else ''}{words}{bounds}"


def step_words(step: Step) -> str:
    """A step as a sentence: from when on, what it waits for, what it does."""
    parts = []
    if step.after:
        label, dot, _ = step.after.partition(".")
        parts.append(f"after {label} {'ended' if dot else 'began'}")
    if not step.after and (step.at_s or step.fixed):
        parts.append(f"at {step.at_s:g} s")
    elif step.at_s:
        parts.append(f"{step.at_s:g} s later")
    if step.when:
        what = " and ".join(f"{each.name} {each.argument}".strip() for each in step.when)
        parts.append(f"when {what} (within {step.within_s:g} s)")
    if step.delay_s:
        parts.append(f"{step.delay_s:g} s later")
    does = fault_words(step.does) if isinstance(step.does, Fault) else action_words(step.does)
    name = f" [{step.label}]" if step.label else ""
    return f"{', '.join(parts)}: {does}{name}"


def action_words(action: Maintenance) -> str:
    """A maintenance action in a few words."""
    params = "".join(f", {name} {value}" for name, value in action.params.items())
    return f"{action.action} {action.target}".strip() + params


def plan_lines(phase: Phase) -> Iterator[str]:
    """What is to happen in a phase, a line each."""
    if phase.load is not None:
        yield f"before it begins: {phase.load.keys:,} keys of {phase.load.value_bytes:,} bytes are loaded"
    for workload in phase.workloads:
        yield _workload(workload)
    for step in phase.steps:
        yield step_words(step)
    must = "" if phase.recovery.required else "; a lab that does not recover is judged all the same"
    must += "; at its own pace" if phase.recovery.natural else ""
    yield f"then heal, wait until recovered (at most {phase.recovery.within_s:g} s{must}), read back"


def fault_words(fault: Fault) -> str:
    """A fault in a few words."""
    until = "until healed" if fault.duration_s is None else f"for {fault.duration_s:g} s"
    params = "".join(f", {name} {value}" for name, value in fault.params.items())
    return f"{fault.kind} {fault.target} {until}{', following the role' if fault.follow else ''}{params}"


def _workload(workload: Workload) -> str:
    rate = "as fast as they are answered" if workload.rate is None else f"{workload.rate:g} operations a second"
    start = f" from {workload.start_s:g} s" if workload.start_s else ""
    stop = f" until {workload.stop_s:g} s" if workload.stop_s is not None else ""
    options = "".join(f", {name} {value}" for name, value in workload.options.items())
    return f"{workload.clients} clients of {workload.group} run `{workload.kind}`{start}{stop}, {rate}{options}"


def _line(text: str) -> Padding:
    return Padding(Text(text), (0, 0, 0, 2))


def _rows(columns: Sequence[str], rows: Iterator[tuple[object, ...]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*map(str, row))
    return table
