"""The community's redis_exporter instead of the agent's own: one process a lab, which scrapes the node it is asked for."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from labctl.agent.bringup import Keys
from labctl.engines.remedies import install
from labctl.errors import CapabilityError
from labctl.metrics.scrape import labels_of
from labctl.model.plan import ANNOUNCED_HOST, LabPlan
from labctl.monitoring.folder import EXPORTER
from labctl.runtime.marker import NODE_VARIABLE
from labctl.store import codec
from labctl.store.folders import LabFolder

_NAMES = ("redis_exporter", "prometheus-redis-exporter")


def find_redis_exporter() -> str:
    """Its path. Raises CapabilityError when it is not installed; the hint says how it is."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        raise CapabilityError("There is no redis_exporter on PATH.", install("redis_exporter"))
    return found


@dataclass(slots=True)
class RedisExporter:
    """A redis_exporter for one lab.

    Attributes:
        plan: The lab's.
        address: Where it listens.
        process: It.
        tls: Whether the lab's nodes speak TLS.
    """

    plan: LabPlan
    address: str
    process: subprocess.Popen[bytes]
    tls: bool

    @classmethod
    def start(cls, program: str, lab: LabFolder) -> RedisExporter:
        """Start one that knows the lab's secrets; they are in its environment, and never among its arguments."""
        plan, keys = codec.load(LabPlan, lab.plan), codec.load(Keys, lab.secrets)
        with socket.create_server((ANNOUNCED_HOST, 0)) as free:
            address = f"{ANNOUNCED_HOST}:{free.getsockname()[1]}"
        environment = {**os.environ, NODE_VARIABLE: EXPORTER}
        if keys.secrets is not None:
            environment |= {"REDIS_USER": keys.secrets.admin.name, "REDIS_PASSWORD": keys.secrets.admin.password}
        command = [program, "-web.listen-address", address, "-redis.addr", "", "-connection-timeout", "500ms"]
        if keys.tls is not None:
            command += ["-skip-tls-verification", "-tls-client-cert-file", keys.tls.cert]
            command += ["-tls-client-key-file", keys.tls.key]
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True)
        return cls(plan, address, process, keys.tls is not None)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def targets(self) -> Iterator[dict[str, str]]:
        """The labels of a Prometheus target for each node: where it is, and what its samples carry."""
        for node in self.plan.nodes:
            host, port = node.direct
            scheme = "rediss" if self.tls else "redis"
            where = {"__metrics_path__": "/scrape", "__param_target": f"{scheme}://{host}:{port}"}
            yield {**where, **labels_of(node)}

    def end(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()
