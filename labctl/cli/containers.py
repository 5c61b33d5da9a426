"""Options of verbs that bring up a lab in containers: whose links, and what each server may have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.errors import UsageError

if TYPE_CHECKING:
    from labctl.model.plan import Containers, RuntimeName

LinksOption = Annotated[
    str | None,
    typer.Option(
        "--links", help="With --runtime docker: toxiproxy, or labctl, whose links know RESP (labctl images build)."
    ),
]
LimitOption = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        help="With --runtime docker, for each server: memory=512m, cpus=0.5, disk=64m (a volume of that size, in memory).",
    ),
]
_SIZE = re.compile(r"([0-9]{1,12})([kmg]?)b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_LEAST_MEMORY = 6 << 20
"""The engine's own limit."""
_LEAST_DISK = 1 << 20


def containers(runtime: RuntimeName, links: str | None, limits: list[str] | None) -> Containers | None:
    """What the containers of a lab are to be made of; None where the runtime has none.

    Raises:
        UsageError: An option is wrong, or the runtime is another one.
    """
    from labctl.model.plan import Containers, LinksBy, RuntimeName  # noqa: PLC0415

    if runtime is not RuntimeName.DOCKER:
        if links or limits:
            raise UsageError("--links and --limit are about containers.", "Say --runtime docker.")
        return None
    links = links or LinksBy.TOXIPROXY
    if links not in list(LinksBy):
        raise UsageError(f"'{links}' carries no links.", f"Say {' or '.join(LinksBy)}.")
    found: dict[str, float] = {}
    for limit in limits or ():
        name, _, value = limit.partition("=")
        match name:
            case "memory":
                found[name] = _size(name, value, _LEAST_MEMORY)
            case "disk":
                found[name] = _size(name, value, _LEAST_DISK)
            case "cpus":
                found[name] = _cpus(value)
            case _:
                raise UsageError(f"'{limit}' limits nothing.", "--limit memory=512m, cpus=0.5 or disk=64m.")
    default = Containers()
    return Containers(
        LinksBy(links),
        memory=int(found.get("memory", default.memory)),
        cpus=found.get("cpus", default.cpus),
        disk=int(found.get("disk", default.disk)),
    )


def _size(name: str, value: str, least: int) -> int:
    match = _SIZE.fullmatch(value)
    size = int(match[1]) * _UNITS[match[2].lower()] if match else 0
    if size < least:
        raise UsageError(
            f"{name}={value} is no size of at least {least >> 20}m.", f"Write it as {name}=64m or {name}=1g."
        )
    return size


def _cpus(value: str) -> float:
    try:
        cpus = float(value)
    except ValueError:
        cpus = 0
    if not 0.01 <= cpus <= 1024:
        raise UsageError(f"cpus={value} is no number of processors from 0.01.", "Write it as cpus=0.5.")
    return cpus
