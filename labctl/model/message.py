"""What nodes told each other over a lab's links, as far as it was listened to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Topic(StrEnum):
    """What a message is about. Messages that are part of everyday life (PING, INFO, acknowledgements) are not recorded."""

    SYNC = "sync"
    """Replication: REPLCONF, PSYNC, and what the primary answers."""

    ORDER = "order"
    """A Sentinel tells a server what to be: REPLICAOF, CONFIG REWRITE, CLIENT KILL."""

    VOTE = "vote"
    """Is the primary down, who is to lead; and the answers."""

    HELLO = "hello"
    """A Sentinel publishes a configuration that is not the one that it published before."""

    SUSPECT = "suspect"
    """A Cluster node gossips that it holds another one for failing, or does so no longer."""

    FAIL = "fail"
    """A Cluster node declares another one failed."""

    ELECTION = "election"
    """A Cluster replica asks for votes, or is given one."""

    CLAIM = "claim"
    """A Cluster node announces another role or config epoch than before, or is told of a newer one."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came into the link that carries it.

    Attributes:
        at_ns: Monotonic clock, when the link read it.
        source: Who said it: the link's source, or its target for an answer.
        target: To whom.
        topic: What it is about.
        text: In a few words, with node names for addresses and ids.
    """

    at_ns: int
    source: str
    target: str
    topic: Topic
    text: str


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard on the links of a lab.

    Attributes:
        messages: In order of time.
        dropped: How many of the oldest were given up to keep within memory.
        unreadable: Links that carried what cannot be read: TLS.
        why_not: Why nothing could be listened to; empty when it could.
    """

    messages: tuple[Message, ...] = ()
    dropped: int = 0
    unreadable: tuple[str, ...] = ()
    why_not: str = ""
