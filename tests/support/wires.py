"""What tests of labs with wires need, and a client inside one of the namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from labctl.wires.check import why_not


@cache
def _missing() -> tuple[str, str]:
    return why_not()


def require_wires() -> None:
    """Skip where this user can have no wires, or take no packets off them; says what is missing."""
    no_wires, no_packets = _missing()
    if no_wires or no_packets:
        pytest.skip(
            f"no wires between servers: run as root, install Debian package iproute2 ({no_wires or no_packets})"
        )


def network_of(pid: int) -> str:
    """The network namespace of a process, as the kernel names it."""
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def networks() -> set[str]:
    """Those that any process of this machine is in or holds open."""
    return {target for process in Path("/proc").iterdir() if process.name.isdigit() for target in _networks_at(process)}


def _networks_at(process: Path) -> Iterator[str]:
    """Process and descriptors may be gone meanwhile."""
    places = [process / "ns" / "net"]
    with suppress(OSError):
        places += (process / "fd").iterdir()
    for place in places:
        with suppress(OSError):
            if (target := str(place.readlink())).startswith("net:["):
                yield target
