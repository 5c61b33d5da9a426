"""Faults are data; actions are the few things that a lab can be made to do, each disruptive one with its inverse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Scalar = str | int | float | bool
Parameters = tuple[tuple[str, Scalar], ...]
"""Named values in the order stated; hashable, so that a claim is."""
DEFAULT_FAULT_S = 30.0
HELD_PREFIX = "labctl-"
"""Names of toxics that whoever runs a link server puts on links of its own."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a user or a scenario asks for, targets still symbolic.

    Attributes:
        kind: Registry name, `kill` or `partition` for example.
        target: Symbolic target (`primary`, `replica-of:redis-1`, `slot:1234`, `redis-2,clients-b`), resolved against the
            observed view when the fault is injected. Empty for faults without one.
        duration_s: Seconds until the agent reverts it; None means until healed by hand (`--forever`).
        params: Parameters of the kind, scalars only.
        origin: For a fault on links: the parties whose connections towards the target are meant, one way only; empty
            for both directions, from and to everybody else.
        follow: When the roles move that the target names, the fault moves along: it is injected where they are now and
            reverted where they were.
    """

    kind: str
    target: str = ""
    duration_s: float | None = DEFAULT_FAULT_S
    params: Mapping[str, Scalar] = field(default_factory=dict)
    origin: str = ""
    follow: bool = False


class LinkState(StrEnum):
    """What a link does with connections.

    OPEN carries them. REFUSED resets those that exist and refuses new ones, like a dead process on a live host.
    BLACKHOLE stalls them without losing a byte that the sender's kernel accepted, like packets dropped on the way:
    on heal, what was sent in between arrives, as it would by TCP's retransmission.

    Two things tell a black hole from dropped packets: a new connection is accepted by the kernel and then stays
    silent, where its SYN would have been lost; and TCP keep-alive probes are still answered. Time-outs of the protocol
    above, which is what Redis, Sentinel and clients go by, see no difference.
    """

    OPEN = "open"
    REFUSED = "refused"
    BLACKHOLE = "blackhole"

    @property
    def severity(self) -> int:
        """Which of two holds where they meet: a closed connection cannot stall, so a refusal outweighs a black hole."""
        return (LinkState.OPEN, LinkState.BLACKHOLE, LinkState.REFUSED).index(self)


class ServerState(StrEnum):
    """What the operating system says about a server, whatever the server itself says."""

    RUNNING = "running"
    PAUSED = "paused"
    GONE = "gone"


class Ending(StrEnum):
    """How a server is ended.

    KILL is SIGKILL: what it wrote stays in the kernel's cache. TERM is SIGTERM: it may save and say goodbye. SHUTDOWN is
    the command, with options. POWER is SIGKILL and the loss of everything that was not fsynced.
    """

    KILL = "kill"
    TERM = "term"
    SHUTDOWN = "shutdown"
    POWER = "power"


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """A directed link: connections that `source` opens to `target`. `source` is a node or a client group."""

    source: str
    target: str

    @property
    def name(self) -> str:
        """The proxy's name in the link server."""
        return f"{self.source}.to.{self.target}"


class _OnLink:
    """Base of what is done to a link."""

    __slots__ = ()
    link: Link

    @property
    def subject(self) -> str:
        """What it is done to, for people."""
        return self.link.name


class _OnNode:
    """Base of what is done to a server."""

    __slots__ = ()
    node: str

    @property
    def subject(self) -> str:
        """What it is done to, for people."""
        return self.node


@dataclass(frozen=True, slots=True)
class CutLink(_OnLink):
    """Hold a link in a state other than open. Inverse: let go."""

    link: Link
    state: LinkState
    claim: Literal["cut-link"] = "cut-link"


@dataclass(frozen=True, slots=True)
class HoldToxic(_OnLink):
    """Hold a toxic on a link. Inverse: remove it; what it held back goes on its way.

    Attributes:
        link: On which link, the bus included where it has one.
        toxic: Its type in Toxiproxy's API, `latency` for example.
        stream: `upstream`, from the link's source to its target, or `downstream`.
        attributes: As in Toxiproxy's API.
        toxicity: The share of connections that it applies to.
    """

    link: Link
    toxic: str
    stream: Literal["upstream", "downstream"]
    attributes: Parameters
    toxicity: float = 1.0
    claim: Literal["toxic"] = "toxic"


class Impairment(StrEnum):
    """What can happen to single packets."""

    LOSS = "loss"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    CORRUPT = "corrupt"
    DELAY = "delay"


@dataclass(frozen=True, slots=True)
class HoldImpaired(_OnLink):
    """Impair the packets that one party sends to another, of whatever connection. Inverse: they go by the wire again.

    Attributes:
        link: From whom to whom. Unlike with other claims it is about packets, not about who opened a connection: an answer
            of redis-2 to redis-1 goes from redis-2 to redis-1.
        what: Happens to them.
        share: Of them to which it happens.
        ms: How late, for DELAY and REORDER.
        jitter_ms: Up to so much more or less, for DELAY.
        seed: Of what is drawn.
    """

    link: Link
    what: Impairment
    share: float = 1.0
    ms: float = 0.0
    jitter_ms: float = 0.0
    seed: int = 0
    claim: Literal["impaired"] = "impaired"


@dataclass(frozen=True, slots=True)
class HoldDown(_OnNode):
    """End a server and keep it down. Inverse: start it again.

    Attributes:
        node: Its name.
        by: How it is ended.
        options: Words behind SHUTDOWN.
    """

    node: str
    by: Ending = Ending.KILL
    options: tuple[str, ...] = ()
    claim: Literal["down"] = "down"


@dataclass(frozen=True, slots=True)
class HoldPaused(_OnNode):
    """Freeze a server. Inverse: let it go on."""

    node: str
    claim: Literal["paused"] = "paused"


@dataclass(frozen=True, slots=True)
class HoldCrashing(_OnNode):
    """Kill a server each time that it has run for `up_ms`, and start it again. Inverse: leave it running."""

    node: str
    up_ms: int
    claim: Literal["crashing"] = "crashing"


@dataclass(frozen=True, slots=True)
class HoldSetting(_OnNode):
    """Hold a configuration parameter at a value. Inverse: CONFIG SET to what it was before any claim stood on it.

    Attributes:
        node: Whose.
        name: As in redis.conf.
        value: The value held.
        before: The value to go back to; None until the lab was asked, which is before the claim is journalled.
    """

    node: str
    name: str
    value: str
    before: str | None = None
    claim: Literal["setting"] = "setting"


@dataclass(frozen=True, slots=True)
class HoldTraffic(_OnNode):
    """Connections of the agent's own do something to a server for as long as this stands. Inverse: they end.

    Attributes:
        node: The server.
        pattern: What they do; a name in `agent.traffic`.
        parameters: Of the pattern.
    """

    node: str
    pattern: str
    parameters: Parameters = ()
    claim: Literal["traffic"] = "traffic"


class Resource(StrEnum):
    """What the kernel can be told to give a server less of."""

    CPU = "cpu"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class HoldLimit(_OnNode):
    """Hold a server within a limit by a control group of the kernel. Inverse: it goes back to where it came from.

    Attributes:
        node: The server.
        resource: Of what.
        amount: CPU: percent of one processor. Memory: bytes more than now.
        deadly: The limit is meant to end the server, which then is to be started again.
    """

    node: str
    resource: Resource
    amount: int
    deadly: bool = False
    claim: Literal["limit"] = "limit"


class Knob(StrEnum):
    """What the preloaded shim can be told to do to a server's system calls (`faults/shim/shim.c`)."""

    FSYNC_DELAY_MS = "fsync_delay_ms"
    FSYNC_ERRNO = "fsync_errno"
    WRITE_BUDGET = "write_budget"
    READ_ONLY = "read_only"
    CLOCK_OFFSET_MS = "clock_offset_ms"
    CLOCK_DRIFT_PPM = "clock_drift_ppm"
    FORK_ERRNO = "fork_errno"


@dataclass(frozen=True, slots=True)
class HoldKnob(_OnNode):
    """Hold a knob of the shim in a server. Inverse: back to zero, where it does nothing."""

    node: str
    knob: Knob
    value: int
    claim: Literal["knob"] = "knob"


@dataclass(frozen=True, slots=True)
class HoldFull(_OnNode):
    """Hold a server's disk full, by a file that takes what is free. Inverse: the file goes.

    Attributes:
        node: The server.
        left: Bytes left free.
    """

    node: str
    left: int
    claim: Literal["full"] = "full"


class Packets(StrEnum):
    """What happens to packets between a pod and the lab's network."""

    LOST = "lost"
    DUPLICATED = "duplicated"
    CORRUPTED = "corrupted"
    REORDERED = "reordered"
    DISCONNECTED = "disconnected"
    """All of them are lost; the interface is down, and the pod knows it."""


@dataclass(frozen=True, slots=True)
class HoldPackets(_OnNode):
    """Hold a pod's network in a bad way. Inverse: as it was.

    Attributes:
        node: Whose pod.
        what: Happens to packets.
        percent: Of them.
    """

    node: str
    what: Packets
    percent: float = 100.0
    claim: Literal["packets"] = "packets"


class Damage(StrEnum):
    """What happens to a file while its server is down."""

    TRUNCATE = "truncate"
    FLIP = "flip"


@dataclass(frozen=True, slots=True)
class HoldDamaged(_OnNode):
    """Kill a server, damage a file of its, start it on that. Inverse: the file as it was, should the server refuse it.

    A server that accepted the damaged file goes on from what it loaded; giving it back the old file would undo writes.

    Attributes:
        node: The server.
        file: `aof` (the last incremental file) or `rdb`.
        how: Cut the end off, or flip bits.
        amount: Bytes.
        at: For flips, where in the file: 0.0 its beginning, 1.0 its end.
    """

    node: str
    file: Literal["aof", "rdb"]
    how: Damage
    amount: int
    at: float = 0.5
    claim: Literal["damaged"] = "damaged"


@dataclass(frozen=True, slots=True)
class Trigger(_OnNode):
    """Tell a server to do something that is over once it is done, and so has no inverse: a failover.

    Attributes:
        node: Who is told.
        command: The words.
        promotes: Which node is to be primary afterwards; empty for any other than now.
    """

    node: str
    command: tuple[str, ...]
    promotes: str = ""
    claim: Literal["trigger"] = "trigger"


LinkAction = CutLink | HoldToxic | HoldImpaired
NodeAction = (
    HoldDown
    | HoldPaused
    | HoldCrashing
    | HoldSetting
    | HoldTraffic
    | HoldLimit
    | HoldKnob
    | HoldFull
    | HoldPackets
    | HoldDamaged
    | Trigger
)
Action = LinkAction | NodeAction
"""What a fault comes down to. Each but `Trigger` is a claim on the lab that lasts as long as its fault.

The state of a link or a server is a function of all claims that stand on it (`faults.claims`), so undoing a fault is
dropping its claims, in any order, and overlapping faults cannot undo each other.
"""
