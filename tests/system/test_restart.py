"""A server that was killed is gone with everything it held when `kill` returns, so that its successor can start."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from labctl.declare import library
from tests.support.lab import engines, healthy_lab

pytestmark = pytest.mark.system
ROUNDS = 60
"""A killed server's threads end one by one; about one time in twelve the first one ends before the others."""


def test_ports_are_free_once_a_server_is_killed(tmp_path: Path) -> None:
    if not engines():
        pytest.skip("no Redis or Valkey on this machine: `labctl doctor` says how to add one")
    engine = next(iter(engines().values()))

    async def test() -> None:
        async with healthy_lab(tmp_path, library.topology("standalone"), engine) as lab:
            (node,) = lab.plan.nodes
            for _ in range(ROUNDS):
                await lab.runtime.kill(node)
                with socket.socket() as successor:
                    successor.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    successor.bind(node.direct)
                    successor.listen()
                await lab.runtime.start(node)
                await lab.until(lambda view: [n.name for n in view.nodes if not n.up])

    asyncio.run(test())
