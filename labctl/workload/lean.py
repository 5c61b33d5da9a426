"""A lean client for generating load: the behaviour of `redispy` at a fraction of its processor time.

redis-py spends most of an operation on its connection pool, on a task for each write with a timeout, and on hooks for
observability. Here each process keeps one connection to each server that it uses, a future carries the reply from the
protocol callback to the process, and one sweep looks after all timeouts. What is not hot stays with redis-py:
discovery, the slot table, hash slots, error classes, back-off.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from redis import exceptions as rx

from labctl.model.topology import Kind
from labctl.workload.connections import make_retry, tls_context
from labctl.workload.routes import Address, open_routes
from labctl.workload.session import Session
from labctl.workload.subscription import Subscription
from labctl.workload.trace import Trace
from labctl.workload.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from labctl.model.endpoints import Endpoints
    from labctl.workload.client import Arg, Reply
    from labctl.workload.habits import Habits

_REDIRECTS = 16  # as RedisCluster.RequestTTL of redis-py
_TRY_AGAIN_S = 0.05
_SWEEPS_PER_TIMEOUT = 20  # a timeout is late by a twentieth of itself at most


class LeanPool:
    """The lean clients of one workload. See `client.ClientPool`."""

    def __init__(self, endpoints: Endpoints, habits: Habits) -> None:
        self.endpoints = endpoints
        self.habits = habits
        self.routes = open_routes(endpoints, habits)
        self.tls = tls_context(endpoints.ca_file) if endpoints.ca_file else None
        self._wires: set[Wire] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def client(self) -> LeanClient:
        """A client for one process."""
        return LeanClient(self)

    async def connect(self, address: Address, trace: Trace | None) -> Wire:
        """A connection that is authenticated and, for a Cluster's replica, allowed to read.

        Raises:
            redis.ConnectionError, redis.TimeoutError: Nothing of the workload's was sent.
        """
        host, port = address
        local = (self.endpoints.source, 0) if self.endpoints.source else None
        dial = self.endpoints.dial.get(port, address)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.habits.connect_timeout_ms / 1000):
                _, wire = await loop.create_connection(lambda: Wire(port), *dial, ssl=self.tls, local_addr=local)
        except TimeoutError:
            raise rx.TimeoutError("Timeout connecting to server") from None
        except OSError as error:
            raise rx.ConnectionError(f"Cannot connect to {host}:{port}: {error}") from error
        self._watch(wire, loop)
        for reply in await wire.request(self._handshake(), self.habits.connect_timeout_ms / 1000):
            if isinstance(reply, Exception) and not isinstance(reply, rx.NoPermissionError):  # a user may lack PING
                wire.give_up(reply)
                raise reply
        wire.trace = trace
        return wire

    async def close(self) -> None:
        """Close every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for wire in list(self._wires):
            wire.give_up(rx.ConnectionError("closed"))
        await self.routes.close()

    def _handshake(self) -> list[Sequence[Arg]]:
        """PING is there so that a link that swallows everything shows before the workload sends anything."""
        commands: list[Sequence[Arg]] = [("PING",)]
        if self.endpoints.password is not None:
            commands.insert(0, ("AUTH", self.endpoints.username or "default", self.endpoints.password))
        if self.endpoints.kind is Kind.CLUSTER and self.habits.read_from_replica:
            commands.append(("READONLY",))
        return commands

    def _watch(self, wire: Wire, loop: asyncio.AbstractEventLoop) -> None:
        self._wires.add(wire)
        if self._sweeper is None:
            self._sweep(loop, self.habits.timeout_ms / 1000 / _SWEEPS_PER_TIMEOUT)

    def _sweep(self, loop: asyncio.AbstractEventLoop, every_s: float) -> None:
        """Give up on replies that are due, and forget connections that are closed."""
        now = loop.time()
        for wire in list(self._wires):
            if wire.closed:
                self._wires.discard(wire)
            elif wire.due <= now:
                wire.give_up(rx.TimeoutError(f"Timeout reading from port {wire.port}"))
        self._sweeper = loop.call_later(every_s, self._sweep, loop, every_s)


class LeanClient:
    """The client of one process. See `client.Client`."""

    def __init__(self, pool: LeanPool) -> None:
        self.trace = Trace()
        self._pool = pool
        self._habits = pool.habits
        self._routes = pool.routes
        self._timeout_s = pool.habits.timeout_ms / 1000
        self._wires: dict[Address, Wire] = {}
        self._retry = make_retry(pool.habits)
        self._waits = pool.habits.waits
        self._follows = pool.endpoints.kind is Kind.CLUSTER

    async def write(self, *args: Arg, key: str) -> Reply:
        """Send a command to the primary, and WAIT after it where the habits say so."""
        if self._habits.retries:
            return await self._retry.call_with_retry(lambda: self._redirected(args, key, write=True), _nothing)
        return await self._redirected(args, key, write=True)

    async def read(self, *args: Arg, key: str) -> Reply:
        """Send a command to the primary, or to a replica where the habits say so."""
        if self._habits.retries:
            return await self._retry.call_with_retry(lambda: self._redirected(args, key, write=False), _nothing)
        return await self._redirected(args, key, write=False)

    def subscription(self, channel: str, *, sharded: bool) -> Subscription:
        """A subscription that is not open yet."""
        return Subscription(self._pool.endpoints, self._habits, self.trace, channel, sharded=sharded)

    @asynccontextmanager
    async def pinned(self, key: str) -> AsyncIterator[LeanSession]:
        """The connection to the primary of `key`."""
        address = await self._routes.find(key, replica=False)
        try:
            wire = await self._wire(address)
            session = LeanSession(wire, self._habits)
            try:
                yield session
            finally:
                if session.watching:
                    wire.give_up(rx.ConnectionError("closed"))
        except rx.RedisError as error:
            await self._routes.failed(address, error)
            raise

    async def _redirected(self, args: Sequence[Arg], key: str, *, write: bool) -> Reply:
        """One attempt, which follows a Cluster's redirections: all of them mean that nothing was applied."""
        if not self._follows:
            return await self._once(args, key, write=write)
        replica = self._habits.read_from_replica and not write
        asked: Address | None = None
        for _ in range(_REDIRECTS):
            address = (
                asked or (None if replica else self._routes.known(key)) or await self._routes.find(key, replica=replica)
            )
            try:
                return await self._attempt(address, args, asking=asked is not None, wait=write and self._waits)
            except rx.MovedError as error:
                asked = None
                await self._routes.failed(address, error)
            except rx.AskError as error:
                asked = (error.host, error.port)
            except rx.TryAgainError:
                await asyncio.sleep(_TRY_AGAIN_S)
            except rx.RedisError as error:
                await self._routes.failed(address, error)
                raise
        raise rx.ClusterError("TTL exhausted.")

    async def _once(self, args: Sequence[Arg], key: str, *, write: bool) -> Reply:
        """One attempt where nobody redirects."""
        replica = self._habits.read_from_replica and not write
        address = (None if replica else self._routes.known(key)) or await self._routes.find(key, replica=replica)
        try:
            return await self._attempt(address, args, asking=False, wait=write and self._waits)
        except rx.RedisError as error:
            await self._routes.failed(address, error)
            raise

    async def _attempt(self, address: Address, args: Sequence[Arg], *, asking: bool, wait: bool) -> Reply:
        wire = self._wires.get(address)
        if wire is None or wire.closed:
            wire = await self._wire(address)
        if wait:
            session = LeanSession(wire, self._habits)
            if asking:
                await session.call("ASKING")
            return await session.write_and_wait(args)
        try:
            replies = await wire.request((("ASKING",), args) if asking else (args,), self._timeout_s)
        except asyncio.CancelledError:
            wire.give_up(rx.ConnectionError("cancelled"))
            raise
        reply = replies[-1]
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def _wire(self, address: Address) -> Wire:
        wire = self._wires.get(address)
        if wire is None or wire.closed:
            wire = self._wires[address] = await self._pool.connect(address, self.trace)
        return wire


class LeanSession(Session):
    """A process's connection to one server."""

    def __init__(self, wire: Wire, habits: Habits) -> None:
        super().__init__(habits)
        self._wire = wire

    async def exchange(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        """Send commands in one write and wait for their replies."""
        if self._wire.closed:
            raise rx.ConnectionError("Connection lost")
        try:
            return await self._wire.request(commands, self._habits.timeout_ms / 1000)
        except asyncio.CancelledError:
            self._wire.give_up(rx.ConnectionError("cancelled"))
            raise


async def _nothing(_error: BaseException) -> None:
    """Nothing to undo between attempts: a broken connection is closed already."""
