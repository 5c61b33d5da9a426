"""What replicas tell their primaries, and Sentinels tell servers and each other, over RESP.

Only commands named here are recorded, and of these only the words named here: AUTH's are nobody's business, nor is data.
Answers are told by their shape, not by counting requests, so that listening can begin in the middle of a connection.

Sources: redis.io, "Redis replication", "High availability with Redis Sentinel" (Sentinel's own commands);
`replication.c` and `sentinel.c` for the handshake and the hello message.
"""

from __future__ import annotations

import re

from labctl.links.resp.framing import Framer, FramingError, request_of
from labctl.links.tap.interest import EndOfInterest, New, Say
from labctl.model.message import Topic

_HELLO = b"__sentinel__:hello"
_STREAMS = (b"+FULLRESYNC", b"+CONTINUE")
_COMMAND = re.compile(rb"\*\d+\r\n\$")
"""A list of strings answers nothing that is asked here: it is a replicated command, or a message to subscribers."""

_WORD = 60


class _Frames:
    """Messages of a stream that may be joined in the middle: until one begins with a chunk, chunks are passed over."""

    __slots__ = ("_begins", "_framer")

    def __init__(self, begins: bytes) -> None:
        self._framer: Framer | None = None
        self._begins = begins

    def feed(self, chunk: bytes) -> list[bytes]:
        if self._framer is None:
            if chunk[:1] not in self._begins:
                return []
            self._framer = Framer()
        try:
            return self._framer.feed(chunk)
        except FramingError as error:
            self._framer = None
            return error.frames


class RequestEar:
    """Requests: REPLCONF and PSYNC of replicas, orders, questions and hellos of Sentinels."""

    def __init__(self, say: Say, new: New) -> None:
        self._say = say
        self._new = new
        self._frames = _Frames(b"*")

    def read(self, chunk: bytes) -> None:
        """Take the next bytes."""
        for frame in self._frames.feed(chunk):
            words = [word[:_WORD].decode("utf-8", "replace") for word in request_of(frame)]
            if words:
                self._request(words[0].upper(), words, frame)

    def _request(self, command: str, words: list[str], frame: bytes) -> None:
        match command:
            case "PSYNC" | "SYNC":
                self._say(Topic.SYNC, " ".join([command, *words[1:4]]))
            case "REPLCONF" if len(words) > 1 and words[1].lower() not in ("ack", "getack"):
                self._say(Topic.SYNC, f"REPLCONF {words[1].lower()}")
            case "SLAVEOF" | "REPLICAOF" | "FAILOVER":
                self._say(Topic.ORDER, " ".join([command, *words[1:4]]))
            case "CONFIG" | "CLIENT" if len(words) > 1 and words[1].upper() in ("REWRITE", "KILL"):
                self._say(Topic.ORDER, f"{command} {words[1].upper()}")
            case "SENTINEL" if len(words) > 5 and words[1].lower() == "is-master-down-by-addr":
                self._question(words)
            case "PUBLISH" if len(words) == 3 and _HELLO in frame[:80]:
                self._hello(request_of(frame)[2])
            case _:
                pass

    def _question(self, words: list[str]) -> None:
        address, epoch, asks = f"{words[2]}:{words[3]}", words[4], words[5]
        if asks == "*":
            self._say(Topic.VOTE, f"is {address} down?")
        else:
            self._say(Topic.VOTE, f"vote for me in epoch {epoch}")

    def _hello(self, text: bytes) -> None:
        """`ip,port,runid,current_epoch,name,master_ip,master_port,master_config_epoch`."""
        parts = text.decode("utf-8", "replace").split(",")
        if len(parts) >= 8:
            address, epoch = f"{parts[5]}:{parts[6]}", parts[7]
            if self._new("hello", (address, epoch)):
                self._say(Topic.HELLO, f"hello: {address} is primary, epoch {epoch}")


class AnswerEar:
    """Answers: to PSYNC, after which the stream itself follows and is not listened to; and Sentinels' votes."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._frames = _Frames(b"+-:$*")

    def read(self, chunk: bytes) -> None:
        """Take the next bytes. Raises EndOfInterest where replicated data or messages of a subscription begin."""
        if chunk.startswith(_STREAMS):  # what follows in the same chunk is the stream
            self._say(Topic.SYNC, _line(chunk))
            raise EndOfInterest
        for frame in self._frames.feed(chunk):
            if frame.startswith(_STREAMS):
                self._say(Topic.SYNC, _line(frame))
                raise EndOfInterest
            if _COMMAND.match(frame):
                raise EndOfInterest
            if frame.startswith((b"-NOMASTERLINK", b"-LOADING", b"-MASTERDOWN", b"-READONLY", b"-NOAUTH", b"-NOPERM")):
                self._say(Topic.SYNC, _line(frame))
            elif frame.startswith(b"*3\r\n:"):
                self._vote(frame)

    def _vote(self, frame: bytes) -> None:
        """`down_state, leader, leader_epoch`: the answer to is-master-down-by-addr."""
        parts = frame.split(b"\r\n")
        if len(parts) < 5 or not parts[2].startswith(b"$") or not parts[4].startswith(b":"):
            return
        leader, epoch = parts[3].decode("utf-8", "replace"), parts[4][1:].decode()
        if leader != "*":
            self._say(Topic.VOTE, f"votes for {leader} in epoch {epoch}")
        else:
            self._say(Topic.VOTE, "yes, down for me too" if parts[1] == b":1" else "no, not down for me")


def _line(frame: bytes) -> str:
    return frame.split(b"\r\n", 1)[0][:120].decode("utf-8", "replace")
