"""Grafana's configuration: on loopback, nobody has to log in, the dashboards and their data source are there."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from configparser import RawConfigParser
from dataclasses import dataclass
from pathlib import Path

import yaml

from labctl.errors import CapabilityError
from labctl.monitoring.folder import MonitoringFolder
from labctl.monitoring.shipped import dashboards

DATA_SOURCE = "labctl-prometheus"
"""Uid of the data source that every panel names."""
HOME = "overview"
"""The dashboard that opens first."""
_HOMES = (Path("/usr/share/grafana"), Path("/usr/local/share/grafana"), Path("/opt/grafana"))
HOW_TO_GET = (
    "Grafana is in no Debian release: https://grafana.com/docs/grafana/latest/setup-grafana/installation has its packages. "
    "Where there is Docker: --grafana-image IMAGE."
)


@dataclass(frozen=True, slots=True)
class Binary:
    """A Grafana on this machine.

    Attributes:
        command: What starts it, before its options.
        home: The folder with its web pages and defaults.
    """

    command: tuple[str, ...]
    home: Path


def find_grafana() -> Binary | None:
    """The Grafana on PATH. None when there is none, or its web pages are not to be found."""
    for name, words in (("grafana", ("server",)), ("grafana-server", ())):
        if (path := shutil.which(name)) is not None:
            beside = Path(path).resolve().parent.parent
            home = next((home for home in (beside, *_HOMES) if (home / "conf" / "defaults.ini").exists()), None)
            if home is not None:
                return Binary((path, *words), home)
    return None


def command(binary: Binary, folder: MonitoringFolder) -> list[str]:
    """How it is started."""
    return [*binary.command, f"--homepath={binary.home}", f"--config={_ini(folder)}"]


def container_environment(folder: MonitoringFolder) -> dict[str, str]:
    """How it is told in a container where its configuration is."""
    paths = {"CONFIG": _ini(folder), "DATA": folder.grafana / "data", "LOGS": folder.grafana / "logs"}
    paths |= {"PLUGINS": folder.grafana / "plugins", "PROVISIONING": folder.grafana / "provisioning"}
    return {f"GF_PATHS_{name}": str(path) for name, path in paths.items()}


def write(folder: MonitoringFolder, port: int, prometheus: str) -> None:
    """Write everything that it starts from.

    Args:
        folder: The monitoring's.
        port: Where it is to listen.
        prometheus: URL of the data source.

    Raises:
        CapabilityError: The dashboards are not there.
    """
    provisioning = folder.grafana / "provisioning"
    copies = folder.grafana / "dashboards"
    copies.mkdir(parents=True, exist_ok=True)
    for file in _shipped():
        (copies / file.name).write_bytes(file.read_bytes())
    for section, document in (("datasources", _data_sources(prometheus)), ("dashboards", _providers(copies))):
        (provisioning / section).mkdir(parents=True, exist_ok=True)
        (provisioning / section / "labctl.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    ini = RawConfigParser()
    ini.read_dict(_settings(folder, port, copies))
    with _ini(folder).open("w") as stream:
        ini.write(stream)


def _shipped() -> list[Path]:
    files = sorted(dashboards().glob("*.json"))
    if not files:
        raise CapabilityError(f"There are no dashboards in {dashboards()}.", "Install labctl again.")
    return files


def _ini(folder: MonitoringFolder) -> Path:
    return folder.grafana / "grafana.ini"


def _settings(folder: MonitoringFolder, port: int, copies: Path) -> Mapping[str, Mapping[str, str]]:
    own = folder.grafana
    return {
        "paths": {
            "data": str(own / "data"),
            "logs": str(own / "logs"),
            "plugins": str(own / "plugins"),
            "provisioning": str(own / "provisioning"),
        },
        "server": {"http_addr": "127.0.0.1", "http_port": str(port)},
        "analytics": {"reporting_enabled": "false", "check_for_updates": "false", "check_for_plugin_updates": "false"},
        "auth.anonymous": {"enabled": "true", "org_role": "Viewer"},
        "auth": {"disable_login_form": "true"},
        "security": {"disable_initial_admin_creation": "true"},
        "dashboards": {
            "default_home_dashboard_path": str(copies / f"{HOME}.json"),
            "min_refresh_interval": "1s",
        },
        "news": {"news_feed_enabled": "false"},
    }


def _data_sources(prometheus: str) -> dict[str, object]:
    source = {
        "name": "labs",
        "uid": DATA_SOURCE,
        "type": "prometheus",
        "access": "proxy",
        "url": prometheus,
        "isDefault": True,
        "jsonData": {"timeInterval": "1s", "httpMethod": "POST"},
    }
    return {"apiVersion": 1, "datasources": [source]}


def _providers(copies: Path) -> dict[str, object]:
    provider = {"name": "labctl", "folder": "labctl", "type": "file", "options": {"path": str(copies)}}
    return {"apiVersion": 1, "providers": [provider]}
