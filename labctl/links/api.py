"""Toxiproxy 2.12's HTTP API over a `LinkServer`, with labctl's fields added.

The contract is that of Toxiproxy's `api.go`, status codes and error texts included; a client written for Toxiproxy
does not notice the difference. What is added: a proxy's `source`, `state`, `stats` and, when it is created, `toxics`;
a toxic's `ttl_ms` and `seed`. What differs on purpose: an address that is none is a 400 at once, not a 500 or a
failure at the first connection; `listen` without a host means 127.0.0.1, not every interface; `/metrics` is always on.

Importing this module imports a web framework; `labctl.links` itself does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from labctl.errors import LabError
from labctl.links import metrics, wire
from labctl.links.listener import listen_error
from labctl.links.spec import (
    HELD_PREFIX,
    Address,
    AddressError,
    LinkState,
    ListenError,
    OwnedError,
    ProxyExistsError,
    ProxySpec,
    UnknownProxyError,
)
from labctl.links.toxics.collection import ToxicExistsError, UnknownToxicError
from labctl.links.wire import ApiError, Fields, Json

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from labctl.links.proxy import Proxy
    from labctl.links.server import LinkServer
    from labctl.links.toxics.collection import ToxicCollection, ToxicSpec

log = logging.getLogger(__name__)

VERSION = "2.12.0"
"""The Toxiproxy whose API this is."""
_BODY_LIMIT = 16 * 1024 * 1024
_BATCH = 500
"""Proxies rendered in one go: the index of a large cluster must not stop the traffic."""


class LinkApi:
    """The routes. Each reads its request, then acts on the server without waiting in between."""

    def __init__(self, server: LinkServer) -> None:
        self._server = server

    def routes(self) -> list[Route]:
        """Return Toxiproxy's routes."""
        proxy, toxic = "/proxies/{proxy}", "/proxies/{proxy}/toxics/{toxic}"
        return [
            _route("/reset", {"POST": self.reset}),
            _route("/proxies", {"GET": self.index, "POST": self.create}),
            _route("/populate", {"POST": self.populate}),
            _route(proxy, {"GET": self.show, "POST": self.change, "PATCH": self.change, "DELETE": self.delete}),
            _route(f"{proxy}/toxics", {"GET": self.toxic_index, "POST": self.toxic_create}),
            _route(
                toxic,
                {
                    "GET": self.toxic_show,
                    "POST": self.toxic_change,
                    "PATCH": self.toxic_change,
                    "DELETE": self.toxic_delete,
                },
            ),
            _route("/version", {"GET": self.version}),
            _route("/metrics", {"GET": self.metrics}),
        ]

    async def index(self, _: Request) -> Response:
        """`GET /proxies`: all proxies by name, without `stats`."""
        rendered: list[str] = []
        for number, proxy in enumerate(list(self._server), 1):
            rendered.append(f"{json.dumps(proxy.spec.name)}:{_compact(wire.proxy_json(proxy, stats=False))}")
            if number % _BATCH == 0:
                await asyncio.sleep(0)
        return Response("{" + ",".join(rendered) + "}", media_type="application/json")

    async def create(self, request: Request) -> Response:
        """`POST /proxies`."""
        given = wire.fields(wire.decode(await _body(request)), "a proxy")
        spec = await _located(wire.proxy_spec(given))
        return _answer(wire.proxy_json(self._create(spec, given)), 201)

    def _create(self, spec: ProxySpec, given: Fields) -> Proxy:
        """Add a proxy with its state and its toxics, or nothing at all."""
        state = wire.state_of(given)
        stated = given.get("toxics", [])
        if not isinstance(stated, list):
            raise wire.bad_body("json: cannot unmarshal into field toxics of type array")
        toxics = [wire.toxic_spec(wire.fields(toxic, "a toxic")) for toxic in stated]
        if state is not None and spec.enabled:
            spec = dataclasses.replace(spec, enabled=state is not LinkState.REFUSED)
        self._server.add(spec)
        try:
            for toxic in toxics:
                self._server.toxics(spec.name).add(toxic)
            if state is not None and spec.enabled:
                self._server.set_state([spec.name], state)
        except LabError:
            self._server.remove(spec.name)
            raise
        return self._server.get(spec.name)

    async def populate(self, request: Request) -> Response:
        """`POST /populate`: create those that are new or have other addresses, leave the rest as they are."""
        done: list[Proxy] = []
        error: ApiError | None = None
        try:
            stated = wire.decode(await _body(request))
            if stated is not None and not isinstance(stated, list):
                raise wire.bad_body("json: cannot unmarshal into an array of proxies")
            given = [wire.fields(item, "a proxy") for item in stated or []]
            specs = [
                await _located(wire.proxy_spec(item, where=f" at proxy {number}"))
                for number, item in enumerate(given, 1)
            ]
            done.extend(self._put(spec, item) for spec, item in zip(specs, given, strict=True))
        except (ApiError, LabError) as failure:
            error = _as_api_error(failure)
        body = {**(error.body if error else {}), "proxies": [wire.proxy_json(proxy) for proxy in done] or None}
        return _answer(body, error.status if error else 201)

    def _put(self, spec: ProxySpec, given: Fields) -> Proxy:
        if spec.name not in self._server:
            return self._create(spec, given)
        old = self._server.get(spec.name)
        listen, upstream = _like(old.spec.listen, str(spec.listen)), _like(old.spec.upstream, str(spec.upstream))
        if (old.spec.listen, old.spec.upstream, old.spec.source) == (listen, upstream, spec.source):
            return old
        _require_free(old)
        self._server.remove(spec.name)
        try:
            return self._create(spec, given)
        except (ApiError, LabError):
            self._server.add(dataclasses.replace(old.spec, enabled=False))
            raise

    async def show(self, request: Request) -> Response:
        """`GET /proxies/{proxy}`."""
        return _answer(wire.proxy_json(self._proxy(request)))

    async def change(self, request: Request) -> Response:
        """`POST` or `PATCH /proxies/{proxy}`: `listen`, `upstream`, `enabled`; `state` as an extension."""
        name = self._proxy(request).spec.name
        given = wire.fields(wire.decode(await _body(request)), "a proxy")
        listen, upstream = wire.text_of(given, "listen"), wire.text_of(given, "upstream")
        old = self._server.get(name).spec
        target = dataclasses.replace(
            old,
            listen=_like(old.listen, listen),
            upstream=_like(old.upstream, upstream),
        )
        wire.text_of(given, "name")  # ignored, but a name that is none is refused
        target = await _located(target)
        state = _wanted_state(given, self._server.get(name).state)
        if (target.listen, target.upstream) != (old.listen, old.upstream):
            _require_free(self._server.get(name))
            self._server.replace(name, listen=target.listen, upstream=target.upstream)
        if state is not None:
            self._server.set_state([name], state)
        return _answer(wire.proxy_json(self._server.get(name)))

    async def delete(self, request: Request) -> Response:
        """`DELETE /proxies/{proxy}`."""
        proxy = self._proxy(request)
        _require_free(proxy)
        self._server.remove(proxy.spec.name)
        return Response(status_code=204)

    async def toxic_index(self, request: Request) -> Response:
        """`GET /proxies/{proxy}/toxics`: the upstream chain first."""
        return _answer([wire.toxic_json(spec) for spec in self._toxics(request).specs()])

    async def toxic_create(self, request: Request) -> Response:
        """`POST /proxies/{proxy}/toxics`: answers 200, not 201."""
        self._proxy(request)
        body = await _body(request)
        spec = wire.toxic_spec(wire.fields(wire.decode(body), "a toxic"))
        if self._proxy(request).spec.owned and spec.name.startswith(HELD_PREFIX):
            raise OwnedError(f"names that begin with {HELD_PREFIX} are those of the lab's own toxics", "Take another.")
        self._toxics(request).add(spec)
        return _answer(wire.toxic_json(spec))

    async def toxic_show(self, request: Request) -> Response:
        """`GET …/toxics/{toxic}`."""
        return _answer(wire.toxic_json(self._toxics(request).get(request.path_params["toxic"])))

    async def toxic_change(self, request: Request) -> Response:
        """`POST` or `PATCH …/toxics/{toxic}`: `attributes` and `toxicity` only; other fields are ignored."""
        body = await _body(request)
        toxics, name = self._toxics(request), request.path_params["toxic"]
        old = toxics.get(name)
        _require_not_held(old)
        given = wire.fields(wire.decode(body), "a toxic")
        attributes = wire.attributes_of(wire.fields(given.get("attributes"), "field attributes"), old.attributes)
        toxicity = wire.float_of(given, "toxicity", old.toxicity)
        return _answer(wire.toxic_json(toxics.update(name, attributes=attributes, toxicity=toxicity)))

    async def toxic_delete(self, request: Request) -> Response:
        """`DELETE …/toxics/{toxic}`: never waits for anything."""
        toxics = self._toxics(request)
        spec = toxics.get(request.path_params["toxic"])
        _require_not_held(spec)
        toxics.remove(spec.name)
        return Response(status_code=204)

    async def reset(self, _: Request) -> Response:
        """`POST /reset`: every link open, no toxics, except what faults of the lab hold."""
        self._server.reset()
        return Response(status_code=204)

    async def version(self, _: Request) -> Response:
        """`GET /version`."""
        return Response(f'{{"version": "{VERSION}"}}\n', media_type="application/json;charset=utf-8")

    async def metrics(self, _: Request) -> Response:
        """`GET /metrics`: Toxiproxy's two counters, live, and the states of links."""
        return Response(metrics.render(self._server), media_type=metrics.CONTENT_TYPE)

    def _proxy(self, request: Request) -> Proxy:
        return self._server.get(request.path_params["proxy"])

    def _toxics(self, request: Request) -> ToxicCollection:
        return self._server.toxics(request.path_params["proxy"])


Handler = Callable[[Request], Awaitable[Response]]


def _route(path: str, handlers: dict[str, Handler]) -> Route:
    """One path; methods other than those stated get 405, HEAD too, as with Toxiproxy."""

    async def dispatch(request: Request) -> Response:
        handler = handlers.get(request.method)
        if handler is None:
            return Response(status_code=405)
        try:
            return await handler(request)
        except (ApiError, LabError) as failure:
            error = _as_api_error(failure)
            return _answer(error.body, error.status)

    every = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]
    return Route(path, dispatch, methods=every)


def _as_api_error(failure: ApiError | LabError) -> ApiError:
    """Put an error of the link server into Toxiproxy's words and codes."""
    match failure:
        case ApiError():
            return failure
        case UnknownProxyError():
            return ApiError("proxy not found", 404)
        case UnknownToxicError():
            return ApiError("toxic not found", 404)
        case ToxicExistsError():
            return ApiError("toxic already exists", 409)
        case ProxyExistsError():
            return ApiError("proxy already exists" if not failure.by_source else failure.message, 409)
        case OwnedError():
            return ApiError(failure.message, 403)
        case ListenError():
            return ApiError(failure.message, 500)
        case AddressError():
            return wire.bad_body(failure.message)
        case _:
            return ApiError(failure.message, 500)


def _like(old: Address, text: str) -> Address:
    """The address that is stated, in the namespace where the old one is; the old one where none is stated."""
    return dataclasses.replace(wire.address(text), namespace=old.namespace) if text else old


def _require_free(proxy: Proxy) -> None:
    if proxy.spec.owned:
        raise OwnedError(
            f"link {proxy.spec.name} belongs to a lab, which can neither lose nor move it",
            "Its state and its toxics can be changed.",
        )


def _require_not_held(toxic: ToxicSpec) -> None:
    if toxic.held:
        raise OwnedError(f"toxic {toxic.name} is held by a fault of the lab", "labctl heal ends the fault.")


def _wanted_state(given: Fields, now: LinkState) -> LinkState | None:
    """Combine `enabled` and `state`: what differs from the present is what is wanted; None for nothing.

    A client that reads a proxy, changes one of the two and writes all of it back gets what it changed, and one that
    reads a link which a fault holds cut does not ask for that cut itself by writing it back.
    """
    enabled = wire.bool_of(given, "enabled", default=now is not LinkState.REFUSED)
    state = wire.state_of(given)
    if state is not None and state is not now:
        return state
    if enabled == (now is not LinkState.REFUSED):
        return None
    return LinkState.OPEN if enabled else LinkState.REFUSED


async def _located(spec: ProxySpec) -> ProxySpec:
    """Give the listen address as an IP address: 127.0.0.1 without a host, a name resolved."""
    host, port = spec.listen.host, spec.listen.port
    if not host:
        return dataclasses.replace(spec, listen=Address("127.0.0.1", port))
    if spec.listen.is_literal:
        return spec
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise wire.bad_body(f"listen tcp: lookup {host}: no such host") from None
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)  # IPv4 first, as Go does
    return dataclasses.replace(spec, listen=Address(str(found[0][4][0]), port))


async def _body(request: Request) -> bytes:
    """Read a request's body, within bounds."""
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > _BODY_LIMIT:
                raise ApiError(f"bad request body: more than {_BODY_LIMIT} bytes", 413)
            chunks.append(chunk)
    except ClientDisconnect:
        raise wire.bad_body("unexpected EOF") from None
    return b"".join(chunks)


def _compact(body: Json) -> str:
    return json.dumps(body, separators=(",", ":"))


def _answer(body: Json, status: int = 200) -> Response:
    return Response(_compact(body), status, media_type="application/json")


class _NoBrowsers:
    """Refuse browsers, as Toxiproxy does: a web page must not reach a local API."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and any(
            name == b"user-agent" and value.startswith(b"Mozilla/") for name, value in scope["headers"]
        ):
            await PlainTextResponse("User agent not allowed\n", 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)


async def _http_error(_: Request, error: Exception) -> Response:
    """Routes that do not exist, in Go's words."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return PlainTextResponse("404 page not found\n" if status == 404 else "", status)


async def _internal_error(request: Request, error: Exception) -> Response:
    """A bug here: the caller is told in the usual form, the log has the rest."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(ApiError(f"internal error: {type(error).__name__}: {error}", 500).body, 500)


def make_app(server: LinkServer) -> ASGIApp:
    """Return the ASGI application for a link server."""
    app = Starlette(
        routes=LinkApi(server).routes(),
        exception_handlers={HTTPException: _http_error, Exception: _internal_error},
    )
    app.router.redirect_slashes = False
    return _NoBrowsers(app)


class Embedded(uvicorn.Server):
    """Uvicorn inside a program that handles signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@contextlib.asynccontextmanager
async def serve_api(server: LinkServer, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Address]:
    """Serve the API on the running loop while the context lasts.

    Yields:
        The address that it listens on; the port is chosen by the kernel when `port` is 0.

    Raises:
        ListenError: The address cannot be bound.
    """
    try:
        sock = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise listen_error(Address(host, port), error) from error
    config = uvicorn.Config(
        make_app(server),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    http = Embedded(config)
    task = asyncio.create_task(http.serve(sockets=[sock]))
    try:
        yield Address(host, sock.getsockname()[1])
    finally:
        http.should_exit = True
        await task
        sock.close()
