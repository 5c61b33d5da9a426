"""The client that applications use: redis-py's asyncio client, bound to its group's source address and traced.

One `RedisPyPool` plays one application: its clients share a connection pool (and with a Cluster the slot table), as the
tasks of a program do. Everything about discovery, redirection and retries is redis-py's own doing. This module adds
three things: connections come from the group's source address, they count requests and replies in the process's
`Trace`, and replies stay as the server sent them.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from itertools import cycle
from typing import TYPE_CHECKING, Any

from redis import exceptions as rx
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.sentinel import SentinelConnectionPool, SentinelManagedConnection

from labctl.model.slots import key_slot
from labctl.model.topology import Kind
from labctl.workload.connections import (
    TracedCluster,
    TracedConnection,
    connection_arguments,
    connection_class,
    make_retry,
    open_cluster,
    open_sentinel,
)
from labctl.workload.routes import server_of
from labctl.workload.session import Session
from labctl.workload.subscription import Subscription
from labctl.workload.trace import CURRENT, Trace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from labctl.model.endpoints import Endpoint, Endpoints
    from labctl.workload.client import Arg, Reply
    from labctl.workload.habits import Habits

_REDIRECTS = 5  # as many as redis-py follows before it gives up on a slot table that moves under it


class RedisPyPool:
    """The redis-py clients of one workload. See `client.ClientPool`."""

    def __init__(self, endpoints: Endpoints, habits: Habits, clients: int) -> None:
        self.endpoints = endpoints
        self.habits = habits
        self._arguments = connection_arguments(endpoints, habits, clients)
        self._replica_pools: list[ConnectionPool] = []
        self._sentinel: Any = None
        self.cluster: TracedCluster | None = None
        self._primaries: list[Redis] = []
        self.replicas: list[Redis] = []
        match endpoints.kind:
            case Kind.CLUSTER:
                self.cluster = open_cluster(endpoints, habits, clients)
            case Kind.SENTINEL:
                self._sentinel = open_sentinel(endpoints, habits)
                self._primaries = [self._sentinel_client(is_master=True)]
                self.replicas = [self._sentinel_client(is_master=False)] if habits.read_from_replica else []
            case Kind.STANDALONE:
                self._primaries = [self._node_client(node) for node in endpoints.nodes]
            case Kind.REPLICA:
                self._primaries = [self._node_client(endpoints.nodes[0])]
                named = endpoints.nodes[1:] if habits.read_from_replica else ()
                self.replicas = [self._node_client(node) for node in named]
        self._turns: Iterator[Redis] = cycle(self.replicas)

    def client(self) -> RedisPyClient:
        """A client for one process."""
        return RedisPyClient(self)

    def primary(self, key: str) -> Redis:
        """The primary of a key where there is no Cluster."""
        servers = len(self._primaries)
        return self._primaries[server_of(key, servers) if servers > 1 else 0]

    def next_replica(self) -> Redis | None:
        """The replica to read from next, or None when there is none."""
        return next(self._turns) if self.replicas else None

    async def close(self) -> None:
        """Close every connection."""
        for client in (*self._primaries, *self.replicas):
            await client.connection_pool.disconnect()
        if self._sentinel is not None:
            for sentinel in self._sentinel.sentinels:
                await sentinel.connection_pool.disconnect()
        if self.cluster is not None:
            await self.cluster.close_connections()

    def _sentinel_client(self, *, is_master: bool) -> Redis:
        traced = self._traced()
        managed = type("TracedSentinelConnection", (SentinelManagedConnection, traced), {})
        pool = SentinelConnectionPool(  # type: ignore[no-untyped-call]
            self.endpoints.primary_name,
            self._sentinel,
            is_master=is_master,
            connection_class=managed,
            **self._arguments,
        )
        return _raw_client(pool)

    def _node_client(self, node: Endpoint) -> Redis:
        return _raw_client(
            ConnectionPool(connection_class=self._traced(), host=node.host, port=node.port, **self._arguments)
        )

    def _traced(self) -> Any:
        return connection_class(TracedConnection, self.endpoints)


class RedisPyClient:
    """The client of one process. See `client.Client`."""

    def __init__(self, pool: RedisPyPool) -> None:
        self.trace = Trace()
        self._pool = pool
        self._habits = pool.habits
        self._retry = make_retry(pool.habits)
        self._stale = False

    async def write(self, *args: Arg, key: str) -> Reply:
        """Send a command to the primary, and WAIT after it where the habits say so."""
        CURRENT.set(self.trace)
        if self._habits.waits:
            return await self._retry.call_with_retry(lambda: self._write_and_wait(args, key), _nothing)
        return await self._execute(self._pool.cluster or self._pool.primary(key), args)

    async def read(self, *args: Arg, key: str) -> Reply:
        """Send a command to the primary, or to a replica where the habits say so."""
        CURRENT.set(self.trace)
        pool = self._pool
        return await self._execute(pool.cluster or pool.next_replica() or pool.primary(key), args)

    def subscription(self, channel: str, *, sharded: bool) -> Subscription:
        """A subscription that is not open yet."""
        return Subscription(self._pool.endpoints, self._habits, self.trace, channel, sharded=sharded)

    @asynccontextmanager
    async def pinned(self, key: str) -> AsyncIterator[RedisPySession]:
        """A connection to the primary of `key`."""
        CURRENT.set(self.trace)
        lender = self._lend_in_cluster(self._pool.cluster, key) if self._pool.cluster else self._lend(key)
        async with lender as connection:
            session = RedisPySession(connection, self.trace, self._habits)
            try:
                yield session
            finally:
                if session.watching:
                    await connection.disconnect()

    @asynccontextmanager
    async def _lend(self, key: str) -> AsyncIterator[Any]:
        connections: Any = self._pool.primary(key).connection_pool
        connection = await connections.get_connection()
        try:
            yield connection
        except rx.ConnectionError as error:
            raise _told_readonly(error) from None
        finally:
            await connections.release(connection)

    @asynccontextmanager
    async def _lend_in_cluster(self, cluster: TracedCluster, key: str) -> AsyncIterator[Any]:
        await cluster.initialize()
        if self._stale:
            await self._refresh(cluster)
        node = cluster.nodes_manager.get_node_from_slot(key_slot(key))
        connection = node.acquire_connection()
        try:
            await node.disconnect_if_needed(connection)
            yield connection
        except rx.MovedError as error:
            await cluster.nodes_manager.move_slot(error)
            raise
        except (rx.ConnectionError, rx.TimeoutError, rx.ClusterDownError):
            self._stale = True
            raise
        finally:
            node.release(connection)

    async def _refresh(self, cluster: TracedCluster) -> None:
        token = CURRENT.set(None)
        try:
            await cluster.nodes_manager.initialize()
        finally:
            CURRENT.reset(token)
        self._stale = False

    async def _write_and_wait(self, args: Sequence[Arg], key: str) -> Reply:
        """The write and WAIT on one connection: WAIT counts what its own connection wrote."""
        for _ in range(_REDIRECTS):
            try:
                async with self.pinned(key) as pinned:
                    return await pinned.write_and_wait(args)
            except rx.MovedError:
                continue
        raise rx.ClusterError("TTL exhausted.")

    async def _execute(self, target: Any, args: Sequence[Arg]) -> Reply:
        try:
            return await target.execute_command(*args)
        except rx.ConnectionError as error:
            raise _told_readonly(error) from None


class RedisPySession(Session):
    """One connection of a redis-py pool."""

    def __init__(self, connection: Any, trace: Trace, habits: Habits) -> None:
        super().__init__(habits)
        self._connection = connection
        self._trace = trace

    async def exchange(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        """Send commands in one write and read their replies."""
        await self._connection.send_packed_command(self._connection.pack_commands(commands))
        self._trace.unanswered += len(commands) - 1  # the connection counted one
        replies: list[Reply] = []
        for _ in commands:
            try:
                replies.append(await self._connection.read_response())
            except rx.ResponseError as error:
                replies.append(error)
        return replies


def _told_readonly(error: rx.ConnectionError) -> BaseException:
    """What the server said, where redis-py's Sentinel connection turned `-READONLY` into a connection error."""
    return error.__context__ if isinstance(error.__context__, rx.ReadOnlyError) else error


def _raw_client(pool: ConnectionPool) -> Redis:
    """A client whose replies stay as the server sent them."""
    client = Redis.from_pool(pool)
    client.response_callbacks.clear()
    return client


async def _nothing(_error: BaseException) -> None:
    """Nothing to undo between attempts: a broken connection is closed already."""
    await asyncio.sleep(0)
