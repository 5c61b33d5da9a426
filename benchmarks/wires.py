"""What wires cost: one command, one run, ratios.

    python benchmarks/wires.py [--rounds 3] [--requests 20000]

The same redis-benchmark, in turns, through a link of a lab over loopback, of a lab with wires, and of a lab with wires whose
packets between clients and server take a detour in both directions (a delay of 0 ms: all of the work, none of the waiting).
"""

import argparse
import csv
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


def labctl(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "labctl", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"labctl {' '.join(words)}\n{done.stderr}")
    return done.stdout


@contextmanager
def lab(name: str, *options: str) -> Iterator[int]:
    """A standalone lab; the port of its server."""
    labctl("up", "standalone", "--name", name, *options)
    try:
        plan = json.loads((Path(os.environ["LABCTL_HOME"]) / "labs" / name / "plan.json").read_bytes())
        yield int(plan["nodes"][0]["port"])
    finally:
        labctl("down", name)


def requests_a_second(port: int, requests: int, pipeline: int) -> tuple[float, float]:
    """Requests a second, and the median latency in ms."""
    command = ["redis-benchmark", "-p", str(port), "-t", "get", "-c", "20", "-P", str(pipeline), "-n", str(requests)]
    done = subprocess.run([*command, "--csv"], capture_output=True, text=True, check=True)
    row = next(csv.DictReader(io.StringIO(done.stdout)))
    return float(row["rps"]), float(row["p50_latency_ms"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=20_000)
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f} before the start")
    with tempfile.TemporaryDirectory() as home:
        os.environ["LABCTL_HOME"] = home
        with lab("loopback") as loopback, lab("wires", "--net", "netns") as wires:
            for pipeline in (1, 16):
                found: dict[str, list[tuple[float, float]]] = {"loopback": [], "wires": [], "detour": []}
                for _ in range(chosen.rounds):
                    found["loopback"].append(requests_a_second(loopback, chosen.requests, pipeline))
                    found["wires"].append(requests_a_second(wires, chosen.requests, pipeline))
                    labctl("chaos", "packet-delay", "clients", "--set", "ms=0", "--forever", "--lab", "wires")
                    found["detour"].append(requests_a_second(wires, chosen.requests, pipeline))
                    labctl("heal", "--lab", "wires")
                usual = found["loopback"]
                print(f"\n-c 20 -P {pipeline}")
                for name, runs in found.items():
                    rate, p50 = (statistics.median(values) for values in zip(*runs, strict=True))
                    ratio = statistics.median(a[0] / b[0] for a, b in zip(runs, usual, strict=True))
                    print(f"  {name:9} {rate:10,.0f} requests/s, median {p50:6.2f} ms, {ratio:.2f} of loopback")


if __name__ == "__main__":
    main()
