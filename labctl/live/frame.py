"""What the live view shows at one moment. Plain values, for it travels as JSON to a terminal and to a browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from labctl.model.fault import LinkState, Parameters
from labctl.model.topology import Kind, Role

KEPT_SAMPLES = 240
"""How much of a curve is kept: two minutes at two samples a second."""

NO_ANSWER = -1.0
"""In the curve of a PING: none came back."""


class Condition(StrEnum):
    """How a server is, as far as can be seen from outside.

    HUNG runs, for the kernel, and does not answer. PAUSED was stopped by a signal. DOWN has no process.
    """

    UP = "up"
    LOADING = "loading"
    HUNG = "hung"
    PAUSED = "paused"
    DOWN = "down"


class EdgeKind(StrEnum):
    """Why two parties are joined by a line.

    REPLICATION goes from a replica to what it follows, WATCH from a Sentinel to the primary that it believes in, CLIENTS
    from a client group to a primary. OTHER is a link that is drawn only because something is wrong with it.
    """

    REPLICATION = "replication"
    WATCH = "watch"
    CLIENTS = "clients"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Belief:
    """What a Sentinel believes; see `model.view.SentinelView`.

    Attributes:
        primary: Whom it sends clients to.
        epoch: Of the configuration that made it the primary.
        words: What it holds against it, `s_down` and `o_down` for example; `tilt` and failover states among them.
        quorum_ok: CKQUORUM is satisfied.
        vote: The Sentinel that its peers voted for, as far as they told it; empty when that is older than `epoch`.
        vote_epoch: The epoch of that vote.
    """

    primary: str
    epoch: int
    words: tuple[str, ...]
    quorum_ok: bool
    vote: str = ""
    vote_epoch: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """A server.

    Attributes:
        name: Its name.
        role: What it says it is; what it said last, while it does not answer.
        condition: How it is.
        note: Why it does not answer or what is wrong, in a few words; empty otherwise.
        depth: In its shard's tree: 0 for a primary, 1 for what replicates a primary, and so on.
        former: It does not answer, was a primary, and its shard has another one by now.
        follows: For a replica, whom.
        link: For a replica, its replication link: `up`, `sync` while it loads a full copy, `down`; empty otherwise.
        offset: Replication offset in bytes.
        lag_bytes: For a replica, bytes behind its primary; None when that cannot be known.
        ops_per_s: Commands a second, by its own account.
        keys: In all databases.
        memory_bytes: Used by its data.
        clients: Connected clients.
        epoch: Of the configuration by which it is a primary; 0 where there are none.
        slots: In a Cluster, the ranges that it owns.
        faults: Numbers of the faults that are about it.
        reach: What cut links leave of it in words: `cut off from everybody`, `reaches only clients-a`; empty while it has
            most of them.
        belief: For a Sentinel.
    """

    name: str
    role: Role
    condition: Condition
    note: str = ""
    depth: int = 0
    former: bool = False
    follows: str | None = None
    link: str = ""
    offset: int = 0
    lag_bytes: int | None = None
    ops_per_s: int = 0
    keys: int = 0
    memory_bytes: int = 0
    clients: int = 0
    epoch: int = 0
    slots: str = ""
    faults: tuple[int, ...] = ()
    reach: str = ""
    belief: Belief | None = None

    @property
    def leads(self) -> bool:
        """It answers and says that it is a primary."""
        return self.role is Role.PRIMARY and self.condition in (Condition.UP, Condition.LOADING)


@dataclass(frozen=True, slots=True)
class Shard:
    """Primaries and what follows them.

    Attributes:
        number: 1-based.
        nodes: As a tree written from top to bottom: each primary, then what follows it. Former primaries come last.
    """

    number: int
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """A line of the picture.

    Attributes:
        source: A node or client group: who opens connections. For OTHER the one that comes first in the plan.
        target: A node or client group.
        kind: Why it is drawn.
        state: Of the link from source to target.
        back: For OTHER, of the link from target to source, which is open where there is none.
        toxics: What both links carry on with, in words: `latency 200 ms`.
        bytes_per_s: What the link from source to target carries, both ways together; None where nobody counts.
    """

    source: str
    target: str
    kind: EdgeKind
    state: LinkState = LinkState.OPEN
    back: LinkState = LinkState.OPEN
    toxics: tuple[str, ...] = ()
    bytes_per_s: float | None = None

    @property
    def faulty(self) -> bool:
        """Something was done to it."""
        return self.state is not LinkState.OPEN or self.back is not LinkState.OPEN or bool(self.toxics)


@dataclass(frozen=True, slots=True)
class Picture:
    """A lab at one moment.

    Attributes:
        shards: In order; one outside a Cluster.
        sentinels: In order.
        groups: Names of the client groups.
        edges: Lines, those with a reason of their own first.
        hidden_edges: How many OTHER edges were left out because there are too many to draw.
    """

    shards: tuple[Shard, ...]
    sentinels: tuple[Node, ...] = ()
    groups: tuple[str, ...] = ()
    edges: tuple[Edge, ...] = ()
    hidden_edges: int = 0

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every server, shard by shard, Sentinels last."""
        return (*(node for shard in self.shards for node in shard.nodes), *self.sentinels)


@dataclass(frozen=True, slots=True)
class Ping:
    """What a client of a group would find at a primary now: the time of a PING through the group's own link.

    Attributes:
        group: The client group.
        node: The primary.
        ms: Round trip in milliseconds; None when none came back.
        error: Why none came back: `silent`, or the server's or the kernel's word.
    """

    group: str
    node: str
    ms: float | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """A fault in force.

    Attributes:
        id: Its number.
        kind: Registry name.
        target: As it was asked for.
        params: Those that differ from the kind's defaults.
        lasts_s: Its whole duration; None for one that is healed by hand.
        ends_in_s: Seconds left; None as above.
        links: How many links it holds.
        nodes: Which servers it holds.
        reverting: It is being undone.
        trouble: Why its undo failed; empty otherwise.
    """

    id: int
    kind: str
    target: str
    params: Parameters
    lasts_s: float | None
    ends_in_s: float | None
    links: int
    nodes: tuple[str, ...]
    reverting: bool = False
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything that is shown at one moment.

    Attributes:
        number: Counts frames of this agent.
        at_s: Wall clock, seconds since the epoch.
        lab: The lab's name.
        topology: The topology's name.
        kind: Its shape.
        engine: Such as `redis 7.0.15`.
        quorum: Of Sentinels; 0 without any.
        reasons: Why the lab is not healthy, the first few; empty when it is.
        more_reasons: How many there are besides.
        picture: The lab.
        faults: In force, oldest first.
        pings: What clients find.
        samples: One value for each curve: `ops` (all primaries together), `ops:NODE`, `lag:NODE` in bytes,
            `ms:GROUP:NODE`, which is NO_ANSWER when none came. None, or left out, where there is nothing to know.
        pace_s: Seconds until the next frame, unless something happens before.
    """

    number: int
    at_s: float
    lab: str
    topology: str
    kind: Kind
    engine: str
    quorum: int
    reasons: tuple[str, ...]
    more_reasons: int
    picture: Picture
    faults: tuple[Standing, ...] = ()
    pings: tuple[Ping, ...] = ()
    samples: Mapping[str, float | None] = field(default_factory=dict)
    pace_s: float = 0.5
