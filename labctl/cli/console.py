"""A plain console for machines without redis-cli: a command a line, replies as redis-cli shows them."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from labctl.cli.common import Output

if TYPE_CHECKING:
    from redis import Redis

    from labctl.agent.bringup import Keys
    from labctl.model.plan import NodePlan


def converse(node: NodePlan, host: str, keys: Keys, command: Sequence[str], output: Output = Output.TEXT) -> int:
    """Run `command`, or every line of standard input until it ends. Returns the exit code."""
    client = _client(node, host, keys, output)
    if command:
        return _say(client, command, output)
    prompt = f"{host}:{node.port}> " if sys.stdin.isatty() else ""
    code = 0
    while True:
        try:
            words = shlex.split(input(prompt))
        except ValueError as error:
            typer.echo(f"(error) {error}", err=True)
            continue
        except EOFError:
            return code
        if words and words[0].lower() in ("quit", "exit"):
            return code
        if words:
            code = _say(client, words, output)


def _client(node: NodePlan, host: str, keys: Keys, output: Output) -> Redis:
    from redis import Redis  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    client = Redis(
        host=host,
        port=node.port,
        username=keys.secrets.admin.name if keys.secrets else None,
        password=keys.secrets.admin.password if keys.secrets else None,
        ssl=keys.tls is not None,
        ssl_ca_certs=keys.tls.ca if keys.tls else None,
        ssl_check_hostname=False,
        socket_connect_timeout=5,
        protocol=3 if output is Output.JSON else 2,  # maps are maps in JSON, and lists in what redis-cli shows
        retry=Retry(NoBackoff(), 0),
        single_connection_client=True,
        decode_responses=True,
        encoding_errors="replace",
    )
    client.response_callbacks.clear()  # replies as the server sends them
    return client


def _say(client: Redis, words: Sequence[str], output: Output) -> int:
    from redis.exceptions import RedisError  # noqa: PLC0415

    try:
        reply = client.execute_command(*words)  # type: ignore[no-untyped-call]
    except RedisError as error:
        typer.echo(json.dumps({"error": str(error)}) if output is Output.JSON else f"(error) {error}")
        return 1
    typer.echo(json.dumps({"reply": plain(reply)}) if output is Output.JSON else "\n".join(shown(reply)))
    return 0


def plain(reply: object) -> object:
    """A reply as JSON values: sets as lists, keys as text."""
    match reply:
        case dict():
            return {str(key): plain(value) for key, value in reply.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in reply]
        case None | bool() | int() | float() | str():
            return reply
        case _:
            return str(reply)


def shown(reply: object, indent: str = "") -> Iterator[str]:
    """A reply's lines, lists numbered."""
    match reply:
        case None:
            yield "(nil)"
        case bool() | int():
            yield f"(integer) {int(reply)}"
        case list() if not reply:
            yield "(empty array)"
        case list():
            for number, item in enumerate(reply, 1):
                lines = list(shown(item, indent + "   "))
                yield f"{indent if number > 1 else ''}{number}) {lines[0]}"
                yield from lines[1:]
        case _:
            yield str(reply)
