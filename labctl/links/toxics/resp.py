"""`resp_delay`, `resp_error`, `resp_drop`, `resp_truncate`: toxics on single commands.

Their stream says on which side of the server they act: `upstream` (the default) on the request, which the server then
gets late, never, or in part; `downstream` on the reply, so that the command has been executed.

All have `command` (globs separated by commas; `*` is every command), `key` (a glob) and `share` (the share of the
matching commands, drawn for each).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

from labctl.links.resp.matching import Match, keys_of, slot_of
from labctl.links.tally import NOBODYS, Tally
from labctl.links.toxics.base import Attributes, Draw

if TYPE_CHECKING:
    from labctl.links.resp.session import Rule, Verdict

Stream = Literal["upstream", "downstream"]

ERRORS = {
    "LOADING": "LOADING Redis is loading the dataset in memory",
    "OOM": "OOM command not allowed when used memory > 'maxmemory'.",
    "READONLY": "READONLY You can't write against a read only replica.",
    "TRYAGAIN": "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN": "CLUSTERDOWN The cluster is down",
    "MASTERDOWN": "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "NOREPLICAS": "NOREPLICAS Not enough good replicas to write.",
    "BUSY": "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "MISCONF": "MISCONF Errors writing to the AOF file: No space left on device",
    "NOAUTH": "NOAUTH Authentication required.",
    "NOSCRIPT": "NOSCRIPT No matching script.",
}
"""Error replies by their code, in the words of Redis 7's `server.c`."""


@dataclass(frozen=True)
class RespAttributes(Attributes):
    """What all RESP toxics have.

    Raises:
        ValueError: `share` is not within 0 and 1, or `command` names nothing.
    """

    default_stream: ClassVar[str] = "upstream"
    command: str = "*"
    key: str = ""
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(f"share {self.share} is not within 0 and 1")
        if not self.command.replace(",", "").strip():
            raise ValueError("command names nothing; * stands for every command")

    @cached_property
    def match(self) -> Match:
        """The condition on requests."""
        return Match(self.command, self.key)

    def act(self, words: list[bytes], stream: Stream, draw: Draw, verdict: Verdict) -> None:
        """Add to the verdict on a request that matches."""
        raise NotImplementedError

    def rule(self, stream: Stream, draw: Draw, tally: Tally = NOBODYS) -> Rule:
        """Make the rule for one connection, which counts what it met in `tally`."""
        return _Rule(self, stream, draw, tally)


@dataclass(slots=True)
class _Rule:
    attributes: RespAttributes
    stream: Stream
    draw: Draw
    tally: Tally

    def judge(self, words: list[bytes], verdict: Verdict) -> None:
        """See `session.Rule`."""
        attributes = self.attributes
        if attributes.match.meets(words) and (attributes.share >= 1.0 or self.draw.random.random() < attributes.share):
            attributes.act(words, self.stream, self.draw, verdict)
            (verdict.met if self.stream == "upstream" else verdict.met_by_reply).append(self.tally)


@dataclass(frozen=True)
class RespDelay(RespAttributes):
    """Delay matching requests, or their replies, by `latency` ± uniform(`jitter`) milliseconds.

    What follows on the same connection waits as well: a stream has no overtaking.
    """

    type: ClassVar[str] = "resp_delay"
    latency: int = 0
    jitter: int = 0

    def act(self, words: list[bytes], stream: Stream, draw: Draw, verdict: Verdict) -> None:  # noqa: ARG002
        """See `RespAttributes`."""
        delay = self.latency + (draw.random.uniform(-self.jitter, self.jitter) if self.jitter > 0 else 0.0)
        seconds = max(delay, 0.0) / 1000
        if stream == "upstream":
            verdict.delay_s += seconds
        else:
            verdict.reply_delay_s += seconds


@dataclass(frozen=True)
class RespError(RespAttributes):
    """Answer matching requests with an error reply, in order; upstream, the server never sees them.

    `error` is one of the codes in `ERRORS`, or the whole text without the leading `-`. `{slot}` stands for the hash
    slot of the first key: `MOVED {slot} 127.0.0.1:7001`. Within MULTI the transaction fails at EXEC, as on a server.

    Raises:
        ValueError: `error` is empty, has a line break, or is a redirection without a target.
    """

    type: ClassVar[str] = "resp_error"
    error: str = "LOADING"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.error.strip() or any(character in self.error for character in "\r\n"):
            raise ValueError("error is one line, without the leading -")
        if self.error in ("MOVED", "ASK"):
            raise ValueError(f"error {self.error} needs a target: {self.error} {{slot}} host:port")

    def act(self, words: list[bytes], stream: Stream, draw: Draw, verdict: Verdict) -> None:  # noqa: ARG002
        """See `RespAttributes`."""
        text = ERRORS.get(self.error, self.error)
        if "{slot}" in text:
            keys = keys_of(words)
            text = text.replace("{slot}", str(slot_of(keys[0]) if keys else 0))
        reply = b"-" + text.encode("utf-8", "replace") + b"\r\n"
        if stream == "upstream":
            verdict.answer = verdict.answer or reply
        else:
            verdict.replace_reply = verdict.replace_reply or reply


@dataclass(frozen=True)
class RespDrop(RespAttributes):
    """Lose matching requests (upstream) or replies (downstream), and all that follows in that direction.

    That is what a lost segment does to a stream until it is sent again. Removing the toxic closes the connections that
    it met, as `timeout` does. A message without a reply (`REPLCONF ACK`, and everything from a replica after PSYNC) is
    lost alone.
    """

    type: ClassVar[str] = "resp_drop"

    def act(self, words: list[bytes], stream: Stream, draw: Draw, verdict: Verdict) -> None:  # noqa: ARG002
        """See `RespAttributes`."""
        if stream == "upstream":
            verdict.lose_request = True
        else:
            verdict.lose_reply = True


@dataclass(frozen=True)
class RespTruncate(RespAttributes):
    """Pass on the first `keep` bytes of a matching request or reply and close the connection; -1 keeps half of it."""

    type: ClassVar[str] = "resp_truncate"
    keep: int = -1

    def act(self, words: list[bytes], stream: Stream, draw: Draw, verdict: Verdict) -> None:  # noqa: ARG002
        """See `RespAttributes`."""
        if stream == "upstream":
            verdict.cut_request = self.keep
        else:
            verdict.cut_reply = self.keep
