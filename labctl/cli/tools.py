"""link-server, load, history: the parts of a drill, each by itself."""

from __future__ import annotations

import signal
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labctl.cli.common import LabOption, Output, OutputOption, parameters, show
from labctl.errors import Exit, UsageError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from labctl.model.history import History
    from labctl.model.verdict import Finding


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("link-server")(link_server)
    app.command("load")(load)
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Histories: convert them, check them.")
    group.command("convert")(convert)
    group.command("check")(check)
    app.add_typer(group, name="history")


def link_server(
    listen: Annotated[str, typer.Option("--listen", help="Address of the API.")] = "127.0.0.1:8474",
    seed: Annotated[int | None, typer.Option("--seed", help="Of everything that toxics draw.")] = None,
    expose: Annotated[
        bool, typer.Option("--expose", help="Let proxies listen on addresses that other machines reach.")
    ] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Run the link server by itself: Toxiproxy's API, and links that know who connects."""
    from labctl.links.spec import Address  # noqa: PLC0415
    from labctl.links.standalone import serve  # noqa: PLC0415

    address = Address.parse(listen)

    def ready(api: Address, drawn: int) -> None:
        show(output, {"api": str(api), "seed": drawn}, lambda: f"Toxiproxy API on http://{api}, seed {drawn}")

    serve(address.host or "127.0.0.1", address.port, seed, expose=expose, ready=ready)


def load(
    workload: Annotated[str, typer.Argument(help="A workload's name: set, register, append …")],
    duration: Annotated[str, typer.Option("--for", help="How long.")] = "10s",
    clients: Annotated[int, typer.Option("--clients", min=1, max=1000)] = 8,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Operations a second together; else closed-loop.")
    ] = None,
    group: Annotated[str, typer.Option("--group", help="Client group: clients, clients-a or clients-b.")] = "clients",
    options: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE of the workload.")] = None,
    history: Annotated[Path | None, typer.Option("--history", help="Record to this file.")] = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    lab: LabOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Put load on a lab and record every operation; faults are yours to inject meanwhile."""
    import asyncio  # noqa: PLC0415
    import os  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    import uvloop  # noqa: PLC0415

    from labctl import lab as labs  # noqa: PLC0415
    from labctl.declare.spellings import duration_s  # noqa: PLC0415
    from labctl.model.run import Recording  # noqa: PLC0415
    from labctl.model.scenario import Workload  # noqa: PLC0415
    from labctl.store.codec import to_data  # noqa: PLC0415
    from labctl.store.history import HistoryWriter, read_history  # noqa: PLC0415
    from labctl.workload.runner import run_workloads  # noqa: PLC0415

    found = labs.find(lab)
    declared = Workload(workload, clients, group, rate, parameters(options or []))
    with tempfile.TemporaryDirectory() as folder:
        path = history or Path(folder) / "load.history"
        with HistoryWriter(path, header={"workload": workload, "seed": seed}) as writer:
            endpoints = {group: found.endpoints(group)}
            recording = Recording("load", workload, workload, str(path.absolute()), os.getpid())
            found.call("POST", "/recordings", to_data(recording))
            work = run_workloads([declared], endpoints, writer, seconds=duration_s(duration), seed=seed)
            try:
                uvloop.run(_until_told(work))
            except asyncio.CancelledError:
                raise KeyboardInterrupt from None
        finding = _run("availability", read_history(path))
    data = _finding(finding)
    show(output, data, lambda: f"{finding.summary}\n{_stats(finding)}")


async def _until_told(work: Coroutine[Any, Any, None]) -> None:
    """Do `work`, and cancel it when told to end: an exception raised by a signal inside a callback would be lost there."""
    import asyncio  # noqa: PLC0415

    loop, me = asyncio.get_running_loop(), asyncio.current_task()
    assert me is not None, "this is a coroutine"
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, me.cancel)
    await work


def convert(
    source: Annotated[Path, typer.Argument(help="A history: .edn or .json as Jepsen writes it, else labctl's own.")],
    target: Annotated[Path, typer.Argument(help="The file to write; its ending says the format.")],
    independent: Annotated[bool, typer.Option("--independent", help="Values are Jepsen's [key value] tuples.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Convert between labctl's histories and Jepsen's EDN and JSON."""
    from labctl.store.convert import convert as convert_file  # noqa: PLC0415

    history = convert_file(source, target, independent=independent)
    data = {"file": str(target), "operations": len(history), "events": len(history.events)}
    show(output, data, lambda: f"{target}: {len(history)} operations, {len(history.events)} events")


def check(
    path: Annotated[Path, typer.Argument(help="A history, in any format that `convert` reads.")],
    checker: Annotated[str, typer.Option("--check", help="Which checker.")] = "acked-writes",
    options: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE of the checker.")] = None,
    within: Annotated[str, typer.Option("--within", help="What is not decided after so long is unknown.")] = "5m",
    output: OutputOption = Output.TEXT,
) -> None:
    """Check one history. Exit 0 valid, 1 invalid, 3 unknown."""
    from labctl.declare.spellings import duration_s  # noqa: PLC0415
    from labctl.model.verdict import Outcome  # noqa: PLC0415
    from labctl.store.convert import read_any  # noqa: PLC0415
    from labctl.store.history_reader import CUT  # noqa: PLC0415

    if not path.exists():
        raise UsageError(f"{path} does not exist.", "labctl runs lists runs; each has a .history for every phase.")
    history, limit = read_any(path), duration_s(within)
    for cut in (event.detail for event in history.events if event.kind == CUT):
        text = f"{path}: breaks off after record {cut['records']}, byte {cut['bytes']}: whoever recorded it was killed."
        typer.echo(f"{text} What is there is judged.", err=True)
    finding = _run(checker, history, parameters(options or []), limit)
    show(output, _finding(finding), lambda: f"{finding.outcome}: {finding.summary}\n{finding.explanation}")
    codes = {Outcome.INVALID: Exit.VIOLATED, Outcome.UNKNOWN: Exit.INCONCLUSIVE}
    if code := codes.get(finding.outcome):
        raise typer.Exit(int(code))


def _run(name: str, history: History, options: dict[str, Any] | None = None, limit_s: float = inf) -> Finding:
    from labctl.check.registry import run  # noqa: PLC0415
    from labctl.drill import time_limit  # noqa: PLC0415

    return run(name, history, parameters=options, deadline=time_limit(limit_s))


def _finding(finding: Finding) -> Any:
    from labctl.store.codec import to_data  # noqa: PLC0415

    return to_data(finding)


def _stats(finding: Finding) -> str:
    return "\n".join(
        f"  {name.replace('_', ' ')}: {value}" for name, value in finding.stats.items() if value is not None
    )
