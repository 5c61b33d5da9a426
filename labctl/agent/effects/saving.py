"""What faults of disks and forks have in common: making a server write, and save again when it can."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.exceptions import RedisError, ResponseError

from labctl.agent.effects.base import eventually
from labctl.errors import InjectionError, RevertError
from labctl.model.topology import Role

if TYPE_CHECKING:
    from labctl.agent.effects.base import Bench
    from labctl.observe.access import Reply

_SAVED_DEADLINE_S = 30
_OTHER_CHILD = ("in progress", "child process is active")
"""Of BGSAVE's refusals, those that say that there is a child already. A fork that fails is answered without a word."""


async def provoke(bench: Bench, name: str, command: tuple[str, ...]) -> Reply:
    """The server's reply to a command, or the error that came instead."""
    session = bench.session(name)
    try:
        (reply,) = await session.call(command)
    except (RedisError, OSError) as error:
        return error
    finally:
        await session.close()
    return reply


async def try_to_fork(bench: Bench, name: str) -> Reply:
    """What BGSAVE is answered once the server has no other child: before that, it would not try to fork.

    Raises:
        InjectionError: It had another child all the time, or did not answer.
    """
    reply: Reply = None

    async def tried() -> bool:
        nonlocal reply
        reply = await provoke(bench, name, ("BGSAVE",))
        return not (isinstance(reply, ResponseError) and any(words in str(reply) for words in _OTHER_CHILD))

    try:
        async with asyncio.timeout(_SAVED_DEADLINE_S):
            await eventually(tried, float("inf"))
    except TimeoutError:
        raise InjectionError(
            f"{name} did not try to fork within {_SAVED_DEADLINE_S} s. BGSAVE: {reply or 'no answer'}"
        ) from None
    return reply


async def save_again(bench: Bench, name: str) -> None:
    """A failed save makes Redis refuse writes (`stop-writes-on-bgsave-error`) until one succeeds.

    Raises:
        RevertError: It cannot save.
    """
    if bench.node(name).role is Role.SENTINEL:
        return
    await bench.answers(name)
    info = str(await bench.ask(name, "INFO", "persistence"))
    rules = await bench.ask(name, "CONFIG", "GET", "save")
    if "rdb_last_bgsave_status:err" not in info or not isinstance(rules, list) or not rules[1]:
        return
    reply = await provoke(bench, name, ("BGSAVE", "SCHEDULE"))
    if isinstance(reply, ResponseError):
        raise RevertError(f"{name} cannot save: {reply}")

    async def saved() -> bool:
        return "rdb_last_bgsave_status:ok" in str(await bench.ask(name, "INFO", "persistence"))

    if not await eventually(saved, _SAVED_DEADLINE_S):
        raise RevertError(f"{name} still says that its last save failed.", f"labctl logs {name}")
