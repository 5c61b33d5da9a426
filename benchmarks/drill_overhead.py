"""What a drill costs beyond its own timeline: `python benchmarks/drill_overhead.py [SCENARIO]`.

One run of the command as a user gives it, and one that recovers at Redis' own pace (`--natural`). Of the wall time, the
timeline is what the scenario states (the phases' durations); what is beyond it is the overhead: to start, bring up, heal, wait
until the lab has settled, read back, check, report, take down.
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
    beyond = {pace: measure(scenario, *options) for pace, options in (("in haste", ()), ("natural", ("--natural",)))}
    print(
        f"  overhead of the one that recovers in haste: {beyond['in haste'] / beyond['natural']:.2f} of the natural one's"
    )


def measure(scenario: str, *options: str) -> float:
    """One run; seconds beyond its timeline."""
    with tempfile.TemporaryDirectory() as home:
        started, cpu = time.monotonic(), os.times()
        done = subprocess.run(
            [sys.executable, "-m", "labctl", "drill", scenario, *options, "-o", "json"],
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
    beyond_s, recovery_s = wall_s - timeline_s, sum(settled)
    used_s = sum(after[2:4]) - sum(cpu[2:4])
    print(
        f"{scenario} {' '.join(options)}: {wall_s:.2f} s, {beyond_s:.2f} s beyond its timeline of {timeline_s:.2f} s, of which "
        f"the lab took {recovery_s:.2f} s to settle; the command's own CPU {used_s:.2f} s"
    )
    return beyond_s


if __name__ == "__main__":
    main()
