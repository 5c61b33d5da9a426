"""`python -m labctl.links.worker`: a link server in a process of its own, for labs too large for one process.

A Cluster of a hundred nodes has 9,900 bus connections of two descriptors each, which is more than many machines allow one
process, and enough traffic for a processor. The agent starts several of these and tells each which proxies it has.

Standard input has one JSON request a line, standard output one answer a line, in order. Requests: `{"add": [spec, …]}`,
`{"hold": [name, …], "state": "blackhole"}`, `{"change_toxics": {name: change, …}}`, `{"tallies": [name, …]}`,
`{"serve_api": port}`. Answers: `{"ok": …}` or `{"error": …, "kind": …}`.
It ends when its standard input does, and so with the agent, and every link that it carries with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
from dataclasses import astuple
from typing import Any

import uvloop

from labctl.errors import LabError
from labctl.links.change import ToxicChange
from labctl.links.server import LinkServer
from labctl.links.spec import Address, LinkState, ListenError, ProxySpec

_LONGEST_REQUEST = 64 * 1024 * 1024


async def serve() -> None:
    """Answer until the end of standard input."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_LONGEST_REQUEST)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(LinkServer())
        while line := await reader.readline():
            answer = await _answer(server, stack, json.loads(line))
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


async def _answer(server: LinkServer, stack: contextlib.AsyncExitStack, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"ok": await _do(server, stack, request)}
    except LabError as error:
        return {"error": error.message, "hint": error.hint, "kind": type(error).__name__}


async def _do(server: LinkServer, stack: contextlib.AsyncExitStack, request: dict[str, Any]) -> object:
    if "add" in request:
        return len(server.add_many(as_spec(fields) for fields in request["add"]))
    if "hold" in request:
        return server.hold(request["hold"], LinkState(request["state"]))
    if "change_toxics" in request:
        for name, fields in request["change_toxics"].items():
            ToxicChange.from_fields(fields).make(server, name)
        return None
    if "tallies" in request:
        return {
            name: {toxic: astuple(tally) for toxic, tally in server.toxics(name).tallies().items()}
            for name in request["tallies"]
        }
    from labctl.links.api import serve_api  # noqa: PLC0415 - a web framework, wanted once the links stand

    try:
        address = await stack.enter_async_context(serve_api(server, port=request["serve_api"]))
    except ListenError:
        address = await stack.enter_async_context(serve_api(server))
    return str(address)


def as_fields(spec: ProxySpec) -> list[object]:
    """A spec of a lab's link as JSON values."""
    return [spec.name, spec.listen.host, spec.listen.port, spec.upstream.host, spec.upstream.port, spec.source]


def as_spec(fields: list[Any]) -> ProxySpec:
    """The reverse of `as_fields`."""
    name, host, port, upstream_host, upstream_port, source = fields
    return ProxySpec(name, Address(host, port), Address(upstream_host, upstream_port), source=source, owned=True)


if __name__ == "__main__":
    uvloop.run(serve())
