"""`/metrics` of a lab's agent, on loopback.

The socket is there as soon as the lab is up; everything behind it comes to be when somebody connects for the first time, so
that a lab that nobody scrapes pays for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from labctl.model.plan import ANNOUNCED_HOST

if TYPE_CHECKING:
    from labctl.agent.agent import Agent

FIRST_PORT = 9121
"""redis_exporter's own; the next free one where it is taken."""
_PORTS = 200


def listen() -> socket.socket:
    """Listen on loopback, at the first free port from 9121 on, or at any that is free."""
    for port in (*range(FIRST_PORT, FIRST_PORT + _PORTS), 0):
        with contextlib.suppress(OSError):
            return socket.create_server((ANNOUNCED_HOST, port), backlog=64)
    raise OSError("no free port on loopback")


async def serve(agent: Agent, listener: socket.socket) -> None:
    """Answer at `listener` until cancelled."""
    try:
        await _somebody(listener)
        from labctl.metrics.http import serve as serve_http  # noqa: PLC0415 - see the module's first lines

        await serve_http(agent, listener)
    finally:
        listener.close()


async def _somebody(listener: socket.socket) -> None:
    """Wait until somebody connects."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[None] = loop.create_future()

    def readable() -> None:
        loop.remove_reader(listener)
        came.set_result(None)

    loop.add_reader(listener, readable)
    try:
        await came
    finally:
        loop.remove_reader(listener)
