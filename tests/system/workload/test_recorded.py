"""What others see of a recording that goes on: the lab's metrics are read from its file."""

from __future__ import annotations

import asyncio
import signal

import pytest
import servers as real
import uvloop

from labctl.model.history import OpOutcome
from labctl.model.scenario import Workload
from labctl.store.history import HistoryWriter, read_history
from labctl.workload.runner import Runner
from tests.support.command import PATIENCE_S

pytestmark = pytest.mark.system

SET = Workload("set", clients=2, options={"driver": "lean", "timeout_ms": 60_000})
NEVER_BY_ITSELF = {"flush_interval_s": 3600.0, "flush_bytes": 1 << 24}


def test_all_of_it_is_there_when_the_load_has_ended(tmp_path) -> None:
    """Else operations would seem to be under way while nobody waits for any."""

    async def run() -> None:
        async with Runner([SET], {"clients": servers.endpoints}, writer, seed=1) as runner:
            await runner.run_for(0.1)

    with (
        real.standalone(tmp_path / "lab") as servers,
        HistoryWriter(tmp_path / "history", **NEVER_BY_ITSELF) as writer,
    ):
        uvloop.run(run())
        history = read_history([tmp_path / "history"])
        assert len(history)
        assert {op.outcome for op in history} == {OpOutcome.OK}


def test_what_was_done_is_there_while_every_client_waits(tmp_path) -> None:
    async def run(servers: real.Servers) -> None:
        stop = asyncio.Event()
        async with Runner([SET], {"clients": servers.endpoints}, writer, seed=1) as runner:
            running = asyncio.create_task(runner.run(stop))
            await runner.running.wait()
            servers.nodes[0].signal(signal.SIGSTOP)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    while len(read_history([tmp_path / "history"])) == 0:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
            finally:
                servers.nodes[0].signal(signal.SIGCONT)
            stop.set()
            await running

    with (
        real.standalone(tmp_path / "lab") as servers,
        HistoryWriter(tmp_path / "history", **NEVER_BY_ITSELF) as writer,
    ):
        uvloop.run(run(servers))
