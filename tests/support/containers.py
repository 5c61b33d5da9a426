"""What the tests of containers need: an engine, images without a registry, and a look at what is left behind."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from labctl.engines.find import find_engines
from labctl.errors import LabError
from labctl.runtime.docker.engine import Engine, connect
from labctl.runtime.docker.images import BUILT_TOXIPROXY
from labctl.runtime.docker.names import HOME
from tests.support.command import REPOSITORY, Labctl


@cache
def why_no_engine() -> str:
    """What is missing for tests with containers; empty when nothing is."""
    try:
        engine = connect()
    except LabError as error:
        return f"no Docker engine: install Debian package docker.io and start dockerd ({error.message})"
    engine.close()
    with FileLock(Path(tempfile.gettempdir()) / "labctl-test-images.lock"):
        done = subprocess.run(
            [sys.executable, "-m", "labctl", "images", "build"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
    return "" if done.returncode == 0 else f"no images: install Go, or toxiproxy-server 2.12.0 ({done.stderr.strip()})"


@cache
def server_images() -> dict[str, str]:
    """Image by engine, such as `redis-7`."""
    return {f"{e.flavour}-{e.version[0]}": f"labctl/{e.flavour}:{e.version_text}" for e in reversed(find_engines())}


TOXIPROXY = BUILT_TOXIPROXY


@cache
def engine() -> Engine:
    """The engine."""
    return connect()


def containers(labctl: Labctl, *, part: str | None = None, everything: bool = True) -> list[dict[str, Any]]:
    """The containers of a state folder's labs, as the engine lists them; without `everything` only those that run."""
    labels = [_home(labctl), *([f"labctl.part={part}"] if part else [])]
    found: list[dict[str, Any]] = engine().api.containers(all=everything, filters={"label": labels})
    return found


def residue(labctl: Labctl) -> list[str]:
    """Names of all containers, volumes and networks of a state folder's labs."""
    api, filters = engine().api, {"label": [_home(labctl)]}
    names = [item["Names"][0] for item in api.containers(all=True, filters=filters)]
    names += [item["Name"] for item in api.volumes(filters=filters)["Volumes"] or ()]
    return names + [item["Name"] for item in api.networks(filters=filters)]


def remove_residue(labctl: Labctl) -> None:
    """Remove what a failed test left."""
    api, filters = engine().api, {"label": [_home(labctl)]}
    for item in api.containers(all=True, filters=filters):
        api.remove_container(item["Id"], force=True, v=True)
    for item in api.volumes(filters=filters)["Volumes"] or ():
        api.remove_volume(item["Name"])
    for item in api.networks(filters=filters):
        api.remove_network(item["Id"])


def inspected(container: dict[str, Any]) -> Any:
    """All that the engine says of a container, through JSON so that nothing hides in it."""
    return json.loads(json.dumps(engine().api.inspect_container(container["Id"])))


def _home(labctl: Labctl) -> str:
    import socket  # noqa: PLC0415

    return f"{HOME}={socket.gethostname()}:{labctl.home}"
