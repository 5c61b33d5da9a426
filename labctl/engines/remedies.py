"""The one command that adds something missing, for the package manager that this machine has."""

from __future__ import annotations

import os
import shutil

_INSTALL = {
    "apt-get": "apt-get install {}",
    "dnf": "dnf install {}",
    "apk": "apk add {}",
    "pacman": "pacman -S {}",
    "zypper": "zypper install {}",
    "brew": "brew install {}",
}
_PACKAGES: dict[str, dict[str, str]] = {
    "server": {
        "dnf": "redis",
        "apk": "redis",
        "pacman": "valkey",
        "zypper": "redis",
        "brew": "redis",
        "": "redis-server",
    },
    "valkey": {"apt-get": "valkey-server", "": "valkey"},
    "cli": {"apt-get": "redis-tools", "pacman": "valkey", "": "redis"},
    "compiler": {"apt-get": "gcc libc6-dev", "apk": "build-base", "": "gcc"},
    "libfaketime": {"apt-get": "libfaketime", "": "libfaketime"},
    "docker": {"apt-get": "docker.io", "dnf": "moby-engine", "": "docker"},
    "prometheus": {"": "prometheus"},
    "redis_exporter": {"apt-get": "prometheus-redis-exporter", "": "redis_exporter"},
    "iproute2": {"dnf": "iproute-tc", "": "iproute2"},
}


def install(what: str) -> str:
    """The command that installs `what` (a key of the table above), with sudo unless one is root already."""
    manager = next((manager for manager in _INSTALL if shutil.which(manager)), "apt-get")
    packages = _PACKAGES[what]
    command = _INSTALL[manager].format(packages.get(manager, packages[""]))
    return command if manager == "brew" else as_root(command)


def as_root(command: str) -> str:
    """The command as this user has to type it."""
    return command if os.geteuid() == 0 else f"sudo {command}"
