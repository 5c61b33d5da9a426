"""Load generation with recording, beside redis-benchmark on the same server, directly and through the same link.

Usage: python benchmarks/load.py [--seconds S] [--rounds N] [--clients C]

`redis-benchmark -P 1 -c C -t set` is the yardstick. Beside it, in turns within the same run: the `register` workload
(writes only) with C clients, its history written to disk, over the lean client and over redis-py; and the lean client
with a recorder that forgets. Every load runs in a process of its own, as redis-benchmark does. Then the recorder by
itself, in a tight loop. Ratios are of medians over the rounds. Processor time is the load generator's own, kernel
included; unlike rates it hardly depends on what else the machine is doing.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from labctl.links import Address, LinkServer, ProxySpec
from labctl.model.endpoints import Endpoint, Endpoints
from labctl.model.history import OpOutcome
from labctl.model.scenario import Workload
from labctl.model.topology import Kind
from labctl.store.history import HistoryWriter, read_history
from labctl.workload.process import Recorder
from labctl.workload.runner import Runner

SPAWN = multiprocessing.get_context("spawn")


class Forgetful:
    """A recorder that only counts, to tell the recorder's cost from the client's."""

    def __init__(self) -> None:
        self.count = 0

    def invoke(self, *_: object) -> int:  # noqa: D102
        self.count += 1
        return self.count

    def complete(self, *_: object, **__: object) -> None:  # noqa: D102
        pass

    def flush(self) -> None:  # noqa: D102
        pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


def serve_link(port: int, upstream: int) -> None:
    """The lab's link server with one open link, on the loop that the agent uses."""

    async def run() -> None:
        async with LinkServer() as links:
            links.add(ProxySpec("clients.to.redis-1", Address("127.0.0.1", port), Address("127.0.0.1", upstream)))
            await asyncio.Event().wait()

    uvloop.run(run())


@contextmanager
def servers() -> Iterator[dict[str, int]]:
    """A server, and a link to it: ports by route."""
    binary = shutil.which("redis-server")
    if binary is None or shutil.which("redis-benchmark") is None:
        raise SystemExit("redis-server and redis-benchmark have to be on PATH: install Debian's redis-server")
    port, link_port = free_port(), free_port()
    command = [binary, "--port", str(port), "--save", "", "--bind", "127.0.0.1"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    link = SPAWN.Process(target=serve_link, args=(link_port, port), daemon=True)
    link.start()
    try:
        wait_for_port(port)
        wait_for_port(link_port)
        yield {"direct": port, "through a link": link_port}
    finally:
        link.terminate()
        link.join()
        server.terminate()
        server.wait()


@dataclass(frozen=True)
class Measured:
    """Operations a second, and the load generator's processor time for one of them in microseconds."""

    rate: float
    cpu_us: float


def cpu_s(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def redis_benchmark(port: int, clients: int, seconds: float) -> Measured:
    """Over as many requests as take about so long."""
    rate, requests, used = 0.0, 20_000, 0.0
    for _ in range(2):
        requests = max(20_000, int(rate * seconds))
        command = ["redis-benchmark", "-p", str(port), "-P", "1", "-c", str(clients), "-t", "set", "--csv", "-n"]
        before = cpu_s(resource.RUSAGE_CHILDREN)
        output = subprocess.run([*command, str(requests)], capture_output=True, text=True, check=True).stdout
        used = cpu_s(resource.RUSAGE_CHILDREN) - before
        rate = float(output.splitlines()[-1].split(",")[1].strip('"'))
    return Measured(rate, used / requests * 1e6)


def load(port: int, driver: str, clients: int, seconds: float, *, record: bool) -> Measured:
    """The workload, in a process of its own."""
    with SPAWN.Pool(1) as pool:
        measured: Measured = pool.apply(_load, (port, driver, clients, seconds, record))
        return measured


def _load(port: int, driver: str, clients: int, seconds: float, record: bool) -> Measured:
    endpoints = Endpoints(Kind.STANDALONE, (Endpoint("redis-1", "127.0.0.1", port),))
    workload = Workload("register", clients=clients, options={"driver": driver, "reads": 0.0})

    async def run(recorder: Recorder, counted: Callable[[], int]) -> Measured:
        async with Runner([workload], {"clients": endpoints}, recorder, seed=1) as runner:
            began, before = time.monotonic(), cpu_s(resource.RUSAGE_SELF)
            await runner.run_for(seconds)
            took, used = time.monotonic() - began, cpu_s(resource.RUSAGE_SELF) - before
        count = counted()
        return Measured(count / took, used / count * 1e6)

    if not record:
        forgetful = Forgetful()
        return uvloop.run(run(forgetful, lambda: forgetful.count))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history"
        with HistoryWriter(path) as writer:

            def acknowledged() -> int:
                writer.flush()
                return int(read_history([path]).ok.sum())

            return uvloop.run(run(writer, acknowledged))


def recorder_cost(count: int = 500_000) -> float:
    """Microseconds of processor time of one invocation and its completion, the loop itself taken off."""
    with tempfile.TemporaryDirectory() as folder, HistoryWriter(Path(folder) / "history") as writer:
        began = time.process_time()
        for value in range(count):
            writer.complete(writer.invoke(value & 63, "write", "w:register0:1", value), OpOutcome.OK, node="redis-1")
        took = time.process_time() - began
    began = time.process_time()
    for value in range(count):
        _ = value & 63
    return (took - (time.process_time() - began)) / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=50)
    given = parser.parse_args()
    clients, seconds = given.clients, given.seconds
    contestants: dict[str, Callable[[int], Measured]] = {
        f"redis-benchmark -P 1 -c {clients}": lambda port: redis_benchmark(port, clients, seconds),
        "labctl, lean client, recorded": lambda port: load(port, "lean", clients, seconds, record=True),
        "labctl, lean client, not recorded": lambda port: load(port, "lean", clients, seconds, record=False),
        "labctl, redis-py, recorded": lambda port: load(port, "redis-py", clients, seconds, record=True),
    }
    with servers() as ports:
        rates: dict[tuple[str, str], list[Measured]] = {(route, name): [] for route in ports for name in contestants}
        for number in range(given.rounds):
            for route, port in ports.items():
                for name, measure in contestants.items():
                    rates[route, name].append(measure(port))
            print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
        yardstick = next(iter(contestants))
        for route in ports:
            base = statistics.median(measured.rate for measured in rates[route, yardstick])
            print(
                f"\n{route}: operations a second (median, lowest to highest), ratio to redis-benchmark, CPU time for one"
            )
            for name in contestants:
                row = sorted(measured.rate for measured in rates[route, name])
                median = statistics.median(row)
                cpu_us = statistics.median(measured.cpu_us for measured in rates[route, name])
                spread = f"({row[0]:,.0f} to {row[-1]:,.0f})"
                print(f"  {name:34}{median:9,.0f}  {spread:20}  {median / base:5.2f}  {cpu_us:6.1f} µs")
    costs = sorted(recorder_cost() for _ in range(5))
    spread = f"median of 5, {costs[0]:.2f} to {costs[-1]:.2f}"
    print(f"\nrecorder by itself: {costs[2]:.2f} µs of processor time an operation ({spread})")


if __name__ == "__main__":
    main()
