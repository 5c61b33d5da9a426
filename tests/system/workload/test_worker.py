"""Load from a process of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from labctl.check import registry as checkers
from labctl.errors import UsageError
from labctl.model.history import FINAL_READ
from labctl.model.scenario import Workload
from labctl.model.verdict import Outcome
from labctl.store.history import read_history
from labctl.workload.worker import Worker, WorkerSpec

if TYPE_CHECKING:
    from pathlib import Path

    from labctl.model.endpoints import Endpoints

pytestmark = pytest.mark.system


def spec(endpoints: Endpoints, path: Path, number: int, *workloads: Workload) -> WorkerSpec:
    return WorkerSpec(workloads, {"clients": endpoints}, str(path), 1, f"{path.parent.name}-{number}", 100 * number)


async def grown(paths: list[Path], size: int) -> None:
    while any(path.stat().st_size < size for path in paths):  # noqa: ASYNC110  # it looks at files
        await asyncio.sleep(0.05)


def test_two_workers_write_one_history_together(topology, tmp_path) -> None:
    endpoints = topology("cluster").endpoints
    paths = [tmp_path / "first", tmp_path / "second"]
    load = Workload("set", clients=3, options={"driver": "lean", "timeout_ms": 20_000})

    async def run() -> None:
        specs = [spec(endpoints, path, number, load) for number, path in enumerate(paths)]
        async with Worker(specs[0]) as first, Worker(specs[1]) as second:
            await grown(paths, 20_000)
            await asyncio.gather(first.stop(), second.stop())
            await asyncio.gather(first.final_reads(), second.final_reads())

    asyncio.run(asyncio.wait_for(run(), 60))
    history = read_history(paths)
    assert {int(process) // 100 for process in history.process} == {0, 1}
    assert sum(op.function == FINAL_READ for op in history) == 16
    assert checkers.run("acked-writes", history).outcome is Outcome.VALID


def test_a_worker_that_loses_its_owner_ends_and_leaves_a_readable_history(topology, tmp_path) -> None:
    endpoints = topology("standalone").endpoints

    async def run() -> None:
        async with Worker(spec(endpoints, tmp_path / "history", 0, Workload("set", options={"timeout_ms": 20_000}))):
            await grown([tmp_path / "history"], 5_000)

    asyncio.run(asyncio.wait_for(run(), 60))
    assert len(read_history([tmp_path / "history"])) > 0


def test_a_wrong_workload_is_the_users_error_here_too(topology, tmp_path) -> None:
    async def run() -> None:
        async with Worker(spec(topology("standalone").endpoints, tmp_path / "history", 0, Workload("regster"))):
            pass

    with pytest.raises(UsageError, match="Do you mean register"):
        asyncio.run(asyncio.wait_for(run(), 60))
