"""What this machine can do for labctl, tried rather than guessed, and the command that adds what it cannot."""

from __future__ import annotations

import glob
import os
import resource
import shutil
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.engines.find import survey
from labctl.engines.remedies import as_root, install
from labctl.errors import CapabilityError
from labctl.model.engine import Diagnosis, Facility
from labctl.model.fault import Resource
from labctl.runtime.cgroups import place
from labctl.wires.check import why_not

if TYPE_CHECKING:
    from collections.abc import Sequence

_OWN_ADDRESS = "127.1.1.1"
_FILES_FOR_100_NODES = 25_000
"""A 100-node cluster has 9,900 bus links of two sockets each, besides replication, clients and the listeners."""
_LIBFAKETIME = (
    "/usr/lib/*/faketime/libfaketime.so.1",
    "/usr/lib*/faketime/libfaketime.so.1",
    "/usr/local/lib/faketime/libfaketime.so.1",
    "/opt/homebrew/lib/faketime/libfaketime.1.dylib",
)
_TOXIPROXY = (
    "go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0"
    " && mv $(go env GOPATH)/bin/server ~/.local/bin/toxiproxy-server"
)
_GRAFANA = (
    "https://grafana.com/docs/grafana/latest/setup-grafana/installation, or labctl observe up --grafana-image IMAGE"
)
_PATIENCE_S = 5.0


def diagnose(engine: str | None = None) -> Diagnosis:
    """Everything that `labctl doctor` shows. Takes about as long as the slowest single question.

    Args:
        engine: A path stated with `--engine`.
    """
    found = survey(engine)
    questions: tuple[Callable[[], Facility | tuple[Facility, ...]], ...] = (
        lambda: _tls([e.path for e in found.engines if e.tls]),
        _own_addresses,
        _open_files,
        _command_line,
        _compiler,
        _libfaketime,
        _cgroups,
        _wires,
        _docker,
        lambda: _program("toxiproxy-server", "real Toxiproxy behind the same links, side by side", _TOXIPROXY),
        _prometheus,
        lambda: _program("grafana", "the dashboards themselves", _GRAFANA),
    )
    with ThreadPoolExecutor(max_workers=len(questions)) as pool:
        answers = list(pool.map(lambda question: question(), questions))
    facilities = tuple(each for answer in answers for each in (answer if isinstance(answer, tuple) else (answer,)))
    return Diagnosis(found.engines, found.unusable, facilities)


def can(what: str) -> Facility:
    """One of the things that a scenario may require. Raises KeyError for any other word."""
    return _REQUIRED[what]()


def find_cli() -> str | None:
    """Path of redis-cli or valkey-cli."""
    return shutil.which("redis-cli") or shutil.which("valkey-cli")


def find_compiler() -> str | None:
    """Path of a C compiler."""
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


def find_libfaketime() -> str | None:
    """Path of libfaketime."""
    return next((path for pattern in _LIBFAKETIME for path in sorted(glob.glob(pattern))), None)  # noqa: PTH207 - absolute patterns


def _facility(name: str, purpose: str, found: str | None, missing: str, remedy: str) -> Facility:
    if found is not None:
        return Facility(name, purpose, available=True, detail=found)
    return Facility(name, purpose, available=False, detail=missing, remedy=remedy)


def _program(name: str, purpose: str, remedy: str) -> Facility:
    return _facility(name, purpose, shutil.which(name), "not on PATH", remedy)


def _prometheus() -> Facility:
    return _program("prometheus", "alerts and dashboards over labs (`labctl observe up`)", install("prometheus"))


def _tls(paths: Sequence[str]) -> Facility:
    return _facility(
        "server with TLS",
        "topologies with `tls: true`",
        paths[0] if paths else None,
        "no server found here was built with TLS",
        install("server"),
    )


def _own_addresses() -> Facility:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
            one.bind((_OWN_ADDRESS, 0))
    except OSError as error:
        missing: str | None = f"{_OWN_ADDRESS}: {error.strerror}"
    else:
        missing = None
    return _facility(
        "loopback address per node",
        "faults on a single link; without it, faults per node",
        None if missing else "127.0.0.0/8 can be bound",
        missing or "",
        as_root(f"ifconfig lo0 alias {_OWN_ADDRESS} up"),
    )


def _open_files() -> Facility:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    shown = "unlimited" if hard == unlimited else f"{hard:,}"
    enough = hard == unlimited or hard >= _FILES_FOR_100_NODES
    return _facility(
        "open files",
        "clusters of 100 nodes; each link takes two sockets",
        f"up to {shown}" if enough else None,
        f"at most {shown} (now {soft:,}); enough for smaller labs",
        as_root(f"prlimit --pid $$ --nofile={_FILES_FOR_100_NODES * 2}"),
    )


def _command_line() -> Facility:
    return _facility("redis-cli", "`labctl cli NODE`", find_cli(), "not on PATH, nor valkey-cli", install("cli"))


def _compiler() -> Facility:
    purpose = "power-loss and failing-disk faults (a small library is built once)"
    return _facility("C compiler", purpose, find_compiler(), "no cc, gcc or clang on PATH", install("compiler"))


def _libfaketime() -> Facility:
    missing = "not in the usual folders"
    return _facility("libfaketime", "clock faults", find_libfaketime(), missing, install("libfaketime"))


def _cgroups() -> Facility:
    """Make a control group and remove it: whether one may is not to be read from the modes of a mounted tree."""
    folders: list[Path] = []
    try:
        memberships = Path("/proc/self/cgroup").read_text()
        folders = [place(resource, memberships).base for resource in (Resource.CPU, Resource.MEMORY)]
        problem = next((problem for folder in folders if (problem := _refuses_child(folder))), "")
    except OSError as error:
        problem = f"/proc/self/cgroup: {error.strerror}"
    except CapabilityError as error:
        problem = error.message
    return _facility(
        "cgroups",
        "CPU throttling and memory limits",
        None if problem else ", ".join(dict.fromkeys(map(str, folders))),
        problem,
        "" if os.geteuid() == 0 else "systemd-run --user --scope --property=Delegate=yes $SHELL",
    )


def _refuses_child(folder: Path) -> str | None:
    child = folder / f"labctl-doctor-{os.getpid()}"
    try:
        child.mkdir()
        child.rmdir()
    except OSError as error:
        return f"{folder}: {error.strerror}"
    return None


def _wires() -> tuple[Facility, ...]:
    """Make network namespaces with wires between them, and take a packet's place; nothing of it is left."""
    no_wires, no_packets = why_not()
    return (
        _facility(
            "network namespaces",
            "labs with wires between servers (`labctl up --net netns`)",
            None if no_wires else f"as {'root' if os.geteuid() == 0 else 'root in a user namespace'}",
            no_wires,
            install("iproute2") if not shutil.which("ip") else as_root("sysctl -w user.max_user_namespaces=10000"),
        ),
        _facility(
            "TUN devices",
            "packets lost, doubled, damaged, late or out of order, in such a lab",
            None if no_packets else "/dev/net/tun",
            no_packets,
            as_root("chmod 666 /dev/net/tun") if Path("/dev/net/tun").exists() else as_root("modprobe tun"),
        ),
    )


def _docker() -> Facility:
    purpose = "the Docker runtime (`labctl up --runtime docker`)"
    program = shutil.which("docker")
    if program is None:
        return Facility("docker", purpose, available=False, detail="not on PATH", remedy=install("docker"))
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not address.startswith("unix://"):
        return Facility("docker", purpose, available=True, detail=f"{program}, daemon at {address} (not tried)")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as daemon:
            daemon.settimeout(_PATIENCE_S)
            daemon.connect(address.removeprefix("unix://"))
    except OSError as error:
        detail = f"{program} is there, but no daemon at {address}: {error.strerror or error}"
        remedy = as_root("usermod -aG docker $USER") if isinstance(error, PermissionError) else _start_docker()
        return Facility("docker", purpose, available=False, detail=detail, remedy=remedy)
    return Facility("docker", purpose, available=True, detail=f"{program}, daemon at {address}")


def _start_docker() -> str:
    return as_root("systemctl start docker" if shutil.which("systemctl") else "service docker start")


def _root() -> Facility:
    missing = "labctl is not run by root"
    return _facility("root", "what only root may do", None if os.geteuid() else "user 0", missing, as_root("labctl …"))


_REQUIRED: dict[str, Callable[[], Facility]] = {
    "compiler": _compiler,
    "libfaketime": _libfaketime,
    "cgroups": _cgroups,
    "netns": lambda: _wires()[0],
    "tun": lambda: _wires()[1],
    "docker": _docker,
    "root": _root,
    "prometheus": _prometheus,
}
REQUIREMENTS = tuple(_REQUIRED)
"""Words that `can` knows."""
