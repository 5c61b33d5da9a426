"""A process of a workload ends when it is cancelled, whatever its step makes of that."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.workload.runner import _loop


def test_a_step_that_swallows_its_cancellation_does_not_go_on_for_ever() -> None:
    begun = 0

    async def step(_: object) -> None:
        nonlocal begun
        begun += 1
        waiting.set()
        with suppress(asyncio.CancelledError):  # as `wait_for` did where the reply came in the same moment
            await asyncio.sleep(60)

    async def cancelled() -> None:
        running: Any = SimpleNamespace(habits=SimpleNamespace(error_pause_ms=0), kind=SimpleNamespace(step=step))
        process: Any = SimpleNamespace(failed=False)
        task = asyncio.create_task(_loop(running, process, None, asyncio.Event()))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    waiting = asyncio.Event()
    asyncio.run(cancelled())
    assert begun == 1
