"""How the lab itself reaches its nodes: as the admin user, directly at each node's own address, through no link."""

from __future__ import annotations

from collections.abc import Sequence
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import Any

from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from labctl.model.plan import LabPlan, NodePlan, Secrets, TlsFiles

CONNECT_TIMEOUT_S = 2.0
"""A node on loopback either accepts at once or hangs."""

OTHER_CHILD = ("in progress", "child process is active")
"""Of BGSAVE's refusals, those that say that there is a child already. A fork that fails is answered without a word."""

Reply = Any
"""What a command answers in RESP2: str, int, None, a list of these, or the ResponseError instead."""


class Session:
    """One connection on which several commands travel together.

    Thinner than a client: no pool, no retry, replies as the server sends them. A lost connection raises redis-py's
    ConnectionError or TimeoutError, and the next call connects again.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def connected(self) -> bool:
        """Whether a connection is open as far as this side knows."""
        return bool(self._connection.is_connected)

    async def call(self, *commands: Sequence[str | int]) -> list[Reply]:
        """Send the commands in one round trip; one reply each, a ResponseError where the server refused."""
        connection = self._connection
        await connection.connect()  # type: ignore[no-untyped-call]
        await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        replies: list[Reply] = []
        for _ in commands:
            try:
                replies.append(await connection.read_response())
            except ResponseError as error:  # one refusal must not lose the replies after it
                replies.append(error)
        return replies

    async def one(self, *command: str | int) -> Reply:
        """Send one command. Raises its ResponseError."""
        (reply,) = await self.call(command)
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    async def close(self) -> None:
        """Close the connection without ceremony."""
        await self._connection.disconnect(nowait=True)


class _TlsConnection(SSLConnection):
    """Takes a ready context: redis-py's own costs 20 ms a connection and trusts the system's authorities besides."""

    def __init__(self, *, context: SSLContext, **settings: Any) -> None:
        super().__init__(**settings)
        self.ssl_context.context = context


class Access:
    """Connections to the nodes of one lab.

    Args:
        plan: The lab.
        secrets: Its users where the topology asks for ACL.
        tls: Its certificates where the topology asks for TLS.
    """

    def __init__(self, plan: LabPlan, secrets: Secrets | None, tls: TlsFiles | None) -> None:
        self.plan = plan
        self._settings: dict[str, Any] = {
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "decode_responses": True,
            "encoding_errors": "replace",
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
        }
        self._connection: type[Connection] = Connection
        if secrets is not None:
            self._settings |= {"username": secrets.admin.name, "password": secrets.admin.password}
        if tls is not None:
            self._settings["context"] = context(tls)
            self._connection = _TlsConnection

    def client(self, node: NodePlan, *, timeout_s: float | None = 5.0) -> Redis:
        """A redis-py client as admin: strings decoded, no retries, `timeout_s` for each reply (None waits for ever)."""
        host, port = node.direct
        pool = ConnectionPool(self._connection, host=host, port=port, socket_timeout=timeout_s, **self._settings)
        return Redis.from_pool(pool)

    def session(self, node: NodePlan) -> Session:
        """A session as admin. Its calls have no deadline of their own: put them into `asyncio.timeout`."""
        host, port = node.direct
        return Session(self._connection(host=host, port=port, socket_timeout=None, **self._settings))


def context(tls: TlsFiles) -> SSLContext:
    """Trusts the lab's authority alone, and shows the lab's certificate in case a node asks for one.

    A node's own address is private to the lab and stands in no certificate, so names are not compared.
    """
    context = SSLContext(PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cafile=tls.ca)
    context.load_cert_chain(tls.cert, tls.key)
    return context
