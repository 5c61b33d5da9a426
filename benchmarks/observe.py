"""What observing a lab costs: the time of a scrape of twelve nodes, its round trips, and a node's throughput with and without.

    python benchmarks/observe.py [SECONDS]

One Cluster of six shards with a replica each, as local processes. Scrape: wall time at the client, and the agent's own;
the same samples rendered by prometheus-client beside it. Round trips and processor time: by the node's own counts.
Throughput: redis-benchmark straight to one node, rounds with and without a scrape each second in
turn, so that a busy machine slows both down.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import psutil
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

LABCTL = [sys.executable, "-m", "labctl"]
TOPOLOGY = "kind: cluster\nprimaries: 6\nreplicas: 1\n"
SCRAPES = 40
ROUNDS = 8
WINDOW = 10
PIPELINE = 16


def fetch(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


def field(text: str, name: str) -> int:
    found = re.search(rf"^{name}:(\d+)", text, re.MULTILINE)
    assert found is not None, name
    return int(found[1])


def info(host: str, port: int, section: str) -> str:
    command = ["redis-cli", "-h", host, "-p", str(port), "INFO", section]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def throughput(host: str, port: int, seconds: float) -> float:
    """SETs and GETs a second. Keys of one slot, straight to the node that has it."""
    requests = int(60_000 * seconds)
    command = [
        *("redis-benchmark", "-h", host, "-p", str(port), "-c", "20", "-P", str(PIPELINE), "-n", str(requests)),
        *("--csv", "-t", "ping_mbulk"),
    ]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(said.splitlines()[-1].split(",")[1].strip('"'))


class Scraping:
    """A scrape each second while the context lasts, as Prometheus does it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            fetch(self._url)


def scrape_times(url: str, agent: psutil.Process) -> None:
    took, own = [], []
    before = agent.cpu_times()
    for _ in range(SCRAPES):
        started = time.perf_counter()
        text = fetch(url)
        took.append((time.perf_counter() - started) * 1000)
        own.append(float(re.search(r"^labctl_scrape_seconds\S* (\S+)", text, re.MULTILINE)[1]) * 1000)
        time.sleep(0.1)
    after = agent.cpu_times()
    cpu = (after.user + after.system - before.user - before.system) / SCRAPES * 1000
    families = list(text_string_to_metric_families(text))
    rendered = []
    for _ in range(10):
        started = time.perf_counter()
        generate_latest(_Collector(families))
        rendered.append((time.perf_counter() - started) * 1000)
    samples = sum(len(family.samples) for family in families)
    print(f"scrape of 12 nodes, {samples} samples, {len(text) / 1024:.0f} KiB; wanted under 50 ms")
    print(
        f"  whole, at the client   median {statistics.median(took):6.1f} ms   min {min(took):6.1f}   max {max(took):6.1f}"
    )
    print(
        f"  asking and rendering   median {statistics.median(own):6.1f} ms   min {min(own):6.1f}   max {max(own):6.1f}"
    )
    print(f"  processor time of the agent: {cpu:.1f} ms a scrape, which no other process can lengthen")
    print(f"  prometheus-client rendering the same samples alone: median {statistics.median(rendered):.1f} ms")


class _Collector:
    def __init__(self, families: list[object]) -> None:
        self._families = families

    def collect(self) -> list[object]:
        return self._families


def round_trips(url: str, nodes: list[dict]) -> None:
    """Reads and processor time by the node's own count, ten seconds with a scrape each second less ten without.

    `total_reads_processed` counts each time that a server read from a client's socket: one a pipelined request.
    """
    for node in (nodes[0], nodes[-1]):
        counts = []
        for scraped in (False, True):
            before = _counters(node)
            for _ in range(WINDOW):
                if scraped:
                    fetch(url)
                time.sleep(1)
            counts.append([now - then for now, then in zip(_counters(node), before, strict=True)])
        reads, seconds = ((busy - idle) / WINDOW for idle, busy in zip(*counts, strict=True))
        print(
            f"{node['name']}: {reads:.1f} round trips a scrape (wanted: 2 at the most), "
            f"{seconds * 1e6:,.0f} µs of its main thread: {seconds:.2%} of it at one a second (wanted: under 1%)"
        )


def _counters(node: dict) -> tuple[float, float]:
    """Reads from sockets, and seconds of the main thread."""
    text = info(node["host"], node["port"], "all")
    thread = [
        float(re.search(rf"^used_cpu_{kind}_main_thread:(\S+)", text, re.MULTILINE)[1]) for kind in ("sys", "user")
    ]
    return field(text, "total_reads_processed"), sum(thread)


def cost(url: str, node: dict, seconds: float) -> None:
    ratios, plain, observed = [], [], []
    for index in range(ROUNDS):
        pair = {}
        for scraped in (False, True) if index % 2 == 0 else (True, False):
            if scraped:
                with Scraping(url):
                    pair[True] = throughput(node["host"], node["port"], seconds)
            else:
                pair[False] = throughput(node["host"], node["port"], seconds)
        plain.append(pair[False])
        observed.append(pair[True])
        ratios.append(pair[True] / pair[False])
    noise = statistics.pstdev(plain) / statistics.mean(plain)
    print(f"throughput of a node, {ROUNDS} pairs of rounds of about {seconds:g} s, PING pipelined by {PIPELINE}")
    print(
        f"  not observed {statistics.median(plain):>12,.0f}/s   observed each second {statistics.median(observed):>12,.0f}/s"
    )
    print(f"  ratio: median {statistics.median(ratios):.4f}   (rounds alike differ by {noise:.1%}; wanted: over 0.99)")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    if not (shutil.which("redis-benchmark") and shutil.which("redis-cli")):
        print("observe: redis-benchmark and redis-cli are not on PATH (apt-get install redis-tools); nothing measured")
        return
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "LABCTL_HOME": home}
        topology = Path(home) / "twelve.yaml"
        topology.write_text(TOPOLOGY)

        def labctl(*args: str) -> str:
            return subprocess.run([*LABCTL, *args], env=environment, check=True, capture_output=True, text=True).stdout

        labctl("up", str(topology))
        try:
            nodes = json.loads((Path(home) / "labs" / "twelve" / "plan.json").read_text())["nodes"]
            status = json.loads(labctl("status", "-o", "json"))
            url = status["metrics"]
            fetch(url)
            scrape_times(url, psutil.Process(status["agent_pid"]))
            round_trips(url, nodes)
            cost(url, nodes[0], seconds)
        finally:
            labctl("down", "--all")


if __name__ == "__main__":
    main()
