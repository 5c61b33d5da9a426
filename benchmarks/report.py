"""The page of a run of a million operations: `python benchmarks/report.py`.

Makes run folders as a drill leaves them, one of a hundred thousand and one of a million operations with a spike that a chart
must not lose, then reports each in a process of its own, and beside it does nothing but read the same histories. Prints
seconds, peak memory, the size of the page, and the ratio to only reading. The promise is under 10 s and 1 GB for the
million, and under 2 MB of page for the hundred thousand. Nothing here is a test: the times are those
of this machine in this minute.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from labctl.declare import library  # noqa: E402
from labctl.drill import check_run, known_names, list_anomalies  # noqa: E402
from labctl.model.history import CLIENTS, FAULT_END, FAULT_START, FINAL_READ, ROLE, SETTLED, Event, OpOutcome  # noqa: E402
from labctl.model.run import PhaseRun, Run  # noqa: E402
from labctl.store.history import HistoryWriter  # noqa: E402
from labctl.store.runs import RunFolder  # noqa: E402

PROCESSES, KEYS = 32, 64
# The kernel's own high-water mark: ru_maxrss of a child starts at what its parent had.
MEASURED = """
import re, sys, time
sys.path.insert(0, {root!r})
began = time.perf_counter()
{work}
peak_kb = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]
print(time.perf_counter() - began, int(peak_kb) / 1024)
"""
REPORT = (
    "from labctl.reporting import write_page; from labctl.store.runs import find_run; write_page(find_run({path!r}))"
)
READ = """
from pathlib import Path
from labctl.store.history import read_history
for path in sorted(Path({path!r}).glob('*.history')): read_history(path)
"""


def make_run(path: Path, operations: int) -> None:
    """A run folder of `sentinel-failover`, with half of the operations in each of its two phases."""
    path.mkdir()
    folder = RunFolder(path)
    scenario = library.scenario("sentinel-failover", known_names())
    phases = []
    for index, phase in enumerate(scenario.phases):
        name = f"{index + 1}-{phase.name}.history"
        ended = _record(path / name, operations // len(scenario.phases))
        phases.append(PhaseRun(phase.name, name, 0, ended))
    run = Run(path.name, scenario, 1, "redis 7.0.15", "0", 0.0, 0.3, tuple(phases))
    folder.save_run(run)
    verdicts = check_run(run, folder)
    folder.save_verdicts(verdicts)
    list_anomalies(run, folder, verdicts)


def _record(path: Path, operations: int) -> int:
    """Adds to sets over a minute; a tenth of what the first node acknowledged before the failover is lost."""
    span = 60_000_000_000
    step = span // operations
    kept: dict[str, list[int]] = {f"k{number}": [] for number in range(KEYS)}
    now = 0
    with HistoryWriter(path, header={"run": "benchmark"}, clock=lambda: now) as history:
        history.event(Event(ROLE, 0, "redis-1", {"role": "primary", "text": "redis-1 is primary"}))
        history.event(Event(CLIENTS, 0, None, {"group": "clients", "processes": list(range(PROCESSES))}))
        history.event(Event(FAULT_START, span // 3, None, {"id": 1, "fault": "kill", "text": "fault 1 began: kill"}))
        for number in range(operations):
            now, key = number * step, f"k{number % KEYS}"
            old = now < span // 2
            handle = history.invoke(number % PROCESSES, "add", key, number)
            now += step - 1
            history.complete(handle, OpOutcome.OK, node="redis-1" if old else "redis-2")
            if not old or number % 10:
                kept[key].append(number)
        history.event(Event(ROLE, span // 2, "redis-2", {"role": "primary", "text": "redis-2 is primary"}))
        history.event(Event(FAULT_END, span // 2, None, {"id": 1, "fault": "kill", "text": "fault 1 ended: kill"}))
        history.event(Event(SETTLED, span, None, {"reasons": [], "waited_ms": 1.0, "nodes": 2}))
        for number, (key, content) in enumerate(kept.items()):
            now = span + number
            history.complete(history.invoke(0, FINAL_READ, key), OpOutcome.OK, value=content, node="redis-2")
    return now


def measured(work: str, path: Path) -> tuple[float, float]:
    """Seconds and megabytes of a process that does `work` and nothing else."""
    code = MEASURED.format(root=str(ROOT), work=work.format(path=str(path)))
    env = {**os.environ, "LABCTL_HOME": str(path.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    seconds, megabytes = done.stdout.split()
    return float(seconds), float(megabytes)


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        for operations in (100_000, 1_000_000):
            path = Path(home) / f"run-{operations}"
            make_run(path, operations)
            seconds, megabytes = measured(REPORT, path)
            read_s, read_mb = measured(READ, path)
            size = (path / "report.html").stat().st_size / 1e6
            print(
                f"report of {operations:>9,} operations   {seconds:6.2f} s {megabytes:5.0f} MB   page {size:.2f} MB   "
                f"only reading {read_s:6.2f} s {read_mb:5.0f} MB   ratio {seconds / read_s:5.2f}"
            )


if __name__ == "__main__":
    main()
