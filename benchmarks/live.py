"""What the live view costs: `python -m benchmarks.live`, from the top of a checkout.

For a Sentinel lab of six nodes, idle and under load: the processor time of the lab's agent with nobody looking and with
viewers, in turns in this one run, and that of the viewer itself once it shows something. Shares are of one core. The
terminal's viewer runs on a pseudo-terminal of 80 × 24 and of 200 × 60; the web view's cost is that of its feed, for the page
is drawn by the browser. Last, how much later the agent of a lab of a hundred Cluster nodes looks, which bounds its share.
"""

from __future__ import annotations

import argparse
import fcntl
import http.client
import json
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from statistics import median

import psutil

from labctl.agent.client import AgentClient

LIMIT = 5.0
"""Percent of a core that the live view may take."""
RATE = 300
"""Operations a second of the load."""
MANY = "kind: cluster\nprimaries: 50\nreplicas: 1\ncluster: {node-timeout: 15s}\n"


def labctl(home: Path, *args: str) -> str:
    command = [sys.executable, "-m", "labctl", *args]
    return subprocess.run(command, env=environment(home), check=True, capture_output=True, text=True).stdout


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "LABCTL_HOME": str(home), "TERM": "xterm-256color"}


def share(processes: list[psutil.Process], seconds: float) -> float:
    """Percent of a core that these processes take together, measured for so long."""
    began, before = time.monotonic(), sum(sum(process.cpu_times()[:2]) for process in processes)
    time.sleep(seconds)
    spent = sum(sum(process.cpu_times()[:2]) for process in processes) - before
    return 100 * spent / (time.monotonic() - began)


@contextmanager
def terminal(home: Path, columns: int, lines: int) -> Iterator[psutil.Process]:
    """A viewer that shows the lab."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    command = [sys.executable, "-m", "labctl", "status", "--watch"]
    viewer = subprocess.Popen(
        command, env=environment(home), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    up = threading.Event()

    def read() -> None:
        said = b""
        with suppress(OSError):
            while data := os.read(ours, 65536):
                said = (said + data)[-65536:]
                if b"sentinel-3" in said:
                    up.set()

    threading.Thread(target=read, daemon=True).start()
    try:
        assert up.wait(30), "nothing was shown"
        time.sleep(1.0)
        yield psutil.Process(viewer.pid)
    finally:
        os.write(ours, b"q")
        viewer.wait(10)
        os.close(ours)


@contextmanager
def reader(home: Path) -> Iterator[None]:
    """Somebody who reads the web view's feed as fast as it comes."""
    place = json.loads(labctl(home, "observe", "web", "-o", "json"))
    connection = http.client.HTTPConnection(place["url"].split("/")[2])
    connection.request("GET", "/live")
    answer = connection.getresponse()

    def read() -> None:
        with suppress(OSError, ValueError, AttributeError):
            while answer.readline():
                pass

    threading.Thread(target=read, daemon=True).start()
    yield
    with closing(connection):
        assert connection.sock is None or connection.sock.shutdown(2) is None


@contextmanager
def load(home: Path) -> Iterator[None]:
    """Operations at a fixed rate, so that the agent has the same work whoever looks."""
    command = [sys.executable, "-m", "labctl", "load", "register", "--for", "3600s", "--rate", str(RATE)]
    process = subprocess.Popen(command, env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(2)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def compare(home: Path, agent: psutil.Process, rounds: int, seconds: float) -> list[str]:
    """Lines: what each way to look costs the agent, and the viewer."""
    nobody: list[float] = []
    looking: dict[str, list[tuple[float, float]]] = {"80 × 24": [], "200 × 60": [], "web feed": []}
    for _ in range(rounds):
        nobody.append(share([agent], seconds))
        for columns, lines in ((80, 24), (200, 60)):
            with terminal(home, columns, lines) as viewer:
                looking[f"{columns} × {lines}"].append(both(agent, viewer, seconds))
        with reader(home):
            looking["web feed"].append((share([agent], seconds), 0.0))
    base = median(nobody)
    text = [f"    nobody looks     agent {base:5.2f} %                     wanted: under {LIMIT:g} % of a core"]
    for name, found in looking.items():
        agents, viewers = median(a for a, _ in found), median(v for _, v in found)
        whole = max(0.0, agents - base) + viewers
        own = f"viewer {viewers:5.2f} %" if viewers else " " * 14
        verdict = "ok" if whole < LIMIT else "TOO MUCH"
        text.append(f"    {name:12}     agent {agents:5.2f} %   {own}   costs {whole:5.2f} % of a core: {verdict}")
    return text


def both(agent: psutil.Process, viewer: psutil.Process, seconds: float) -> tuple[float, float]:
    """Shares of the agent and of the viewer over the same time."""
    shares = [0.0, 0.0]

    def note(place: int, process: psutil.Process) -> None:
        shares[place] = share([process], seconds)

    threads = [threading.Thread(target=note, args=(place, p)) for place, p in enumerate((agent, viewer))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return shares[0], shares[1]


def agent_of(home: Path, lab: str) -> psutil.Process:
    status = AgentClient(home / "labs" / lab / "agent.sock").call("GET", "/status")
    return psutil.Process(status["agent_pid"])


def large(home: Path, seconds: float) -> list[str]:
    """A hundred Cluster nodes: the pace of frames, and what they cost."""
    file = home.with_name("many.yaml")
    file.write_text(MANY)
    labctl(home, "up", str(file), "--name", "many")
    client = AgentClient(home / "labs" / "many" / "agent.sock")
    agent = agent_of(home, "many")
    base = share([agent], seconds)
    stream = client.live()
    paces: list[float] = []

    def read() -> None:
        paces.extend(message["frame"]["pace_s"] for message in stream if "frame" in message)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    time.sleep(4)
    looking = share([agent], seconds)
    stream.close()
    thread.join()
    labctl(home, "down", "many")
    return [f"    a frame each {median(paces):.2f} s; agent {base:.2f} % → {looking:.2f} % of a core"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each share is measured")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--large", action="store_true", help="a hundred Cluster nodes too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        labctl(home, "up", "sentinel")
        try:
            agent = agent_of(home, "sentinel")
            print("A Sentinel lab of six nodes, idle")
            print("\n".join(compare(home, agent, asked.rounds, asked.seconds)), flush=True)
            print(f"The same with {RATE} operations a second")
            with load(home):
                print("\n".join(compare(home, agent, asked.rounds, asked.seconds)), flush=True)
            labctl(home, "down")
            if asked.large:
                print("A hundred Cluster nodes, idle")
                print("\n".join(large(home, asked.seconds)))
        finally:
            labctl(home, "down", "--all")


if __name__ == "__main__":
    main()
