"""Where the monitoring of a state folder keeps its files, and by which id its processes are found."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labctl.runtime.marker import marked_processes
from labctl.store.folders import home, write_private

FOLLOWER, PROMETHEUS, GRAFANA, EXPORTER = "@follower", "@prometheus", "@grafana", "@exporter"
"""Markers of the processes (`runtime.marker`); no node of a lab can be called so."""


@dataclass(frozen=True, slots=True)
class MonitoringFolder:
    """`observe/` of the state folder. Exists while the monitoring is up."""

    path: Path

    @property
    def id(self) -> str:
        """32 hex digits that mark every process of this monitoring.

        Worked out from the path and not drawn: whatever was lost of the files, the processes can be found.
        """
        return hashlib.sha256(f"labctl observe {self.path}".encode()).hexdigest()[:32]

    @property
    def is_there(self) -> bool:
        """Whether there is anything of it: files, or processes whose files were removed."""
        return self.path.exists() or any(marked_processes(self.id))

    @property
    def follows(self) -> bool:
        """Whether a Prometheus was started and follows labs."""
        return PROMETHEUS in self.addresses()

    @property
    def targets(self) -> Path:
        """Prometheus' file service discovery: a file a lab."""
        return self.path / "targets"

    @property
    def config(self) -> Path:
        """Prometheus' configuration."""
        return self.path / "prometheus.yml"

    @property
    def rules(self) -> Path:
        """Recording and alert rules."""
        return self.path / "rules.yml"

    @property
    def data(self) -> Path:
        """Prometheus' database."""
        return self.path / "prometheus"

    @property
    def grafana(self) -> Path:
        """Grafana's configuration, provisioning and database."""
        return self.path / "grafana"

    @property
    def lock(self) -> Path:
        """One `labctl observe` at a time; outside the folder, which goes."""
        return Path(tempfile.gettempdir()) / f"labctl-observe-{self.id}.lock"

    def log(self, name: str) -> Path:
        """What a process says."""
        return self.path / f"{name.removeprefix('@')}.log"

    def addresses(self) -> dict[str, str]:
        """URL of each service that was started, by marker. Empty where nothing was noted, or the file is damaged."""
        try:
            noted = json.loads(self._addresses.read_bytes())
        except (OSError, ValueError):
            return {}
        return {str(k): str(v) for k, v in noted.items()} if isinstance(noted, dict) else {}

    def note(self, addresses: Mapping[str, str]) -> None:
        """Keep the URLs."""
        write_private(self._addresses, json.dumps(dict(addresses), indent=1))

    @property
    def _addresses(self) -> Path:
        return self.path / "addresses.json"


def monitoring_folder() -> MonitoringFolder:
    """The one of this state folder, whether or not it exists."""
    return MonitoringFolder(home().absolute() / "observe")
