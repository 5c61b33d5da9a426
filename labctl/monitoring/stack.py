"""`labctl observe up`, `down` and `status`: the services of the monitoring together."""

from __future__ import annotations

import shutil
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from labctl.engines.remedies import install
from labctl.errors import CapabilityError, LabError, StartError
from labctl.monitoring import follower, grafana, prometheus, rules, service
from labctl.monitoring import snapshot as snapshots
from labctl.monitoring.folder import EXPORTER, FOLLOWER, GRAFANA, PROMETHEUS, MonitoringFolder, monitoring_folder
from labctl.monitoring.redis_exporter import find_redis_exporter
from labctl.monitoring.rules import RuleSettings
from labctl.monitoring.service import Service
from labctl.monitoring.snapshot import Snapshot
from labctl.runtime.marker import marked_processes, send_signal
from labctl.runtime.process import tail
from labctl.store.folders import discard_empty_home, write_private
from labctl.store.locks import file_lock
from labctl.store.runs import RunFolder
from labctl.teardown import end_processes

PROMETHEUS_PORT, GRAFANA_PORT = 9090, 3000
_LOCK_S = 120.0
_FOLLOWER_S = 30.0
_LOOK_S = 0.05

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What is wanted.

    Attributes:
        interval_s: Time between two scrapes.
        rules: When alerts fire.
        exporter: Use a real redis_exporter instead of the agents' own.
        prometheus_image: For a container; empty for the binary on PATH.
        grafana_image: The same for Grafana.
    """

    interval_s: float = 1.0
    rules: RuleSettings = field(default_factory=RuleSettings)
    exporter: bool = False
    prometheus_image: str = ""
    grafana_image: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """What there is.

    Attributes:
        addresses: URL by service: `prometheus`, `grafana`.
        missing: Why a service does not run, and what to do about it, by service.
        labs: Labs that are followed.
    """

    addresses: dict[str, str]
    missing: dict[str, str]
    labs: tuple[str, ...]


def up(settings: Settings, say: Say = lambda _: None) -> State:
    """Start what is not running, and bring the rest to these settings.

    Raises:
        CapabilityError: There is no Prometheus, or no redis_exporter where one is asked for; nothing was started.
        LabError: A service does not start. Nothing is left of what this call started, if it started all of it.
    """
    folder = monitoring_folder()
    program = _prometheus(settings.prometheus_image)
    exporter = find_redis_exporter() if settings.exporter else ""
    with _alone(folder):
        fresh = not folder.path.exists()
        try:
            return _up(folder, settings, program, exporter, say)
        except BaseException:
            if fresh:
                _down(folder)
            raise


def down() -> bool:
    """End every process and container and remove every file. False when there was nothing.

    Raises:
        LabError: Something does not end; it is named.
    """
    folder = monitoring_folder()
    if not folder.is_there:
        return False
    with _alone(folder):
        _down(folder)
    return True


def _alone(folder: MonitoringFolder) -> AbstractContextManager[None]:
    return file_lock(folder.lock, "starts or ends the monitoring", _LOCK_S)


def snapshot(run: RunFolder) -> Snapshot:
    """Keep what Prometheus has of a run. Raises as `snapshot.take` does, and LabError when none runs."""
    return snapshots.take(_running_prometheus(), run)


def restore(run: RunFolder) -> str:
    """Put the snapshot of a run into the Prometheus that runs, which is started again to see it; its URL.

    Raises:
        LabError: As `snapshot.restore` does; or none runs.
    """
    folder = monitoring_folder()
    with _alone(folder):
        _running_prometheus()
        snapshots.restore(run, folder.data)
        noted = folder.addresses()
        image = noted.get(_IMAGE, "")
        program = _prometheus(image)
        _end(folder, PROMETHEUS)
        noted |= _start_prometheus(folder, program, image, noted[PROMETHEUS])
        folder.note(noted)
    return noted[PROMETHEUS]


def status() -> State:
    """What there is now."""
    folder = monitoring_folder()
    there = service.running(folder) if folder.path.exists() else set()
    noted = folder.addresses()
    addresses = {name: noted[marker] for name, marker in _SERVICES if marker in there and marker in noted}
    missing = {name: "not running; labctl observe up" for name, _ in _SERVICES if name not in addresses}
    return State(addresses, missing, _labs(folder))


def _running_prometheus() -> prometheus.Api:
    address = status().addresses.get("prometheus")
    if address is None:
        raise LabError("No Prometheus runs over the labs of this state folder.", "labctl observe up")
    return prometheus.Api(address)


_IMAGE = "prometheus image"
_SERVICES = (("prometheus", PROMETHEUS), ("grafana", GRAFANA))


def _up(folder: MonitoringFolder, settings: Settings, program: str, exporter: str, say: Say) -> State:
    for path in (folder.path, folder.targets):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(folder.rules, rules.render(settings.rules))
    write_private(folder.config, prometheus.config(folder, settings.interval_s))
    there, addresses = service.running(folder), folder.addresses()
    _follow(folder, exporter, there)
    say("the labs are followed")
    if PROMETHEUS in there and PROMETHEUS in addresses:
        prometheus.Api(addresses[PROMETHEUS]).reload()
    else:
        _end(folder, PROMETHEUS)
        addresses |= _start_prometheus(folder, program, settings.prometheus_image, addresses.get(PROMETHEUS, ""))
        folder.note(addresses)
    say(f"Prometheus answers at {addresses[PROMETHEUS]}")
    missing = _grafana(folder, settings, there, addresses)
    folder.note(addresses)
    shown = {name: addresses[marker] for name, marker in _SERVICES if marker in addresses}
    return State(shown, missing, _labs(folder))


def _start_prometheus(folder: MonitoringFolder, program: str, image: str, before: str) -> dict[str, str]:
    """Start it, where it was before if it was anywhere; what to note of it."""
    service_port = int(before.rpartition(":")[2]) if before else PROMETHEUS_PORT
    wanted = Service(
        PROMETHEUS,
        service_port,
        lambda port: prometheus.command(folder, program, port)[bool(image) :],
        lambda url: prometheus.Api(url).ready(),
        image,
    )
    return {PROMETHEUS: service.start(wanted, folder), _IMAGE: image}


def _prometheus(image: str) -> str:
    """The program, or a word in its place where a container runs it."""
    if image:
        return "prometheus"
    found = shutil.which("prometheus")
    if found is None:
        raise CapabilityError(
            "There is no Prometheus on PATH.", f"{install('prometheus')}, or with Docker: --prometheus-image IMAGE"
        )
    return found


def _follow(folder: MonitoringFolder, exporter: str, there: set[str]) -> None:
    """Start the follower anew, for it may be told something else now, and wait until it has looked once."""
    if FOLLOWER in there:
        _end(folder, FOLLOWER)
    ready = folder.targets / "runs-stored.json"
    ready.unlink(missing_ok=True)
    process = follower.start(folder, exporter)
    until = time.monotonic() + _FOLLOWER_S
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > until:
            raise StartError(f"Labs cannot be followed.\n{tail(folder.log(FOLLOWER), 12)}")
        time.sleep(_LOOK_S)


def _grafana(
    folder: MonitoringFolder, settings: Settings, there: set[str], addresses: dict[str, str]
) -> dict[str, str]:
    """Start Grafana where there is one. What is missing, by service; the rest works without it."""
    if GRAFANA in there and GRAFANA in addresses:
        return {}
    addresses.pop(GRAFANA, None)
    _end(folder, GRAFANA)
    binary = grafana.find_grafana()
    if binary is None and not settings.grafana_image:
        return {"grafana": f"There is no Grafana on PATH. {grafana.HOW_TO_GET}"}

    def command(port: int) -> list[str]:
        grafana.write(folder, port, addresses[PROMETHEUS])
        return [] if settings.grafana_image or binary is None else grafana.command(binary, folder)

    variables = grafana.container_environment(folder) if settings.grafana_image else {}
    wanted = Service(GRAFANA, GRAFANA_PORT, command, _grafana_answers, settings.grafana_image, variables)
    addresses[GRAFANA] = service.start(wanted, folder)
    return {}


def _grafana_answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/health", timeout=2) as answer:  # noqa: S310 - http on loopback
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _end(folder: MonitoringFolder, marker: str) -> None:
    """End one service's processes; with the follower go the exporters that it started."""
    markers = {marker, EXPORTER} if marker == FOLLOWER else {marker}
    until = time.monotonic() + _FOLLOWER_S
    while left := [process for process in marked_processes(folder.id) if process.node in markers]:
        for process in left:
            send_signal(process, signal.SIGKILL)
        if time.monotonic() > until:
            raise LabError(f"Process {left[0].pid} ({marker}) does not end.")
        time.sleep(_LOOK_S)


def _down(folder: MonitoringFolder) -> None:
    end_processes(folder.id)
    service.remove_containers(folder)
    with suppress(FileNotFoundError):
        shutil.rmtree(folder.path)
    discard_empty_home()
    folder.lock.unlink(missing_ok=True)  # held still; whoever waits for it notices and makes its own


def _labs(folder: MonitoringFolder) -> tuple[str, ...]:
    files: list[Path] = sorted(folder.targets.glob("lab-*.json")) if folder.targets.is_dir() else []
    return tuple(file.stem.removeprefix("lab-") for file in files)
