"""What listening to a link costs: `python benchmarks/tap.py`.

For each sort of traffic that a lab's links carry, the time that an ear takes for a chunk of it, beside the time that two
system calls on a socket pair take to move the same chunk, which is the least that forwarding it costs. The first line is
the cost for everybody who listens to nothing. CPU time of this process, the best of five; nothing here is a test.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from labctl.links.tap import Ear, Recorder  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNKS = 20_000


def command(*words: str) -> bytes:
    return f"*{len(words)}\r\n{''.join(f'${len(w)}{chr(13)}{chr(10)}{w}{chr(13)}{chr(10)}' for w in words)}".encode()


def ping(entries: int = 3) -> bytes:
    data = bytearray(2256 + 104 * entries)
    struct.pack_into(">4sIHHHH", data, 0, b"RCmb", len(data), 1, 7001, 0, entries)
    return bytes(data)


def microseconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(CHUNKS):
            work()
        best = min(best, time.process_time() - began)
    return best / CHUNKS * 1e6


def main() -> None:
    one, other = socket.socketpair()
    buffer = memoryview(bytearray(256 * 1024))
    hello = command("PUBLISH", "__sentinel__:hello", f"127.0.0.1,5000,{'a' * 40},3,mymaster,127.0.0.1,7001,3")
    stream = command("SET", "key", "v" * 100) * 20
    traffic = {
        "Sentinel's PING": (command("PING"), "s.to.r", False, False),
        "Sentinel's hello, as before": (hello, "s.to.r", False, False),
        "a replica's REPLCONF ACK": (command("REPLCONF", "ACK", "123456789"), "r.to.p", False, False),
        "bus PING with three gossips, as before": (ping(), "a.bus.b", False, True),
        "replicated commands, 2.7 kB": (stream, "r.to.p", True, False),
    }
    nobody = None
    print(f"{'a chunk that nobody listens to':<40} {microseconds(lambda: nobody is not None):8.2f} µs")
    for name, (chunk, link, answer, bus) in traffic.items():
        recorder = Recorder()
        ear = Ear(recorder, link, recorder.reader(link, answer=answer, bus=bus))
        view = memoryview(chunk)

        def forward(chunk: bytes = chunk) -> None:
            one.send(chunk)
            other.recv_into(buffer)

        mine, bare = microseconds(lambda ear=ear, view=view: ear.hear(view)), microseconds(forward)
        print(f"{name:<40} {mine:8.2f} µs   forwarding it {bare:8.2f} µs   ratio {mine / bare:5.2f}")


if __name__ == "__main__":
    main()
