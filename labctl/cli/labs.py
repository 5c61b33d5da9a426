"""up, down, ls, status: the life of a lab."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labctl.cli.common import LabOption, Output, OutputOption, RuntimeOption, console, runtime_name, show
from labctl.cli.containers import LimitOption, LinksOption, containers
from labctl.errors import CapabilityError, LabError, UsageError, did_you_mean

if TYPE_CHECKING:
    from rich.console import RenderableType

    from labctl import lab as labs
    from labctl.model.plan import Net, RuntimeName


DISK_FAULTS = "disk-faults"
_WATCH_JSON_S = 1.0


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for verb in (up, down, ls, status, heal):
        app.command()(verb)


def _complete_topology(incomplete: str) -> list[str]:
    from labctl.declare.library import names  # noqa: PLC0415

    return [name for name in names("topologies") if name.startswith(incomplete)]


def up(
    topology: Annotated[
        str, typer.Argument(help="A topology's name, or the path of your own.", autocompletion=_complete_topology)
    ],
    name: Annotated[str | None, typer.Option("--name", help="Name of the lab; the topology's when left out.")] = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", help="redis-8, redis-7, valkey-9, a path (labctl doctor lists them), or an image."),
    ] = None,
    formation: Annotated[
        str, typer.Option("--formation", help="seeded (fast) or natural (as an operator would, slow).")
    ] = "seeded",
    runtime: RuntimeOption = "process",
    links: LinksOption = None,
    limits: LimitOption = None,
    extras: Annotated[
        list[str] | None,
        typer.Option("--with", help="disk-faults: servers load a shim for disk, clock and fork faults and power loss."),
    ] = None,
    net: Annotated[
        str,
        typer.Option("--net", help="loopback, or netns: a network namespace a node, for faults on packets (Linux)."),
    ] = "loopback",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Bring up a lab and return when it was observed healthy."""
    from labctl.agent.launch import early_agent  # noqa: PLC0415
    from labctl.interrupts import no_more_interrupts  # noqa: PLC0415

    with early_agent(runtime == "process" and not dry_run) as early:  # before anything else that takes time
        from labctl import lab as labs  # noqa: PLC0415
        from labctl.cli.progress import steps  # noqa: PLC0415
        from labctl.declare import library  # noqa: PLC0415
        from labctl.model.plan import Formation  # noqa: PLC0415

        where = runtime_name(runtime)
        made_of = containers(where, links, limits)
        if formation not in list(Formation):
            raise UsageError(f"'{formation}' is no formation.", f"Say {' or '.join(Formation)}.")
        declared = library.topology(topology)
        if dry_run:
            from labctl.report.plan import declared_lab, render_declared  # noqa: PLC0415

            plan = declared_lab(declared)
            show(output, plan, lambda: render_declared(plan))
            return
        started = time.monotonic()
        with steps(f"lab {name or declared.name}", quiet=output is Output.JSON) as progress:
            lab, healthy_s = labs.up(
                declared,
                name=name or declared.name,
                engine=engine,
                formation=Formation(formation),
                runtime=where,
                shim=_with_shim(extras or [], where),
                net=_net(net),
                containers=made_of,
                progress=progress,
                early=early,
                on_up=no_more_interrupts,  # it is up, and this command says so
            )
        whole_s = time.monotonic() - started
        data = {"lab": lab.name, "healthy_s": round(healthy_s, 3), "command_s": round(whole_s, 3)}
        show(
            output,
            data,
            lambda: (
                f"Lab {lab.name} is up: healthy {healthy_s:.2f} s after the first server was started.\n"
                f'Look: labctl status    Use: eval "$(labctl env)"    Break: labctl chaos kill    End: labctl down'
            ),
        )


def _with_shim(extras: list[str], runtime: RuntimeName) -> bool:
    from labctl.model.plan import RuntimeName  # noqa: PLC0415

    for extra in extras:
        if extra != DISK_FAULTS:
            raise UsageError(f"There is nothing called '{extra}' to bring a lab up with.", f"--with {DISK_FAULTS}")
    if extras and runtime is not RuntimeName.PROCESS:
        raise CapabilityError(
            f"Disk faults work on local processes, not on the {runtime} runtime.", "Leave --runtime out."
        )
    return bool(extras)


def _net(name: str) -> Net:
    from labctl.model.plan import Net  # noqa: PLC0415

    if name not in list(Net):
        raise UsageError(f"'{name}' is no net.", f"Say {' or '.join(Net)}.")
    return Net(name)


def down(
    name: Annotated[str | None, typer.Argument(help="Which lab; the only one when left out.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All labs.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """End a lab: every process, every port, every file. Works on one that is half up or damaged, too."""
    from labctl import lab as labs  # noqa: PLC0415
    from labctl.store.folders import lab_names  # noqa: PLC0415

    ended = [labs.find(each) for each in lab_names()] if every else [labs.find(name)]
    troubles = [trouble for lab in ended if (trouble := _down(lab))]
    if every:
        _end_monitoring()
        labs.remove_strays()
    if troubles:
        raise LabError("\n".join(t.message for t in troubles), troubles[0].hint)
    data = {"down": [lab.name for lab in ended]}
    if output is Output.JSON or not ended:
        show(output, data, lambda: "No lab is up.")
    else:
        typer.echo("\n".join(f"Lab {lab.name} is down." for lab in ended))


def _end_monitoring() -> None:
    from labctl.monitoring.folder import monitoring_folder  # noqa: PLC0415

    if monitoring_folder().is_there:
        from labctl.monitoring import stack  # noqa: PLC0415

        stack.down()


def _down(lab: labs.Lab) -> LabError | None:
    """Why it is not down, so that one lab in trouble does not keep the others up."""
    try:
        lab.down()
    except LabError as error:
        return error
    return None


def ls(output: OutputOption = Output.TEXT) -> None:
    """List the labs of this state folder."""
    from labctl import lab as labs  # noqa: PLC0415
    from labctl.store.folders import lab_names  # noqa: PLC0415

    data = [_summary(labs.find(name)) for name in lab_names()]

    def render() -> RenderableType:
        from labctl.report.status import render_labs  # noqa: PLC0415

        return render_labs(data)

    show(output, data, render)


def _summary(lab: labs.Lab) -> dict[str, Any]:
    try:
        status = lab.call("GET", "/status")
    except LabError as error:
        return {"lab": lab.name, "state": "broken", "reason": error.message}
    return {
        "lab": lab.name,
        "state": "healthy" if not status["unhealthy"] else "unhealthy",
        "topology": status["topology"],
        "engine": status["engine"],
        "nodes": len(status["nodes"]),
        "faults": len(status["faults"]),
    }


def status(
    lab: LabOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="A live picture with keys that break and heal; q leaves.")
    ] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show a lab as it is observed now: roles, offsets, lag, links, faults."""
    import json  # noqa: PLC0415

    from labctl import lab as labs  # noqa: PLC0415
    from labctl.report.status import render_status  # noqa: PLC0415

    found = labs.find(lab)
    if not watch:
        data = found.call("GET", "/status")
        show(output, data, lambda: render_status(data))
        return
    if output is Output.JSON:
        while True:
            typer.echo(json.dumps(found.call("GET", "/status")))
            time.sleep(_WATCH_JSON_S)
    if not console().is_terminal:
        from labctl.live import plain  # noqa: PLC0415

        plain.run(found)
        return
    from labctl.live import screen  # noqa: PLC0415 - a user interface takes longer to load than any other verb

    screen.run(found)


def path_of(lab: labs.Lab, node: str) -> Path:
    """Folder of a node, which must exist."""
    folder = lab.folder.node(node)
    if not folder.is_dir():
        known = sorted(p.name for p in folder.parent.iterdir()) if folder.parent.is_dir() else []
        raise UsageError(
            f"Lab {lab.name} has no node '{node}'.", f"{did_you_mean(node, known)}Nodes: {', '.join(known)}."
        )
    return folder


def heal(
    ids: Annotated[list[int] | None, typer.Argument(help="Numbers of faults; all when left out.")] = None,
    lab: LabOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Revert faults now and return when that was measured."""
    from labctl import lab as labs  # noqa: PLC0415
    from labctl.report.faults import render_healed  # noqa: PLC0415

    query = {"id": ids} if ids else {}
    data = labs.find(lab).call("DELETE", "/faults", **query)
    show(output, data, lambda: render_healed(data["faults"]))
