"""What every runtime can do: servers, links, and the two together as a site.

Small on purpose; a runtime that can do more has its own Protocol.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from labctl.links.tally import Tally
from labctl.model.fault import HoldImpaired, HoldToxic, Link, LinkState, Packets, Resource, ServerState
from labctl.model.message import Heard
from labctl.model.plan import LabPlan, NodePlan, Secrets, TlsFiles


class Runtime(Protocol):
    """Starts and ends the servers of one lab. Every method returns after the effect was observed, or raises LabError."""

    async def place(self, secrets: Secrets | None, tls: TlsFiles | None) -> None:
        """Write everything that servers start from, where they will find it. Once, before the first start."""

    async def start(self, node: NodePlan, arguments: Sequence[str] = ()) -> None:
        """Start the server of `node`; `arguments` go behind its configuration file. Does not wait until it answers."""

    async def kill(self, node: NodePlan) -> None:
        """End it at once (SIGKILL); returns when it is gone. A server that is gone already is no error."""

    async def stop(self, node: NodePlan) -> None:
        """End it in its own order (SIGTERM); returns when it is gone."""

    async def pause(self, node: NodePlan) -> None:
        """Freeze it (SIGSTOP); returns when it is frozen."""

    async def resume(self, node: NodePlan) -> None:
        """Let a frozen server go on (SIGCONT); returns when it runs."""

    async def state(self, node: NodePlan) -> ServerState:
        """What it is now."""
        ...

    def last_words(self, node: NodePlan, lines: int = 12) -> str:
        """The end of its log."""
        ...

    async def adopt(self) -> None:
        """Find the servers that an earlier agent started."""

    async def destroy(self) -> None:
        """End every process of every node, and everything else that this runtime made outside the lab's folder."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a probe of one link found."""

    link: Link
    seen: LinkState


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question through a link.

    Attributes:
        came: Something was answered.
        took_s: From sending, on an open connection, until then or until it was given up.
    """

    came: bool
    took_s: float


class Links(Protocol):
    """The directed links of one lab."""

    async def set_states(self, wanted: Mapping[Link, LinkState]) -> None:
        """Hold links in states, or let go of them; in force when this returns."""

    def held(self) -> Mapping[Link, LinkState]:
        """The state that every link is held in."""
        ...

    def states(self) -> Mapping[Link, LinkState]:
        """The state of every link; those that it is not held in were asked for by somebody else."""
        ...

    async def uphold(self) -> Collection[Link]:
        """Put back what somebody else undid of what is held, where that is possible; the links concerned."""
        ...

    async def meddled(self, links: Collection[Link]) -> Collection[Link]:
        """Those on which somebody else, through Toxiproxy's API, has a cut or a toxic of his own."""
        ...

    async def probe(self, links: Iterable[Link]) -> list[Probe]:
        """Measure links as their sources would find them: all of a few, a spread of many."""
        ...

    async def serve_api(self) -> list[str]:
        """Serve Toxiproxy's API over these links for whoever wants more than labctl's verbs; addresses, perhaps none."""
        ...

    async def close(self) -> None:
        """Let go of what is held in this process. Containers and what runs in them stay."""


@runtime_checkable
class ToxicLinks(Protocol):
    """Links that can carry on badly, not only be cut."""

    @property
    def toxic_types(self) -> Collection[str]:
        """The types of toxics that these links can have."""
        ...

    async def set_toxics(self, wanted: Mapping[Link, tuple[HoldToxic, ...]]) -> None:
        """Give links these toxics of faults and no others; in force when this returns."""

    async def toxics(self, links: Collection[Link]) -> Mapping[Link, tuple[HoldToxic, ...]]:
        """The toxics of faults on each link, read back from what carries it."""
        ...

    async def ask(self, link: Link, question: bytes, patience_s: float) -> Answer:
        """Connect as the source of the link would, ask, time the answer's first byte and hang up."""
        ...


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What became of datagrams that were sent from one party to another, by a socket of the one to a socket of the other.

    Attributes:
        sent: How many were.
        arrived: How many came, each counted once.
        twice: How many of these came again.
        overtaken: How many came after one that was sent later.
        damaged: How many the receiver's kernel threw away for their checksum.
        least_ms: The shortest time under way; None where none came.
    """

    sent: int
    arrived: int
    twice: int
    overtaken: int
    damaged: int
    least_ms: float | None

    @property
    def unharmed(self) -> bool:
        """All of them came, once, in order."""
        return self.arrived == self.sent and not (self.twice or self.overtaken or self.damaged)


@dataclass(frozen=True, slots=True)
class Met:
    """What a claim on packets has done: `seen` of them came to it, and it acted on `acted`."""

    seen: int
    acted: int


@runtime_checkable
class WiredLinks(Protocol):
    """Links over wires of the kernel, whose packets can be impaired one by one."""

    def impair(self, wanted: Mapping[Link, tuple[HoldImpaired, ...]]) -> None:
        """Have packets from one party to another meet these claims and no others; in force when this returns."""

    def impaired(self, links: Collection[Link]) -> Mapping[Link, Mapping[HoldImpaired, Met]]:
        """The claims that packets meet, and what each has done."""
        ...

    def detoured(self, links: Collection[Link]) -> Collection[Link]:
        """Those whose packets the kernel does not send by the wire, as it says itself."""
        ...

    async def send_datagrams(self, link: Link, count: int, patience_s: float) -> Arrivals:
        """Send datagrams from one party to the other, and wait for them until nothing has come for so long."""
        ...


@runtime_checkable
class CountedToxics(Protocol):
    """Links whose toxics count what they do. Real Toxiproxy's do not."""

    async def tallies(self, links: Collection[Link]) -> Mapping[Link, Mapping[HoldToxic, Tally]]:
        """What the toxics of faults on each link have done so far."""
        ...


@dataclass(frozen=True, slots=True)
class LinkTraffic:
    """What a link carried.

    Attributes:
        connections: Open now.
        to_target: Bytes from its source to its target since the link was made.
        to_source: Bytes back.
    """

    connections: int
    to_target: int
    to_source: int


@runtime_checkable
class MeasuredLinks(Protocol):
    """Links that count what they carry."""

    def traffic(self) -> Mapping[Link, LinkTraffic]:
        """What each link carried; nothing where links are too many to be counted in one place."""
        ...


@runtime_checkable
class AudibleLinks(Protocol):
    """Links that can be listened to."""

    def listen(self) -> str:
        """Record from now on what nodes tell each other; why that is not possible, empty when it is."""
        ...

    def stop_listening(self) -> Heard:
        """What was heard since."""
        ...


@runtime_checkable
class LocalProcesses(Protocol):
    """Servers that are processes of this machine, with their files in the lab's folder."""

    def process_id(self, node: NodePlan) -> int | None:
        """The server's process; None when it is gone."""
        ...


@runtime_checkable
class LimitedServers(Protocol):
    """Servers that the kernel can be told to give less of something, without their being processes of this machine."""

    async def require_limit(self) -> None:
        """Raise CapabilityError where servers cannot be held within limits."""

    async def limit(self, node: NodePlan, resource: Resource, amount: int | None) -> None:
        """Hold a running server within a limit (see `HoldLimit`), or with None let go of it."""

    async def is_limited(self, node: NodePlan, resource: Resource) -> bool:
        """Whether it is held within a limit of a fault."""
        ...

    async def times_limited(self, node: NodePlan, resource: Resource) -> int:
        """How often it ran into its limit: was throttled, or killed for its memory."""
        ...


@runtime_checkable
class SizedDisks(Protocol):
    """Servers whose disks can be filled without hurting anything else."""

    async def require_disk(self) -> None:
        """Raise CapabilityError where it is not possible after all."""

    async def fill_disk(self, node: NodePlan, left: int | None) -> int:
        """Leave so many bytes free, or with None what there was; how many bytes were taken."""
        ...


@runtime_checkable
class OwnNetworks(Protocol):
    """Servers with a network of their own, whose packets can be interfered with."""

    async def require_packets(self, what: Packets) -> None:
        """Raise CapabilityError where this cannot be done to packets."""

    async def shape(self, node: NodePlan, packets: Mapping[Packets, float]) -> str:
        """Bring the network to what is wanted, by percentages; what was measured, in words.

        Raises:
            InjectionError: The kernel says that it is otherwise.
        """
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """Where one lab runs: its plan, with every address decided and held, its servers and its links."""

    plan: LabPlan
    runtime: Runtime
    links: Links
