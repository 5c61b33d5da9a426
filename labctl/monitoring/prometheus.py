"""Prometheus' configuration, and the parts of its HTTP API that labctl uses."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from labctl.errors import LabError
from labctl.monitoring.folder import MonitoringFolder
from labctl.monitoring.rules import seconds

JOB = "redis"
"""The job of all labs: the name that redis-mixin's rules and dashboards select by."""
RUNS_JOB = "labctl-runs"
_FOLLOW_S = 1.0
_KEEP = "10y"
"""Longer than anybody keeps a run whose metrics are put back; the database goes with `labctl observe down` anyway."""
_TIMEOUT_S = 10.0


def config(folder: MonitoringFolder, interval_s: float) -> str:
    """The configuration file.

    Labels of a lab's own are kept (`honor_labels`): one scrape brings all of its nodes, each with its own `instance`.

    Args:
        folder: Where targets and rules are.
        interval_s: Time between two scrapes, and between two evaluations of the rules.
    """
    interval = seconds(interval_s)
    followed = {"refresh_interval": seconds(_FOLLOW_S)}
    settings = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [str(folder.rules)],
        "scrape_configs": [
            {
                "job_name": JOB,
                "honor_labels": True,
                "file_sd_configs": [{"files": [str(folder.targets / "lab-*.json")], **followed}],
            },
            {
                "job_name": RUNS_JOB,
                "file_sd_configs": [{"files": [str(folder.targets / "runs-*.json")], **followed}],
            },
        ],
    }
    return yaml.safe_dump(settings, sort_keys=False)


def command(folder: MonitoringFolder, program: str, port: int) -> list[str]:
    """How it is started: on loopback, with the API that makes it read its rules again."""
    return [
        program,
        f"--config.file={folder.config}",
        f"--storage.tsdb.path={folder.data}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.tsdb.retention.time={_KEEP}",
        "--web.enable-lifecycle",
        "--log.level=warn",
    ]


class Api:
    """A Prometheus that runs.

    Args:
        url: Such as `http://127.0.0.1:9090`.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            self._ask(f"{self.url}/-/ready")
        except LabError:
            return False
        return True

    def reload(self) -> None:
        """Make it read configuration and rules again.

        Raises:
            LabError: It refused them.
        """
        self._ask(f"{self.url}/-/reload", b"")

    def query(self, expression: str, at_s: float | None = None) -> list[dict[str, Any]]:
        """The result of an instant query.

        Raises:
            LabError: It is wrong, or nobody answers.
        """
        return self._results("query", query=expression, **({} if at_s is None else {"time": at_s}))

    def query_range(self, expression: str, start_s: float, end_s: float, step_s: float) -> list[dict[str, Any]]:
        """The result of a range query. Raises as `query` does."""
        return self._results("query_range", query=expression, start=start_s, end=end_s, step=step_s)

    def get(self, path: str, **parameters: str | float) -> Any:
        """The data of `/api/v1/{path}`. Raises as `query` does."""
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        return json.loads(self._ask(f"{self.url}/api/v1/{path}{query}"))["data"]

    def _results(self, path: str, **parameters: str | float) -> list[dict[str, Any]]:
        body = urllib.parse.urlencode(parameters).encode()
        results: list[dict[str, Any]] = json.loads(self._ask(f"{self.url}/api/v1/{path}", body))["data"]["result"]
        return results

    def _ask(self, url: str, body: bytes | None = None) -> bytes:
        try:
            with urllib.request.urlopen(url, body, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - http on loopback
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            raise LabError(f"Prometheus at {self.url} refused: {_reason(error)}") from error
        except OSError as error:
            raise LabError(f"Prometheus at {self.url} does not answer ({error}).", "labctl observe up") from error


def _reason(error: urllib.error.HTTPError) -> str:
    text = error.read().decode(errors="replace")
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text.strip() or str(error)


def write_targets(path: Path, groups: Sequence[dict[str, Any]]) -> None:
    """Put targets where Prometheus finds them, unless they are there already. It never sees half a file."""
    text = json.dumps(groups, indent=1)
    if path.exists() and path.read_text() == text:
        return
    partial = path.with_name(f".{path.name}.new")
    partial.write_text(text)
    partial.rename(path)
