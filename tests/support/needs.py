"""What faults need besides a server, and skips that name what is missing of it."""

from __future__ import annotations

from functools import cache

import pytest

from labctl.engines.doctor import diagnose
from labctl.faults.registry import FAULTS
from labctl.model.engine import Facility
from tests.support.wires import require_wires

_GROUPS = ("cpu-throttle", "memory-limit", "oom-kill")


@cache
def _facilities() -> dict[str, Facility]:
    return {facility.name: facility for facility in diagnose().facilities}


def require_facility(name: str) -> None:
    """Skip where `labctl doctor` says that it is missing."""
    found = _facilities()[name]
    if not found.available:
        pytest.skip(f"no {name}: {found.detail}; {found.remedy or 'run as root'}")


def require_for(kind: str) -> None:
    """Skip where a kind of fault cannot be injected on this machine by this user."""
    if FAULTS[kind].wires:
        require_wires()
    if kind in _GROUPS:
        require_facility("cgroups")
    if FAULTS[kind].shim:
        require_facility("C compiler")
