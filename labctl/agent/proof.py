"""Measuring that a link is cut or whole, as the source of the link would find it.

A probe connects from the source's own address to the announced port of the target and sends a PING. Whatever comes back
(a reply, an error, a TLS alert, a closed connection after the bytes arrived) passed through the link.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable

from labctl.model.fault import Link, LinkState
from labctl.model.plan import ANNOUNCED_HOST, LabPlan
from labctl.plan.links import ANYONE
from labctl.runtime.base import Answer, Probe

SILENCE_S = 0.15
"""A server on loopback answers in well under a millisecond; this much silence, the connection accepted or not, is a cut."""
MOST_PROBES = 128
"""Links probed at the most; a partition of a hundred nodes has thousands, and the rest is read back from the link server."""

TLS_PING = bytes.fromhex("16030100050100000100")
"""A client hello cut short. OpenSSL answers it with an alert; to plain text it would say nothing."""


def spread(links: Iterable[Link]) -> list[Link]:
    """Up to MOST_PROBES of `links`, evenly spread over them."""
    every = sorted(links)
    return every[:: max(1, -(-len(every) // MOST_PROBES))]


Opener = Callable[[Link], socket.socket]
"""A socket that is where the source of a link is, not connected yet."""


def bound_openers(plan: LabPlan) -> Opener:
    """Sockets bound to the address that tells a source."""
    hosts = {**{node.name: node.host for node in plan.nodes}, **dict(plan.client_hosts), ANYONE: ANNOUNCED_HOST}

    def opener(link: Link) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.bind((hosts[link.source], 0))
        except OSError:
            sock.close()
            raise
        return sock

    return opener


async def probe(plan: LabPlan, opener: Opener, links: Iterable[Link]) -> list[Probe]:
    """Probe a spread of `links`, all at once."""
    return list(await asyncio.gather(*(_probe(plan, opener, link) for link in spread(links))))


async def ask_through(plan: LabPlan, opener: Opener, link: Link, question: bytes, patience_s: float) -> Answer:
    """Connect as the source of `link` would, ask, time the first byte of the answer and hang up in good order."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(patience_s):
            reader, writer = await _connect(plan, opener, link)
            try:
                began = time.monotonic()
                writer.write(question)
                came = bool(await reader.read(1))
            finally:
                writer.close()
    except (TimeoutError, OSError):
        came = False
    return Answer(came, time.monotonic() - began)


async def hangs_up(server: tuple[str, int], *, tls: bool) -> bool:
    """Whether a server takes no connection, or ends one before it answers; one that is silent for a while does not.

    Args:
        server: Where it listens itself, past every link.
        tls: Whether it speaks TLS there.
    """
    try:
        async with asyncio.timeout(SILENCE_S):
            reader, writer = await asyncio.open_connection(*server)
            try:
                writer.write(TLS_PING if tls else b"PING\r\n")
                return not await reader.read(1)
            finally:
                writer.transport.abort()
    except TimeoutError:
        return False
    except OSError:
        return True


async def _connect(plan: LabPlan, opener: Opener, link: Link) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = opener(link)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (ANNOUNCED_HOST, plan.node(link.target).port))
    except BaseException:
        sock.close()
        raise
    return await asyncio.open_connection(sock=sock)


async def _probe(plan: LabPlan, opener: Opener, link: Link) -> Probe:
    try:
        async with asyncio.timeout(SILENCE_S):
            reader, writer = await _connect(plan, opener, link)
            try:
                writer.write(b"PING\r\n")
                await reader.read(1)
            finally:
                writer.transport.abort()
    except TimeoutError:
        return Probe(link, LinkState.BLACKHOLE)
    except OSError:
        return Probe(link, LinkState.REFUSED)
    return Probe(link, LinkState.OPEN)
