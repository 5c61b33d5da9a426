"""The metrics of a run, as a snapshot kept them beside its history (`labctl observe snapshot`): OpenMetrics, gzip."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = "metrics.om.gz"


@dataclass(frozen=True, slots=True)
class Series:
    """One time series.

    Attributes:
        name: Of the metric.
        labels: What it is about.
        at_s: Unix time of each sample, ascending.
        values: As many.
    """

    name: str
    labels: Mapping[str, str]
    at_s: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a snapshot has of the wanted metrics; none, with the reason in a sentence, where its file is damaged."""

    series: tuple[Series, ...] = ()
    why_not: str = ""


def read_metrics(folder: Path, names: Collection[str]) -> Kept:
    """Series with one of these names. Nothing, and no reason, for a run of which no snapshot was taken."""
    path = folder / FILE
    if not path.exists():
        return Kept()
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as families  # noqa: PLC0415

    try:
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        wanted = [line for line in lines if line[: max(line.find("{"), 0)] in names]
        found: dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[float, float]]] = {}
        for family in families("\n".join([*wanted, "# EOF\n"])):  # type: ignore[no-untyped-call]
            for sample in family.samples:
                points = found.setdefault((sample.name, tuple(sample.labels.items())), [])
                points.append((float(sample.timestamp), float(sample.value)))
    except (OSError, EOFError, zlib.error, ValueError, TypeError):
        return Kept(why_not=f"{path.name} is damaged.")
    return Kept(
        tuple(
            Series(name, dict(labels), *map(tuple, zip(*sorted(points), strict=True)))
            for (name, labels), points in found.items()
        )
    )
