"""An open loop shows a stall as its users felt it; a closed loop hides all of it but what was in flight."""

from __future__ import annotations

import asyncio
import signal
import time
from itertools import pairwise

import pytest
import servers as real
import uvloop

from labctl.model.history import OpOutcome
from labctl.model.scenario import Workload
from labctl.store.history import HistoryWriter, read_history
from labctl.workload.runner import Runner

pytestmark = pytest.mark.system

STALL_S = 0.6


@pytest.mark.parametrize("rate", [500.0, None], ids=["open", "closed"])
def test_a_stall_shows_in_the_arrivals_of_an_open_loop(rate, tmp_path) -> None:
    stalled: list[int] = []

    async def run(servers: real.Servers) -> None:
        stop = asyncio.Event()
        workload = Workload("set", clients=4, rate=rate, options={"driver": "lean", "timeout_ms": 60_000})
        async with Runner([workload], {"clients": servers.endpoints}, writer, seed=1) as runner:
            running = asyncio.create_task(runner.run(stop))
            while (tmp_path / "history").stat().st_size < 4_000:  # noqa: ASYNC110  # it looks at a file
                await asyncio.sleep(0.02)
            stalled.append(time.monotonic_ns())
            servers.nodes[0].signal(signal.SIGSTOP)
            await asyncio.sleep(STALL_S)
            stalled.append(time.monotonic_ns())
            servers.nodes[0].signal(signal.SIGCONT)
            soon = (tmp_path / "history").stat().st_size + 30_000  # more than what the stall held up
            while (tmp_path / "history").stat().st_size < soon:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            stop.set()
            await running

    with (
        real.standalone(tmp_path / "lab") as servers,
        HistoryWriter(tmp_path / "history", flush_interval_s=0) as writer,
    ):
        uvloop.run(run(servers))
    history = read_history([tmp_path / "history"])
    began, ended = stalled
    dues = sorted(op.due_ns or op.invoke_ns for op in history)
    completions = sorted(op.complete_ns for op in history if op.outcome is OpOutcome.OK)
    longest_without_answer = max(later - earlier for earlier, later in pairwise(completions))
    longest_without_arrival = max(later - earlier for earlier, later in pairwise(dues))
    assert longest_without_answer >= (ended - began) * 0.9
    during = [op for op in history if began <= (op.due_ns or op.invoke_ns) < ended - 0.1 * (ended - began)]
    late = [op for op in during if op.due_ns is not None and op.invoke_ns > ended]
    if rate is None:
        assert not late
        assert longest_without_arrival >= (ended - began) * 0.9
    else:
        assert (
            len(late) > 0.5 * rate * STALL_S
        )  # the arrivals of the stall, sent after it and counted from when they came
        assert longest_without_arrival < ended - began
