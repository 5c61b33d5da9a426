"""drill, scenarios, check: the story and its verdicts."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labctl.cli.common import Output, OutputOption, RuntimeOption, console, runtime_name, show
from labctl.cli.containers import LimitOption, LinksOption, containers
from labctl.cli.reports import complete_run, print_run, write_junit
from labctl.errors import Exit, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from labctl.cli.series import Done
    from labctl.declare.scenario import Declared
    from labctl.model.application import Application
    from labctl.model.run import PhaseVerdicts, Run
    from labctl.model.scenario import Scenario
    from labctl.store.runs import RunFolder


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for verb in (drill, scenarios, check):
        app.command()(verb)


def _complete_scenario(incomplete: str) -> list[str]:
    from labctl.declare.library import names  # noqa: PLC0415

    return [name for name in names("scenarios") if name.startswith(incomplete)]


ScenarioArgument = Annotated[
    str, typer.Argument(help="A scenario's name, or the path of your own.", autocompletion=_complete_scenario)
]
RunArgument = Annotated[
    str | None, typer.Argument(help="A run's name or folder; the newest when left out.", autocompletion=complete_run)
]


def drill(
    scenario: ScenarioArgument,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of everything random; printed, and the same is the same.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="redis-8, redis-7, valkey-9, a path or an image.")
    ] = None,
    runtime: RuntimeOption = "process",
    links: LinksOption = None,
    limits: LimitOption = None,
    cell: Annotated[
        str | None, typer.Option("--cell", help="Only these cells of the scenario's matrix: aof=always,engine=redis-8.")
    ] = None,
    repeat: Annotated[
        int, typer.Option("--repeat", min=1, max=1000, help="So many times with the same seed, and how often it shows.")
    ] = 1,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the lab up afterwards.")] = False,
    natural: Annotated[
        bool,
        typer.Option("--natural", help="Let the lab recover at Redis' own pace; Sentinels take up to half a minute."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and whether it can be, and stop.")
    ] = False,
    command: Annotated[
        str, typer.Option("--exec", help="A program of your own to run meanwhile, with REDIS_URL and the rest set.")
    ] = "",
    alone: Annotated[
        bool, typer.Option("--exec-only", help="It replaces the workloads; what judges them is left out.")
    ] = False,
    group: Annotated[str, typer.Option("--exec-group", help="The client group that it belongs to.")] = "clients",
    ready: Annotated[
        str, typer.Option("--exec-ready", help="The timeline begins when a line of it has these words.")
    ] = "",
    exit_code: Annotated[int, typer.Option("--exec-exit", help="The exit code that it should end with.")] = 0,
    grace: Annotated[str, typer.Option("--exec-grace", help="From SIGTERM to SIGKILL, at the end.")] = "10s",
    junit: Annotated[Path | None, typer.Option("--junit", help="Also write the verdicts to this file, for CI.")] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Run a scenario on a lab of its own and hold what happened against what Redis promises."""
    from labctl.agent.launch import early_agent  # noqa: PLC0415

    with early_agent(runtime == "process" and not dry_run) as early:  # before anything else that takes time
        import secrets  # noqa: PLC0415

        from labctl.application import prepare  # noqa: PLC0415
        from labctl.cli import series  # noqa: PLC0415
        from labctl.cli.progress import steps  # noqa: PLC0415
        from labctl.drill import Drill  # noqa: PLC0415
        from labctl.report.replay import repeatable  # noqa: PLC0415
        from labctl.store.runs import new_run  # noqa: PLC0415

        declared, where = _declared(scenario), runtime_name(runtime)
        application = _application(command, alone=alone, group=group, ready=ready, exit_code=exit_code, grace=grace)
        made_of = containers(where, links, limits)
        cells, whole = series.cells(declared, cell), declared.scenario
        if natural:
            cells, whole = tuple(each.unhurried() for each in cells), whole.unhurried()
        if dry_run:
            shown = cells[0] if len(cells) == 1 else whole
            planned_so = prepare(shown, application)[0] if application else shown
            _show_scenario(planned_so, output, series.reasons(cells, where, engine, made_of))
            return
        if keep and (several := len(cells) * repeat) > 1:
            raise UsageError(f"{several} labs cannot all be kept.", "--cell picks one run; leave out --repeat.")
        planned = series.ready(cells, where, engine, made_of)
        words = repeatable(sys.argv[1:])
        chosen = secrets.randbelow(2**31) if seed is None else seed

        def run_one(each: series.Planned) -> series.Done:
            folder = new_run(each.scenario.name)
            title = f"drill {each.scenario.name} {each.scenario.cell}".strip()
            with steps(f"{title}, seed {chosen}", quiet=output is Output.JSON) as say:
                scenario_run, own = (
                    (each.scenario, None) if application is None else prepare(each.scenario, application)
                )
                work = Drill(
                    scenario_run, chosen, folder, engine=each.engine, runtime=where, keep=keep, say=say, command=words
                )
                work.application, work.containers = own, made_of
                work.early = None if early is None or early.has_a_lab else early
                try:
                    done = series.Done(*_run_loop(work))
                finally:
                    folder.discard_if_empty()
            if output is Output.TEXT or len(planned) * repeat == 1:
                _print(folder, done.run, done.verdicts, output)
            return done

        done = series.run_all(planned, repeat, run_one)
        if len(planned) * repeat > 1:
            _show_series(done, output)
        if junit:
            write_junit(junit, *((each.run, each.verdicts) for each in done))
        if code := series.exit_code(done):
            raise typer.Exit(int(code))


def _application(
    command: str, *, alone: bool, group: str, ready: str, exit_code: int, grace: str
) -> Application | None:
    """What --exec and its companions say; None without it. Raises UsageError for a command that cannot be run."""
    from labctl.application import parse_command  # noqa: PLC0415
    from labctl.declare.spellings import duration_s  # noqa: PLC0415
    from labctl.declare.targets import GROUPS  # noqa: PLC0415
    from labctl.model.application import Application  # noqa: PLC0415

    if group not in GROUPS:
        raise UsageError(f"There is no client group '{group}'.", f"Groups: {', '.join(GROUPS)}.")
    if command:
        return Application(parse_command(command), group, exit_code, alone, ready, duration_s(grace))
    if alone:
        raise UsageError("--exec-only needs a program.", "--exec 'PROGRAM ARGUMENTS' --exec-only")
    return None


def _run_loop(work: Any) -> tuple[Run, tuple[PhaseVerdicts, ...]]:
    """Run the drill; the first Ctrl-C or SIGTERM ends its timeline early, a second one ends everything."""
    import asyncio  # noqa: PLC0415

    import uvloop  # noqa: PLC0415

    async def run() -> tuple[Run, tuple[PhaseVerdicts, ...]]:
        loop = asyncio.get_running_loop()
        me = asyncio.current_task()
        assert me is not None

        def interrupted() -> None:
            if work.abort.is_set():
                me.cancel()
            else:
                print("interrupted: healing, checking and reporting; once more to stop at once", file=sys.stderr)
                work.abort.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupted)
        result: tuple[Run, tuple[PhaseVerdicts, ...]] = await work.run()
        return result

    try:
        return uvloop.run(run())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def scenarios(
    name: Annotated[str | None, typer.Argument(help="Show this one.", autocompletion=_complete_scenario)] = None,
    schema: Annotated[bool, typer.Option("--schema", help="The JSON Schema of a scenario file.")] = False,
    tag: Annotated[str | None, typer.Option("--tag", help="Only those of this tag or group.")] = None,
    check_it: Annotated[
        bool,
        typer.Option("--check", help="Say whether this machine can run it (all, without a name), with every reason."),
    ] = False,
    engine: Annotated[str | None, typer.Option("--engine", help="For --check, as for `labctl drill`.")] = None,
    runtime: RuntimeOption = "process",
    output: OutputOption = Output.TEXT,
) -> None:
    """List the scenarios, or show one in plain words."""
    from labctl.declare import library  # noqa: PLC0415

    if schema:
        from labctl.declare.schema import scenario_schema  # noqa: PLC0415
        from labctl.drill import known_names  # noqa: PLC0415

        typer.echo(json.dumps(scenario_schema(known_names()), indent=1))
        return
    if check_it:
        _check_scenarios([name] if name else library.names("scenarios"), runtime, engine, output)
        return
    if name is not None:
        _show_scenario(_scenario(name), output)
        return
    every = [_scenario(each) for each in library.names("scenarios")]
    if tag is not None:
        every = [s for s in every if tag in (*s.tags, s.group)]
    data = [
        {"name": s.name, "group": s.group, "title": s.title, "topology": s.topology.name, "tags": list(s.tags)}
        for s in sorted(every, key=lambda s: (s.group, s.name))
    ]

    def render() -> RenderableType:
        from labctl.report.scenario import render_list  # noqa: PLC0415

        return render_list(data)

    show(output, data, render)


def _scenario(name: str) -> Scenario:
    return _declared(name).scenario


def _declared(name: str) -> Declared:
    from labctl.declare import library  # noqa: PLC0415
    from labctl.drill import known_names  # noqa: PLC0415

    return library.declared(name, known_names())


def _show_scenario(scenario: Scenario, output: Output, reasons: dict[str, list[str]] | None = None) -> None:
    """A scenario in plain words; with `reasons` also whether it can be run here, by cell, as the exit code says too."""
    from labctl.report.scenario import render_reasons, render_scenario  # noqa: PLC0415
    from labctl.store.codec import to_data  # noqa: PLC0415

    data = to_data(scenario) | ({} if reasons is None else {"reasons": reasons})
    show(output, data, lambda: render_scenario(scenario))
    if reasons is not None and output is Output.TEXT:
        console().print(render_reasons({scenario.name: reasons}))
    if reasons and any(reasons.values()):
        raise typer.Exit(int(Exit.USAGE))


def _check_scenarios(names: list[str], runtime: str, engine: str | None, output: Output) -> None:
    """Every reason why the scenarios cannot be run here; exit 2 when there is one."""
    from labctl.cli import series  # noqa: PLC0415
    from labctl.report.scenario import render_reasons  # noqa: PLC0415

    where = runtime_name(runtime)
    found = {name: series.reasons(_declared(name).cells, where, engine) for name in names}
    show(output, found, lambda: render_reasons(found))
    if any(reasons for cells in found.values() for reasons in cells.values()):
        raise typer.Exit(int(Exit.USAGE))


def _show_series(done: list[Done], output: Output) -> None:
    from labctl.cli import series  # noqa: PLC0415
    from labctl.report.series import render_series  # noqa: PLC0415

    data = series.as_data(done)
    show(output, {"runs": data}, lambda: render_series(data))


def check(run: RunArgument = None, output: OutputOption = Output.TEXT) -> None:
    """Judge a stored run again, from its histories alone."""
    from labctl.drill import check_run  # noqa: PLC0415
    from labctl.store.runs import find_run  # noqa: PLC0415

    folder = find_run(run)
    stored = folder.load_run()
    verdicts = check_run(stored, folder)
    _print(folder, stored, verdicts, output)
    _exit(stored, verdicts)


def _print(folder: RunFolder, run: Run, verdicts: tuple[PhaseVerdicts, ...], output: Output) -> None:
    if output is Output.JSON:
        from labctl.report.data import verdict_data  # noqa: PLC0415

        typer.echo(json.dumps(verdict_data(run, verdicts, str(folder.path)), indent=1))
    else:
        print_run(folder, run, verdicts)


def _exit(run: Run, verdicts: tuple[PhaseVerdicts, ...]) -> None:
    from labctl.model.run import worst  # noqa: PLC0415
    from labctl.model.verdict import Judgement  # noqa: PLC0415

    if run.aborted:
        raise typer.Exit(int(Exit.ABORTED))
    codes = {Judgement.BROKEN: Exit.VIOLATED, Judgement.INCONCLUSIVE: Exit.INCONCLUSIVE}
    if code := codes.get(worst(verdicts)):
        raise typer.Exit(int(code))
