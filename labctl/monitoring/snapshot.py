"""The metrics of one run, kept next to its history as OpenMetrics text, and put back into a Prometheus later.

A snapshot is every raw sample of the run's lab from the run's first moment to its last, alerts and recording rules
included, and what the checks said. The format is the one that `promtool tsdb create-blocks-from openmetrics` reads, and
anything else that knows OpenMetrics.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from labctl.engines.remedies import install
from labctl.errors import CapabilityError, LabError, UsageError
from labctl.metrics.exposition import escaped
from labctl.monitoring.prometheus import RUNS_JOB, Api
from labctl.store.history import read_header
from labctl.store.metrics import FILE
from labctl.store.runs import RunFolder

_MARGIN_S = 5.0
_STAMP_S = 0.01
"""Prometheus moves the stamp of a scrape by up to 2 ms, for stamps at equal distances."""
_LOOK_S = 0.02
_BEHIND_S = 30.0
_PROMTOOL_S = 300


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that was taken.

    Attributes:
        run: Of which run.
        lab: Of which lab.
        file: Where it is.
        start_s: Unix time of its first moment.
        end_s: Of its last.
        series: How many time series.
        samples: How many samples.
    """

    run: str
    lab: str
    file: str
    start_s: float
    end_s: float
    series: int
    samples: int


def take(prometheus: Api, folder: RunFolder) -> Snapshot:
    """Keep what Prometheus has of a run.

    Raises:
        UsageError: The run has no phase that ran.
        LabError: Prometheus did not watch it, or does not get on with its scrapes.
    """
    run = folder.path.name
    start_s, end_s = window(folder)
    end_s = min(end_s, time.time())
    selector = f'labctl_run_recording{{run="{run}"}}'
    recorded: dict[str, str | float] = {"match[]": selector, "start": start_s, "end": end_s}
    seen = prometheus.get("series", **recorded)
    labs = sorted({str(series["lab"]) for series in seen})
    if not labs:
        raise LabError(
            f"Prometheus has nothing of run {run}.",
            "It must be up while the run is made: labctl observe up, then drill.",
        )
    _wait_for_verdicts(prometheus, time.time())
    _wait_for_lab(prometheus, labs[0], end_s)
    found = _samples(prometheus, f'{{lab="{labs[0]}"}}', start_s, end_s)
    found += _samples(prometheus, f'{{__name__=~"labctl_run_.*",run="{run}",lab=""}}', start_s, time.time())
    file = folder.path / FILE
    with gzip.open(file, "wt", encoding="utf-8") as stream:
        stream.writelines(_lines(found))
    samples = sum(len(series["values"]) for series in found)
    return Snapshot(run, labs[0], str(file), start_s, end_s, len(found), samples)


def restore(folder: RunFolder, data: Path) -> None:
    """Put a snapshot into the database of a Prometheus, which sees it when it starts next.

    Raises:
        UsageError: The run has none.
        CapabilityError: There is no promtool.
        LabError: promtool refused it.
    """
    file = folder.path / FILE
    if not file.exists():
        raise UsageError(
            f"Run {folder.path.name} has no snapshot of its metrics.", f"labctl observe snapshot {folder.path.name}"
        )
    program = shutil.which("promtool")
    if program is None:
        raise CapabilityError("There is no promtool on PATH; it comes with Prometheus.", install("prometheus"))
    with tempfile.NamedTemporaryFile(suffix=".om") as plain:
        try:
            with gzip.open(file, "rb") as packed:
                shutil.copyfileobj(packed, plain)
        except (OSError, EOFError) as error:
            raise LabError(
                f"{file} is damaged: {error}", "It can be taken again while Prometheus has the run."
            ) from error
        plain.flush()
        done = subprocess.run(
            [program, "tsdb", "create-blocks-from", "openmetrics", plain.name, str(data)],
            capture_output=True,
            text=True,
            timeout=_PROMTOOL_S,
            check=False,
        )
    if done.returncode != 0:
        raise LabError(f"promtool does not read {file}: {done.stderr.strip()}", "Was it edited?")


def window(folder: RunFolder) -> tuple[float, float]:
    """When the phases of a run began and ended, Unix time, with a margin.

    Raises:
        UsageError: None ran.
    """
    phases = folder.load_run().phases
    if not phases:
        raise UsageError(f"No phase of run {folder.path.name} ran.", "There is nothing to keep.")
    header = read_header(folder.path / phases[0].history)
    offset_ns = int(str(header["unix_ns"])) - int(str(header["monotonic_ns"]))
    start_s, end_s = ((at_ns + offset_ns) / 1e9 for at_ns in (phases[0].started_ns, phases[-1].ended_ns))
    return start_s - _MARGIN_S, end_s + _MARGIN_S


def _wait_for_lab(prometheus: Api, lab: str, end_s: float) -> None:
    """Wait until no sample of a time up to `end_s` can still come.

    Prometheus stamps a scrape and an evaluation with the moment when they begin, and stores them when they are through.
    It makes them one after the other for each target and each group of rules: once one of them began after `end_s`,
    all of those before it are stored.
    """

    def begun() -> bool:
        targets = prometheus.get("targets", state="active")["activeTargets"]
        times = [each["lastScrape"] for each in targets if each["labels"].get("lab") == lab]
        times += [each["lastEvaluation"] for each in prometheus.get("rules")["groups"]]
        return all(datetime.fromisoformat(at).timestamp() > end_s + _STAMP_S for at in times)

    _wait(prometheus, begun, f"lab {lab} and the rules")


def _wait_for_verdicts(prometheus: Api, now_s: float) -> None:
    """Wait until a scrape of the stored runs that began after `now_s` is stored: it has what the checks said."""

    def stored() -> bool:
        return all(float(each["value"][1]) > now_s for each in prometheus.query(f'timestamp(up{{job="{RUNS_JOB}"}})'))

    _wait(prometheus, stored, "the stored runs")


def _wait(prometheus: Api, done: Callable[[], bool], what: str) -> None:
    intervals = [each["interval"] for each in prometheus.get("rules")["groups"]]
    patience_s = _BEHIND_S + 2 * max(intervals, default=0)
    deadline = time.monotonic() + patience_s
    while not done():
        if time.monotonic() > deadline:
            raise LabError(
                f"Prometheus at {prometheus.url} is behind: for {patience_s:.0f} s it had no new samples of {what}.",
                "Is the machine overloaded? Then a longer labctl observe up --interval helps.",
            )
        time.sleep(_LOOK_S)


def _samples(prometheus: Api, selector: str, start_s: float, end_s: float) -> list[dict[str, Any]]:
    """Raw samples, not points of a grid: an instant query for a range of time gives them."""
    return prometheus.query(f"{selector}[{round((end_s - start_s) * 1000)}ms]", end_s)


def _lines(found: Iterable[dict[str, Any]]) -> Iterable[str]:
    for series in sorted(found, key=lambda each: str(each["metric"]["__name__"])):
        labels = dict(series["metric"])
        name = labels.pop("__name__")
        text = ",".join(f'{label}="{escaped(value)}"' for label, value in labels.items())
        for at, value in series["values"]:
            yield f"{name}{{{text}}} {value} {at:.3f}\n"
    yield "# EOF\n"
