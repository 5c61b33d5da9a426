"""What faults of disks and forks have in common: making a server write, and save again when it can."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from labctl.agent.effects.base import PROOF_DEADLINE_S, eventually
from labctl.errors import InjectionError, RevertError
from labctl.model.topology import Role
from labctl.observe.access import OTHER_CHILD

if TYPE_CHECKING:
    from labctl.agent.effects.base import Bench
    from labctl.observe.access import Reply

_SAVED_DEADLINE_S = 30


async def provoke(bench: Bench, name: str, command: tuple[str, ...], within_s: float = PROOF_DEADLINE_S) -> Reply:
    """The server's reply to a command, or the error that came instead; a TimeoutError where nothing came."""
    session = bench.session(name)
    try:
        async with asyncio.timeout(within_s):
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
        return not _is_for_later(reply)

    if not await eventually(tried, _SAVED_DEADLINE_S):
        raise InjectionError(
            f"{name} did not try to fork within {_SAVED_DEADLINE_S} s. BGSAVE: {str(reply) or 'no answer'}"
        )
    return reply


async def save_again(bench: Bench, name: str) -> None:
    """A failed save makes Redis refuse writes (`stop-writes-on-bgsave-error`) until one succeeds.

    Raises:
        RevertError: It cannot save.
    """
    if bench.node(name).role is Role.SENTINEL:
        return
    await bench.answers(name)
    rules = await bench.ask(name, "CONFIG", "GET", "save")
    if not isinstance(rules, list) or not rules[1]:
        return

    async def saved() -> bool:
        info = str(await bench.ask(name, "INFO", "persistence"))
        if "rdb_last_bgsave_status:err" not in info:
            return True
        if "rdb_bgsave_in_progress:0" in info:
            reply = await provoke(bench, name, ("BGSAVE", "SCHEDULE"))
            if isinstance(reply, ResponseError) and not _is_for_later(reply):
                raise RevertError(f"{name} cannot save: {reply}")
        return False

    if not await eventually(saved, _SAVED_DEADLINE_S):
        raise RevertError(f"{name} still says that its last save failed.", f"labctl logs {name}")


def _is_for_later(reply: Reply) -> bool:
    """Whether BGSAVE was not even tried: the server loads, or has a child already."""
    if isinstance(reply, ResponseError):
        return any(words in str(reply) for words in OTHER_CHILD)
    return isinstance(reply, BusyLoadingError)
