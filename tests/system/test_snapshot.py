"""`labctl observe snapshot` and `restore`: what Prometheus knew of a run is there again in another Prometheus."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from labctl.monitoring import snapshot as snapshots
from labctl.monitoring.prometheus import Api
from labctl.store.runs import RunFolder
from tests.support.command import Labctl, labctl_at, until
from tests.support.prometheus import Prometheus, need_prometheus, observing

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("snapshot")]

DRILL = """
title: A server without persistence is killed
description: Everything that it acknowledged before is gone.
topology: standalone
duration: 8s
workloads: [{run: set, clients: 2, rate: 200}]
steps:
  - {at: 1s, kill: redis-1, for: 5s}
checks:
  - {check: acked-writes, expect: may lose, promise: Nothing is promised.}
"""
QUERIES = (
    'redis_up{lab="LAB"}',
    'labctl_operations_total{lab="LAB"}',
    'labctl_fault_active{lab="LAB"}',
    'ALERTS{lab="LAB"}',
    'labctl:primaries:count{lab="LAB"}',
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Labctl, Any, dict[str, Any]]]:
    """A drill that was watched, its snapshot, and what the Prometheus that watched it answered."""
    need_prometheus()
    folder = tmp_path_factory.mktemp("snapshot")
    (folder / "own.yaml").write_text(DRILL)
    with labctl_at(folder / "home") as labctl:
        with observing(labctl, options=("--interval", "250ms", "--set", "hold_s=0")) as prometheus:
            labctl.run("drill", str(folder / "own.yaml"), code=None)
            until(lambda: prometheus.query("labctl_run_verdict == 1"), "the verdict")
            snapshot = labctl.json("observe", "snapshot")
            answers = {query: series(prometheus, snapshot, query) for query in QUERIES}
        yield labctl, snapshot, answers


def series(prometheus: Prometheus, snapshot: Any, query: str) -> Any:
    """Raw samples in the time of the run."""
    expression = query.replace("LAB", snapshot["lab"])
    window = f"{round((snapshot['end_s'] - snapshot['start_s']) * 1000)}ms"
    found = prometheus.get("query", query=f"{expression}[{window}]", time=snapshot["end_s"])["result"]
    return sorted(
        (sorted(one["metric"].items()), [(round(at, 3), value) for at, value in one["values"]]) for one in found
    )


def test_it_is_openmetrics(kept: tuple[Labctl, Any, dict[str, Any]]) -> None:
    _, snapshot, _ = kept
    text = gzip.decompress(Path(snapshot["file"]).read_bytes()).decode()
    families = list(text_string_to_metric_families(text))
    assert sum(len(family.samples) for family in families) == snapshot["samples"]
    assert {"redis_up", "labctl_fault_active", "ALERTS", "labctl_run_verdict"} <= {family.name for family in families}
    assert Path(snapshot["file"]).parent.name == snapshot["run"]


def test_another_prometheus_answers_as_the_first_did(kept: tuple[Labctl, Any, dict[str, Any]]) -> None:
    labctl, snapshot, answers = kept
    assert all(answers.values()), [query for query, answer in answers.items() if not answer]
    with observing(labctl) as prometheus:
        assert series(prometheus, snapshot, QUERIES[0]) == [], "it has not watched the drill"
        restored = labctl.json("observe", "restore", snapshot["run"])
        again = Prometheus(restored["prometheus"])  # where it was, unless another one came there meanwhile
        for query, answer in answers.items():
            assert series(again, snapshot, query) == answer, query


def test_it_lacks_no_sample_of_a_lab_that_is_still_watched(labctl: Labctl, tmp_path: Path) -> None:
    """A scrape is stored only after the moment that it is stamped with; a snapshot waits for those under way."""
    (tmp_path / "own.yaml").write_text(DRILL)
    with observing(labctl, options=("--interval", "100ms")) as prometheus:
        labctl.run("drill", str(tmp_path / "own.yaml"), "--keep", code=None)
        api, run = Api(prometheus.url), still_running(labctl, tmp_path)
        until(lambda: prometheus.query(f'labctl_run_recording{{run="{run.path.name}"}}'), "samples of the run")
        several = [(taken := snapshots.take(api, run), kept_samples(taken)) for _ in range(40)]
        snapshots.take(api, run)  # waits for a whole round after the last of them
        labctl.run("down", several[0][0].lab)
        for taken, at_once in several:
            window = f"{round((taken.end_s - taken.start_s) * 1000)}ms"
            later = prometheus.get("query", query=f'{{lab="{taken.lab}"}}[{window}]', time=taken.end_s)["result"]
            assert at_once == sum(len(series["values"]) for series in later)


def still_running(labctl: Labctl, tmp_path: Path) -> RunFolder:
    """A copy of the newest run that ends in an hour."""
    (made,) = (labctl.home / "runs").iterdir()
    copy = Path(shutil.copytree(made, tmp_path / "copy" / made.name))
    run = json.loads((copy / "run.json").read_text())
    run["phases"][-1]["ended_ns"] += 3_600_000_000_000
    (copy / "run.json").write_text(json.dumps(run))
    return RunFolder(copy)


def kept_samples(taken: snapshots.Snapshot) -> int:
    """How many samples of its lab are in the file."""
    lines = gzip.decompress(Path(taken.file).read_bytes()).decode().splitlines()
    return sum(f'lab="{taken.lab}"' in line for line in lines)


def test_a_run_that_nobody_watched_has_none(kept: tuple[Labctl, Any, dict[str, Any]], tmp_path: Path) -> None:
    labctl, snapshot, _ = kept
    copy = tmp_path / "unwatched"
    copy.mkdir()
    for file in Path(snapshot["file"]).parent.iterdir():
        if file.suffix in (".json", ".history"):
            (copy / file.name).write_bytes(file.read_bytes())
    assert "labctl observe up" in labctl.run("observe", "snapshot", str(copy), code=4).err, "nobody to ask"
    with observing(labctl):
        assert "nothing of run unwatched" in labctl.run("observe", "snapshot", str(copy), code=4).err
        assert "no snapshot" in labctl.run("observe", "restore", str(copy), code=2).err
        (copy / "metrics.om.gz").write_bytes(b"nonsense")
        assert "damaged" in labctl.run("observe", "restore", str(copy), code=4).err
        (copy / "metrics.om.gz").write_bytes(gzip.compress(b"nonsense"))
        assert "promtool" in labctl.run("observe", "restore", str(copy), code=4).err
        run = json.loads((copy / "run.json").read_text())
        (copy / "run.json").write_text(json.dumps({**run, "phases": []}))
        assert "No phase" in labctl.run("observe", "snapshot", str(copy), code=2).err
