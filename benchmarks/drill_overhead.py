"""What a drill costs beyond its own timeline: `python benchmarks/drill_overhead.py [SCENARIO]`.

One run of the command as a user gives it. Of its wall time, the timeline is what the scenario states (the phases'
durations), and recovery is what Redis itself took to be healthy again when the faults were gone: a Sentinel looks at a
returned primary each 10 s. What is left is labctl's: to start, bring up, heal, read back, check, report, take down.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from labctl.model.history import SETTLED
from labctl.store.history import read_history


def main() -> None:
    scenario = sys.argv[1] if len(sys.argv) > 1 else "sentinel-failover"
    with tempfile.TemporaryDirectory() as home:
        started, cpu = time.monotonic(), os.times()
        done = subprocess.run(
            [sys.executable, "-m", "labctl", "drill", scenario, "-o", "json"],
            env={**os.environ, "LABCTL_HOME": home},
            stdout=subprocess.PIPE,
            check=False,
        )
        wall_s, after = time.monotonic() - started, os.times()
        folder = Path(json.loads(done.stdout)["folder"])
        run = json.loads((folder / "run.json").read_bytes())
        timeline_s = sum(phase["duration_s"] for phase in run["scenario"]["phases"])
        settled = [
            float(str(event.detail["waited_ms"])) / 1000
            for phase in run["phases"]
            for event in read_history(folder / phase["history"]).events
            if event.kind == SETTLED
        ]
        phases_s = sum(phase["ended_ns"] - phase["started_ns"] for phase in run["phases"]) / 1e9
    recovery_s = sum(settled)
    left_s = wall_s - timeline_s - recovery_s
    used_s = sum(after[2:4]) - sum(cpu[2:4])
    print(f"{scenario}: {wall_s:.2f} s, of which {timeline_s:.2f} s timeline and {recovery_s:.2f} s recovery of Redis")
    print(
        f"  beyond both: {left_s:.2f} s ({left_s / timeline_s:.0%} of the timeline); the command's own CPU {used_s:.2f} s"
    )
    print(
        f"  within the phases {phases_s - timeline_s - recovery_s:.2f} s, before and after them {wall_s - phases_s:.2f} s"
    )


if __name__ == "__main__":
    main()
