"""Every query of every panel, asked of a real Prometheus that scraped real labs while they broke."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from labctl.monitoring.shipped import dashboards
from tests.support.client import ErrorReply, lab_client
from tests.support.command import Labctl, labctl_at, until
from tests.support.prometheus import Prometheus, observing

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("dashboards")]

SENTINEL = """
kind: sentinel
replicas: 2
sentinels: 3
sentinel: {quorum: 2, down-after: 500ms, failover-timeout: 5s}
persistence: {aof: everysec, rdb: [{after: 60s, changes: 1}]}
maxmemory: 100mb
directives: {all: {latency-monitor-threshold: 1, slowlog-log-slower-than: 1000}}
"""
DRILL = """
title: A server that keeps nothing is killed
description: Everything that it acknowledged before is gone, which gives a verdict and numbers to look at.
topology: sentinel
duration: 5s
workloads: [{run: set, clients: 2, rate: 200}]
steps:
  - {at: 1s, kill: primary, for: 3s}
checks:
  - {check: acked-writes, expect: may lose, promise: A write that no replica has is lost with the primary.}
  - {check: recovery, bounds: {recovery_ms: 60000}, promise: Sentinel promotes a replica.}
"""
STEP_S = 0.5
RATE = "4s"
"""What Grafana puts for `$__rate_interval` where the data source says that it is scraped each second."""


@dataclass(frozen=True)
class Asked:
    """A question of a dashboard."""

    board: str
    panel: str
    expr: str

    def __str__(self) -> str:
        return f"{self.board}: {self.panel}: {self.expr}"

    def about(self, lab: str) -> str:
        """With Grafana's variables filled in."""
        values = {"$__rate_interval": RATE, "$lab": lab, "$node": ".*", "$run": ".*"}
        expr = self.expr
        for variable, value in values.items():
            expr = expr.replace(variable, value)
        assert "$" not in expr, expr
        return expr


def questions() -> list[Asked]:
    """Every query of every panel, every annotation, every variable's."""
    found = []
    for path in sorted(dashboards().glob("*.json")):
        document = json.loads(path.read_text())
        for panel in document["panels"]:
            found += [Asked(path.stem, panel["title"], target["expr"]) for target in panel.get("targets", ())]
        found += [Asked(path.stem, a["name"], a["expr"]) for a in document["annotations"]["list"]]
        for variable in document["templating"]["list"]:
            metric = variable["query"]["query"].removeprefix("label_values(").rpartition(",")[0]
            found.append(Asked(path.stem, variable["name"], metric))
    return found


@dataclass(frozen=True)
class Watched:
    """What Prometheus saw.

    Attributes:
        prometheus: Which.
        labs: Over which labs.
        since: When it began, Unix time.
        until: When it ended.
    """

    prometheus: Prometheus
    labs: tuple[str, ...]
    since: float
    until: float

    def numbers(self, expr: str) -> int:
        """How many values there are that are numbers."""
        results = self.prometheus.get("query_range", query=expr, start=self.since, end=self.until, step=STEP_S)[
            "result"
        ]
        return sum(1 for series in results for _, value in series["values"] if not math.isnan(float(value)))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A lab with Sentinels and a Cluster under load, each of which loses its primary; and a drill."""
    folder = tmp_path_factory.mktemp("dashboards")
    (folder / "mine.yaml").write_text(SENTINEL)
    (folder / "own.yaml").write_text(DRILL)
    with labctl_at(folder / "home") as labctl:
        labctl.run("up", str(folder / "mine.yaml"), "--name", "sentinel")
        labctl.run("up", "cluster")
        options = ("--interval", "500ms", "--set", "hold_s=0")
        since = time.time()
        with observing(labctl, "sentinel", "cluster", options=options) as prometheus:
            load = labctl.start("load", "register", "--for", "1h", "--rate", "300", "--lab", "sentinel")
            _break(labctl, prometheus, folder)
            load.process.terminate()
            load.finish()
            drilled = {r["metric"]["lab"] for r in prometheus.query("labctl_lab_info offset 3s")} | _labs(prometheus)
            # a range is looked at in steps: one more, or what was seen last would be between two of them
            yield Watched(prometheus, tuple(sorted(drilled)), since, time.time() + STEP_S)
        labctl.run("down", "--all")


def _labs(prometheus: Prometheus) -> set[str]:
    return set(prometheus.get("label/lab/values"))


def _break(labctl: Labctl, prometheus: Prometheus, folder: Path) -> None:
    until(lambda: prometheus.query('labctl_operations_total{lab="sentinel",outcome="ok"}'), "operations")
    drill = labctl.start("drill", str(folder / "own.yaml"), "--seed", "1")
    labctl.run("chaos", "block", "redis-2", "--set", "ms=20", "--for", "3s", "--lab", "sentinel")
    with suppress(ErrorReply):  # one is under way already, which is as good
        lab_client(labctl.plan("sentinel"), "redis-3", direct=True).ask("BGSAVE")
    for lab in ("sentinel", "cluster"):
        labctl.run("chaos", "kill", "redis-1", "--for", "1h", "--lab", lab)
    for lab in ("sentinel", "cluster"):
        until(lambda lab=lab: prometheus.query(f'labctl_failovers_total{{lab="{lab}"}} > 0'), f"a failover of {lab}")
    until(lambda: prometheus.query('ALERTS{lab="sentinel",alertname="RedisDown",alertstate="firing"}'), "an alert")
    for lab in ("sentinel", "cluster"):
        labctl.run("heal", "--lab", lab)
    drill.process.wait(120)
    drill.finish()
    until(lambda: prometheus.query("labctl_run_verdict == 1"), "the drill's verdict")


def test_no_query_of_any_panel_is_empty_or_wrong(watched: Watched) -> None:
    empty = [str(asked) for asked in questions() if not any(watched.numbers(asked.about(lab)) for lab in watched.labs)]
    assert not empty, "\n".join(empty)


def test_a_query_that_asks_for_nothing_would_be_noticed(watched: Watched) -> None:
    assert watched.numbers("redis_no_such_metric") == 0
    with pytest.raises(AssertionError, match="parse error"):
        watched.numbers("sum(")


def test_roles_tell_the_failover(watched: Watched) -> None:
    """What the state timeline shows: down, and another one primary."""
    roles = next(asked for asked in questions() if asked.panel == "Roles")
    found = watched.prometheus.get(
        "query_range", query=roles.about("sentinel"), start=watched.since, end=watched.until, step=STEP_S
    )["result"]
    seen: dict[str, set[int]] = {r["metric"]["node"]: {int(float(v)) for _, v in r["values"]} for r in found}
    assert seen["redis-1"] >= {0, 2}, "primary, then down"
    assert 2 in seen["redis-2"] | seen["redis-3"], "another primary"
    assert seen["sentinel-1"] - {0} == {3}, "0 where it was too busy for a scrape"


def test_annotations_are_where_the_faults_were(watched: Watched) -> None:
    annotation = next(asked for asked in questions() if asked.panel == "Faults" and "$node" not in asked.expr)
    series: list[Any] = watched.prometheus.get(
        "query_range", query=annotation.about("cluster"), start=watched.since, end=watched.until, step=STEP_S
    )["result"]
    assert [(s["metric"]["kind"], s["metric"]["target"]) for s in series] == [("kill", "redis-1")]
    times = [float(at) for at, _ in series[0]["values"]]
    assert times == sorted(times)
    assert max(b - a for a, b in pairwise(times)) <= 5, (
        "one window, though a scrape that took too long left a gap in it"
    )


def test_no_rule_failed(watched: Watched) -> None:
    wrong = [
        (rule["name"], rule["lastError"])
        for group in watched.prometheus.get("rules")["groups"]
        for rule in group["rules"]
        if rule["health"] == "err"
    ]
    assert not wrong
