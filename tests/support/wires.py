"""What tests of labs with wires need, and a client inside one of the namespaces."""

from __future__ import annotations

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
    found = set()
    for place in (*Path("/proc").glob("[0-9]*/ns/net"), *Path("/proc").glob("[0-9]*/fd/*")):
        try:
            target = str(place.readlink())
        except OSError:  # gone meanwhile
            continue
        if target.startswith("net:["):
            found.add(target)
    return found
