"""Every directed link of a lab as a proxy of the link server."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from labctl.agent import listening
from labctl.agent.link_hosts import LinkHost, by_state
from labctl.agent.proof import Opener, ask_through, bound_openers, probe
from labctl.links.change import ToxicChange, ToxicFields
from labctl.links.spec import HELD_PREFIX, Address, LinkStats, ProxySpec
from labctl.links.tally import Tally
from labctl.links.tap import Recorder, Tap
from labctl.links.toxics import TYPES
from labctl.model.fault import HoldToxic, Link, LinkState
from labctl.model.message import Heard
from labctl.model.plan import ANNOUNCED_HOST, LabPlan
from labctl.model.topology import Kind
from labctl.plan.links import ANYONE, links
from labctl.runtime.base import Answer, LinkTraffic, Probe


class LinkTable:
    """Links by source and target over the proxies of a host.

    A link is one proxy, `redis-1.to.redis-2`; between Cluster nodes a second one, `redis-1.bus.redis-2`, carries the
    bus, and both are always in the same state.

    Args:
        plan: The lab.
        host: Carries the proxies.
        specs: The proxies, where they are not those of `proxies`.
        opener: Sockets for measuring, where sources are told apart by something other than their address.
    """

    def __init__(
        self, plan: LabPlan, host: LinkHost, specs: Iterable[ProxySpec] | None = None, opener: Opener | None = None
    ) -> None:
        self._plan = plan
        self._host = host
        self._specs = proxies(plan) if specs is None else list(specs)
        self._opener = opener or bound_openers(plan)
        self._links = tuple(links(plan))
        self._toxics: dict[Link, dict[str, HoldToxic]] = {}
        self._made = 0
        self._recorder: Recorder | None = None

    @property
    def toxic_types(self) -> Collection[str]:
        """All of labctl's own link server."""
        return TYPES

    async def open(self) -> None:
        """Listen on every announced port. Raises ListenError for a port that something took meanwhile."""
        await self._host.add(self._specs)

    async def set_states(self, wanted: Mapping[Link, LinkState]) -> None:
        """Put links into states; in force when this returns."""
        by_name = {name: state for link, state in wanted.items() for name in self._proxy_names(link)}
        for state, names in by_state(by_name):
            await self._host.hold(names, state)

    def states(self) -> Mapping[Link, LinkState]:
        """The state of every link, read from its proxy."""
        states = self._host.states()
        return {link: states[link.name] for link in self._links}

    def held(self) -> Mapping[Link, LinkState]:
        """The state that every link is held in."""
        held = self._host.held()
        return {link: held[link.name] for link in self._links}

    async def uphold(self) -> Collection[Link]:
        """Nothing to do: the link server lets nobody else undo what is held."""
        return ()

    async def meddled(self, links: Collection[Link]) -> set[Link]:
        """Links on which somebody else has a cut or a toxic of his own, through Toxiproxy's API."""
        names = {link: self._proxy_names(link) for link in links}
        held, states = self._host.held(), self._host.states()
        toxics = await self._host.tallies([name for each in names.values() for name in each])
        return {
            link
            for link, each in names.items()
            if any(states[n] is not held[n] or any(not t.startswith(HELD_PREFIX) for t in toxics[n]) for n in each)
        }

    async def set_toxics(self, wanted: Mapping[Link, tuple[HoldToxic, ...]]) -> None:
        """Give links these toxics and no others of faults; in force when this returns. Those that stay are not touched."""
        changes: dict[str, ToxicChange] = {}
        for link, toxics in wanted.items():
            now = self._toxics.setdefault(link, {})
            gone = [name for name, toxic in now.items() if toxic not in toxics]
            new: dict[str, HoldToxic] = {}
            for toxic in toxics:
                if toxic not in now.values() and toxic not in new.values():
                    self._made += 1
                    new[f"{HELD_PREFIX}{self._made}"] = toxic
            if gone or new:
                specs = tuple(_toxic_spec(name, toxic) for name, toxic in new.items())
                changes.update(dict.fromkeys(self._proxy_names(link), ToxicChange(tuple(gone), specs)))
            for name in gone:
                del now[name]
            now.update(new)
        if changes:
            await self._host.change_toxics(changes)

    async def toxics(self, links: Collection[Link]) -> dict[Link, tuple[HoldToxic, ...]]:
        """The toxics of faults on each link, as its proxy has them."""
        return {link: tuple(tallies) for link, tallies in (await self.tallies(links)).items()}

    async def tallies(self, links: Collection[Link]) -> dict[Link, dict[HoldToxic, Tally]]:
        """What the toxics of faults on each link have done so far, the bus included, as its proxies tell it."""
        names = {link: self._proxy_names(link) for link in links}
        told = await self._host.tallies([name for each in names.values() for name in each])
        return {
            link: {
                toxic: sum((told[proxy][name] for proxy in each), Tally())
                for name, toxic in self._toxics.get(link, {}).items()
                if all(name in told[proxy] for proxy in each)
            }
            for link, each in names.items()
        }

    def traffic(self) -> Mapping[Link, LinkTraffic]:
        """What each link carried, the bus included where it has one."""
        stats = self._host.stats()
        return {link: _traffic([stats[name] for name in self._proxy_names(link)]) for link in self._links if stats}

    async def ask(self, link: Link, question: bytes, patience_s: float) -> Answer:
        """Connect as the source of the link would, ask, time the answer and hang up."""
        return await ask_through(self._plan, self._opener, link, question, patience_s)

    def listen(self) -> str:
        """Listen to the links between nodes; those of clients carry data. See `AudibleLinks`."""
        if not self._plan.per_link:
            return "Nodes share an address on this machine, so links cannot tell who speaks."
        recorder = Recorder()
        nodes = {node.name for node in self._plan.nodes}
        taps: dict[str, Tap | None] = {}
        for link in self._links:
            if link.source in nodes:
                taps[link.name] = Tap(recorder, link.name)
                if has_bus(self._plan, link):
                    taps[bus_name(link)] = Tap(recorder, bus_name(link), bus=True)
        if not self._host.listen(taps):
            return "A lab of this size is not listened to."
        self._recorder = recorder
        return ""

    def stop_listening(self) -> Heard:
        """See `AudibleLinks`."""
        if self._recorder is None:
            return Heard()
        recorder, self._recorder = self._recorder, None
        self._host.listen({name: None for link in self._links for name in self._proxy_names(link)})
        return listening.told(recorder, self._plan)

    async def serve_api(self) -> list[str]:
        """Serve Toxiproxy's API; its addresses."""
        return await self._host.serve_api()

    async def probe(self, wanted: Iterable[Link]) -> list[Probe]:
        """Connect from each source's own address."""
        return await probe(self._plan, self._opener, wanted)

    async def close(self) -> None:
        """Close every proxy and free every port."""
        await self._host.close()

    def _proxy_names(self, link: Link) -> tuple[str, ...]:
        return (link.name, bus_name(link)) if has_bus(self._plan, link) else (link.name,)


def proxies(plan: LabPlan) -> list[ProxySpec]:
    """The proxies of all links. Connections from 127.0.0.1, where nobody bound an address, belong to `clients`.

    From any other address they are refused: they come from a node of another lab, which looks for a node of its own on a
    port that is this lab's by now, and would bring its whole lab along.
    """
    hosts = {**{node.name: node.host for node in plan.nodes}, **dict(plan.client_hosts), ANYONE: ANNOUNCED_HOST}
    specs = []
    for link in links(plan):
        target = plan.node(link.target)
        source = hosts[link.source] if plan.per_link else None
        specs.append(
            ProxySpec(
                link.name,
                Address(ANNOUNCED_HOST, target.port),
                Address(target.host, target.listen_port),
                source=source,
                owned=True,
            )
        )
        if has_bus(plan, link):
            assert target.bus_port is not None
            assert target.listen_bus_port is not None
            listen, upstream = Address(ANNOUNCED_HOST, target.bus_port), Address(target.host, target.listen_bus_port)
            specs.append(ProxySpec(bus_name(link), listen, upstream, source=source, owned=True))
    return specs


def _traffic(proxies: Sequence[LinkStats]) -> LinkTraffic:
    return LinkTraffic(
        sum(stats.connections for stats in proxies),
        sum(stats.upstream_sent for stats in proxies),
        sum(stats.downstream_sent for stats in proxies),
    )


def _toxic_spec(name: str, toxic: HoldToxic) -> ToxicFields:
    return ToxicFields(name, toxic.stream, toxic.toxic, dict(toxic.attributes), toxic.toxicity)


def has_bus(plan: LabPlan, link: Link) -> bool:
    """Whether a second proxy carries the Cluster bus."""
    return plan.topology.kind is Kind.CLUSTER and link.source not in dict(plan.client_hosts)


def bus_name(link: Link) -> str:
    """The second proxy's name."""
    return f"{link.source}.bus.{link.target}"
