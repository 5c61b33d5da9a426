"""Services of the monitoring in containers, for machines without the binaries. They share the host's network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from labctl.errors import CapabilityError
from labctl.monitoring.folder import MonitoringFolder
from labctl.runtime.docker.engine import Engine, RefusedError, connect
from labctl.runtime.docker.names import HOME, ID, NODE, this_home
from labctl.runtime.docker.remove import remove_lab

_NOT_FOUND = 404


def launch(
    folder: MonitoringFolder, marker: str, image: str, arguments: Sequence[str], variables: Mapping[str, str]
) -> None:
    """Start a container that reads and writes the monitoring's folder under its own path, as this user.

    Raises:
        CapabilityError: There is no Docker engine, or it does not get the image.
    """
    engine = connect()
    try:
        _require(engine, image)
        name = f"labctl-observe-{folder.id[:8]}-{marker.removeprefix('@')}"
        host = engine.api.create_host_config(network_mode="host", binds=[f"{folder.path}:{folder.path}"])
        made = engine.now(
            f"make the container {name}",
            engine.api.create_container,
            image,
            command=list(arguments) or None,
            name=name,
            user=f"{os.getuid()}:{os.getgid()}",
            environment=dict(variables),
            labels={ID: folder.id, NODE: marker, HOME: this_home()},
            host_config=host,
        )
        engine.now(f"start the container {name}", engine.api.start, made["Id"])
    finally:
        engine.close()


def running(folder: MonitoringFolder) -> set[str]:
    """Markers of the containers that run."""
    engine = connect()
    try:
        found = engine.now(
            "list its containers", engine.api.containers, filters={"label": [f"{ID}={folder.id}"], "status": "running"}
        )
    finally:
        engine.close()
    return {item["Labels"][NODE] for item in found}


def remove(folder: MonitoringFolder) -> None:
    """Remove every container of the monitoring."""
    engine = connect()
    try:
        remove_lab(engine, folder.id)
    finally:
        engine.close()


def _require(engine: Engine, image: str) -> None:
    try:
        engine.now(f"look at the image {image}", engine.api.inspect_image, image)
    except RefusedError as error:
        if error.status != _NOT_FOUND:
            raise
        try:
            engine.now(f"get the image {image}", engine.api.pull, *image.rsplit(":", 1))
        except RefusedError as refusal:
            raise CapabilityError(
                f"There is no image {image} here, and it cannot be got: {refusal.reason}", f"docker pull {image}"
            ) from refusal
