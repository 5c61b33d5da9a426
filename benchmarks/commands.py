"""Whole commands as a user waits for them: `--help`, `up sentinel`, `status`, `down`, each beside the bare interpreter.

    python benchmarks/commands.py [RUNS]

Prints medians in seconds, and their ratio to `python -c pass` measured in turn with them, for machines differ and are
shared. The state folder is a temporary one.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

LABCTL = [sys.executable, "-m", "labctl"]
BARE = [sys.executable, "-c", "pass"]
LIMITS_S = {"--help": 0.15, "up sentinel": 1.2, "status": None, "down": 0.5}


def seconds(command: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "LABCTL_HOME": home}
        taken: dict[str, list[float]] = {name: [] for name in ("python -c pass", *LIMITS_S)}
        for _ in range(runs + 1):  # the first round warms the file cache
            taken["python -c pass"].append(seconds(BARE, environment))
            for name in LIMITS_S:
                taken[name].append(seconds([*LABCTL, *name.split()], environment))
    bare = statistics.median(taken["python -c pass"][1:])
    print(f"{'command':<16} {'median s':>9} {'min s':>8} {'× bare':>7} {'wanted s':>9}")
    for name, all_times in taken.items():
        times = all_times[1:]
        median, limit = statistics.median(times), LIMITS_S.get(name)
        print(f"{name:<16} {median:>9.3f} {min(times):>8.3f} {median / bare:>7.1f} {limit or '':>9}")


if __name__ == "__main__":
    main()
