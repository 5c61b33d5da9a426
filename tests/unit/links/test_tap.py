"""Listening to links: what is heard, in whatever chunks it comes, and that nobody notices."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.links import Address, LinkServer, ProxySpec, UnknownProxyError
from labctl.links.tap import Ear, Recorder, Tap, ends
from labctl.model.message import Topic
from tests.unit.links.peers import ANY, Net, Upstream

Play = Callable[..., object]
ME, OTHER = "a" * 40, "b" * 40


def command(*words: str) -> bytes:
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    return f"*{len(words)}\r\n{''.join(parts)}".encode()


def heard(
    chunks: list[bytes], *, link: str = "redis-2.to.redis-1", answer: bool = False, bus: bool = False
) -> list[tuple[Topic, str]]:
    recorder = Recorder(clock=lambda: 1)
    ear = Ear(recorder, link, recorder.reader(link, answer=answer, bus=bus))
    for chunk in chunks:
        ear.hear(memoryview(chunk))
    return [(topic, text) for _, _, _, topic, text in recorder.messages]


CUTS = st.sets(st.floats(0, 1), max_size=12)


def cut(data: bytes, shares: set[float]) -> list[bytes]:
    places = sorted({min(max(int(share * len(data)), 1), len(data) - 1) for share in shares})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


# Replication and Sentinel

HANDSHAKE = b"".join(
    [
        command("PING"),
        command("AUTH", "replication", "secret-of-the-lab"),
        command("REPLCONF", "listening-port", "7001"),
        command("PSYNC", "?", "-1"),
        command("REPLCONF", "ACK", "17"),
    ]
)


@given(CUTS)
def test_the_handshake_of_a_replica_in_any_chunks(shares: set[float]) -> None:
    assert heard(cut(HANDSHAKE, shares)) == [(Topic.SYNC, "REPLCONF listening-port"), (Topic.SYNC, "PSYNC ? -1")]


ANSWER = b"+PONG\r\n+OK\r\n+OK\r\n+FULLRESYNC " + OTHER.encode() + b" 17\r\n"
STREAM = b"$3\r\nRDB" + command("SET", "key", "*3\r\n:1\r\n$1\r\n*\r\n:0\r\n")


def test_its_answer_and_nothing_of_the_data_behind() -> None:
    told = [(Topic.SYNC, f"+FULLRESYNC {OTHER} 17")]
    assert heard([ANSWER, STREAM], answer=True) == told
    assert heard([ANSWER + STREAM], answer=True) == told
    assert heard([b"+CONTINUE " + OTHER.encode() + b"\r\n" + STREAM, STREAM], answer=True) == [
        (Topic.SYNC, f"+CONTINUE {OTHER}")
    ]


def test_a_stream_that_was_under_way_is_not_listened_to() -> None:
    recorder = Recorder()
    ear = Ear(recorder, "l.to.m", recorder.reader("l.to.m", answer=True, bus=False))
    ear.hear(memoryview(b"rest of a value\r\n"))
    ear.hear(memoryview(command("SET", "k", "v")))
    assert ear.deaf
    assert not recorder.messages


def test_refusals_are_heard() -> None:
    assert heard([b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n"], answer=True) == [
        (Topic.SYNC, "-NOMASTERLINK Can't SYNC while not connected with my master")
    ]


def test_what_a_sentinel_asks_and_orders() -> None:
    told = heard(
        [
            command("PING"),
            command("SENTINEL", "is-master-down-by-addr", "127.0.0.1", "7001", "0", "*"),
            command("SENTINEL", "is-master-down-by-addr", "127.0.0.1", "7001", "3", ME),
            command("MULTI") + command("SLAVEOF", "NO", "ONE") + command("CONFIG", "REWRITE"),
            command("CLIENT", "KILL", "TYPE", "normal") + command("EXEC"),
            command("INFO") + command("CONFIG", "GET", "requirepass"),
        ]
    )
    assert told == [
        (Topic.VOTE, "is 127.0.0.1:7001 down?"),
        (Topic.VOTE, "vote for me in epoch 3"),
        (Topic.ORDER, "SLAVEOF NO ONE"),
        (Topic.ORDER, "CONFIG REWRITE"),
        (Topic.ORDER, "CLIENT KILL"),
    ]


def test_what_a_sentinel_answers() -> None:
    told = heard(
        [
            b"+PONG\r\n",
            b"*3\r\n:1\r\n$1\r\n*\r\n:0\r\n",
            b"*3\r\n:0\r\n$1\r\n*\r\n:0\r\n:1\r\n",
            b"*3\r\n:1\r\n$40\r\n" + ME.encode() + b"\r\n:3\r\n",
        ],
        answer=True,
    )
    assert [text for _, text in told] == ["yes, down for me too", "no, not down for me", f"votes for {ME} in epoch 3"]


def hello(primary: int, epoch: int) -> bytes:
    return command("PUBLISH", "__sentinel__:hello", f"127.0.0.1,5000,{ME},{epoch},mymaster,127.0.0.1,{primary},{epoch}")


def test_a_hello_is_heard_when_it_says_something_new() -> None:
    told = heard([hello(7001, 0), hello(7001, 0), hello(7002, 1), hello(7002, 1)])
    assert told == [(Topic.HELLO, "hello: 127.0.0.1:7002 is primary, epoch 1")]


# Cluster bus


def packet(
    kind: int,
    *,
    flags: int = 1,
    config: int = 1,
    current: int = 7,
    primary: str = "",
    gossip: tuple[tuple[str, int], ...] = (),
    body: bytes = b"",
    manual: int = 0,
) -> bytes:
    """As `clusterMsg` of cluster_legacy.h lays it out; the offsets are written down here a second time on purpose."""
    data = bytearray(2256)
    struct.pack_into(">QQQ", data, 16, current, config, 0)
    data[40:80] = ME.encode()
    data[2128 : 2128 + len(primary)] = primary.encode()
    struct.pack_into(">H", data, 2250, flags)
    data[2253] = manual
    for name, state in gossip:
        entry = bytearray(104)
        entry[:40] = name.encode()
        struct.pack_into(">H", entry, 98, state)
        data += entry
    data += body
    struct.pack_into(">4sIHHHH", data, 0, b"RCmb", len(data), 1, 7001, kind, len(gossip))
    return bytes(data)


FAILOVER = b"".join(
    [
        packet(0, gossip=((OTHER, 1),)),
        packet(0, gossip=((OTHER, 1 | 4),)),
        packet(3, body=OTHER.encode()),
        packet(5, flags=2, primary=OTHER, current=8),
        packet(6, current=8),
        packet(1, flags=1, config=8),
        packet(7, body=struct.pack(">Q", 8) + OTHER.encode() + bytes(2048)),
    ]
)
TOLD = [
    (Topic.SUSPECT, f"gossip: {OTHER} is failing for me (PFAIL)"),
    (Topic.FAIL, f"FAIL: {OTHER} has failed"),
    (Topic.ELECTION, "FAILOVER_AUTH_REQUEST: vote for me in epoch 8"),
    (Topic.ELECTION, "FAILOVER_AUTH_ACK: you have my vote in epoch 8"),
    (Topic.CLAIM, "I am primary, epoch 8"),
    (Topic.CLAIM, f"UPDATE: {OTHER} has your slots, epoch 8"),
]


@given(CUTS)
def test_a_failover_on_the_bus_in_any_chunks(shares: set[float]) -> None:
    assert heard(cut(FAILOVER, shares), link="redis-4.bus.redis-2", bus=True) == TOLD


@pytest.mark.parametrize("size", [1, 3, 4, 15, 2256])
def test_a_failover_on_the_bus_in_small_chunks(size: int) -> None:
    chunks = [FAILOVER[at : at + size] for at in range(0, len(FAILOVER), size)]
    assert heard(chunks, link="redis-4.bus.redis-2", bus=True) == TOLD


def test_the_bus_is_joined_at_the_next_message() -> None:
    assert heard([packet(3, body=OTHER.encode())[100:], packet(3, body=OTHER.encode())], bus=True) == [TOLD[1]]


def test_pings_that_say_nothing_new_are_not_heard() -> None:
    ping = packet(0, gossip=((OTHER, 1),))
    assert heard([ping] * 5 + [packet(1)] * 5, bus=True) == []


def test_a_forced_election_and_a_change_of_sides() -> None:
    told = heard([packet(0), packet(5, manual=2), packet(8), packet(1, flags=2, primary=OTHER)], bus=True)
    assert [text for _, text in told] == [
        "FAILOVER_AUTH_REQUEST: vote for me in epoch 7, forced",
        "MFSTART: pause your clients, I take over",
        f"I am a replica of {OTHER}",
    ]


def test_messages_with_a_short_header_are_passed_over() -> None:
    light = struct.pack(">4sIHHHH", b"RCmb", 30, 1, 0, 0x8000 | 4, 0) + bytes(14)
    assert heard([light + packet(3, body=OTHER.encode())], bus=True) == [TOLD[1]]


# Ears and recorders


@given(st.lists(st.binary(max_size=200), max_size=8), st.booleans(), st.booleans())
def test_nothing_breaks_an_ear(chunks: list[bytes], answer: bool, bus: bool) -> None:
    heard(chunks, answer=answer, bus=bus)


@given(st.lists(st.integers(0, 30), max_size=8), st.binary(min_size=1, max_size=4))
def test_nor_does_damage_in_what_it_knows(places: list[int], noise: bytes) -> None:
    data = bytearray(FAILOVER)
    for place in places:
        at = place * len(FAILOVER) // 31
        data[at : at + len(noise)] = noise
    heard([bytes(data[i : i + 1000]) for i in range(0, len(data), 1000)], bus=True)


@pytest.mark.parametrize("first", [b"\x16\x03\x01\x02\x00", b"\x17\x03\x03\x00\x40"])
def test_what_is_encrypted_is_said_to_be(first: bytes) -> None:
    recorder = Recorder()
    ear = Ear(recorder, "redis-2.to.redis-1", recorder.reader("redis-2.to.redis-1", answer=False, bus=False))
    ear.hear(memoryview(first))
    assert recorder.unreadable == {"redis-2.to.redis-1"}
    assert ear.deaf


def test_memory_is_bounded_by_giving_up_the_oldest() -> None:
    recorder = Recorder(3)
    ear = Ear(recorder, "a.to.b", recorder.reader("a.to.b", answer=False, bus=False))
    for number in range(10):
        ear.hear(memoryview(command("REPLICAOF", "host", str(number))))
    assert [text for *_, text in recorder.messages] == [f"REPLICAOF host {n}" for n in (7, 8, 9)]
    assert recorder.dropped == 7


@pytest.mark.parametrize(
    ("link", "answer", "pair"),
    [
        ("redis-1.to.redis-2", False, ("redis-1", "redis-2")),
        ("redis-1.to.redis-2", True, ("redis-2", "redis-1")),
        ("redis-1.bus.redis-2", False, ("redis-1", "redis-2")),
    ],
)
def test_who_speaks_on_a_link(link: str, answer: bool, pair: tuple[str, str]) -> None:
    assert ends(link, answer=answer) == pair


# On a link


def tapped(server: LinkServer, net: Net) -> tuple[Address, Upstream, Recorder]:
    upstream = net.upstream()
    listen = server.add(ProxySpec("a.to.b", ANY, upstream.address)).listen
    return listen, upstream, Recorder()


def test_a_link_is_heard_and_passes_every_byte(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        listen, upstream, recorder = tapped(server, net)
        before = net.dial(listen)
        behind = await upstream.accept()
        await before.send(b"early ")
        assert await behind.recv(6) == b"early "
        server.listen({"a.to.b": Tap(recorder, "a.to.b")})
        for client, server_side in ((before, behind), (net.dial(listen), None)):
            far = server_side or await upstream.accept()
            await client.send(HANDSHAKE)
            assert await far.recv(len(HANDSHAKE)) == HANDSHAKE
            await far.send(ANSWER + STREAM)
            assert await client.recv(len(ANSWER + STREAM)) == ANSWER + STREAM
        texts = ["REPLCONF listening-port", "PSYNC ? -1", f"+FULLRESYNC {OTHER} 17"]
        assert [text for *_, text in recorder.messages] == texts * 2
        assert [answer for _, _, answer, _, _ in recorder.messages] == [False, False, True] * 2
        server.listen({"a.to.b": None})
        await before.send(HANDSHAKE)
        assert await behind.recv(len(HANDSHAKE)) == HANDSHAKE
        assert len(recorder.messages) == 6

    play(scenario)


def test_an_ear_that_fails_breaks_nothing(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def read(self, chunk: bytes) -> None:
            raise RuntimeError("no")

    monkeypatch.setattr(Recorder, "reader", lambda *_, **__: Broken())

    async def scenario(server: LinkServer, net: Net) -> None:
        listen, upstream, recorder = tapped(server, net)
        server.listen({"a.to.b": Tap(recorder, "a.to.b")})
        client = net.dial(listen)
        behind = await upstream.accept()
        for _ in range(2):
            await client.send(b"question")
            assert await behind.recv(8) == b"question"

    play(scenario)


def test_an_unknown_link_is_refused(play: Play) -> None:
    async def scenario(server: LinkServer, _: Net) -> None:
        with pytest.raises(UnknownProxyError):
            server.listen({"nobody": None})

    play(scenario)
