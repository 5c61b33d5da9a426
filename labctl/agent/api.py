"""The agent's control API: HTTP on a Unix socket that only the lab's owner can open.

Errors are JSON: `{"error": …, "hint": …, "exit": N}` with the class's exit code; the client raises them again.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from labctl.agent.agent import Agent
from labctl.agent.feed import Feed
from labctl.agent.keeper import Active, touched
from labctl.errors import LabError, UsageError
from labctl.faults.consequences import consequences
from labctl.links.api import Embedded
from labctl.model.conditions import converged, healthy, without
from labctl.model.fault import Fault, LinkState
from labctl.model.message import Heard
from labctl.model.plan import ANNOUNCED_HOST
from labctl.model.run import Recording
from labctl.runtime.base import AudibleLinks
from labctl.store.codec import from_data, to_data

if TYPE_CHECKING:
    from labctl.agent.web import Web

Handler = Callable[[Agent, Request], Awaitable[Any]]
_RECORDINGS_KEPT = 49


def app(agent: Agent, feed: Feed, web: Pages) -> Starlette:
    """The routes, bound to one lab."""

    def route(path: str, method: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                answer = await handler(agent, request)
            except LabError as error:
                return refusal(error)
            except Exception as error:  # noqa: BLE001 - whoever asked must hear of it; the log has the traceback
                traceback.print_exc(file=sys.stderr)
                return JSONResponse({"error": f"labctl itself failed: {error!r}", "exit": 4}, status_code=500)
            return answer if isinstance(answer, Response) else JSONResponse(answer)

        return Route(path, endpoint, methods=[method])

    return Starlette(
        routes=[
            route("/status", "GET", _status),
            route("/events", "GET", _events),
            route("/messages", "POST", _listen),
            route("/messages", "DELETE", _stop_listening),
            route("/live", "GET", partial(_live, feed)),
            route("/faults", "GET", _faults),
            route("/faults", "POST", inject),
            route("/faults", "DELETE", heal),
            route("/web", "POST", partial(_open_web, web)),
            route("/web", "DELETE", partial(_close_web, web)),
            route("/recordings", "POST", _record),
            route("/upkeep", "POST", _upkeep),
        ]
    )


async def serve(agent: Agent, listener: socket.socket) -> None:
    """Answer at `listener` until cancelled or told to end by a signal."""
    feed = Feed(agent)
    web = Pages(agent, feed)
    config = uvicorn.Config(
        app(agent, feed, web), log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )
    server = Embedded(config)  # SIGTERM is the agent's own matter: it ends the servers first
    try:
        await web.reopen()
        await server.serve(sockets=[listener])
    finally:
        agent.folder.socket.unlink(missing_ok=True)


def control_socket(path: Path) -> socket.socket:
    """Listen at `path`, mode 0600. Bound by way of the folder, for a socket's path may have 107 bytes and no more."""
    path.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        listener.listen(64)
    finally:
        os.umask(mask)
        os.close(folder)
    return listener


async def _status(agent: Agent, _: Request) -> dict[str, Any]:
    view = await agent.view()
    states = agent.links.states()
    cut = {link.name: state.value for link, state in states.items() if state is not LinkState.OPEN}
    plan, out = agent.plan, agent.upkeep.out
    members = without(out, plan, view)
    servers = await asyncio.gather(*(agent.runtime.state(node) for node in plan.nodes))
    return {
        "lab": plan.lab,
        "topology": plan.topology.name,
        "engine": plan.engine_name,
        "nodes": {n.name: {"role": n.role.value, "address": f"{ANNOUNCED_HOST}:{n.port}"} for n in plan.nodes},
        "view": view.to_dict(),
        "servers": {node.name: state.value for node, state in zip(plan.nodes, servers, strict=True)},
        "links": {"total": len(states), "cut": cut, "api": agent.link_apis, "per_link": plan.per_link},
        "faults": [_fault_data(active) for active in agent.keeper.active],
        "unhealthy": healthy(*members),
        "unconverged": converged(*members),
        "out": sorted(out),
        "metrics": f"http://{agent.metrics}/metrics" if agent.metrics else "",
        "scrapes": agent.scrapes,
        "agent_pid": os.getpid(),
    }


async def _events(agent: Agent, request: Request) -> Response:
    after = int(request.query_params.get("after", "0"))
    if request.query_params.get("follow") != "1":
        return JSONResponse(agent.events.since(after))

    async def lines() -> AsyncIterator[str]:
        async for event in agent.events.follow(after):
            yield json.dumps(event) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


async def _listen(agent: Agent, _: Request) -> dict[str, str]:
    if not isinstance(agent.links, AudibleLinks):
        return {"why_not": f"The links of the runtime {agent.plan.runtime} cannot be listened to."}
    return {"why_not": agent.links.listen()}


async def _stop_listening(agent: Agent, _: Request) -> dict[str, Any]:
    heard = agent.links.stop_listening() if isinstance(agent.links, AudibleLinks) else Heard()
    data: dict[str, Any] = to_data(heard)
    return data


async def _live(feed: Feed, _: Agent, request: Request) -> Response:
    """What the live view shows, an object a line with one key: `hello`, `frame` or `event`."""
    after = int(request.query_params.get("after", "0"))

    async def lines() -> AsyncIterator[str]:
        async with aclosing(feed.follow(after)) as messages:
            async for message in messages:
                yield f'{{"{message.name}":{message.data}}}\n'

    return StreamingResponse(lines(), media_type="application/x-ndjson")


class Pages:
    """The web view, imported when somebody asks for it; see `agent.web`."""

    def __init__(self, agent: Agent, feed: Feed) -> None:
        self._agent = agent
        self._feed = feed
        self._web: Web | None = None

    async def get(self) -> Web:
        """Made at the first call."""
        module = await asyncio.to_thread(importlib.import_module, "labctl.agent.web")
        if self._web is None:
            self._web = module.Web(self._agent, self._feed)
        return self._web

    async def reopen(self) -> None:
        """Serve it again if an agent before this one did. The lab matters more than its picture: no error ends it."""
        if self._agent.folder.web.exists():
            try:
                await (await self.get()).open()
            except LabError as error:
                print(f"web view: {error}", file=sys.stderr)


async def _open_web(pages: Pages, _: Agent, request: Request) -> dict[str, Any]:
    port = request.query_params.get("port")
    place = await (await pages.get()).open(int(port) if port else None)
    return {"url": place.url, "port": place.port, "token": place.token}


async def _close_web(pages: Pages, _: Agent, __: Request) -> dict[str, Any]:
    await (await pages.get()).close()
    return {}


def refusal(error: LabError) -> JSONResponse:
    """What a caller is told of an error that is stated."""
    return JSONResponse({"error": error.message, "hint": error.hint, "exit": int(error.exit_code)}, status_code=409)


async def _faults(agent: Agent, _: Request) -> list[dict[str, Any]]:
    await agent.keeper.uphold()  # what is listed is in force
    for active in agent.keeper.active:
        if not active.reverting:
            with suppress(LabError):
                await agent.keeper.feel(active)
    return [_fault_data(active) for active in agent.keeper.active]


async def inject(agent: Agent, request: Request) -> dict[str, Any]:
    """Inject a fault, or with `dry_run` say what it would do."""
    try:
        body = await request.json()
        fault = from_data(Fault, body["fault"])
        seed = None if body.get("seed") is None else int(body["seed"])
    except (KeyError, ValueError, TypeError) as error:
        raise UsageError(f"This is no fault: {error}") from error
    if body.get("dry_run"):
        fault, actions, context = await agent.keeper.plan_only(fault, seed)
        follows = consequences(context.plan, context.view, actions, fault.duration_s)
        return {"fault": to_data(fault), "actions": [to_data(a) for a in actions], "consequences": list(follows)}
    return _fault_data(await agent.keeper.inject(fault, seed))


async def _upkeep(agent: Agent, request: Request) -> dict[str, Any]:
    body = await request.json()
    match body:
        case {"node": str(name), "engine": str(path)}:
            agent.upkeep.set_engine(name, path)
        case {"node": str(name), "member": False}:
            await agent.upkeep.take_out(name)
        case {"node": str(name), "member": True}:
            await agent.upkeep.bring_in(name)
        case _:
            raise UsageError(f"This is no maintenance: {body}")
    return {}


async def heal(agent: Agent, request: Request) -> dict[str, Any]:
    """Revert the faults whose numbers are given as `id`, or all."""
    ids = request.query_params.getlist("id")
    healed = await agent.keeper.heal([int(i) for i in ids] if ids else None)
    return {"healed": [active.record.fault_id for active in healed], "faults": [_fault_data(a) for a in healed]}


async def _record(agent: Agent, request: Request) -> dict[str, Any]:
    """Say that a history is written about the lab: its metrics are read from it. One of the same name takes its place."""
    try:
        recording = from_data(Recording, await request.json())
    except ValueError as error:
        raise UsageError(f"This is no recording: {error}") from error
    others = [each for each in agent.recordings if each.series != recording.series]
    agent.recordings = [*others[-_RECORDINGS_KEPT:], recording]
    return {}


def _fault_data(active: Active) -> dict[str, Any]:
    record = active.record
    left = None if record.ends_ns is None else max(0.0, (record.ends_ns - time.monotonic_ns()) / 1e9)
    return {
        "id": record.fault_id,
        "kind": record.fault.kind,
        "target": record.fault.target,
        "params": dict(record.fault.params),
        "follow": record.fault.follow,
        "moved_from": active.moved_from,
        "began_ns": record.began_ns,
        "ends_ns": record.ends_ns,
        "ends_in_s": left,
        "touches": touched(active),
        "evidence": active.evidence,
        "felt": None if active.felt is None else active.felt.times,
        "so_far": "" if active.felt is None else active.felt.text,
        "reverting": active.reverting,
        "trouble": active.trouble,
        "ended": active.ended,
    }
