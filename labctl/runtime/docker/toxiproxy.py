"""The HTTP API of a link server, Toxiproxy or labctl's own; many requests in one write.

A partition has to be cut at once, not link by link.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import httptools

from labctl.errors import InjectionError

API_PORT = 8474
_ANSWER_S = 10.0


class UnansweredError(InjectionError):
    """It does not answer any more.

    Attributes:
        answered: How many requests, the first ones, it did answer.
    """

    def __init__(self, message: str, hint: str, answered: int) -> None:
        super().__init__(message, hint)
        self.answered = answered


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        method: Such as POST.
        path: Such as `/proxies`.
        body: JSON values, or None for no body.
        accept: Statuses that mean success; 404 or 409 where what was wanted is so already.
    """

    method: str
    path: str
    body: object = None
    accept: Collection[int] = (200, 201, 204)


class Toxiproxy:
    """One Toxiproxy.

    Args:
        name: Whose, for messages.
        host: Of its API.
        port: Of its API.
    """

    def __init__(self, name: str, host: str, port: int) -> None:
        self.name = name
        self._address = (host, port)

    async def send(self, requests: Sequence[Request], within_s: float = _ANSWER_S) -> list[Any]:
        """Send requests in one write and return the JSON of each answer; None for an empty one.

        Raises:
            UnansweredError: It does not answer; those that it answered are in force.
            InjectionError: It refused one; those before it are in force.
        """
        answers = _Answers()
        try:
            async with asyncio.timeout(within_s):
                await self._exchange(requests, answers)
        except (OSError, TimeoutError, httptools.HttpParserError, asyncio.IncompleteReadError) as error:
            raise UnansweredError(
                f"The links of {self.name} do not answer: {str(error) or 'no answer in time'}",
                "docker ps -a shows their container.",
                len(answers.done),
            ) from error
        for request, (status, body) in zip(requests, answers.done, strict=True):
            if status not in request.accept:
                said = body.get("error", body) if isinstance(body, dict) else body
                raise InjectionError(
                    f"The links of {self.name} refused {request.method} {request.path}: {status} {said}"
                )
        return [body for _, body in answers.done]

    async def until_ready(self, deadline_s: float) -> None:
        """Wait until its API answers. Raises InjectionError when it does not in time."""
        until = asyncio.get_running_loop().time() + deadline_s
        while True:
            try:
                await self.send([Request("GET", "/version")])
            except InjectionError:
                if asyncio.get_running_loop().time() > until:
                    raise
                await asyncio.sleep(0.01)
            else:
                return

    async def _exchange(self, requests: Sequence[Request], answers: _Answers) -> None:
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            writer.write(b"".join(map(_wire, requests)))
            while len(answers.done) < len(requests):
                data = await reader.read(65_536)
                if not data:
                    raise asyncio.IncompleteReadError(b"", len(requests) - len(answers.done))
                answers.parser.feed_data(data)
        finally:
            writer.transport.abort()


def _wire(request: Request) -> bytes:
    body = b"" if request.body is None else json.dumps(request.body).encode()
    head = (
        f"{request.method} {request.path} HTTP/1.1\r\nHost: toxiproxy\r\nUser-Agent: labctl\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Answers:
    """Collects the answers of one connection; httptools calls its methods."""

    def __init__(self) -> None:
        self.done: deque[tuple[int, Any]] = deque()
        self.parser = httptools.HttpResponseParser(self)
        self._body = bytearray()

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        text, self._body = bytes(self._body), bytearray()
        try:
            body = json.loads(text) if text else None
        except ValueError:
            body = text.decode(errors="replace")
        self.done.append((self.parser.get_status_code(), body))
