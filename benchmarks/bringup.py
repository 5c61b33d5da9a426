"""How fast a lab comes up: `python -m benchmarks.bringup`, from the top of a checkout.

Seconds from the first fork of a server to the first view of strict agreement (`observe.conditions.healthy`), always
through the links, against the same servers formed naturally and, for a Cluster, by `redis-cli --cluster create`. Then a
curve over the number of Cluster nodes. Everything is measured in this one run, so that the ratios mean something on a
machine that is busy otherwise; runs of the compared ways alternate.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from shutil import which
from statistics import median

import uvloop

from labctl.declare import library
from labctl.model.conditions import healthy
from labctl.model.engine import Engine
from labctl.model.plan import ANNOUNCED_HOST, Formation
from labctl.model.topology import ClusterOptions, Topology
from tests.support.lab import Lab, engines, started

KINDS = ("replica", "sentinel", "cluster")
CURVE = (6, 12, 24, 50, 100)
CURVE_NODE_TIMEOUT_MS = 15_000
"""Redis's default. A hundred nodes on two cores gossip too much for the 2 s of the `cluster` topology."""


async def seconds_until_healthy(
    topology: Topology, engine: Engine, formation: Formation, bring_up: Callable[[Lab], Awaitable[object]]
) -> float:
    """Start the servers, bring them up, tear them down."""
    with tempfile.TemporaryDirectory() as folder:
        async with started(Path(folder), topology, engine, formation) as lab:
            await bring_up(lab)
            return time.monotonic() - lab.first_fork


async def labctl(lab: Lab) -> None:
    await lab.form()


async def redis_cli(lab: Lab) -> None:
    """What an operator types, on servers that answer."""
    await lab.until(lambda view: [node.name for node in view.nodes if not node.up])
    nodes = [f"{ANNOUNCED_HOST}:{node.port}" for node in lab.plan.nodes]
    create = ("--cluster", "create", *nodes, "--cluster-replicas", str(lab.plan.topology.replicas), "--cluster-yes")
    process = await asyncio.create_subprocess_exec("redis-cli", *create, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0
    await lab.until(lambda view: healthy(lab.plan, view), 120)


async def compare(name: str, engine: Engine, runs: int, natural_runs: int) -> str:
    """One line: seeded against the ordinary ways."""
    topology = library.topology(name)
    seeded: list[float] = []
    natural: list[float] = []
    cli: list[float] = []
    for run in range(max(runs, natural_runs)):
        if run < runs:
            seeded.append(await seconds_until_healthy(topology, engine, Formation.SEEDED, labctl))
        if run < natural_runs:
            natural.append(await seconds_until_healthy(topology, engine, Formation.NATURAL, labctl))
            if name == "cluster" and which("redis-cli"):
                cli.append(await seconds_until_healthy(topology, engine, Formation.NATURAL, redis_cli))
    fast = median(seeded)
    line = f"{engine.name:14} {name:9} seeded {fast:6.3f} s ({min(seeded):.3f} to {max(seeded):.3f})"
    line += f"   natural {median(natural):6.2f} s = {median(natural) / fast:5.1f} ×"
    return line + (f"   redis-cli {median(cli):6.2f} s = {median(cli) / fast:5.1f} ×" if cli else "")


async def curve(engine: Engine, counts: list[int]) -> None:
    """Seeded Clusters of growing size, half of the nodes replicas."""
    for count in counts:
        topology = replace(
            library.topology("cluster"),
            primaries=count // 2,
            replicas=1,
            cluster=ClusterOptions(node_timeout_ms=CURVE_NODE_TIMEOUT_MS),
        )
        took = await seconds_until_healthy(topology, engine, Formation.SEEDED, labctl)
        links = count * (count - 1)
        print(
            f"{engine.name:14} {count:4} nodes {took:6.2f} s   {1000 * took / count:5.1f} ms a node"
            f"   {1_000_000 * took / links:6.0f} µs for each of {links} bus connections",
            flush=True,
        )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", action="append", help="such as redis-7; every engine of this machine if left out")
    parser.add_argument("--kind", action="append", choices=KINDS, help="all three if left out")
    parser.add_argument("--runs", type=int, default=9, help="seeded runs of each; the median counts")
    parser.add_argument("--natural-runs", type=int, default=2, help="runs of each of the slow ways")
    parser.add_argument("--nodes", type=int, nargs="*", default=list(CURVE), help="sizes of the curve")
    options = parser.parse_args()
    chosen = [engines()[label] for label in options.engine or engines()]
    for engine in chosen:
        for name in options.kind or KINDS:
            print(await compare(name, engine, options.runs, options.natural_runs), flush=True)
    for engine in chosen:
        await curve(engine, options.nodes)


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(main())
