"""The web view: the live view's page and its feed over HTTP on loopback, for a browser on this machine.

Anybody on this machine may look. Breaking and healing need the token, which only the lab's owner can ask the agent for.
A web page of somebody else's, open in the same browser, must not reach it: the Host header has to be one of loopback's
names, so that a foreign name which was made to point here is refused (DNS rebinding), and so is a foreign Origin.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from labctl.agent.api import heal, inject, refusal
from labctl.agent.ports import ports_of_other_labs
from labctl.errors import LabError
from labctl.faults.registry import FAULTS
from labctl.links.api import Embedded
from labctl.live.choices import usual_target
from labctl.live.page import page
from labctl.report.faults import actions_in_words
from labctl.store import codec

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from labctl.agent.agent import Agent
    from labctl.agent.feed import Feed

HOST = "127.0.0.1"
FIRST_PORT = 8470
_PORTS_TRIED = 20
_MOST_VIEWERS = 50
_LARGEST_BODY = 64 * 1024
_RETRY_MS = 700


@dataclass(frozen=True, slots=True)
class Place:
    """Where the page is, kept in the lab's folder: an agent that takes over serves it there again.

    Attributes:
        port: On 127.0.0.1.
        token: Without it nothing can be broken.
    """

    port: int
    token: str

    @property
    def url(self) -> str:
        """For a browser."""
        return f"http://{HOST}:{self.port}/"


class Web:
    """The page of one lab. Nothing listens before somebody asks for it.

    Args:
        agent: The lab's.
        feed: What is shown.
    """

    def __init__(self, agent: Agent, feed: Feed) -> None:
        self._agent = agent
        self._feed = feed
        self._place: Place | None = None
        self._server: Embedded | None = None
        self._serving: asyncio.Task[None] | None = None

    async def open(self, port: int | None = None) -> Place:
        """Serve it, if it is not served yet.

        Args:
            port: Where; None for where an agent before this one did, else the first free one that no other lab's view has.

        Raises:
            LabError: It is taken; or the page is served elsewhere.
        """
        avoid = await asyncio.to_thread(ports_of_other_labs, self._agent.folder)
        if self._place is None:
            place = self._remembered()
            listener = _listen_at(port) if port else listen(place.port if place else None, avoid)
            self._place = Place(listener.getsockname()[1], place.token if place else secrets.token_urlsafe(18))
            codec.save(self._agent.folder.web, self._place)
            config = uvicorn.Config(
                self._app(self._place),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=1,
            )
            self._server = Embedded(config)
            self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="web view")
        if port not in (None, self._place.port):
            raise LabError(f"The web view is served at {self._place.url} already.", "labctl observe web --stop")
        return self._place

    async def close(self) -> None:
        """Free the port and forget the page."""
        self._agent.folder.web.unlink(missing_ok=True)
        self._place = None
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
            self._server = self._serving = None

    def _remembered(self) -> Place | None:
        try:
            return codec.load(Place, self._agent.folder.web)
        except (OSError, ValueError):
            return None

    def _app(self, place: Place) -> ASGIApp:
        def guarded(handler: Callable[[Agent, Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
            async def endpoint(request: Request) -> Response:
                if not _may_break(request, place.token):
                    return JSONResponse({"error": "Only who has the token may do this.", "hint": ""}, 403)
                try:
                    return JSONResponse(await handler(self._agent, request))
                except LabError as error:
                    return refusal(error)

            return endpoint

        app = Starlette(
            routes=[
                Route("/", _page),
                Route("/live", self._live),
                Route("/kinds", guarded(_kinds)),
                Route("/faults", guarded(_inject), methods=["POST"]),
                Route("/faults", guarded(heal), methods=["DELETE"]),
            ]
        )
        return _OwnPagesOnly(app, place.port)

    async def _live(self, request: Request) -> Response:
        """Server-sent events; a browser that comes back says which event it knows last."""
        if self._feed.viewers >= _MOST_VIEWERS:
            return PlainTextResponse(f"{_MOST_VIEWERS} viewers look already.\n", 503)
        last = request.headers.get("last-event-id", "")
        after = int(last) if last.isdigit() else 0

        async def messages() -> AsyncIterator[str]:
            yield f"retry: {_RETRY_MS}\n\n"
            async with aclosing(self._feed.follow(after)) as feed:
                async for message in feed:
                    yield f"event: {message.name}\nid: {message.seq}\ndata: {message.data}\n\n"

        return StreamingResponse(messages(), media_type="text/event-stream")


def _listen_at(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise LabError(
            f"The web view cannot be served at {HOST}:{port}: {os.strerror(error.errno or 0)}.", "Take another port."
        ) from error


def listen(before: int | None, avoid: frozenset[int]) -> socket.socket:
    """A listening socket on 127.0.0.1, at the port where it was before, a customary one, or any that is free.

    Args:
        before: None where it was not served before.
        avoid: Ports to leave alone: an agent that is down at the moment wants its view's back.
    """
    customary = [port for port in range(FIRST_PORT, FIRST_PORT + _PORTS_TRIED) if port not in avoid]
    for wanted in (*([before] if before else []), *customary, 0):
        try:
            return socket.create_server((HOST, wanted))
        except OSError:
            continue
    raise LabError("No port of 127.0.0.1 is free for the web view.")


async def _page(_: Request) -> Response:
    document = page()
    return Response(
        document.html,
        media_type="text/html; charset=utf-8",
        headers={"Content-Security-Policy": document.policy, "X-Frame-Options": "DENY"},
    )


async def _kinds(agent: Agent, _: Request) -> list[dict[str, Any]]:
    """Kinds of faults, with the target that each means when none is stated."""
    kind = agent.plan.topology.kind
    return [
        {"name": f.name, "summary": f.summary, "target": usual_target(f, kind), "momentary": f.momentary}
        for f in FAULTS.values()
    ]


async def _inject(agent: Agent, request: Request) -> dict[str, Any]:
    answer = await inject(agent, request)
    if "actions" in answer:
        answer["summary"] = "; ".join(actions_in_words(answer["actions"], named=6))
    return answer


def _may_break(request: Request, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme == "Bearer" and secrets.compare_digest(given.encode(), token.encode())


_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]


class _OwnPagesOnly:
    """Refuse requests that name another host, or that another site's page makes; mark answers as this page's alone."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (reason := self._refuse(dict(scope["headers"]))):
            await PlainTextResponse(f"{reason}\n", 403)(scope, receive, send)
            return

        async def marked(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        await self._app(scope, receive, marked)

    def _refuse(self, headers: dict[bytes, bytes]) -> str:
        if headers.get(b"host") not in self._hosts:
            return "This host is not served here."
        origin = headers.get(b"origin")
        if origin is not None and origin.removeprefix(b"http://") not in self._hosts:
            return "Pages of other sites may not ask here."
        if headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin"):
            return "Pages of other sites may not ask here."
        length = headers.get(b"content-length", b"0")
        if b"transfer-encoding" in headers or not length.isdigit() or int(length) > _LARGEST_BODY:
            return "Too much."
        return ""
