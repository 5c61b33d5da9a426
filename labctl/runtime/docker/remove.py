"""Removing what labctl made, found by its labels alone: works whatever was interrupted, and touches nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from labctl.errors import LabError
from labctl.runtime.docker.engine import Engine, RefusedError
from labctl.runtime.docker.names import HOME, ID, this_home

_DEADLINE_S = 60.0
_AT_ONCE = 24
_LOOK_S = 0.1
_GONE = (404, 409)
"""What an engine says of something that is gone, or that another call is removing at this moment."""


def remove_lab(engine: Engine, lab_id: str, *, quiet_s: float = 0.0) -> None:
    """Remove every container, volume and network of one lab.

    Args:
        engine: Where they are.
        lab_id: Whose.
        quiet_s: Seconds for which nothing more must turn up. The engine finishes a request whose sender was killed, so
            after an interrupted start something may still appear.

    Raises:
        LabError: Something cannot be removed; it is named.
    """
    _remove(engine, f"{ID}={lab_id}", quiet_s)


def remove_all_of_this_home(engine: Engine) -> int:
    """Remove everything of all labs of this machine and state folder, and return how much it was."""
    return _remove(engine, f"{HOME}={this_home()}", 0.0)


def _remove(engine: Engine, label: str, quiet_s: float) -> int:
    until = time.monotonic() + _DEADLINE_S
    quiet_since = time.monotonic()
    removed = 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while True:
            found = 0
            for generation in _generations(engine, label):
                left = generation()
                found += len(left)
                list(pool.map(lambda item: item[1](), left))
            removed += found
            now = time.monotonic()
            if found:
                quiet_since = now
            elif now - quiet_since >= quiet_s:
                return removed
            if now > until:
                names = ", ".join(name for generation in _generations(engine, label) for name, _ in generation())
                raise LabError(f"Docker does not remove these: {names}.", "`docker rm -f` says why.")
            time.sleep(0.0 if found else _LOOK_S)


Removal = tuple[str, Callable[[], None]]


def _generations(engine: Engine, label: str) -> Iterator[Callable[[], list[Removal]]]:
    """What can be removed side by side, one group after the other: volumes and networks are held by containers."""
    yield lambda: _containers(engine, label)
    yield lambda: _volumes(engine, label) + _networks(engine, label)


def _containers(engine: Engine, label: str) -> list[Removal]:
    found = engine.now("list its containers", engine.api.containers, all=True, filters={"label": [label]})
    return [
        (item["Names"][0].lstrip("/"), _removal(engine, engine.api.remove_container, item["Id"], force=True, v=True))
        for item in found
    ]


def _volumes(engine: Engine, label: str) -> list[Removal]:
    found = engine.now("list its volumes", engine.api.volumes, filters={"label": [label]})
    names = [item["Name"] for item in found["Volumes"] or ()]
    return [(name, _removal(engine, engine.api.remove_volume, name, force=True)) for name in names]


def _networks(engine: Engine, label: str) -> list[Removal]:
    found = engine.now("list its networks", engine.api.networks, filters={"label": [label]})
    return [(item["Name"], _removal(engine, engine.api.remove_network, item["Id"])) for item in found]


def _removal(engine: Engine, method: Callable[..., Any], name: str, **options: bool) -> Callable[[], None]:
    def remove() -> None:
        try:
            engine.now(f"remove {name}", method, name, **options)
        except RefusedError as error:
            if error.status not in _GONE and not _busy(error):
                raise

    return remove


def _busy(error: RefusedError) -> bool:
    """What the next round finds free: a network whose last endpoint is on its way out, a pod whose server is (Podman)."""
    return any(words in error.reason for words in ("active endpoints", "in use", "being used", "dependent containers"))
