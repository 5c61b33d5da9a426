"""Boundaries of RESP messages, whatever the chunks; which requests are meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.links.resp.framing import Framer, FramingError, request_of
from labctl.links.resp.matching import Match, keys_of, slot_of

line = st.binary(max_size=10).filter(lambda b: b"\r" not in b and b"\n" not in b)


def bulk(data: bytes, kind: bytes = b"$") -> bytes:
    return b"%s%d\r\n%s\r\n" % (kind, len(data), data)


def several(kind: bytes, count: int, parts: list[bytes]) -> bytes:
    return b"%s%d\r\n" % (kind, count) + b"".join(parts)


leaves = st.one_of(
    st.tuples(st.sampled_from([b"+", b"-", b":", b"#", b",", b"("]), line).map(lambda t: t[0] + t[1] + b"\r\n"),
    st.binary(max_size=30).map(bulk),
    st.sampled_from([b"$-1\r\n", b"*-1\r\n", b"_\r\n", b"*0\r\n", b"%0\r\n", b"=7\r\ntxt:abc\r\n", b"!3\r\nERR\r\n"]),
)
messages = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda parts: several(b"*", len(parts), parts)),
        st.lists(inner, max_size=4).map(lambda parts: several(b"~", len(parts), parts)),
        st.lists(inner, min_size=1, max_size=4).map(lambda parts: several(b">", len(parts), parts)),
        st.lists(st.tuples(inner, inner), max_size=3).map(lambda p: several(b"%", len(p), [b"".join(x) for x in p])),
        st.tuples(inner, inner, inner).map(lambda p: several(b"|", 1, [p[0], p[1]]) + p[2]),
    ),
    max_leaves=12,
)


@given(st.lists(messages, max_size=5), st.lists(st.integers(min_value=1, max_value=40), max_size=60))
def test_any_chunks_give_the_same_messages(stream: list[bytes], cuts: list[int]) -> None:
    framer, found, rest = Framer(), [], b"".join(stream)
    for size in [*cuts, len(rest) + 1]:
        found += framer.feed(rest[:size])
        rest = rest[size:]
    assert found == stream
    assert len(framer) == 0


@given(st.lists(messages, min_size=1, max_size=3), st.integers(min_value=0))
def test_an_incomplete_message_is_kept_and_given_back(stream: list[bytes], where: int) -> None:
    whole = b"".join(stream)
    part = whole[: where % len(whole)]
    framer = Framer()
    frames = framer.feed(part)
    assert b"".join(frames) + framer.rest() == part
    assert frames == stream[: len(frames)]


@given(st.binary(max_size=80), st.booleans())
def test_anything_else_is_an_error_that_loses_nothing(data: bytes, inline: bool) -> None:
    framer = Framer(inline=inline)
    try:
        frames = framer.feed(data)
    except FramingError as error:
        frames = error.frames
    assert b"".join(frames) + framer.rest() == data


def test_a_message_beyond_the_limit_is_an_error_before_it_is_buffered() -> None:
    with pytest.raises(FramingError):
        Framer().feed(b"$99999999999\r\nabc")


def test_inline_requests_are_messages_and_a_tls_handshake_is_not() -> None:
    assert Framer(inline=True).feed(b"PING\r\nGET a\r\n*1\r\n$4\r\nPING\r\n") == [
        b"PING\r\n",
        b"GET a\r\n",
        b"*1\r\n$4\r\nPING\r\n",
    ]
    with pytest.raises(FramingError):
        Framer(inline=True).feed(b"\x16\x03\x01\x02\x00\n")
    with pytest.raises(FramingError):
        Framer().feed(b"PING\r\n")


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", [b"GET", b"a"]),
        (b"GET a\r\n", [b"GET", b"a"]),
        (b"\r\n", []),
        (b"*0\r\n", []),
        (b"*-1\r\n", []),
        (b"*1\r\n:5\r\n", []),
        (b"*1\r\n*1\r\n$1\r\na\r\n", []),
    ],
)
def test_words_of_requests(frame: bytes, words: list[bytes]) -> None:
    assert request_of(frame) == words


@pytest.mark.parametrize(
    ("request_line", "keys"),
    [
        ("GET a", "a"),
        ("SET a b EX 5", "a"),
        ("PING", ""),
        ("INFO replication", ""),
        ("DEL a b c", "a b c"),
        ("MSET a 1 b 2", "a b"),
        ("EVAL script 2 a b arg", "a b"),
        ("EVAL script x a", ""),
        ("XREAD COUNT 2 STREAMS a b 0 0", "a b"),
        ("XREAD COUNT 2", ""),
        ("BITOP AND d a b", "d a b"),
        ("OBJECT ENCODING a", "a"),
        ("custom.module a b", "a"),
    ],
)
def test_keys_of_requests(request_line: str, keys: str) -> None:
    assert keys_of(request_line.encode().split()) == keys.encode().split()


@pytest.mark.parametrize(
    ("key", "slot"), [(b"foo", 12182), (b"{foo}bar", 12182), (b"123456789", 12739), (b"{}a", None)]
)
def test_slots_are_those_of_redis_cluster(key: bytes, slot: int | None) -> None:
    """`foo` and CRC16's check value 0x31C3 are the specification's own examples."""
    assert slot_of(key) == slot if slot is not None else slot_of(key) != slot_of(b"")


@pytest.mark.parametrize(
    ("command", "key", "request_line", "meant"),
    [
        ("*", "", "PING", True),
        ("get", "", "GET a", True),
        ("SET, GET", "", "get a", True),
        ("SET", "", "SETEX a", False),
        ("SET*", "", "SETEX a", True),
        ("CLIENT PAUSE", "", "client pause 10", True),
        ("CLIENT PAUSE", "", "client list", False),
        ("REPLCONF ACK", "", "REPLCONF ACK 5", True),
        ("*", "user:*", "GET user:1", True),
        ("*", "user:*", "GET session:1", False),
        ("*", "user:*", "SET a user:1", False),
        ("*", "user:*", "PING", False),
        ("MGET", "b?", "MGET a1 b1", True),
    ],
)
def test_matching(command: str, key: str, request_line: str, meant: bool) -> None:
    assert Match(command, key).meets(request_line.encode().split()) is meant
