"""Options and output that all verbs share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labctl.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from labctl.model.plan import RuntimeName


PLAIN_WIDTH = 200
"""Columns where there is no terminal to ask: a pipe or a log has no edge, so tables keep their words."""


class Output(StrEnum):
    """How a verb answers."""

    TEXT = "text"
    JSON = "json"


def _complete_lab(incomplete: str) -> list[str]:
    from labctl.store.folders import lab_names  # noqa: PLC0415

    return [name for name in lab_names() if name.startswith(incomplete)]


OutputOption = Annotated[Output, typer.Option("-o", "--output", help="text, or json for programs.")]
LabOption = Annotated[
    str | None,
    typer.Option("--lab", "-l", help="Which lab; the only one when left out.", autocompletion=_complete_lab),
]


RuntimeOption = Annotated[
    str, typer.Option("--runtime", help="process: local processes. docker: containers, with Toxiproxy on every link.")
]


def runtime_name(stated: str) -> RuntimeName:
    """The runtime that is meant. Raises UsageError for a name that is none."""
    from labctl.model.plan import RuntimeName  # noqa: PLC0415

    if stated not in list(RuntimeName):
        raise UsageError(f"There is no runtime '{stated}'.", f"Runtimes: {', '.join(RuntimeName)}.")
    return RuntimeName(stated)


def console() -> Console:
    """A console on standard output; plain where that is no terminal. Square brackets in what is shown are just that."""
    from rich.console import Console  # noqa: PLC0415 - rich costs more than most verbs

    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def show(output: Output, data: Any, render: Callable[[], RenderableType]) -> None:
    """Print `data` as JSON, or what `render` makes of it."""
    if output is Output.JSON:
        typer.echo(json.dumps(data, indent=1))
    else:
        console().print(render())


def parameters(given: list[str]) -> dict[str, Any]:
    """NAME=VALUE words as a mapping; what reads as a number or a truth value is one."""
    found: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"'{pair}' is no parameter.", "Write --set NAME=VALUE.")
        found[name] = _scalar(value)
    return found


def _scalar(text: str) -> str | int | float | bool:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
