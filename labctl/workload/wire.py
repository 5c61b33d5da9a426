"""One connection of the lean client: hiredis for the protocol, and nothing between it and the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import hiredis
from redis import exceptions as rx
from redis.asyncio.connection import DefaultParser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labctl.workload.client import Arg, Reply
    from labctl.workload.trace import Trace


class Wire(asyncio.Protocol):
    """A connection to one server, for one request (or pipeline) at a time.

    Attributes:
        port: The server's announced port.
        due: Loop time at which the request in flight is given up; infinite when there is none.
        closed: Whether the connection is of no more use.
        ended: Why it is not.
        trace: Counts requests and replies; None during the handshake, which is not the workload's.
    """

    __slots__ = (
        "_loop",
        "_reader",
        "_replies",
        "_transport",
        "_waiting",
        "_wanted",
        "closed",
        "due",
        "ended",
        "port",
        "trace",
    )

    def __init__(self, port: int) -> None:
        self.port = port
        self.due = float("inf")
        self.closed = False
        self.ended: Exception | None = None
        self.trace: Trace | None = None
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(
            protocolError=rx.InvalidResponse,
            replyError=DefaultParser.parse_error,
            encoding="utf-8",
            errors="surrogateescape",
        )
        self._waiting: asyncio.Future[list[Reply]] | None = None
        self._replies: list[Reply] = []
        self._wanted = 0
        self._transport: asyncio.Transport | None = None

    def request(self, commands: Sequence[Sequence[Arg]], timeout_s: float) -> asyncio.Future[list[Reply]]:
        """Send commands; the future has their replies in order, error replies as exceptions in their places."""
        assert self._waiting is None
        assert self._transport is not None
        if self.ended is not None:
            raise self.ended
        self._wanted = len(commands)
        if self.trace is not None:
            self.trace.sent(self.port, self._wanted)
        self._waiting = waiting = self._loop.create_future()
        self.due = self._loop.time() + timeout_s
        if self._wanted == 1:
            self._transport.write(_pack(commands[0]))
        else:
            self._transport.write(b"".join([_pack(command) for command in commands]))
        return waiting

    def give_up(self, error: Exception) -> None:
        """End the request in flight with an error and close the connection: a late reply must not meet the next one."""
        self.closed = True
        self.ended = self.ended or error
        self.due = float("inf")
        if self._transport is not None:
            self._transport.abort()
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The event loop has a connection."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Parse replies; wake who waits once there are as many as wanted."""
        reader, replies = self._reader, self._replies
        try:
            reader.feed(data)
            reply = reader.gets()
            while reply is not False:
                replies.append(reply)
                if self.trace is not None:
                    self.trace.answered()
                reply = reader.gets()
        except rx.InvalidResponse as error:
            self.give_up(error)
            return
        if len(replies) < self._wanted:
            return
        waiting, self._waiting = self._waiting, None
        if waiting is None or len(replies) > self._wanted:
            # Before the first request it is a refusal of the connection: protected mode, or too many clients.
            refusal = replies[-1]
            self.give_up(refusal if isinstance(refusal, Exception) else rx.InvalidResponse("a reply to no request"))
            return
        self.due = float("inf")
        self._replies = []
        if not waiting.done():
            waiting.set_result(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server, the link or the kernel ended it."""
        self.give_up(rx.ConnectionError(f"Connection lost: {exc}" if exc else "Connection closed by server."))


def _pack(command: Sequence[Arg]) -> bytes:
    return hiredis.pack_command(tuple(command))  # type: ignore[arg-type,no-any-return]  # its stub wants bytes among the types
