"""The link server beside Toxiproxy: one command, one run, ratios.

    python benchmarks/links.py [--rounds 5] [--only traffic,latency,cut,memory]

Traffic goes redis-benchmark → (nothing | link server | toxiproxy-server) → redis-server. The three take turns within
each round, so that what else the machine does hits all of them; a ratio is the median over rounds of the ratio within
a round. CPU is what the proxy's process used per request: the number least disturbed by others.
"""

import argparse
import asyncio
import contextlib
import csv
import io
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import psutil
import uvloop

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from labctl.links import Address, LinkServer, LinkState, ProxySpec  # noqa: E402
from labctl.links.client import ToxiproxyClient  # noqa: E402
from labctl.links.proxy import Proxy  # noqa: E402

INSTALL_TOXIPROXY = "go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0, renamed to toxiproxy-server"
_SERVE = "import sys; from labctl.links.standalone import serve; serve('127.0.0.1', int(sys.argv[1]), 1)"


@dataclass(frozen=True)
class Route:
    """A way to Redis: its name, its port, and for a proxy its process and its API."""

    name: str
    port: int
    process: psutil.Process | None
    api: int = 0

    @property
    def toxics(self) -> ToxiproxyClient:
        """A client of the proxy's API."""
        return ToxiproxyClient(port=self.api, through="http")


@dataclass(frozen=True)
class Sample:
    """One run of redis-benchmark."""

    per_second: float
    p50_ms: float
    cpu_us: float


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing listens on port {port} after 20 s")
        time.sleep(0.02)


@contextlib.contextmanager
def program(*command: str) -> Iterator[psutil.Process]:
    env = os.environ | {"PYTHONPATH": str(ROOT), "LOG_LEVEL": "error"}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def routes() -> Iterator[list[Route]]:
    """Redis, reached directly and through each proxy."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        redis_port = free_port()
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        stack.enter_context(program("redis-server", "--port", str(redis_port), *options))
        wait_for(redis_port)
        made = [Route("direct", redis_port, None)]
        api = free_port()
        servers = [("link server", [sys.executable, "-c", _SERVE, str(api)], api)]
        binary = shutil.which("toxiproxy-server")
        if binary:
            api = free_port()
            servers.append(("toxiproxy", [binary, "-host", "127.0.0.1", "-port", str(api)], api))
        else:
            print(f"toxiproxy-server is not on PATH, its column is missing: {INSTALL_TOXIPROXY}")
        for name, command, api in servers:
            process = stack.enter_context(program(*command))
            wait_for(api)
            listen = ToxiproxyClient(port=api, through="http").create("r", f"127.0.0.1:{redis_port}").listen
            made.append(Route(name, int(listen.rpartition(":")[2]), process, api))
        yield made


def redis_benchmark(route: Route, *options: str) -> Sample:
    """Run redis-benchmark once; CPU is the proxy's, per request."""
    before = route.process.cpu_times() if route.process else None
    command = ["redis-benchmark", "-p", str(route.port), "--csv", *options]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    row = list(csv.DictReader(io.StringIO(answer.stdout)))[-1]
    requests = int(options[options.index("-n") + 1])
    cpu = 0.0
    if route.process and before:
        after = route.process.cpu_times()
        cpu = (after.user + after.system - before.user - before.system) / requests * 1e6
    return Sample(float(row["rps"]), float(row["p50_latency_ms"]), cpu)


def compare(title: str, made: list[Route], rounds: int, *options: str) -> None:
    """Print a workload's table."""
    samples: dict[str, list[Sample]] = {route.name: [] for route in made}
    for number in range(rounds):
        for route in made if number % 2 else reversed(made):
            samples[route.name].append(redis_benchmark(route, *options))
    print(f"\n{title}: redis-benchmark {' '.join(options)}, median of {rounds} rounds")
    print(f"  {'':12} {'requests/s':>12} {'of direct':>10} {'p50 ms':>8} {'added ms':>9} {'CPU µs/request':>15}")
    for route in made:
        runs, direct = samples[route.name], samples["direct"]
        share = statistics.median(a.per_second / b.per_second for a, b in zip(runs, direct, strict=True))
        added = statistics.median(a.p50_ms - b.p50_ms for a, b in zip(runs, direct, strict=True))
        rate, p50, cpu = (
            statistics.median(values) for values in zip(*(vars(run).values() for run in runs), strict=True)
        )
        print(f"  {route.name:12} {rate:12,.0f} {share:10.0%} {p50:8.3f} {added:9.3f} {cpu:15.1f}")
    if "toxiproxy" in samples:
        pairs = list(zip(samples["link server"], samples["toxiproxy"], samples["direct"], strict=True))
        rate = statistics.median(ours.per_second / theirs.per_second for ours, theirs, _ in pairs)
        cpu = statistics.median(ours.cpu_us / theirs.cpu_us for ours, theirs, _ in pairs)
        added = statistics.median(
            (ours.p50_ms - direct.p50_ms) / max(theirs.p50_ms - direct.p50_ms, 1e-3) for ours, theirs, direct in pairs
        )
        print(f"  link server / toxiproxy: requests {rate:.2f}, added median latency {added:.2f}, CPU {cpu:.2f}")


def traffic(rounds: int) -> None:
    with routes() as made:
        compare("Small requests", made, rounds, "-c", "20", "-P", "1", "-t", "get", "-n", "40000")
        compare("Pipelines of 16", made, rounds, "-c", "20", "-P", "16", "-t", "get", "-n", "400000")
        compare("1 MB requests", made, rounds, "-c", "20", "-d", "1000000", "-t", "set", "-n", "600")
        compare("1 MB replies", made, rounds, "-c", "20", "-d", "1000000", "-t", "get", "-n", "600")


def latency(rounds: int) -> None:
    """100 ms of latency must cost no more than the pipelines in flight allow: clients × pipeline / round trip."""
    bound = 200 * 16 / 0.1
    print(f"\n100 ms latency toxic, -c 200 -P 16: at most {bound:,.0f} requests/s fit into the round trip")
    with routes() as made:
        proxies = made[1:]
        for route in proxies:
            route.toxics.add_toxic("r", "latency", latency=100)
        rates: dict[str, list[float]] = {route.name: [] for route in proxies}
        for number in range(rounds):
            for route in proxies if number % 2 else reversed(proxies):
                options = ("-c", "200", "-P", "16", "-t", "get", "-n", "160000")
                rates[route.name].append(redis_benchmark(route, *options).per_second)
        for name, runs in rates.items():
            rate = statistics.median(runs)
            print(f"  {name:12} {rate:10,.0f} requests/s, {rate / bound:.0%} of the bound")


def cut() -> None:
    """A hundred nodes with a client port and a bus port each: 200 listeners, 20,000 directed links."""
    uvloop.run(_cut())


async def _cut() -> None:
    upstream = await asyncio.start_server(lambda _, __: None, "127.0.0.1", 0)
    to = Address("127.0.0.1", upstream.sockets[0].getsockname()[1])
    async with LinkServer() as server:
        began = time.perf_counter()
        specs = []
        for node in range(100):
            for port in ("client", "bus"):
                listen = server.add(ProxySpec(f"any.to.{node}.{port}", Address("127.0.0.1", 0), to)).listen
                specs += [
                    ProxySpec(f"{other}.to.{node}.{port}", listen, to, source=f"127.1.0.{other + 1}")
                    for other in range(100)
                    if other != node
                ]
        server.add_many(specs)
        print(f"\nPartition of 100 nodes: {len(server):,} links added in {(time.perf_counter() - began) * 1000:.0f} ms")
        clients = []
        for spec in specs[:: len(specs) // 2000]:
            sock = socket.socket()
            sock.bind((spec.source or "", 0))
            sock.connect((spec.listen.host, spec.listen.port))
            clients.append(sock)
            await asyncio.sleep(0)
        while sum(server.stats(spec.name).connections for spec in specs) < len(clients):  # noqa: ASYNC110 - counters
            await asyncio.sleep(0.01)
        halves = [s.name for s in specs if (int(s.name.split(".")[0]) < 50) != (int(s.name.split(".")[2]) < 50)]
        every = [spec.name for spec in specs]
        print(f"  with {len(clients):,} live connections; until the last link is cut or open, median; then all of it")
        for name, links in (("halves", halves), ("all links", every)):
            for state in (LinkState.BLACKHOLE, LinkState.REFUSED):
                print(f"  {name:10} {len(links):6,} links {state:10}", end="")
                times: dict[str, list[tuple[float, float, float]]] = {"cut": [], "heal": []}
                # Refusing resets the live connections, so that only the first time tells something.
                for _ in range(21 if state is LinkState.BLACKHOLE else 1):
                    for verb, target in (("cut", state), ("heal", LinkState.OPEN)):
                        times[verb].append(_change(server, links, target))
                        await asyncio.sleep(0.01)
                for verb, values in times.items():
                    last_ms, cpu_ms, all_ms = (statistics.median(value) * 1000 for value in zip(*values, strict=True))
                    print(f"  {verb} {last_ms:5.1f} ms (CPU {cpu_ms:4.1f} ms), all {all_ms:5.1f} ms", end="")
                print()
        for sock in clients:
            sock.close()
        upstream.close()


def _change(server: LinkServer, links: list[str], state: LinkState) -> tuple[float, float, float]:
    """Seconds until the last link has changed, of the processor until then, and until connections have been told too.

    All links have changed when the connections of the first one are told.
    """
    settle = Proxy.settle
    changed: list[tuple[float, float]] = []

    def told(proxy: Proxy) -> None:
        if not changed:
            changed.append((time.perf_counter(), time.process_time()))
        settle(proxy)

    with mock.patch.object(Proxy, "settle", told):
        wall, cpu = time.perf_counter(), time.process_time()
        server.set_state(links, state)
        ended = time.perf_counter()
    last, last_cpu = changed[0]
    return last - wall, last_cpu - cpu, ended - wall


def memory() -> None:
    """Resident memory of the link server with many open connections, each used once."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(10_000, (hard - 200) // 2)
    if count < 10_000:
        print(f"\nMemory: scaled down to {count:,} connections, for the hard limit on open files is {hard:,}")
    echo = (
        "import socket,sys,selectors\n"
        "s=socket.create_server(('127.0.0.1',0),backlog=4096);print(s.getsockname()[1],flush=True)\n"
        "sel=selectors.DefaultSelector();sel.register(s,1)\n"
        "while True:\n"
        "  for k,_ in sel.select():\n"
        "    if k.fileobj is s: c,_a=s.accept();sel.register(c,1)\n"
        "    else:\n"
        "      try: d=k.fileobj.recv(65536)\n"
        "      except OSError: d=b''\n"
        "      if d: k.fileobj.send(d)\n"
        "      else: sel.unregister(k.fileobj);k.fileobj.close()\n"
    )
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(
            subprocess.Popen([sys.executable, "-c", echo], stdout=subprocess.PIPE, text=True)
        )
        stack.callback(upstream.terminate)
        assert upstream.stdout is not None
        to = f"127.0.0.1:{int(upstream.stdout.readline())}"
        print(f"\nMemory with {count:,} open connections")
        names = ["link server"] + (["toxiproxy"] if shutil.which("toxiproxy-server") else [])
        for name in names:
            api = free_port()
            command = (
                [sys.executable, "-c", _SERVE, str(api)]
                if name == "link server"
                else ["toxiproxy-server", "-host", "127.0.0.1", "-port", str(api)]
            )
            with program(*command) as process:
                wait_for(api)
                listen = ToxiproxyClient(port=api, through="http").create("r", to).listen
                empty = process.memory_info().rss
                clients = []
                for _ in range(count):
                    sock = socket.create_connection(("127.0.0.1", int(listen.rpartition(":")[2])), 30)
                    sock.sendall(b"ping")
                    assert sock.recv(4) == b"ping"
                    clients.append(sock)
                full = process.memory_info().rss
                for sock in clients:
                    sock.close()
                per = (full - empty) / count
                print(f"  {name:12} {empty / 1e6:6.0f} MB empty, {full / 1e6:6.0f} MB full, {per / 1e3:.1f} kB each")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="traffic,latency,cut,memory")
    chosen = parser.parse_args()
    parts = {
        "traffic": lambda: traffic(chosen.rounds),
        "latency": lambda: latency(chosen.rounds),
        "cut": cut,
        "memory": memory,
    }
    print(f"{os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f} before the start. Beyond the number of CPUs,")
    print("rates say who got the CPU (a Go program has several threads); CPU per request still compares.")
    for part in chosen.only.split(","):
        parts[part]()


if __name__ == "__main__":
    main()
