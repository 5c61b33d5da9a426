"""`python -m labctl.monitoring.follower`: keeps Prometheus' targets in step with the labs of the state folder.

Labs come and go; each says in its folder where its metrics are. The follower also serves the metrics of stored runs and,
where a real redis_exporter is to be used, runs one for each lab. It ends with `labctl observe down`, and by itself when the
monitoring's folder is gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import uvloop
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from labctl.metrics.endpoint import listen
from labctl.metrics.exposition import CONTENT_TYPE
from labctl.metrics.http import serve_routes
from labctl.monitoring.folder import FOLLOWER, MonitoringFolder, monitoring_folder
from labctl.monitoring.prometheus import write_targets
from labctl.monitoring.redis_exporter import RedisExporter
from labctl.monitoring.runs import Runs
from labctl.runtime.marker import marked_environment
from labctl.store.folders import LabFolder, lab_folder, lab_names

_LOOK_S = 0.5


@dataclass(slots=True)
class Follower:
    """What it knows.

    Attributes:
        folder: The monitoring's.
        exporter: Path of a redis_exporter to use instead of the agents' own; empty for these.
        exporters: Those that run, by lab.
    """

    folder: MonitoringFolder
    exporter: str = ""
    exporters: dict[str, RedisExporter] = field(default_factory=dict)

    async def follow(self) -> None:
        """Keep the targets in step until the folder is gone."""
        while self.folder.targets.is_dir():
            with suppress(FileNotFoundError):  # the folder went in the middle of it
                self.step()
            await asyncio.sleep(_LOOK_S)

    def step(self) -> None:
        """Bring the targets to what there is now."""
        labs = {name: where for name in lab_names() if (where := _metrics(lab_folder(name)))}
        for name, (address, lab_id) in labs.items():
            labels = {"lab": name, "__param_id": lab_id}
            groups = self._with_exporter(name, address, labels) if self.exporter else [_target(address, **labels)]
            write_targets(self.folder.targets / f"lab-{name}.json", groups)
        for file in self.folder.targets.glob("lab-*.json"):
            if file.stem.removeprefix("lab-") not in labs:
                file.unlink(missing_ok=True)
        for name in set(self.exporters) - set(labs):
            self.exporters.pop(name).end()

    def _with_exporter(self, name: str, address: str, labels: dict[str, str]) -> list[dict[str, Any]]:
        """The agent for labctl's own metrics, and every node by way of the lab's redis_exporter."""
        running = self.exporters.get(name)
        if running is None or not running.alive:
            running = self.exporters[name] = RedisExporter.start(self.exporter, lab_folder(name))
        own = _target(address, **labels, __metrics_path__="/metrics/lab")
        return [own, *(_target(running.address, lab=name, **node) for node in running.targets())]


def _target(address: str, **labels: str) -> dict[str, Any]:
    return {"targets": [address], "labels": labels}


def _metrics(lab: LabFolder) -> tuple[str, str] | None:
    """Where a lab's metrics are, and its id; None while it comes up or goes down."""
    try:
        address, lab_id = lab.metrics.read_text().split()
    except (OSError, ValueError):  # not there, or still empty
        return None
    return address, lab_id


async def run(folder: MonitoringFolder, exporter: str) -> None:
    """Follow and serve until the folder is gone."""
    listener = listen()
    address = "{}:{}".format(*listener.getsockname())
    stored = Runs()

    async def metrics(_: Request) -> Response:
        return PlainTextResponse(await asyncio.to_thread(stored.render), media_type=CONTENT_TYPE)

    serving = asyncio.create_task(serve_routes({"/metrics": metrics}, listener))
    labs = Follower(folder, exporter)
    labs.step()
    write_targets(folder.targets / "runs-stored.json", [_target(address)])  # what `observe up` waits for
    try:
        await labs.follow()
    finally:
        serving.cancel()


def start(folder: MonitoringFolder, exporter: str) -> subprocess.Popen[bytes]:
    """Start one; it stays when this process ends."""
    with folder.log(FOLLOWER).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps({"exporter": exporter})],
            env=marked_environment(folder.id, FOLLOWER),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


if __name__ == "__main__":
    os.umask(0o077)
    uvloop.run(run(monitoring_folder(), json.loads(sys.argv[1])["exporter"]))
