"""Starting one service of the monitoring, as a process or in a container, and waiting until it answers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import psutil

from labctl.agent.ports import take_ports
from labctl.errors import LabError, StartError
from labctl.monitoring.folder import MonitoringFolder
from labctl.runtime.marker import marked_environment, marked_processes
from labctl.runtime.process import tail

READY_S = 60.0
"""Grafana makes its database when it starts for the first time."""
_LOOK_S = 0.05
_TRIES = 5
_WORDS_OF_A_TAKEN_PORT = ("address already in use", "Only one usage of each socket address")


@dataclass(frozen=True, slots=True)
class Service:
    """What is to run.

    Attributes:
        marker: Of its process, `@prometheus` for example.
        first_port: Where it listens if nobody else does; the next free one otherwise.
        command: Of a port: the program and its arguments; where `image` is given, the arguments alone.
        image: Of its container; empty for a process.
        variables: Of its environment.
        ready: Of its URL: whether it answers.
    """

    marker: str
    first_port: int
    command: Callable[[int], Sequence[str]]
    ready: Callable[[str], bool]
    image: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


def running(folder: MonitoringFolder) -> set[str]:
    """Markers of the processes that are there, and of the containers, if there ever were any."""
    found = {process.node for process in marked_processes(folder.id)}
    if _containers_noted(folder):
        from labctl.monitoring.containers import running as containers  # noqa: PLC0415 - a heavy client

        found |= containers(folder)
    return found


def start(service: Service, folder: MonitoringFolder) -> str:
    """Start it and wait until it answers; its URL.

    Raises:
        StartError: It ends, or does not answer; with its last words.
    """
    taken: frozenset[int] = frozenset()
    for _ in range(_TRIES):
        (port,) = take_ports([(service.first_port, 1)], taken)
        log = folder.log(service.marker)
        size = log.stat().st_size if log.exists() else 0
        is_it = _launch(service, folder, port)
        url = f"http://127.0.0.1:{port}"
        if _answers(service, url, is_it):
            return url
        said = log.read_bytes()[size:].decode(errors="replace") if log.exists() else ""
        if not any(words in said for words in _WORDS_OF_A_TAKEN_PORT):
            break
        taken |= {port}  # somebody took it in between
    raise StartError(f"{service.marker.removeprefix('@')} does not start. Its last words:\n{tail(log, 12)}")


def _launch(service: Service, folder: MonitoringFolder, port: int) -> Callable[[], bool | None]:
    """Start it. What is returned tells whether it is who listens at the port; None once it has ended."""
    command = service.command(port)
    if service.image:
        from labctl.monitoring.containers import launch  # noqa: PLC0415

        containers_noted(folder)
        launch(folder, service.marker, service.image, command, service.variables)
        return lambda: service.marker in running(folder) or None  # the engine publishes the port for it alone
    with folder.log(service.marker).open("ab") as log:
        process = subprocess.Popen(
            command,
            env={**marked_environment(folder.id, service.marker), **service.variables},
            cwd=folder.path,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=0o077,
        )
    return lambda: _listens(process.pid, port) if process.poll() is None else None


def _listens(pid: int, port: int) -> bool:
    try:
        sockets = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return False
    return any(s.status == psutil.CONN_LISTEN and s.laddr.port == port for s in sockets)


def _answers(service: Service, url: str, is_it: Callable[[], bool | None]) -> bool:
    """Wait until it answers; False when it ended. A stranger that took the port first may answer there, too."""
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        listens = is_it()
        if listens is None:
            return False
        if listens and service.ready(url):
            return True
        time.sleep(_LOOK_S)
    raise LabError(
        f"{service.marker.removeprefix('@')} does not answer at {url} after {READY_S:g} s.",
        "labctl observe down ends it.",
    )


def containers_noted(folder: MonitoringFolder) -> None:
    """Note, before the first container is made, that there may be some."""
    (folder.path / "containers").touch(mode=0o600)


def _containers_noted(folder: MonitoringFolder) -> bool:
    return (folder.path / "containers").exists()


def remove_containers(folder: MonitoringFolder) -> None:
    """Remove those that there may be."""
    if _containers_noted(folder):
        from labctl.monitoring.containers import remove  # noqa: PLC0415

        remove(folder)
