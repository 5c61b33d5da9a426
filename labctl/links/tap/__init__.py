"""Listening to links: who told whom what, without touching a byte of it.

Off by default, and then it costs a test for None per chunk. A link that is listened to hands each chunk that it read to an
*ear*, one for each direction of each connection, before it is sent on. Ears keep what matters in the story of a failover
and forget the rest, so that a recorder's memory is bounded by its length alone. An ear that meets what it cannot read goes
deaf; it never holds up or breaks the connection.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from labctl.links.tap.bus import BusEar
from labctl.links.tap.interest import EndOfInterest
from labctl.links.tap.resp import AnswerEar, RequestEar

if TYPE_CHECKING:
    from labctl.links.connection import Connection
    from labctl.model.message import Topic

log = logging.getLogger(__name__)

MOST_MESSAGES = 20_000
_TLS = b"\x16\x03"
"""How a TLS handshake begins. Application data begins with 0x17."""

Raw = tuple[int, str, bool, "Topic", str]
"""Time, link, whether it is an answer (from the link's target), topic, text with addresses and ids as they were."""


class Reader(Protocol):
    """Makes messages of one direction of one connection."""

    def read(self, chunk: bytes) -> None:
        """Take the next bytes; says through its callback what it made of them."""


class Ear:
    """One direction of one connection: passes chunks to its reader until that has heard enough."""

    __slots__ = ("_link", "_reader", "_recorder")

    def __init__(self, recorder: Recorder, link: str, reader: Reader) -> None:
        self._recorder = recorder
        self._link = link
        self._reader: Reader | None = reader

    @property
    def deaf(self) -> bool:
        """Whether nothing more will be heard."""
        return self._reader is None

    def hear(self, chunk: memoryview) -> None:
        """Take the next bytes. Never raises."""
        reader = self._reader
        if reader is None:
            return
        try:
            data = bytes(chunk)
            if data[:2] == _TLS or (data[:1] == b"\x17" and data[1:2] == b"\x03"):
                self._recorder.unreadable.add(self._link)
                self._reader = None
            else:
                reader.read(data)
        except EndOfInterest:
            self._reader = None
        except Exception:  # a listener must not be able to break what it listens to
            log.exception("listening to link %s has ended", self._link)
            self._reader = None


def ends(link: str, *, answer: bool) -> tuple[str, str]:
    """Who speaks and who listens, by the name of a link and whether it is an answer."""
    source, _, target = link.partition(".bus." if ".bus." in link else ".to.")
    return (target, source) if answer else (source, target)


class Recorder:
    """What was heard on any number of links; the oldest is given up for the newest beyond `most`."""

    def __init__(self, most: int = MOST_MESSAGES, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.messages: deque[Raw] = deque(maxlen=most)
        self.unreadable: set[str] = set()
        self.heard = 0
        self._clock = clock
        self._known: dict[tuple[str, str, str], object] = {}

    @property
    def dropped(self) -> int:
        """How many messages were given up."""
        return self.heard - len(self.messages)

    def reader(self, link: str, *, answer: bool, bus: bool) -> Reader:
        """What reads one direction of a link's connections."""

        def say(topic: Topic, text: str) -> None:
            self.heard += 1
            self.messages.append((self._clock(), link, answer, topic, text))

        speaker, listener = ends(link, answer=answer)

        def new(subject: str, state: object, usual: object = None, *, to_anybody: bool = False) -> bool:
            """Whether the speaker says another thing than before. What it says first counts as said all along."""
            key = (speaker, "" if to_anybody else listener, subject)
            before = self._known.get(key, state if usual is None else usual)
            self._known[key] = state
            return before != state

        if bus:
            return BusEar(say, new)
        return AnswerEar(say) if answer else RequestEar(say, new)


@dataclass(frozen=True, slots=True)
class Tap:
    """Listens to the connections of one link. `bus` when they speak the Cluster's binary protocol."""

    recorder: Recorder
    link: str
    bus: bool = False

    def listen(self, connection: Connection) -> None:
        """Put ears on both directions of an established connection."""
        for pipe, answer in ((connection.up, False), (connection.down, True)):
            pipe.ear = Ear(self.recorder, self.link, self.recorder.reader(self.link, answer=answer, bus=self.bus))
