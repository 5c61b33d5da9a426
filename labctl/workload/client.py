"""What a workload needs of a client, whichever one it is: commands with a key, a pinned connection, and who answered.

Each process of a history has one `Client` and uses it for one operation at a time. The client knows the shape of the
lab: it finds the primary by Sentinel, follows redirections in a Cluster, reads from replicas where it is told to.
Replies are as RESP2 has them, text decoded; errors are the exceptions of redis-py, for `errors.classify`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from labctl.workload.habits import Driver, Habits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from labctl.model.endpoints import Endpoints
    from labctl.workload.subscription import Subscription
    from labctl.workload.trace import Trace

Arg: TypeAlias = str | int | float
Reply: TypeAlias = object
"""None, an int, a str or a list of these. `typing.Any` is avoided on purpose: a workload says what it expects."""


class Pinned(Protocol):
    """One connection to one server, for what must not be spread over several: WATCH, MULTI, WAIT, blocking commands."""

    async def call(self, *args: Arg) -> Reply:
        """Send one command and return its reply. `WAIT` is not added here."""
        ...

    async def transaction(self, *commands: Sequence[Arg]) -> list[Reply] | None:
        """MULTI, the commands and EXEC in one write, and WAIT after them where the habits say so.

        Returns:
            The commands' replies, or None when a watched key had changed.

        Raises:
            PartialTransactionError: A command inside answered with an error; the others are applied.
            NotReplicatedError: As `Client.write`.
        """
        ...


class Client(Protocol):
    """A topology-aware client of one process.

    Attributes:
        trace: What became of the last operation's requests: who answered, and is any of them unanswered.
    """

    trace: Trace

    async def write(self, *args: Arg, key: str) -> Reply:
        """Send a command to the primary of `key`, and WAIT after it where the habits say so.

        Raises:
            NotReplicatedError: The write is applied and WAIT counted too few copies.
            redis.RedisError: For `errors.classify`.
        """
        ...

    async def read(self, *args: Arg, key: str) -> Reply:
        """Send a command to the primary of `key`, or to a replica where the habits say so."""
        ...

    def subscription(self, channel: str, *, sharded: bool) -> Subscription:
        """A subscription that is not open yet, with a connection of its own."""
        ...

    def pinned(self, key: str) -> AbstractAsyncContextManager[Pinned]:
        """A connection to the primary of `key` for as long as the context lasts.

        What it leaves behind on the connection (WATCH) is undone. It is never retried: its caller knows what to repeat.
        """
        ...


class ClientPool(Protocol):
    """Makes the clients of one workload and owns what they share."""

    def client(self) -> Client:
        """A client for one process."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


def open_clients(endpoints: Endpoints, habits: Habits, clients: int) -> ClientPool:
    """Clients for one workload. Connects to nothing yet.

    Args:
        endpoints: The lab as the workload's client group reaches it.
        habits: What the application does.
        clients: How many clients will be asked for; the size of the pool unless the habits name one.
    """
    if habits.driver is Driver.LEAN:
        from labctl.workload.lean import LeanPool  # noqa: PLC0415  # each driver loads only when it is used

        return LeanPool(endpoints, habits)
    from labctl.workload.redispy import RedisPyPool  # noqa: PLC0415

    return RedisPyPool(endpoints, habits, clients)
