"""The link server by itself: `labctl link-server`, a drop-in for `toxiproxy-server`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
from typing import TYPE_CHECKING

from labctl.links.listener import raise_descriptor_limit
from labctl.links.server import LinkServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from labctl.links.spec import Address


def serve(
    host: str = "127.0.0.1",
    port: int = 8474,
    seed: int | None = None,
    *,
    expose: bool = False,
    ready: Callable[[Address, int], None] | None = None,
) -> None:
    """Serve Toxiproxy's API until SIGINT or SIGTERM.

    Args:
        host: IP address of the API. The API has no authentication: leave it on loopback.
        port: Its port; 0 takes a free one.
        seed: Of the toxics' draws; None takes one at random, so that `ready` can tell it for a replay.
        expose: Allow proxies to listen on addresses that other machines can reach.
        ready: Called with the API's address and the seed once it is up.

    Raises:
        ListenError: The API's address cannot be bound.
    """
    import uvloop  # noqa: PLC0415 - not needed by those who embed the server

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    raise_descriptor_limit()
    chosen = secrets.randbelow(2**31) if seed is None else seed
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(host, port, chosen, expose=expose, ready=ready))


async def _serve(
    host: str, port: int, seed: int, *, expose: bool, ready: Callable[[Address, int], None] | None
) -> None:
    from labctl.links.api import serve_api  # noqa: PLC0415 - imports a web framework

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with LinkServer(seed=seed, expose=expose) as server, serve_api(server, host, port) as address:
        logging.getLogger(__name__).info("link server: API on http://%s, seed %d", address, seed)
        if ready is not None:
            ready(address, seed)
        await stop.wait()
