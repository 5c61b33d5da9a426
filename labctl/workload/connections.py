"""redis-py's connections, Sentinels and Cluster for a lab: from the group's source address, and traced.

Connects to nothing by itself.
"""

from __future__ import annotations

import asyncio
import copy
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

from redis import exceptions as rx
from redis.asyncio import Connection, ConnectionPool, Redis, RedisCluster, Sentinel, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.cluster import LoadBalancingStrategy

from labctl.workload.errors import is_reply
from labctl.workload.trace import CURRENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labctl.model.endpoints import Endpoints
    from labctl.workload.habits import Habits


class BoundConnection(Connection):
    """A connection from the local address, or to the port, by which a lab's links know the client's group.

    `port` stays the announced one, by which servers and redirections are known.

    Attributes:
        source: The address; None for the default.
        dial: Announced port → the group's own address, where it has ports of its own.
        tls: One context for every connection; None without TLS.
        made: Connections of this class that somebody still refers to.
    """

    source: ClassVar[str | None] = None
    dial: ClassVar[Mapping[int, tuple[str, int]]] = {}
    tls: ClassVar[ssl.SSLContext | None] = None
    made: ClassVar[WeakSet[BoundConnection]]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.made.add(self)
        if self.tls is not None:
            # redis-py makes a context for each connection, and reading the authorities of the system takes it tens of
            # milliseconds, during which no reply is read.
            self.ssl_context.context = self.tls  # type: ignore[attr-defined]  # SSLConnection has it

    def _connection_arguments(self) -> dict[str, Any]:
        arguments = dict(super()._connection_arguments())
        if self.port in self.dial:
            arguments["host"], arguments["port"] = self.dial[self.port]
        if self.source is not None:
            arguments["local_addr"] = (self.source, 0)
        return arguments


class TracedConnection(BoundConnection):
    """Counts requests and replies in the running task's trace; handshakes are not counted."""

    async def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """Connect if need be. What it sends is not the workload's."""
        if self.is_connected:
            return
        token = CURRENT.set(None)
        try:
            await super().connect_check_health(*args, **kwargs)
        finally:
            CURRENT.reset(token)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send, counted as one request from the moment the connection stands."""
        trace = CURRENT.get()
        if trace is not None:
            if not self.is_connected:
                await self.connect_check_health(check_health=False)
            trace.sent(self.port)
        await super().send_packed_command(command, check_health)

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Read one reply; an error reply is one as well."""
        trace = CURRENT.get()
        try:
            response = await super().read_response(*args, **kwargs)
        except rx.RedisError as error:
            if trace is not None and is_reply(error):
                trace.answered()
            raise
        if trace is not None:
            trace.answered()
        return response


class TracedCluster(RedisCluster):
    """redis-py's Cluster client with another class of connection, which it has no parameter for."""

    def __init__(self, connection_class: type[Connection], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.connection_kwargs["connection_class"] = connection_class
        for node in self.startup_nodes:
            node.connection_class = connection_class
        # COMMAND's reply is what redis-py routes by; the others stay raw.
        callbacks = self.response_callbacks
        for name in [name for name in callbacks if not name.startswith("COMMAND")]:
            del callbacks[name]

    async def initialize(self, *args: Any, **kwargs: Any) -> RedisCluster:
        """Read the slot table. What it sends is not the workload's."""
        token = CURRENT.set(None)
        try:
            return await super().initialize(*args, **kwargs)
        finally:
            CURRENT.reset(token)

    async def close_connections(self) -> None:
        """Close every connection that was made.

        `aclose` closes none while the slot table is due to be read again, and knows nothing of nodes that have left it.
        """
        with suppress(rx.RedisError, OSError):
            await self.aclose()
        made = list(self.connection_kwargs["connection_class"].made)
        await asyncio.gather(*(connection.disconnect() for connection in made), return_exceptions=True)


class SharedSentinel(Sentinel):
    """redis-py's Sentinel client, fit for tasks that ask at the same time.

    redis-py moves the Sentinel that answered to the front of its list by an index from before it waited. When two tasks
    do so at once, one Sentinel ends up twice in the list and another is forgotten for good, its connections with it.
    """

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Ask on a copy of the list; then the one that answered goes first in everybody's."""
        mine = copy.copy(self)
        mine.sentinels = list(self.sentinels)
        address: tuple[str, int] = await Sentinel.discover_master(mine, service_name)
        first = mine.sentinels[0]
        self.sentinels = [first, *(sentinel for sentinel in self.sentinels if sentinel is not first)]
        return address


def open_sentinel(endpoints: Endpoints, habits: Habits) -> Any:
    """redis-py's Sentinel client, from the group's source address like everything else. Connects to nothing yet."""
    sentinel: Any = SharedSentinel([])  # type: ignore[no-untyped-call]
    arguments = connection_arguments(endpoints, habits, 1)
    arguments["connection_class"] = connection_class(BoundConnection, endpoints)
    arguments["max_connections"] = 2**31  # one connection serves; two clients that ask at once must not fail
    for node in endpoints.sentinels:
        pool: Any = ConnectionPool(host=node.host, port=node.port, **arguments)
        sentinel.sentinels.append(Redis.from_pool(pool))
    return sentinel


def open_cluster(endpoints: Endpoints, habits: Habits, clients: int) -> TracedCluster:
    """redis-py's Cluster client. Connects to nothing yet."""
    arguments = connection_arguments(endpoints, habits, clients)
    arguments["ssl"] = endpoints.ca_file is not None
    if habits.read_from_replica:
        arguments["load_balancing_strategy"] = LoadBalancingStrategy.ROUND_ROBIN_REPLICAS
    return TracedCluster(
        connection_class(TracedConnection, endpoints),
        startup_nodes=[ClusterNode(node.host, node.port) for node in endpoints.nodes],
        require_full_coverage=False,
        **arguments,
    )


def bound_connection(endpoints: Endpoints, habits: Habits, host: str, port: int) -> Connection:
    """A connection outside any pool, from the group's source address. Connects to nothing yet."""
    arguments = connection_arguments(endpoints, habits, 1)
    del arguments["max_connections"]
    return connection_class(BoundConnection, endpoints)(host=host, port=port, **arguments)


def connection_class(base: type[BoundConnection], endpoints: Endpoints) -> type[Connection]:
    """A connection class with the group's source address, and TLS where the lab has it."""
    own: dict[str, Any] = {"source": endpoints.source, "dial": endpoints.dial, "made": WeakSet()}
    if endpoints.ca_file is None:
        return type(base.__name__, (base,), own)
    return type(base.__name__, (base, SSLConnection), {**own, "tls": tls_context(endpoints.ca_file)})


def tls_context(ca_file: str) -> ssl.SSLContext:
    """What trusts a lab's authority, and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=ca_file)
    return context


def connection_arguments(endpoints: Endpoints, habits: Habits, clients: int) -> dict[str, Any]:
    """Keyword arguments of redis-py's pools and of its Cluster client."""
    arguments: dict[str, Any] = {
        "max_connections": habits.pool or 2 * clients,
        "username": endpoints.username,
        "password": endpoints.password,
        "socket_timeout": habits.timeout_ms / 1000,
        "socket_connect_timeout": habits.connect_timeout_ms / 1000,
        "retry": make_retry(habits),
        "decode_responses": True,
        "encoding_errors": "surrogateescape",
        "protocol": 2,
    }
    if endpoints.ca_file is not None:
        arguments |= {"ssl_ca_certs": endpoints.ca_file, "ssl_cert_reqs": "required"}
    return arguments


def make_retry(habits: Habits) -> Retry:
    """The habit of retrying, pinned."""
    if not habits.retries:
        return Retry(NoBackoff(), 0)
    backoff = ExponentialBackoff(cap=habits.retry_cap_ms / 1000, base=habits.retry_base_ms / 1000)
    return Retry(backoff, habits.retries)
