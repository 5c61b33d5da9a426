"""Where the lean client sends a command: static, by Sentinel, or by a Cluster's slot table. Discovery is redis-py's."""

from __future__ import annotations

import asyncio
from itertools import cycle
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from redis import exceptions as rx
from redis.cluster import LoadBalancingStrategy

from labctl.model.slots import SLOTS, key_slot
from labctl.model.topology import Kind
from labctl.workload.connections import open_cluster, open_sentinel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labctl.model.endpoints import Endpoints
    from labctl.workload.habits import Habits

Address: TypeAlias = tuple[str, int]


class Routes(Protocol):
    """Addresses by key, shared by the clients of a workload."""

    async def find(self, key: str, *, replica: bool) -> Address:
        """The primary of `key`, or a replica of it. Raises redis.RedisError when nobody knows."""
        ...

    def known(self, key: str) -> Address | None:
        """The primary of `key` without asking anybody, or None."""
        ...

    async def failed(self, address: Address, error: Exception) -> None:
        """Learn from an error of a server: where it redirects to, or that it is gone."""
        ...

    async def close(self) -> None:
        """Close what discovery opened."""
        ...


def open_routes(endpoints: Endpoints, habits: Habits) -> Routes:
    """Routes for a lab. Connects to nothing yet."""
    match endpoints.kind:
        case Kind.CLUSTER:
            return ClusterRoutes(endpoints, habits)
        case Kind.SENTINEL:
            return SentinelRoutes(endpoints, habits)
        case Kind.STANDALONE if len(endpoints.nodes) > 1:
            return SpreadRoutes(endpoints)
        case Kind.STANDALONE | Kind.REPLICA:
            return StaticRoutes(endpoints)


class StaticRoutes:
    """The first node is the primary, for ever; the others are replicas, in turn."""

    def __init__(self, endpoints: Endpoints) -> None:
        addresses = [(node.host, node.port) for node in endpoints.nodes]
        self._primary = addresses[0]
        self._replicas = cycle(addresses[1:] or addresses[:1])

    async def find(self, key: str, *, replica: bool) -> Address:
        """A replica in turn, or the primary."""
        del key
        return next(self._replicas) if replica else self._primary

    def known(self, key: str) -> Address | None:
        """Always the primary."""
        del key
        return self._primary

    async def failed(self, address: Address, error: Exception) -> None:
        """Nothing to learn."""

    async def close(self) -> None:
        """Nothing is open."""


class SpreadRoutes:
    """Servers on their own, over which the client spreads the keys."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._addresses = [(node.host, node.port) for node in endpoints.nodes]

    async def find(self, key: str, *, replica: bool) -> Address:
        """The server that has the key; nobody replicates it."""
        del replica
        return self.known(key)

    def known(self, key: str) -> Address:
        """The server that has the key."""
        return self._addresses[server_of(key, len(self._addresses))]

    async def failed(self, address: Address, error: Exception) -> None:
        """Nothing to learn."""

    async def close(self) -> None:
        """Nothing is open."""


def server_of(key: str, servers: int) -> int:
    """Which of so many servers on their own has a key: each an equal range of hash slots, as a Cluster's shards."""
    return key_slot(key) * servers // SLOTS


class SentinelRoutes:
    """What the Sentinels say; asked again after an error of the primary that they named."""

    def __init__(self, endpoints: Endpoints, habits: Habits) -> None:
        self._name = endpoints.primary_name
        self._sentinel = open_sentinel(endpoints, habits)
        self._primary: Address | None = None
        self._replicas: Sequence[Address] = ()
        self._turn = 0
        self._asking = asyncio.Lock()

    async def find(self, key: str, *, replica: bool) -> Address:
        """The primary, or a replica in turn, or the primary where no Sentinel knows a replica."""
        del key
        if replica:
            if not self._replicas:
                self._replicas = tuple(await self._sentinel.discover_slaves(self._name))
            if self._replicas:
                self._turn += 1
                return self._replicas[self._turn % len(self._replicas)]
        async with self._asking:
            if self._primary is None:
                self._primary = await self._sentinel.discover_master(self._name)
            return self._primary

    def known(self, key: str) -> Address | None:
        """The primary as last heard."""
        del key
        return self._primary

    async def failed(self, address: Address, error: Exception) -> None:
        """Ask again when the connection or the role was lost."""
        if isinstance(error, rx.ConnectionError | rx.TimeoutError | rx.ReadOnlyError):
            if address == self._primary:
                self._primary = None
            self._replicas = ()

    async def close(self) -> None:
        """Close the connections to the Sentinels."""
        for sentinel in self._sentinel.sentinels:
            await sentinel.connection_pool.disconnect()


class ClusterRoutes:
    """redis-py's slot table; patched by MOVED, read again after a lost connection or CLUSTERDOWN."""

    def __init__(self, endpoints: Endpoints, habits: Habits) -> None:
        self._cluster: Any = open_cluster(endpoints, habits, 1)
        self._table: Any = self._cluster.nodes_manager
        self._fresh = False
        self._reading = asyncio.Lock()

    async def find(self, key: str, *, replica: bool) -> Address:
        """The slot's primary, or one of its replicas in turn."""
        async with self._reading:
            if not self._fresh:
                await self._table.initialize()
                self._fresh = True
        turn = LoadBalancingStrategy.ROUND_ROBIN_REPLICAS if replica else None
        node = self._table.get_node_from_slot(key_slot(key), replica, turn)
        return node.host, node.port

    def known(self, key: str) -> Address | None:
        """The slot's primary by the table, unless it is due to be read again."""
        if not self._fresh:
            return None
        node = self._table.slots_cache.get(key_slot(key), (None,))[0]
        return None if node is None else (node.host, node.port)

    async def failed(self, address: Address, error: Exception) -> None:
        """Follow MOVED; read the table again after anything that speaks of a failover."""
        del address
        if isinstance(error, rx.MovedError):
            await self._table.move_slot(error)
        elif isinstance(error, rx.ConnectionError | rx.TimeoutError | rx.ClusterDownError | rx.ReadOnlyError):
            self._fresh = False

    async def close(self) -> None:
        """Close the connections over which the table was read."""
        await self._cluster.close_connections()
