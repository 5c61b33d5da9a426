"""The Docker runtime beside the compose tool, and how fast a partition is cut.

    python benchmarks/docker_runtime.py [RUNS]

Three medians of RUNS (3 when left out) each, on the same images, in turns:

- `labctl up sentinel --runtime docker` until the lab is *observed* healthy (every Sentinel sees every peer and replica)
  against `docker compose up -d --wait` of the same lab as `labctl export compose` writes it, whose services count as
  healthy as soon as each answers a ping;
- what ends each: `labctl down` against `docker compose down -v`;
- from the order to partition twelve pods in two halves (a Cluster of 6+6: 72 links, 144 proxies) to the last link cut.
"""

from __future__ import annotations

import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop
from filelock import FileLock

sys.path.insert(0, str(Path(__file__).parents[1]))

from labctl.agent.request import Request
from labctl.agent.sites import open_site
from labctl.model.fault import LinkState
from labctl.model.plan import RuntimeName
from labctl.model.topology import Kind, Topology
from labctl.plan.links import between
from labctl.store.folders import LabFolder, allocation_lock

LABCTL = [sys.executable, "-m", "labctl"]


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["LABCTL_HOME"] = f"{scratch}/home"
        side_by_side(Path(scratch), runs)
        uvloop.run(partition(Path(scratch), runs))


def side_by_side(scratch: Path, runs: int) -> None:
    compose = compose_command()
    times: dict[str, list[float]] = {"labctl up": [], "labctl down": [], "compose up": [], "compose down": []}
    for number in range(runs):
        project, seconds = exported_up(scratch / f"compose-{number}", compose)
        times["compose up"].append(seconds)
        times["compose down"].append(timed(lambda project=project: run([*project, "down", "-v"])))  # type: ignore[misc]
        times["labctl up"].append(timed(lambda: run([*LABCTL, "up", "sentinel", "--runtime", "docker"])))
        times["labctl down"].append(timed(lambda: run([*LABCTL, "down"])))
    median = {what: statistics.median(each) for what, each in times.items()}
    print(f"{' '.join(compose)}{' --wait' if waiting(compose) else ', then polling its health'}; medians of {runs}")
    for verb in ("up", "down"):
        ours, theirs = median[f"labctl {verb}"], median[f"compose {verb}"]
        print(f"sentinel {verb:5} labctl {ours:6.2f} s   compose {theirs:6.2f} s   ratio {ours / theirs:.2f}")


def exported_up(folder: Path, compose: list[str]) -> tuple[list[str], float]:
    """Export and bring up; again with other ports where a stranger takes one meanwhile. The project, and seconds."""
    for attempt in range(5):
        own = folder / str(attempt)
        name = f"labctl-bench-{os.getpid()}-{folder.name}-{attempt}"
        project = [*compose, "-f", str(own / "compose.yaml"), "-p", name]
        with FileLock(allocation_lock()):  # labs of labctl keep away
            run([*LABCTL, "export", "compose", "sentinel", "--out", str(own)])
            began = time.perf_counter()
            done = subprocess.run(
                [*project, "up", "-d", *waiting(compose)], capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                if not waiting(compose):
                    until_healthy(project)
                return project, time.perf_counter() - began
        run([*project, "down", "-v"])
    sys.exit(done.stderr)


def waiting(compose: list[str]) -> list[str]:
    """The old compose tool cannot wait by itself."""
    return ["--wait"] if compose[0] == "docker" else []


async def partition(scratch: Path, runs: int) -> None:
    topology = Topology("cluster", Kind.CLUSTER, primaries=6, replicas=1)
    request = Request("cluster", secrets.token_hex(16), topology, "", "", runtime=RuntimeName.DOCKER)
    folder = LabFolder(scratch / "lab")
    folder.path.mkdir()
    site = await open_site(request, folder, lambda _: None)
    try:
        names = [node.name for node in site.plan.nodes]
        links = between(site.plan, names[:6], names[6:])
        cut, healed = [], []
        for _ in range(max(runs, 10)):
            for state, times in ((LinkState.BLACKHOLE, cut), (LinkState.OPEN, healed)):
                began = time.perf_counter()
                await site.links.set_states(dict.fromkeys(links, state))
                times.append((time.perf_counter() - began) * 1000)
    finally:
        await site.runtime.destroy()
    for what, times in (("partition", cut), ("heal", healed)):
        print(
            f"{what:9} 12 pods, {len(links)} links   median {statistics.median(times):5.1f} ms   "
            f"slowest {max(times):5.1f} ms   ratio to the 100 ms allowed {statistics.median(times) / 100:.2f}"
        )


def compose_command() -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(command[0])
            and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0
        ):
            return command
    sys.exit("There is no compose tool: install Debian package docker-compose.")


def until_healthy(project: list[str]) -> None:
    """What `--wait` does, for a compose tool that does not have it."""
    while True:
        said = subprocess.run([*project, "ps"], capture_output=True, text=True, check=True).stdout
        if "starting" not in said and "(healthy)" in said:
            return
        time.sleep(0.2)


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")


if __name__ == "__main__":
    main()
