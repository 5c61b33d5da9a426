"""topologies, scenarios, doctor: what there is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labctl.cli.common import Output, OutputOption, show

if TYPE_CHECKING:
    from rich.console import RenderableType


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command()(topologies)
    app.command()(doctor)


def topologies(
    name: Annotated[str | None, typer.Argument(help="Show this one.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="The JSON Schema of a topology file.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """List the topologies, or show one."""
    from labctl.declare import library  # noqa: PLC0415
    from labctl.report.plan import declared_lab, render_declared  # noqa: PLC0415

    if schema:
        from labctl.declare.schema import topology_schema  # noqa: PLC0415

        typer.echo(json.dumps(topology_schema(), indent=1))
        return
    if name is not None:
        one = declared_lab(library.topology(name))
        show(output, one, lambda: render_declared(one))
        return
    every = [declared_lab(library.topology(each)) for each in library.names("topologies")]
    show(output, every, lambda: _table(every, "TOPOLOGY"))


def _table(entries: list[dict[str, Any]], heading: str) -> RenderableType:
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
    for column in (heading, "NODES", "DESCRIPTION"):
        table.add_column(column)
    for entry in entries:
        table.add_row(entry["name"], str(len(entry["nodes"])), entry["description"])
    return table


def doctor(
    engine: Annotated[str | None, typer.Option("--engine", help="Look at this server binary as well.")] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Say what this machine can do, and the one command that adds what it cannot."""
    from labctl.engines.doctor import diagnose  # noqa: PLC0415
    from labctl.report.doctor import render  # noqa: PLC0415
    from labctl.store.codec import to_data  # noqa: PLC0415

    diagnosis = diagnose(engine)
    show(output, to_data(diagnosis), lambda: render(diagnosis))
