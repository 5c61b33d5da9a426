"""Tests of the link server run on both event loops and both pollers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import uvloop

from labctl.links import LinkServer
from labctl.links.poller import LoopPoller
from tests.unit.links.peers import Net

Scenario = Callable[[LinkServer, Net], Awaitable[Any]]


@pytest.fixture(params=["uvloop-epoll", "asyncio-epoll", "asyncio-loop"])
def play(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Run an async scenario against a fresh link server, on each loop and poller in turn."""
    loop, poller = request.param.split("-")
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop

    async def main(scenario: Scenario, options: dict[str, Any]) -> Any:
        if poller == "loop":
            options["poller"] = LoopPoller(asyncio.get_running_loop())
        with Net() as net:
            async with LinkServer(**options) as server, asyncio.timeout(30):
                return await scenario(server, net)

    with asyncio.Runner(loop_factory=factory) as runner:
        yield lambda scenario, **options: runner.run(main(scenario, options))
