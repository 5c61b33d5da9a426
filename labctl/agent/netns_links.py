"""Links of a lab with wires: proxies in the source's own network namespace, and packets between namespaces.

Everybody is announced as 127.0.0.1 as in other labs. In the namespace of redis-1 the link server listens at 127.0.0.1 for
every peer and connects from there to the peer's address on the lab's network; for clients it listens in the machine's own
namespace and connects from that of their group. So each link crosses two wires, and packets can be lost on them.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.agent.linktable import LinkTable, bus_name, has_bus
from labctl.links.spec import Address, ProxySpec
from labctl.model.plan import ANNOUNCED_HOST
from labctl.plan.links import links
from labctl.runtime.base import Arrivals, Met
from labctl.wires.detour import Detours
from labctl.wires.impair import Impairments

if TYPE_CHECKING:
    from labctl.agent.link_hosts import LinkHost
    from labctl.links.server import LinkServer
    from labctl.model.fault import HoldImpaired, Link
    from labctl.model.plan import LabPlan
    from labctl.wires.bridge import Plug
    from labctl.wires.namespaces import Namespaces

_DATAGRAM = struct.Struct("!16sId")
_BURST = 20
_GAP_S = 0.001


class NetnsLinks(LinkTable):
    """See `runtime.base.Links`, `ToxicLinks` and `WiredLinks`.

    Args:
        plan: The lab.
        host: Carries the proxies.
        own: Carries the lab's own ways to its servers, past all links and wires.
        namespaces: Of the lab.
        parties: Every party and its end of a wire.
    """

    def __init__(
        self, plan: LabPlan, host: LinkHost, own: LinkServer, namespaces: Namespaces, parties: Mapping[str, Plug]
    ) -> None:
        groups = dict(plan.client_hosts)

        def opener(link: Link) -> socket.socket:
            if link.source not in groups:
                return namespaces.socket(link.source)
            sock = socket.socket()
            sock.bind((groups[link.source], 0))
            return sock

        super().__init__(plan, host, wired_proxies(plan, parties), opener)
        self._own = own
        self._namespaces = namespaces
        self._parties = parties
        self._detours = Detours(namespaces, parties)

    async def open(self) -> None:
        """Listen everywhere. Raises ListenError for a port that something took meanwhile."""
        self._own.add_many(_own_ways(self._plan))
        try:
            await super().open()
        except BaseException:
            self._own.remove_many([spec.name for spec in _own_ways(self._plan)])
            raise

    async def close(self) -> None:
        """Close every proxy, free every port, let go of the namespaces."""
        self._detours.close()
        await super().close()
        self._own.close()
        self._namespaces.close()

    def impair(self, wanted: Mapping[Link, tuple[HoldImpaired, ...]]) -> None:
        """See `WiredLinks`."""
        for link, claims in wanted.items():
            before = self._detours.impairments(link.source, link.target)
            self._detours.impair(link.source, link.target, Impairments(claims, before))

    def impaired(self, links: Collection[Link]) -> dict[Link, dict[HoldImpaired, Met]]:
        """See `WiredLinks`."""
        found = {}
        for link in links:
            impairments = self._detours.impairments(link.source, link.target)
            counts = impairments.counts if impairments else {}
            found[link] = {claim: Met(count.seen, count.acted) for claim, count in counts.items()}
        return found

    def detoured(self, links: Collection[Link]) -> set[Link]:
        """See `WiredLinks`: the routes that the kernel has."""
        standing = self._detours.standing({link.source for link in links})
        return {link for link in links if (link.source, link.target) in standing}

    async def send_datagrams(self, link: Link, count: int, patience_s: float) -> Arrivals:
        """See `WiredLinks`. Each carries its number and when it was sent."""
        sender = self._namespaces.socket(link.source, kind=socket.SOCK_DGRAM)
        receiver = self._namespaces.socket(link.target, kind=socket.SOCK_DGRAM)
        with sender, receiver:
            receiver.setblocking(False)
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            receiver.bind((self._parties[link.target].address, 0))
            sender.connect(receiver.getsockname())
            damaged = self._namespaces.run(link.target, _checksum_errors)
            tally = _Tally(secrets.token_bytes(16))
            receiving = asyncio.create_task(tally.receive(receiver, count, patience_s))
            try:
                for number in range(count):
                    sender.send(_DATAGRAM.pack(tally.mark, number, time.monotonic()))
                    if number % _BURST == _BURST - 1:
                        await asyncio.sleep(_GAP_S)
                await receiving
            finally:
                receiving.cancel()
            damaged = self._namespaces.run(link.target, _checksum_errors) - damaged
        least = tally.least_s
        return Arrivals(
            count, len(tally.seen), tally.twice, tally.overtaken, damaged, None if least is None else least * 1000
        )


class _Tally:
    def __init__(self, mark: bytes) -> None:
        self.mark = mark
        self.seen: set[int] = set()
        self.twice = 0
        self.overtaken = 0
        self.least_s: float | None = None
        self._highest = -1

    async def receive(self, receiver: socket.socket, count: int, patience_s: float) -> None:
        """Until all have come and nothing has for a moment, or nothing has for `patience_s`."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(patience_s if len(self.seen) < count else _GAP_S * _BURST):
                    data = await loop.sock_recv(receiver, 2048)
            except TimeoutError:
                return
            if len(data) == _DATAGRAM.size:
                mark, number, sent = _DATAGRAM.unpack(data)
                if mark == self.mark:
                    self._note(number, time.monotonic() - sent)

    def _note(self, number: int, took_s: float) -> None:
        self.twice += number in self.seen
        self.overtaken += number < self._highest and number not in self.seen
        self.seen.add(number)
        self._highest = max(self._highest, number)
        self.least_s = took_s if self.least_s is None else min(self.least_s, took_s)


def wired_proxies(plan: LabPlan, parties: Mapping[str, Plug]) -> Iterator[ProxySpec]:
    """The proxies of all links. Names and states are those of any other lab."""
    groups = dict(plan.client_hosts)
    for link in links(plan):
        target, address = plan.node(link.target), parties[link.target].address
        listen_in, source = ("", groups[link.source]) if link.source in groups else (link.source, None)
        listen = Address(ANNOUNCED_HOST, target.port, listen_in)
        upstream = Address(address, target.port, link.source)
        yield ProxySpec(link.name, listen, upstream, source=source, owned=True)
        if has_bus(plan, link):
            assert target.bus_port is not None
            listen = Address(ANNOUNCED_HOST, target.bus_port, listen_in)
            upstream = Address(address, target.bus_port, link.source)
            yield ProxySpec(bus_name(link), listen, upstream, owned=True)


def _own_ways(plan: LabPlan) -> list[ProxySpec]:
    """How the lab itself reaches its servers: from inside their own namespace, where nothing is ever cut or lost."""
    return [
        ProxySpec(node.name, Address(*node.direct), Address(ANNOUNCED_HOST, node.port, node.name), owned=True)
        for node in plan.nodes
    ]


def _checksum_errors() -> int:
    """Datagrams that the kernel threw away for their checksum, in the namespace that the calling thread is in."""
    names, values = [
        line.split() for line in Path("/proc/thread-self/net/snmp").read_text().splitlines() if line.startswith("Udp:")
    ]
    return int(values[names.index("InCsumErrors")])
