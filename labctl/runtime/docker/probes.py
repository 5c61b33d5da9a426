"""Measuring links as their sources find them: from inside a pod through a proxy that connects to the pod's own links."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager

from labctl.agent.proof import spread
from labctl.model.fault import Link, LinkState
from labctl.model.plan import ANNOUNCED_HOST, LabPlan
from labctl.runtime.base import Answer, Probe
from labctl.runtime.docker.pods import PROBE_PORT, Reach
from labctl.runtime.docker.toxiproxy import Request, Toxiproxy

SILENCE_S = 0.3
"""A link answers within milliseconds; this much silence, on a connection that stands, is a black hole."""

_TLS_PING = bytes.fromhex("16030100050100000100")
"""A client hello cut short. OpenSSL answers it with an alert; to plain text it would say nothing."""

Address = tuple[str, int]


class Probes:
    """Connections through links.

    Where this process reaches pods at their own addresses, each pod has a probe proxy for every peer, made when it is first
    needed, and links are measured side by side. Where only published ports lead to a pod, it has a single one, which is
    pointed at one link after the other.

    Args:
        plan: The lab.
        servers: Link servers, one for each node, and `gateway`.
        reaches: How to reach each.
    """

    def __init__(self, plan: LabPlan, servers: Mapping[str, Toxiproxy], reaches: Mapping[str, Reach]) -> None:
        self._plan = plan
        self._servers = servers
        self._reaches = reaches
        self._names = [node.name for node in plan.nodes]
        self._groups = {group: dict(zip(self._names, ports, strict=True)) for group, ports in plan.client_ports}
        self._turn: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._ready: set[Link] = set()

    async def probe(self, wanted: Iterable[Link]) -> list[Probe]:
        """The state of a spread of links, as their sources find them."""
        chosen = spread(wanted)
        await self._prepare(chosen)
        return await asyncio.gather(*map(self._seen, chosen))

    async def ask(self, link: Link, question: bytes, patience_s: float) -> Answer:
        """Connect as the source of the link would, ask, time the answer's first byte and hang up in good order.

        A server with TLS is asked something that it answers before anybody is known.
        """
        await self._prepare((link,))
        async with self._way(link) as where:
            began = time.monotonic()
            try:
                async with asyncio.timeout(patience_s):
                    reader, writer = await asyncio.open_connection(*where)
                    try:
                        began = time.monotonic()
                        writer.write(_TLS_PING if self._plan.topology.tls else question)
                        came = bool(await reader.read(1))
                    finally:
                        writer.close()
            except (TimeoutError, OSError):
                came = False
            return Answer(came, time.monotonic() - began)

    def as_client(self, link: Link) -> Address:
        """Where a client of the link's group connects to its target."""
        port = self._groups[link.source][link.target]
        announced = port == self._plan.node(link.target).port
        return ANNOUNCED_HOST if announced else self._plan.gateway, port

    @property
    def _ping(self) -> bytes:
        return _TLS_PING if self._plan.topology.tls else b"PING\r\n"

    async def _seen(self, link: Link) -> Probe:
        """Connect and say something that any server answers; a proxy in between accepts for an upstream that refuses."""
        async with self._way(link) as where:
            try:
                async with asyncio.timeout(SILENCE_S):
                    reader, writer = await asyncio.open_connection(*where)
                    try:
                        writer.write(self._ping)
                        answer = await reader.read(1)
                    finally:
                        writer.transport.abort()
            except TimeoutError:
                return Probe(link, LinkState.BLACKHOLE)
            except OSError:
                answer = b""
            return Probe(link, LinkState.OPEN if answer else LinkState.REFUSED)

    async def _prepare(self, links: Collection[Link]) -> None:
        """Make the probe proxies of these links that are not there yet, those of each pod in one request."""
        wanted: dict[str, list[dict[str, object]]] = defaultdict(list)
        for link in links:
            if link.source not in self._groups and self._is_direct(link) and link not in self._ready:
                upstream = f"{ANNOUNCED_HOST}:{self._plan.node(link.target).port}"
                listen = f"0.0.0.0:{self._direct_port(link)}"
                wanted[link.source].append({"name": f"probe.{link.target}", "listen": listen, "upstream": upstream})
        requests = {
            pod: Request("POST", "/populate", [{**p, "enabled": True} for p in own]) for pod, own in wanted.items()
        }
        await asyncio.gather(*(self._servers[pod].send([request]) for pod, request in requests.items()))
        self._ready.update(links)

    @asynccontextmanager
    async def _way(self, link: Link) -> AsyncIterator[Address]:
        """Where to connect to go through the link, for as long as the block lasts."""
        if link.source in self._groups:
            yield self.as_client(link)
        elif self._is_direct(link):
            yield self._reaches[link.source].address, self._direct_port(link)
        else:
            where = self._reaches[link.source].probe
            assert where is not None
            async with self._turn[link.source]:
                upstream = f"{ANNOUNCED_HOST}:{self._plan.node(link.target).port}"
                proxy = {"name": "probe", "listen": f"0.0.0.0:{PROBE_PORT}", "upstream": upstream, "enabled": True}
                await self._servers[link.source].send([Request("POST", "/populate", [proxy])])
                yield where

    def _is_direct(self, link: Link) -> bool:
        reach = self._reaches[link.source]
        return reach.probe == (reach.address, PROBE_PORT)

    def _direct_port(self, link: Link) -> int:
        return PROBE_PORT + 1 + self._names.index(link.target)
