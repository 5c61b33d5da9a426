"""A real Prometheus over real labs, asked without labctl."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.command import Labctl, until


def need_prometheus() -> None:
    """Skip where there is none."""
    for program in ("prometheus", "promtool"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} on PATH: apt-get install prometheus")


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    url: str

    def get(self, path: str, **parameters: str | float) -> Any:
        """The data of `/api/v1/{path}`."""
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=20) as answer:
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from error

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Results of an instant query."""
        results: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return results

    def values(self, expression: str, label: str) -> dict[str, float]:
        """Values of an instant query by a label."""
        return {r["metric"].get(label, ""): float(r["value"][1]) for r in self.query(expression)}

    def firing(self, **labels: str) -> set[str]:
        """Names of the alerts that fire with these labels."""
        alerts = self.get("alerts")["alerts"]
        return {
            a["labels"]["alertname"] for a in alerts if a["state"] == "firing" and labels.items() <= a["labels"].items()
        }

    def healthy_targets(self) -> set[str]:
        """Labs that are scraped, and well."""
        targets = self.get("targets")["activeTargets"]
        return {t["labels"]["lab"] for t in targets if "lab" in t["labels"] and t["health"] == "up"}


@contextmanager
def observing(labctl: Labctl, *labs: str, options: tuple[str, ...] = ()) -> Iterator[Prometheus]:
    """`labctl observe up`, once these labs are scraped; down again at the end."""
    need_prometheus()
    state = labctl.json("observe", "up", *options)
    try:
        prometheus = Prometheus(state["services"]["prometheus"])
        until(lambda: prometheus.healthy_targets() >= set(labs), f"scrapes of {labs}")
        yield prometheus
    finally:
        labctl.run("observe", "down")
