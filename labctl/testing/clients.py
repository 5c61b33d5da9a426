"""redis-py clients of a lab, synchronous, as a test uses them. Each finds the primary as an application does."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

from redis import Connection, ConnectionPool, Redis, RedisCluster, Sentinel, SSLConnection
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool, SentinelManagedConnection

from labctl.agent.bringup import Keys
from labctl.model.endpoints import Endpoints
from labctl.model.plan import NodePlan
from labctl.model.topology import Kind

Client: TypeAlias = Redis
_DEFAULTS = {"decode_responses": True, "socket_timeout": 2.0, "socket_connect_timeout": 2.0}
"""A test wants text, and an error instead of waiting for ever behind a link that was cut."""


class _Bound(Connection):
    """Connects from the group's address, or to the group's port, by which a lab's links know it."""

    source: ClassVar[str | None] = None
    dial: ClassVar[Mapping[int, tuple[str, int]]] = {}

    def _connect(self) -> socket.socket:
        address = self.dial.get(self.port, (self.host, self.port))
        source = (self.source, 0) if self.source is not None else None
        connection = socket.create_connection(address, self.socket_connect_timeout, source)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(self.socket_timeout)
        return connection


def application_client(endpoints: Endpoints, options: Mapping[str, Any]) -> Any:
    """A client of the lab's application user: by Sentinel, by the Cluster's slots, or of the first node.

    Args:
        endpoints: The lab as the client's group reaches it.
        options: Of redis-py's client; replies are text and time-outs 2 s unless stated.

    Returns:
        A `redis.Redis`, or a `redis.RedisCluster` for a Cluster.
    """
    arguments = {**_DEFAULTS, "username": endpoints.username, "password": endpoints.password, **options}
    if endpoints.ca_file is not None:
        arguments["ssl_ca_certs"] = endpoints.ca_file
    connection = _connection(endpoints)
    first = endpoints.nodes[0]
    match endpoints.kind:
        case Kind.CLUSTER:
            nodes = [ClusterNode(node.host, node.port) for node in endpoints.nodes[1:]]  # type: ignore[no-untyped-call]
            url = f"redis://{first.host}:{first.port}"  # only with a URL does it take a class of connections
            return RedisCluster(url=url, startup_nodes=nodes, connection_class=connection, **arguments)
        case Kind.SENTINEL:
            managed = type("Managed", (SentinelManagedConnection, connection), {})
            pool = _SentinelPool(  # type: ignore[no-untyped-call]
                endpoints.primary_name, _sentinels(endpoints, arguments), connection_class=managed, **arguments
            )
            return Redis.from_pool(pool)
        case Kind.STANDALONE | Kind.REPLICA:
            return Redis.from_pool(ConnectionPool(connection, host=first.host, port=first.port, **arguments))


def admin_client(node: NodePlan, keys: Keys, options: Mapping[str, Any]) -> Client:
    """A client of one node as the lab's admin user, past the links, so that it sees both sides of a partition."""
    host, port = node.direct
    arguments: dict[str, Any] = {**_DEFAULTS, "retry": Retry(NoBackoff(), 0), **options}
    if keys.secrets is not None:
        arguments |= {"username": keys.secrets.admin.name, "password": keys.secrets.admin.password}
    if keys.tls is not None:
        arguments |= {"ssl": True, "ssl_ca_certs": keys.tls.ca, "ssl_check_hostname": False}
        arguments |= {"ssl_certfile": keys.tls.cert, "ssl_keyfile": keys.tls.key}
    return Redis(host=host, port=port, **arguments)


def _sentinels(endpoints: Endpoints, arguments: Mapping[str, Any]) -> Sentinel:
    names = ("username", "password", "ssl_ca_certs", "socket_timeout", "socket_connect_timeout")
    mine = {name: arguments[name] for name in names if name in arguments}
    sentinel = Sentinel([])  # type: ignore[no-untyped-call]
    for node in endpoints.sentinels:
        pool = ConnectionPool(_connection(endpoints), host=node.host, port=node.port, decode_responses=True, **mine)
        sentinel.sentinels.append(Redis.from_pool(pool))
    return sentinel


def _connection(endpoints: Endpoints) -> type[Connection]:
    own = {"source": endpoints.source, "dial": endpoints.dial}
    return type("Bound", (_Bound,) if endpoints.ca_file is None else (_Tls,), own)


class _SentinelPool(SentinelConnectionPool):
    """Closed together with the connections to the Sentinels, which redis-py leaves to whoever made those."""

    def close(self) -> None:
        super().close()
        for sentinel in self.sentinel_manager.sentinels:
            sentinel.close()


class _Tls(SSLConnection, _Bound):
    """The same below TLS: SSLConnection wraps what `_Bound` connects."""
