"""One connection as requests and replies.

The session acts as though it were at the server: it is the last stage of the upstream chain and the first of the
downstream chain, so that latency and the like act on requests before it and on replies, its own included, after it.

Every request gets an `Expectation`, in order. Replies of the server fill those of forwarded requests; those of requests
that a toxic answered are filled here. A reply, whosever, leaves when all before it have left: the client sees one
stream in pipeline order.

Where requests and replies no longer pair (subscriptions, MONITOR, replication, CLIENT REPLY) the replies from there on
are passed on unread; requests are still matched. A stream that is no RESP is passed on unread altogether.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from labctl.links.pipe import Ending
from labctl.links.resp.framing import Framer, FramingError, request_of
from labctl.links.tally import Tally
from labctl.links.toxics.base import DelayingStage, Draw, ToxicChain

if TYPE_CHECKING:
    from labctl.links.connection import Connection
    from labctl.links.pipe import Pipe

log = logging.getLogger(__name__)

_STREAMING = frozenset(b"SUBSCRIBE PSUBSCRIBE SSUBSCRIBE MONITOR SYNC PSYNC".split())
_EXECABORT = b"-EXECABORT Transaction discarded because of previous errors.\r\n"
_DISCARD = b"*1\r\n$7\r\nDISCARD\r\n"


@dataclass(slots=True, eq=False)
class Verdict:
    """What the toxics want done with one request and its reply.

    Attributes:
        delay_s: Before the request reaches the server; requests behind it wait too.
        answer: Answer this instead of forwarding the request.
        lose_request: The request does not arrive, nor does anything behind it.
        cut_request: Forward that many bytes of the request (a negative number: half of it), then close.
        reply_delay_s: Before the reply goes to the client; replies behind it wait too.
        replace_reply: The client gets this instead of the reply.
        lose_reply: The reply does not arrive, nor does anything behind it.
        cut_reply: Pass on that many bytes of the reply (a negative number: half of it), then close.
        met: Tallies of the toxics that act on the request.
        met_by_reply: Tallies of the toxics that act on the reply.
    """

    delay_s: float = 0.0
    answer: bytes | None = None
    lose_request: bool = False
    cut_request: int | None = None
    reply_delay_s: float = 0.0
    replace_reply: bytes | None = None
    lose_reply: bool = False
    cut_reply: int | None = None
    met: list[Tally] = field(default_factory=list)
    met_by_reply: list[Tally] = field(default_factory=list)

    @property
    def is_plain(self) -> bool:
        """Whether the reply goes through as it is."""
        effects = (self.answer, self.replace_reply, self.cut_reply)
        return not (any(effect is not None for effect in effects) or self.lose_reply or self.reply_delay_s)


class Rule(Protocol):
    """A RESP toxic on one connection."""

    def judge(self, words: list[bytes], verdict: Verdict) -> None:
        """Add to the verdict on a request if it is meant."""


@dataclass(slots=True, eq=False)
class Expectation:
    """A reply to come: `reply` is None until it is there."""

    verdict: Verdict
    reply: bytes | None = None
    streaming: bool = False


@dataclass(slots=True, eq=False)
class Session:
    """The RESP toxics of one connection. See the module's text."""

    connection: Connection
    rules: dict[object, Rule] = field(default_factory=dict)
    requests: RequestStage = field(init=False)
    replies: ReplyStage = field(init=False)
    expected: deque[Expectation] = field(default_factory=deque)
    engaged: bool = False
    in_transaction: bool = False
    transaction_is_dirty: bool = False
    lost_bytes: bool = False

    def install(self) -> None:
        """Become part of both chains."""
        up, down = self.connection.up, self.connection.down
        self.requests, self.replies = RequestStage(self, up), ReplyStage(self, down)
        # A connection that has carried nothing yet is read from its first byte on. Of one that has, the first request
        # that begins with a chunk is taken to follow the last reply: true of clients that wait for their replies.
        self.engaged = not up.received
        for pipe, stage, last in ((up, self.requests, True), (down, self.replies, False)):
            chain = pipe.chain = pipe.chain or ToxicChain(pipe)
            chain.insert(len(chain.keys()) if last else 0, self, stage, live=True)

    def remove(self, key: object) -> None:
        """Take a rule out. What it delayed leaves now; a stream that it made holes into is closed."""
        del self.rules[key]
        self.requests.flush()
        self.replies.flush()
        if self.lost_bytes:
            self.connection.close()
        else:
            self.retire()

    def retire(self) -> None:
        """Leave both chains if no rule is left and no reply is owed."""
        if self.rules or self.connection.closed or any(not owed.verdict.is_plain for owed in self.expected):
            return
        if self.connection.resp is not self:
            return
        self.connection.resp = None
        for pipe in (self.connection.up, self.connection.down):
            chain = pipe.chain
            if chain is not None:
                chain.remove(self)
                if not chain:
                    pipe.chain = None
                pipe.balance()

    def judge(self, words: list[bytes]) -> Verdict:
        """Ask every rule."""
        verdict = Verdict()
        for rule in self.rules.values():
            rule.judge(words, verdict)
        return verdict


class _RespStage(DelayingStage):
    """What both directions share: a framer, and passing on unread once it is lost.

    The incomplete message does not count as held, or reading would stop before its end; `FRAME_LIMIT` bounds it.
    """

    __slots__ = ("_framer", "_muted", "_raw", "_session")
    capacity: ClassVar[int] = 1024 * 1024

    def __init__(self, session: Session, pipe: Pipe, *, inline: bool) -> None:
        super().__init__(pipe, Draw())
        self._session = session
        self._framer = Framer(inline=inline)
        self._raw = False
        self._muted = False

    def flush(self) -> None:
        """Let everything that was delayed go now."""
        super().release()

    def release(self) -> None:
        """See `Stage`: the incomplete message goes too."""
        super().release()
        self.pass_rest()

    def frames(self, data: bytes) -> list[bytes]:
        """Cut `data` into messages. After an error, what the framer still has is to be passed on unread."""
        try:
            return self._framer.feed(data)
        except FramingError as error:
            log.info("link %s: passing on unread: %s", self.pipe.connection.proxy.spec.name, error)
            self._raw = True
            return error.frames

    def is_lost(self) -> bool:
        """Whether the stream turned out not to be RESP."""
        return self._raw

    def pass_rest(self) -> None:
        """Pass on the message that is incomplete."""
        rest = self._framer.rest()
        if rest and not self._muted:
            self.pass_on(rest, time.monotonic())

    def pass_on(self, data: bytes, at: float, delay_s: float = 0.0) -> None:
        """Pass on after what was delayed before."""
        earliest = self._queue[-1][0] if self._queue else 0.0
        self.put(max(earliest, at + delay_s if delay_s else 0.0), data, at)

    def end(self, ending: Ending) -> None:
        """See `Stage`."""
        self.pass_rest()
        super().end(ending)

    def cut(self, frame: bytes, count: int, at: float) -> None:
        """Pass on the beginning of a message and close."""
        self._muted = True
        keep = len(frame) // 2 if count < 0 else count
        if frame[:keep]:
            self.pass_on(frame[:keep], at)
        super().end(Ending.CLOSE)


class RequestStage(_RespStage):
    """Client to server."""

    __slots__ = ()

    def __init__(self, session: Session, pipe: Pipe) -> None:
        super().__init__(session, pipe, inline=True)

    def feed(self, data: bytes, at: float) -> None:
        """See `Stage`."""
        session = self._session
        if self._muted:
            return
        if not session.engaged:
            if not (data.startswith(b"*") and data[1:2].isdigit()):
                self.pass_on(data, at)  # in the middle of a request
                return
            session.engaged = True
        if self._raw:
            self.pass_on(data, at)
            return
        for frame in self.frames(data):
            self._request(frame, at)
        if self.is_lost():
            self.pass_rest()
            session.replies.pass_unread()
        session.replies.pump()

    def _request(self, frame: bytes, at: float) -> None:
        session = self._session
        if self._muted:
            return
        words = request_of(frame)
        if not words:
            self.pass_on(frame, at)
            return
        command = words[0].upper()
        verdict = session.judge(words)
        if session.replies.is_streaming or (command == b"REPLCONF" and words[1:2] == [b"ACK"]):
            # No reply will come that could be told apart, so none can be given either.
            if verdict.lose_request or verdict.delay_s:
                _count(verdict.met)
            if not verdict.lose_request:
                self.pass_on(frame, at, verdict.delay_s)
            return
        _count(verdict.met)
        if verdict.lose_request:
            self._muted = session.lost_bytes = True
            return
        frame = self._transaction(command, verdict, frame)
        session.expected.append(Expectation(verdict, verdict.answer, _ends_pairing(command, words)))
        if verdict.cut_request is not None:
            session.lost_bytes = True
            self.cut(frame, verdict.cut_request, at)
        elif verdict.answer is None:
            self.pass_on(frame, at, verdict.delay_s)
        else:
            verdict.reply_delay_s += verdict.delay_s

    def _transaction(self, command: bytes, verdict: Verdict, frame: bytes) -> bytes:
        """Abort a transaction in which a toxic answered a command with an error, as a server would."""
        session = self._session
        if command == b"MULTI" and verdict.answer is None:
            session.in_transaction, session.transaction_is_dirty = True, False
        elif command in (b"EXEC", b"DISCARD") and session.in_transaction:
            if verdict.answer is not None:
                frame = _DISCARD  # the answer says that it did not happen; the server has to leave MULTI all the same
                verdict.answer, verdict.replace_reply = None, verdict.answer
            elif command == b"EXEC" and session.transaction_is_dirty:
                frame = _DISCARD
                verdict.replace_reply = _EXECABORT
            session.in_transaction = False
        elif session.in_transaction and verdict.answer is not None:
            session.transaction_is_dirty = True
        return frame


class ReplyStage(_RespStage):
    """Server to client."""

    __slots__ = ("is_streaming",)

    def __init__(self, session: Session, pipe: Pipe) -> None:
        super().__init__(session, pipe, inline=False)
        self.is_streaming = False

    def feed(self, data: bytes, at: float) -> None:
        """See `Stage`."""
        if self._muted:
            return
        if self.is_streaming or not self._session.engaged:
            self.pass_on(data, at)
            return
        for frame in self.frames(data):
            self._reply(frame, at)
        if self.is_lost():
            self.pass_unread()
        self._session.retire()

    def _reply(self, frame: bytes, at: float) -> None:
        owed = None
        if not frame.startswith(b">"):
            owed = next((one for one in self._session.expected if one.reply is None), None)
        if owed is not None:
            owed.reply = frame
            self.pump()
        elif not self._muted:
            self.pass_on(frame, at)  # a push, or something that nobody asked for

    def pump(self) -> None:
        """Let every reply go that no missing one precedes."""
        expected = self._session.expected
        while expected and (reply := expected[0].reply) is not None and not self._muted:
            owed = expected.popleft()
            self._deliver(reply, owed.verdict)
            if owed.streaming:
                self.pass_unread()

    def _deliver(self, reply: bytes, verdict: Verdict) -> None:
        at = time.monotonic()
        _count(verdict.met_by_reply)
        reply = reply if verdict.replace_reply is None else verdict.replace_reply
        if verdict.lose_reply:
            self._muted = self._session.lost_bytes = True
        elif verdict.cut_reply is not None:
            self._session.lost_bytes = True
            self.cut(reply, verdict.cut_reply, at)
        else:
            self.pass_on(reply, at, verdict.reply_delay_s)

    def pass_unread(self) -> None:
        """Requests and replies no longer pair."""
        if self.is_streaming:
            return
        self.is_streaming = True
        for owed in self._session.expected:
            if owed.reply is not None:
                self.pass_on(owed.reply, time.monotonic())
        self._session.expected.clear()
        self.pass_rest()


def _count(tallies: list[Tally]) -> None:
    for tally in tallies:
        tally.acted += 1


def _ends_pairing(command: bytes, words: list[bytes]) -> bool:
    """Whether what follows the first reply to this request is no longer one reply per request."""
    quiet = command == b"CLIENT" and len(words) > 2 and words[1].upper() == b"REPLY" and words[2].upper() != b"ON"
    return quiet or command in _STREAMING
