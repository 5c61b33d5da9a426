"""Whatever is sent to the API: an answer in Toxiproxy's form, never a 500 of our making, never a dead server."""

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labctl.links import Address, LinkServer, ProxySpec
from labctl.links.api import make_app
from labctl.links.toxics import TYPES

KEYS = [
    *("name", "listen", "upstream", "enabled", "toxics", "source", "state"),
    *("type", "stream", "toxicity", "attributes", "ttl_ms", "seed"),
    *(field.name for kind in TYPES.values() for field in dataclasses.fields(kind)),
]
WORDS = [
    *TYPES,
    *("p", "q", "upstream", "downstream", "UPSTREAM", "open", "refused", "blackhole", ""),
    *("127.0.0.1:0", "localhost:0", "0.0.0.0:0", "[::1]:0", ":0", "127.0.0.1:99999", "1.2.3.4:5", "nonsense"),
    *("\ud800", "a/b", "*", "[", "MOVED 1 127.0.0.1:1", "x\r\ny", "\0"),
]
NUMBERS = [0, 1, -1, 2**31, 2**63 - 1, -(2**63), 2**63, 10**400, 0.5, -0.5, 1e308, float("nan"), float("inf")]

words = st.one_of(st.sampled_from(WORDS), st.text(max_size=12))
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(NUMBERS), words)
keys = st.one_of(st.sampled_from(KEYS), st.sampled_from(KEYS).map(str.upper), st.text(max_size=5))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=6)),
    max_leaves=12,
)
likely = st.fixed_dictionaries(
    {},
    optional={
        "name": words,
        "upstream": words,
        "listen": words,
        "type": st.sampled_from([*TYPES, "nix"]),
        "stream": words,
        "toxicity": scalars,
        "attributes": st.dictionaries(st.sampled_from(KEYS), scalars, max_size=6),
        "ttl_ms": scalars,
        "seed": scalars,
        "state": words,
        "source": words,
        "enabled": scalars,
        "toxics": st.lists(st.dictionaries(keys, scalars, max_size=4), max_size=2),
    },
)
bodies = st.one_of(
    values.map(json.dumps).map(str.encode),
    likely.map(json.dumps).map(str.encode),
    st.lists(likely, max_size=3).map(json.dumps).map(str.encode),
    st.binary(max_size=60),
    st.sampled_from([b"[" * 100_000, b'{"a":' * 50_000, b"1" * 10_000, b'"\\ud800"', b"\xff\xfe", b"NaN"]),
)
names = st.one_of(st.sampled_from(["p", "q", "latency_downstream"]), st.text(min_size=1, max_size=6))
paths = st.one_of(
    st.sampled_from(["/proxies", "/populate", "/reset", "/version", "/metrics", "/", "/proxies/", "//"]),
    names.map(lambda name: "/proxies/" + quote(name, safe="")),
    names.map(lambda name: f"/proxies/{quote(name, safe='')}/toxics"),
    st.tuples(names, names).map(lambda pair: "/proxies/{}/toxics/{}".format(*(quote(n, safe="") for n in pair))),
)
requests = st.tuples(st.sampled_from(["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD"]), paths, bodies)


async def call(app: Any, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """One request to an ASGI application."""
    from urllib.parse import unquote  # noqa: PLC0415

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8474),
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(requests, min_size=1, max_size=6))
def test_any_request_is_answered_in_form(runner: asyncio.Runner, sequence: list[tuple[str, str, bytes]]) -> None:
    async def scenario() -> None:
        async with LinkServer() as server:
            server.add(ProxySpec("p", Address("127.0.0.1", 0), Address("127.0.0.1", 9)))
            app = make_app(server)
            for method, path, body in sequence:
                status, answer = await call(app, method, path, body)
                assert status in {200, 201, 204, 400, 404, 405, 409, 413} or is_bind_error(status, answer), answer
                if status >= 400 and answer and answer != b"404 page not found\n":
                    form = json.loads(answer)
                    assert form["status"] == status
                    assert form["error"]
            status, answer = await call(app, "GET", "/proxies", b"")
            assert status == 200
            assert set(json.loads(answer)) == {proxy.spec.name for proxy in server}
            assert (await call(app, "GET", "/metrics", b""))[0] == 200

    runner.run(scenario())


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/proxies", b'{"name": "\\ud800", "upstream": "a:1"}', 201),
        ("/proxies", b'{"name": "\xff", "upstream": "a:1"}', 201),
        ("/proxies", b'{"name": "a", "upstream": "a:1", "listen": "\\ud800:0"}', 400),
        ("/proxies", b'{"name": "a", "upstream": "a:1", "listen": "[::1]:0"}', 201),
        ("/proxies", b'{"name": "a", "upstream": "a:1", "listen": "0.0.0.0:0"}', 400),
        ("/proxies", b'{"name": "a", "upstream": "a"}', 400),
        ("/proxies", b"[" * 100_000, 400),
        ("/proxies", b'{"name": ' + b"1" * 10_000 + b"}", 400),
        ("/proxies", b" " * (16 * 1024 * 1024 + 1), 413),
        ("/proxies/p/toxics", b'{"type": "latency", "toxicity": 1' + b"0" * 400 + b"}", 400),
        ("/proxies/p/toxics", b'{"type": "latency", "toxicity": -1e308}', 200),
        ("/proxies/p/toxics", b'{"type": "latency", "ttl_ms": 9223372036854775807}', 400),
        ("/proxies/p/toxics", b'{"type": "latency", "seed": -9223372036854775808}', 200),
        ("/proxies/p/toxics", b'{"type": "resp_error", "attributes": {"command": "[", "key": "\\ud800["}}', 200),
        ("/proxies/p/toxics", b'{"type": "resp_error", "attributes": {"error": "\\ud800"}}', 200),
    ],
)
def test_known_horrors(runner: asyncio.Runner, path: str, body: bytes, status: int) -> None:
    async def scenario() -> None:
        async with LinkServer() as server:
            server.add(ProxySpec("p", Address("127.0.0.1", 0), Address("127.0.0.1", 9)))
            app = make_app(server)
            got, answer = await call(app, "POST", path, body)
            assert (got, is_bind_error(got, answer)) in ((status, False), (500, status == 201)), answer
            for read in ("/proxies", "/proxies/p", "/metrics"):
                assert (await call(app, "GET", read, b""))[0] == 200

    runner.run(scenario())


def is_bind_error(status: int, answer: bytes) -> bool:
    """The one 500 that Toxiproxy's contract has: the address asked for cannot be bound here."""
    return status == 500 and b" bind: " in answer
