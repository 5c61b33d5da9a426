"""Does the lab refuse what it should? Tried from outside, as somebody without the right to would.

On a lab with TLS each node is asked in plaintext, and over TLS that trusts another authority. On a lab with ACL each is
asked without a password, with a wrong one, and as the application's user for what only the admin may do.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from labctl.model.endpoints import Endpoint, Endpoints

_DEADLINE_S = 3.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One thing that should have been refused: on which node, what it was, whether it was, and how."""

    node: str
    what: str
    refused: bool
    how: str


async def try_refusals(endpoints: Endpoints) -> list[Attempt]:
    """Try everything that this lab should refuse, on every node. Empty where it has neither TLS nor ACL."""
    nodes = [*endpoints.nodes, *endpoints.sentinels]
    return [attempt for node in nodes for attempt in await _try_node(endpoints, node)]


async def _try_node(endpoints: Endpoints, node: Endpoint) -> list[Attempt]:
    attempts: list[tuple[str, Callable[[], Awaitable[object]]]] = []
    if endpoints.ca_file is not None:
        attempts.append(("plaintext", lambda: _plaintext(node)))
        attempts.append(("a certificate authority that did not sign it", lambda: _strange_authority(node)))
    if endpoints.username is not None:
        attempts.append(("no password", lambda: _ask(endpoints, node, None, None, "INFO")))
        attempts.append(("a wrong password", lambda: _ask(endpoints, node, endpoints.username, "wrong", "PING")))
        own = endpoints.password
        attempts.append(
            (
                "the application's user wanting FLUSHALL",
                lambda: _ask(endpoints, node, endpoints.username, own, "FLUSHALL"),
            )
        )
    found = []
    for what, attempt in attempts:
        try:
            async with asyncio.timeout(_DEADLINE_S):
                answer = await attempt()
        except (RedisError, OSError, ssl.SSLError, EOFError) as error:
            found.append(Attempt(node.name, what, refused=True, how=f"{type(error).__name__}: {error}"[:120]))
        except TimeoutError:
            found.append(Attempt(node.name, what, refused=False, how=f"no answer within {_DEADLINE_S:g} s"))
        else:
            found.append(Attempt(node.name, what, refused=False, how=f"answered {answer!r}"[:120]))
    return found


async def _plaintext(node: Endpoint) -> object:
    reader, writer = await asyncio.open_connection(node.host, node.port)
    try:
        writer.write(b"PING\r\n")
        answer = await reader.read(64)
        if not answer or not answer.startswith((b"+", b"-")):
            raise EOFError("closed, or no Redis answer")
        return answer
    finally:
        writer.transport.abort()


async def _strange_authority(node: Endpoint) -> object:
    reader, writer = await asyncio.open_connection(node.host, node.port, ssl=ssl.create_default_context())
    writer.transport.abort()
    return reader


async def _ask(endpoints: Endpoints, node: Endpoint, user: str | None, password: str | None, command: str) -> object:
    client = Redis(
        host=node.host,
        port=node.port,
        username=user,
        password=password,
        ssl=endpoints.ca_file is not None,
        ssl_ca_certs=endpoints.ca_file,
        ssl_check_hostname=False,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        answer: object = await client.execute_command(command)  # type: ignore[no-untyped-call]
        return answer
    finally:
        await client.aclose()
