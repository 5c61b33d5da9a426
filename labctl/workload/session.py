"""Several commands on one connection, the same way over either driver: WATCH, MULTI and EXEC, WAIT."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from labctl.workload.errors import NotReplicatedError, PartialTransactionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labctl.workload.client import Arg, Reply
    from labctl.workload.habits import Habits


class Session(ABC):
    """One connection that a driver lends. Implements `client.Pinned` on top of `exchange`.

    Attributes:
        watching: A WATCH is in force, so that the connection must not go back to a pool as it is.
    """

    def __init__(self, habits: Habits) -> None:
        self._habits = habits
        self.watching = False

    @abstractmethod
    async def exchange(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        """Send commands in one write and return their replies in order, error replies as exceptions in their places.

        Raises:
            redis.RedisError: The connection broke or the replies did not come in time.
        """

    async def call(self, *args: Arg) -> Reply:
        """Send one command and return its reply."""
        self.watching = args[0] == "WATCH" or (self.watching and args[0] != "UNWATCH")
        return _raised((await self.exchange([args]))[0])

    async def write_and_wait(self, args: Sequence[Arg]) -> Reply:
        """One command, and WAIT or WAITAOF after it, which counts what this connection wrote."""
        reply, count = await self.exchange([args, self._habits.wait_command])
        _raised(reply)
        self._check_copies(count)
        return reply

    async def transaction(self, *commands: Sequence[Arg]) -> list[Reply] | None:
        """MULTI, the commands and EXEC in one write, and WAIT after them where the habits say so."""
        waits = [self._habits.wait_command] if self._habits.waits else []
        replies = await self.exchange([("MULTI",), *commands, ("EXEC",), *waits])
        self.watching = False
        executed = len(commands) + 1
        for refused in replies[:executed]:  # says more than the EXECABORT that follows it
            _raised(refused)
        results = _raised(replies[executed])
        if results is None:
            return None
        assert isinstance(results, list)
        for result in results:
            if isinstance(result, BaseException):
                raise PartialTransactionError(str(result)) from result
        for count in replies[executed + 1 :]:
            self._check_copies(count)
        return results

    def _check_copies(self, count: Reply) -> None:
        if not self._habits.satisfied_by(count):
            raise NotReplicatedError(f"{self._habits.wait_command[0]} answered {count}")


def _raised(reply: Reply) -> Reply:
    if isinstance(reply, BaseException):
        raise reply
    return reply
