"""The routes of `/metrics`: text for Prometheus, and nothing for pages that a browser was sent to."""

from __future__ import annotations

import asyncio
import importlib
import socket
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from labctl.links.api import Embedded
from labctl.metrics.exposition import CONTENT_TYPE
from labctl.model.plan import ANNOUNCED_HOST

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from labctl.agent.agent import Agent

PATIENCE_HEADER = "X-Prometheus-Scrape-Timeout-Seconds"


async def serve(agent: Agent, listener: socket.socket) -> None:
    """Answer at `listener` until cancelled.

    `/metrics` is everything, `/metrics/lab` what is not redis_exporter's. Whoever asks for a lab by its id (`?id=`) and finds
    another one at its port is told so: a port is soon taken again, and labs of two state folders may have one name.
    """
    module = await asyncio.to_thread(importlib.import_module, "labctl.metrics.exporter")
    exporter = module.Exporter(agent)

    async def answer(request: Request, *, nodes: bool) -> Response:
        if request.query_params.get("id", agent.plan.lab_id) != agent.plan.lab_id:
            return PlainTextResponse("These are the metrics of another lab now.\n", HTTPStatus.MISDIRECTED_REQUEST)
        text = await exporter.scrape(nodes=nodes, patience_s=patience(request))
        return PlainTextResponse(text, media_type=CONTENT_TYPE)

    routes = {"/metrics": partial(answer, nodes=True), "/metrics/lab": partial(answer, nodes=False)}
    try:
        await serve_routes(routes, listener)
    finally:
        await exporter.close()


async def serve_routes(
    handlers: Mapping[str, Callable[[Request], Awaitable[Response]]], listener: socket.socket
) -> None:
    """Serve GET at these paths on the running loop until cancelled.

    Only for those who ask for this machine by its loopback name: a page elsewhere cannot reach it by a name of its own
    that was made to point here.
    """
    app = Starlette(
        routes=[Route(path, handler, methods=["GET"]) for path, handler in handlers.items()],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[ANNOUNCED_HOST, "localhost"])],
    )
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", server_header=False, timeout_graceful_shutdown=1
    )
    await Embedded(config).serve(sockets=[listener])


def patience(request: Request) -> float | None:
    """How long the scraper waits, in seconds, if it says so and can be believed."""
    with suppress(ValueError):
        stated = float(request.headers.get(PATIENCE_HEADER, ""))
        if 0 < stated < float("inf"):
            return stated
    return None
