"""Speed of the checkers and of the recorder, each beside a baseline in the same run: `python benchmarks/check.py`.

Prints CPU seconds of this process (it runs in one thread, and the machine may be busy with other things), the ratio to
the baseline, and peak memory where it is promised. Nothing here is a test: the numbers are those of this machine in
this minute, which is why every line has its baseline next to it.
"""

from __future__ import annotations

import gc
import itertools
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from labctl.check import linearizability, register  # noqa: E402
from labctl.model.history import History, OpOutcome  # noqa: E402
from labctl.store.history import HistoryWriter, read_history  # noqa: E402
from tests.support.objects import CasRegister, record  # noqa: E402
from tests.support.registers import linearizable_registers  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

OPERATIONS, CLIENTS = 1_000_000, 64
SEARCHED, SEARCH_CLIENTS = 5_000, 10
RECORDED = 500_000


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """CPU seconds of the quickest of a few runs, with the garbage of the ones before collected."""
    best = float("inf")
    for _ in range(times):
        gc.collect()
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return best


def line(what: str, mine: str, baseline: str, ratio: float) -> None:
    print(f"{what:<58} {mine:>16}   baseline {baseline:>16}   ratio {ratio:6.2f}")


def prototype(history: History) -> bool:
    """The same algorithm over one key in plain Python, on lists: zones, sorted, compared one by one."""
    write_begin: dict[int, int] = {}
    first_end: dict[int, int] = {}
    last_begin: dict[int, int] = {}
    columns = (history.function, history.value, history.invoke_ns, history.complete_ns)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    for function, value, begin, end in rows:
        if function == 1:
            write_begin[value] = begin
        if end < first_end.get(value, end + 1):
            first_end[value] = end
        if begin > last_begin.get(value, begin - 1):
            last_begin[value] = begin
    forward, backward = [], []
    for value, f in first_end.items():
        s = last_begin[value]
        if value in write_begin:
            (forward if f < s else backward).append((f, s))
        else:
            forward.append((-1, s))
    forward.sort()
    for (_, s), (f, _) in itertools.pairwise(forward):
        if f < s:
            return False
    backward.sort(key=lambda zone: zone[1])
    at = 0
    for f, s in backward:
        while at + 1 < len(forward) and forward[at + 1][0] < s:
            at += 1
        if forward and forward[at][0] < s and f < forward[at][1]:
            return False
    return True


def register_million() -> None:
    history = linearizable_registers(OPERATIONS, CLIENTS, 1, seed=1)
    plain = seconds(lambda: prototype(history), 1)
    mine = seconds(lambda: register.check(history))
    line(
        "register: 1,000,000 operations, 64 clients, one key",
        f"{mine:.3f} s",
        f"{plain:.3f} s plain Python",
        mine / plain,
    )
    broken = linearizable_registers(OPERATIONS, CLIENTS, 1, seed=2)
    reads = broken.where("read").nonzero()[0]
    broken.value[reads[len(reads) // 2 :]] = broken.value[reads[len(reads) // 4]]  # half of the reads are stale
    stale = seconds(lambda: register.check(broken))
    line(
        "register: the same, half of the reads stale, with severity",
        f"{stale:.3f} s",
        f"{mine:.3f} s valid",
        stale / mine,
    )
    many = linearizable_registers(OPERATIONS, CLIENTS, 100_000, seed=3, unknown_share=0.01)
    spread = seconds(lambda: register.check(many))
    line(
        "register: 1,000,000 operations over 100,000 keys, 1 % unknown",
        f"{spread:.3f} s",
        f"{mine:.3f} s one key",
        spread / mine,
    )


def register_memory() -> None:
    """Peak memory of a process that only makes the history and checks it, against one that only makes it."""
    code = (
        "import resource, sys; sys.path.insert(0, {root!r});"
        "from tests.support.registers import linearizable_registers;"
        "from labctl.check import register;"
        "h = linearizable_registers({n}, {c}, 1, 1); {work};"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    peaks = [
        int(subprocess.run(
            [sys.executable, "-c", code.format(root=str(ROOT), n=OPERATIONS, c=CLIENTS, work=work)],
            capture_output=True, text=True, check=True,
        ).stdout)
        for work in ("register.check(h)", "pass")
    ]  # fmt: skip
    line(
        "register: peak memory of the whole process",
        f"{peaks[0]} MB",
        f"{peaks[1]} MB history only",
        peaks[0] / peaks[1],
    )


def searched() -> None:
    for unknown in (0.0, 0.01):
        thing = CasRegister()
        history = record(
            random.Random(1),
            thing.apply,
            thing.draw,
            operations=SEARCHED,
            clients=SEARCH_CLIENTS,
            unknown_share=unknown,
        )
        replay = seconds(lambda history=history: list(history))
        mine = seconds(lambda history=history: linearizability.check(history))
        finding = linearizability.check(history)
        line(
            f"search: 5,000 cas-register operations, 10 clients, {unknown:.0%} unknown",
            f"{mine:.3f} s {finding.outcome}",
            f"{replay:.3f} s to read them",
            mine / replay,
        )
        print(f"{'':<58} {finding.stats['steps']} steps, {finding.stats['peak_mb']} MB of configurations by the count")


def recorder() -> None:
    def bare() -> None:
        for _ in range(RECORDED):
            pass

    loop = seconds(bare)
    with tempfile.TemporaryDirectory() as folder:
        for name, value, key in (
            ("integers", lambda i: i, lambda _: "x"),
            ("strings, 1000 keys", "v{}".format, lambda i: f"k{i % 1000}"),
        ):
            path = Path(folder) / name
            values, keys = [value(i) for i in range(RECORDED)], [key(i) for i in range(RECORDED)]
            writer = HistoryWriter(path)

            def recorded(writer: HistoryWriter = writer, values: list[object] = values, keys: list[str] = keys) -> None:
                invoke, complete, ok = writer.invoke, writer.complete, OpOutcome.OK
                for i in range(RECORDED):
                    complete(invoke(i & 63, "write", keys[i], values[i]), ok, node="n1")

            took = (seconds(recorded, 1) - loop) / RECORDED
            writer.close()
            line(
                f"recorder: both records of an operation, {name}",
                f"{took * 1e6:.2f} µs",
                f"{loop / RECORDED * 1e6:.2f} µs bare loop",
                took / (loop / RECORDED),
            )
            read = seconds(lambda path=path: read_history(path), 1)
            size = path.stat().st_size / RECORDED
            line(
                f"recorder: reading {RECORDED:,} back, {size:.0f} bytes each",
                f"{read:.3f} s",
                f"{took * RECORDED:.3f} s to write",
                read / (took * RECORDED),
            )


if __name__ == "__main__":
    register_million()
    register_memory()
    searched()
    recorder()
    print(f"peak memory of this benchmark: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")
