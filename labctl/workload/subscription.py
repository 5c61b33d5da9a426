"""A subscription to one channel, over a connection of its own from the group's source address."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from redis import exceptions as rx

from labctl.workload.connections import bound_connection
from labctl.workload.routes import open_routes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from labctl.model.endpoints import Endpoints
    from labctl.workload.habits import Habits
    from labctl.workload.trace import Trace


class Subscription:
    """One channel, one connection: when it breaks, messages are missed, and its owner has to know.

    redis-py's own PubSub reconnects silently, which is what an application wants and a history must not have.

    Attributes:
        channel: What it listens to.
        node_port: The server it is connected to; None before `open`.
    """

    def __init__(self, endpoints: Endpoints, habits: Habits, trace: Trace, channel: str, *, sharded: bool) -> None:
        self.channel = channel
        self.node_port: int | None = None
        self._endpoints = endpoints
        self._habits = habits
        self._trace = trace
        self._command, self._kind = ("SSUBSCRIBE", "smessage") if sharded else ("SUBSCRIBE", "message")
        self._routes = open_routes(endpoints, habits)
        self._connection: Any = None

    async def open(self) -> None:
        """Connect to the server that has the channel and subscribe; returns when the server confirmed it.

        Raises:
            redis.RedisError: Not subscribed.
        """
        host, port = await self._routes.find(self.channel, replica=False)
        self._trace.port = self.node_port = port
        self._connection = bound_connection(self._endpoints, self._habits, host, port)
        await self._connection.connect()
        await self._connection.send_command(self._command, self.channel)
        await self._connection.read_response()

    async def messages(self, seconds: float) -> AsyncIterator[str]:
        """Messages as they come, for so long.

        Raises:
            redis.RedisError, OSError: The connection broke; messages may be missing from here on.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            reply = await self._connection.read_response(timeout=left, disconnect_on_error=True)
            if reply is None:
                return
            if reply[0] == self._kind:
                yield str(reply[2])
            elif reply[0] == "sunsubscribe":  # a Cluster's node that lost the slot tells its subscribers
                raise rx.ConnectionError("the slot moved")

    async def close(self) -> None:
        """Close the connection, without waiting for a server that may be gone."""
        if self._connection is not None:
            await self._connection.disconnect(nowait=True)
            await asyncio.sleep(0)  # lets the transport close before the loop may end
        await self._routes.close()
