"""Known failures, shown on every engine of this machine: `python -m benchmarks.track_record`, from the top of a checkout.

Runs the drills of docs/track-record.md, each as its one command, and prints a row for each drill and a column for each engine:
what was promised to be seen, and what was measured. `--write` puts the table between the markers of the page.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labctl.store.history import read_history
from tests.support.lab import engines

PAGE = Path(__file__).resolve().parent.parent / "docs" / "track-record.md"
BEGIN, END = "<!-- measured -->\n", "<!-- end of measured -->"
_DEADLINE_S = 400
_ATTEMPTS = 3


@dataclass(frozen=True)
class Phase:
    """What a drill said of one phase: findings by check, and where its evidence is."""

    number: int
    name: str
    folder: Path
    verdicts: Mapping[str, Any]

    def stat(self, check: str, name: str) -> float:
        """A number of a check's finding."""
        return float(self.verdicts[check]["finding"]["stats"][name] or 0)

    def lost(self) -> str:
        """Acknowledged writes that are gone, of those that were judged."""
        lost, judged = self.stat("acked-writes", "lost"), self.stat("acked-writes", "judged")
        return f"{lost:,.0f} of {judged:,.0f} lost ({lost / judged:.0%})" if judged else "nothing was written"

    def unnoticed(self) -> str:
        """How long clients were told that writes are safe which then were lost, and what errors they saw meanwhile."""
        with (self.folder / f"{self.name}.acked-writes.csv").open() as file:
            times = [int(row["completed_ns"]) for row in csv.DictReader(file) if row["kind"] == "lost"]
        history = read_history(self.folder / f"{self.number}-{self.name}.history")
        meanwhile = (history.complete_ns >= min(times)) & (history.complete_ns <= max(times))
        errors = int(np.sum(meanwhile & ~history.ok))
        seconds = (max(times) - min(times)) / 1e9
        return f"{self.lost()} over {seconds:.1f} s; client errors meanwhile: {errors or 'none'}"

    def disagreement(self) -> str:
        """Whether all Sentinels name one primary in the end."""
        finding = self.verdicts["sentinels-agree"]["finding"]
        return "Sentinels disagree to the end" if finding["outcome"] == "invalid" else "Sentinels agree"


@dataclass(frozen=True)
class Entry:
    """A known failure: the drill that shows it, where it is reported, and what to read from its phases."""

    drill: str
    reported: str
    told: Callable[[Mapping[str, Phase]], str]


ENTRIES = (
    Entry("two-three-split", "Jepsen, 2013", lambda phases: phases["split"].lost()),
    Entry("sentinel-planned-failover", "redis 6062", lambda phases: phases["command-alone"].unnoticed()),
    Entry("wait-is-no-consensus", "Jepsen, 2013 (redux)", lambda phases: phases["split"].lost()),
    Entry("empty-primary-returns", "redis 2087, valkey 579", lambda phases: phases["restart"].lost()),
    Entry("stale-primary-returns", "redis 12570", lambda phases: phases["stale"].lost()),
    Entry(
        "sentinels-told-differently",
        "redis 12271",
        lambda phases: (
            f"{phases['told'].disagreement()}; after a failover: {phases['failover'].disagreement().lower()}"
        ),
    ),
    Entry("sentinels-after-full-restart", "redis 13658, valkey 1322", lambda phases: phases["restarts"].disagreement()),
)


def drill(name: str, engine: str, home: Path) -> Mapping[str, Any]:
    """Run the one command; its answer. A lab that does not come up says nothing about the engine and is tried again."""
    command = [sys.executable, "-m", "labctl", "drill", name, "--engine", engine, "-o", "json"]
    for _ in range(_ATTEMPTS):
        ended = subprocess.run(
            command,
            env={**os.environ, "LABCTL_HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
        )
        if ended.stdout:
            answer: Mapping[str, Any] = json.loads(ended.stdout)
            return answer
    raise SystemExit(f"{' '.join(command)}: {ended.stderr}")


def phases(answer: Mapping[str, Any]) -> dict[str, Phase]:
    """Its phases by name."""
    return {
        each["phase"]: Phase(
            number,
            each["phase"],
            Path(answer["folder"]),
            {verdict["finding"]["check"]: verdict for verdict in each["verdicts"]},
        )
        for number, each in enumerate(answer["phases"], 1)
    }


def measure(entry: Entry, engine: str, home: Path, runs: int) -> Iterator[str]:
    """What each run of it showed."""
    for _ in range(runs):
        answer = drill(entry.drill, engine, home)
        if answer["verdict"] == "inconclusive":
            reasons = {verdict["finding"]["summary"] for phase in answer["phases"] for verdict in phase["verdicts"]}
            yield f"inconclusive ({'; '.join(sorted(reasons))})"
            continue
        yield entry.told(phases(answer))


def table(rows: Sequence[Sequence[str]], names: Sequence[str]) -> str:
    """Markdown."""
    head = ["command", "reported in", *names]
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Every entry on every engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", default=",".join(engines()), help="short names, comma-separated")
    parser.add_argument("--only", default="", help="drills, comma-separated")
    parser.add_argument("--runs", type=int, default=1, help="of each drill on each engine")
    parser.add_argument("--write", action="store_true", help="put the table into docs/track-record.md")
    options = parser.parse_args()
    chosen = options.engines.split(",")
    wanted = [entry for entry in ENTRIES if not options.only or entry.drill in options.only.split(",")]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for entry in wanted:
            row = [f"`labctl drill {entry.drill}`", entry.reported]
            for engine in chosen:
                row.append("; ".join(measure(entry, engine, Path(folder), options.runs)))
                print(f"{entry.drill} on {engine}: {row[-1]}", flush=True)
            rows.append(row)
    found = engines()
    text = table(rows, [found[engine].name for engine in chosen])
    print(text)
    if options.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}{text}{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
