"""Every directed link of a lab as a proxy in the link server of its source's pod, or of the gateway for clients.

A link is one proxy, `redis-1.to.redis-2`, between Cluster nodes a second one, `redis-1.bus.redis-2`, as in the process
runtime; both are always in the same state and have the same toxics.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from labctl.errors import InjectionError
from labctl.model.fault import HoldToxic, Link, LinkState
from labctl.model.plan import ANNOUNCED_HOST, LabPlan
from labctl.model.topology import Kind
from labctl.plan.links import links
from labctl.runtime.base import Answer, Probe
from labctl.runtime.docker.dialects import (
    Dialect,
    add_toxic,
    has_all,
    is_it,
    is_meddled,
    of_faults,
    remove_toxic,
    toxic_name,
)
from labctl.runtime.docker.names import Part
from labctl.runtime.docker.pods import Reach
from labctl.runtime.docker.probes import Probes
from labctl.runtime.docker.toxiproxy import Request, Toxiproxy, UnansweredError

_STUCK_S = 3.0
"""Toxiproxy makes a change within milliseconds, or, where a receiver does not read, never."""


@dataclass(frozen=True, slots=True)
class _Proxy:
    """One proxy of a link."""

    link: Link
    name: str
    listen: str
    upstream: str


class DockerLinks:
    """See `runtime.base.Links` and `runtime.base.ToxicLinks`.

    Args:
        plan: The lab.
        servers: Link servers, one for each node, and `gateway`.
        reaches: How to reach each.
        dialect: What they understand.
    """

    def __init__(
        self, plan: LabPlan, servers: Mapping[str, Toxiproxy], reaches: Mapping[str, Reach], dialect: Dialect
    ) -> None:
        self._plan = plan
        self._servers = servers
        self._reaches = reaches
        self._dialect = dialect
        self._groups = {group for group, _ in plan.client_ports}
        self._probes = Probes(plan, servers, reaches)
        self._states: dict[Link, LinkState] = dict.fromkeys(links(plan), LinkState.OPEN)
        self._unsure: set[Link] = set()
        self._toxics: dict[Link, tuple[HoldToxic, ...]] = {}
        self._present: dict[Link, frozenset[str]] = {}
        """Toxics that are there for certain, by name."""
        self._perhaps: dict[Link, frozenset[str]] = {}
        """Toxics that may be there, the certain ones included."""

    @property
    def toxic_types(self) -> Collection[str]:
        """The types of toxics that these links can have."""
        return self._dialect.toxics

    async def open(self) -> None:
        """Make every proxy."""
        batches: dict[str, list[dict[str, object]]] = defaultdict(list)
        for link in self._states:
            batches[self._owner(link)] += [_body(proxy) for proxy in self._proxies(link)]
        await asyncio.gather(
            *(self._servers[owner].send([Request("POST", "/populate", batch)]) for owner, batch in batches.items())
        )

    async def read_back(self) -> None:
        """Take states and toxics from the link servers, as an earlier agent left them."""
        answers = await asyncio.gather(
            *(server.send([Request("GET", "/proxies")]) for server in self._servers.values())
        )
        said = {name: proxy for (answer,) in answers for name, proxy in answer.items()}
        for link in self._states:
            found = [said[proxy.name] for proxy in self._proxies(link)]
            self._states[link] = self._dialect.state(found[0])
            self._perhaps[link] = frozenset(name for each in found for name in of_faults(each))
        self._unsure.update(link for link, state in self._states.items() if state is not LinkState.OPEN)

    async def set_states(self, wanted: Mapping[Link, LinkState]) -> None:
        """Put links into states, those of each link server in one write."""
        changes: list[tuple[_Proxy, Request]] = []
        for link, state in wanted.items():
            left = (LinkState.REFUSED, LinkState.BLACKHOLE) if link in self._unsure else (self._states[link],)
            for proxy in self._proxies(link):
                changes += [(proxy, request) for request in self._dialect.change(proxy.name, left, state)]
        self._unsure.update(wanted)  # until all of it is done, nobody knows what is
        self._states.update(wanted)
        await self._make(changes)
        self._unsure.difference_update(wanted)

    def held(self) -> Mapping[Link, LinkState]:
        """The state that every link was put into last."""
        return self._states

    def states(self) -> Mapping[Link, LinkState]:
        """As they are held; `uphold` and `meddled` look at what others did."""
        return self._states

    async def uphold(self) -> list[Link]:
        """Put back what somebody undid through a pod's link server, by a reset for example.

        A cut link is refused, whatever it was: Toxiproxy 2.12 crashes when a toxic is added to a connection that has just
        lost another (`index out of range` in `AddToxic`), and closing the connections first avoids that.
        """
        cut = {link: state for link, state in self._states.items() if state is not LinkState.OPEN}
        toxic = {link: toxics for link, toxics in self._toxics.items() if toxics}
        if not cut and not toxic:
            return []
        said = await self._said({self._owner(link) for link in (*cut, *toxic)})
        open_again = [
            link
            for link, state in cut.items()
            if any(p is None or self._dialect.state(p) is not state for p in self._found(link, said))
        ]
        clean_again = [
            link for link, toxics in toxic.items() if not all(p and has_all(p, toxics) for p in self._found(link, said))
        ]
        self._unsure.update(open_again)
        await self.set_states(dict.fromkeys(open_again, LinkState.REFUSED))
        for link in clean_again:
            self._present[link] = frozenset()
        await self.set_toxics({link: toxic[link] for link in clean_again})
        return [*open_again, *clean_again]

    async def meddled(self, links: Collection[Link]) -> list[Link]:
        """See `runtime.base.Links`; of links that nothing holds."""
        free = [link for link in links if self._states[link] is LinkState.OPEN and not self._toxics.get(link)]
        said = await self._said({self._owner(link) for link in free})
        return [
            link for link in free if any(p is None or is_meddled(self._dialect, p) for p in self._found(link, said))
        ]

    async def set_toxics(self, wanted: Mapping[Link, tuple[HoldToxic, ...]]) -> None:
        """Give links these toxics of faults and no others; those that stay are not touched."""
        changes: list[tuple[_Proxy, Request]] = []
        now: dict[Link, frozenset[str]] = {}
        for link, toxics in wanted.items():
            new = {toxic_name(toxic): toxic for toxic in toxics}
            perhaps, present = self._perhaps.get(link, frozenset()), self._present.get(link, frozenset())
            for proxy in self._proxies(link):
                changes += [(proxy, remove_toxic(proxy.name, name)) for name in sorted(perhaps - set(new))]
                changes += [(proxy, add_toxic(proxy.name, new[name])) for name in new if name not in present]
            now[link] = frozenset(new)
            self._perhaps[link], self._present[link] = perhaps | now[link], present & now[link]
            self._toxics[link] = toxics
        await self._make(changes)
        self._perhaps.update(now)
        self._present.update(now)

    async def toxics(self, links: Collection[Link]) -> dict[Link, tuple[HoldToxic, ...]]:
        """The toxics of faults on each link, as its proxies have them: known ones on all of them, strays on any."""
        said = await self._said({self._owner(link) for link in links})
        found = {}
        for link in links:
            each = [of_faults(proxy) if proxy else {} for proxy in self._found(link, said)]
            known = {toxic_name(toxic): toxic for toxic in self._toxics.get(link, ())}
            whole = [t for n, t in known.items() if all(n in proxy and is_it(t, proxy[n]) for proxy in each)]
            strays = {n: toxic for proxy in each for n, toxic in proxy.items() if n not in known}
            found[link] = (
                *whole,
                *(
                    HoldToxic(link, t["type"], t["stream"], tuple(t["attributes"].items()), t["toxicity"])
                    for t in strays.values()
                ),
            )
        return found

    async def probe(self, wanted: Iterable[Link]) -> list[Probe]:
        """Measure a spread of links, from inside the pods that they start from."""
        return await self._probes.probe(wanted)

    async def ask(self, link: Link, question: bytes, patience_s: float) -> Answer:
        """Connect as the source of the link would, ask, time the answer's first byte and hang up."""
        return await self._probes.ask(link, question, patience_s)

    async def serve_api(self) -> list[str]:
        """None of its own: each pod has a link server with an API."""
        return []

    async def close(self) -> None:
        """Nothing is held in this process."""

    def _owner(self, link: Link) -> str:
        return Part.GATEWAY.value if link.source in self._groups else link.source

    def _proxies(self, link: Link) -> Iterator[_Proxy]:
        target, address = self._plan.node(link.target), self._reaches[link.target].address
        if link.source in self._groups:
            _, port = self._probes.as_client(link)
            yield _Proxy(link, link.name, f"0.0.0.0:{port}", f"{address}:{target.port}")
            return
        yield _Proxy(link, link.name, f"{ANNOUNCED_HOST}:{target.port}", f"{address}:{target.port}")
        if self._plan.topology.kind is Kind.CLUSTER:
            bus = f"{link.source}.bus.{link.target}"
            yield _Proxy(link, bus, f"{ANNOUNCED_HOST}:{target.bus_port}", f"{address}:{target.bus_port}")

    async def _said(self, owners: Iterable[str]) -> dict[str, Any]:
        """The proxies of these link servers by name, as each tells them."""
        answers = await asyncio.gather(*(self._servers[owner].send([Request("GET", "/proxies")]) for owner in owners))
        return {name: proxy for (answer,) in answers for name, proxy in answer.items()}

    def _found(self, link: Link, said: Mapping[str, Any]) -> list[Any]:
        """The proxies of a link; None for one that somebody removed."""
        return [said.get(proxy.name) for proxy in self._proxies(link)]

    async def _make(self, changes: Iterable[tuple[_Proxy, Request]]) -> None:
        """Tell each link server its changes, all at once; all are tried before the first error is raised."""
        batches: dict[str, list[tuple[_Proxy, Request]]] = defaultdict(list)
        for proxy, request in changes:
            batches[self._owner(proxy.link)].append((proxy, request))
        results = await asyncio.gather(
            *(self._tell(self._servers[owner], batch) for owner, batch in batches.items()), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _tell(self, server: Toxiproxy, batch: list[tuple[_Proxy, Request]]) -> None:
        """Make changes in one write. A proxy that is stuck is made anew, in the state and with the toxics wanted.

        Toxiproxy 2.12 holds its lock while it waits for a receiver that does not read, a frozen server for example; then it
        answers nothing but the removal of that proxy, which closes its connections.
        """
        while batch:
            try:
                await server.send([request for _, request in batch], _STUCK_S)
            except UnansweredError as error:
                stuck, _ = batch[error.answered]
                await self._make_anew(server, stuck, error)
                batch = [(proxy, request) for proxy, request in batch[error.answered :] if proxy != stuck]
            else:
                return

    async def _make_anew(self, server: Toxiproxy, proxy: _Proxy, why: UnansweredError) -> None:
        try:
            await server.send([Request("DELETE", f"/proxies/{proxy.name}", accept=(204, 404))])
        except InjectionError:
            raise why from None
        state, toxics = self._states[proxy.link], self._toxics.get(proxy.link, ())
        requests = [Request("POST", "/proxies", _body(proxy)), *(add_toxic(proxy.name, toxic) for toxic in toxics)]
        requests += self._dialect.change(proxy.name, (), state)
        await server.send(requests)


def _body(proxy: _Proxy) -> dict[str, object]:
    return {"name": proxy.name, "listen": proxy.listen, "upstream": proxy.upstream, "enabled": True}
