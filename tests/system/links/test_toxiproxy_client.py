"""The adapter's own promises: it raises on everything, reads back, and keeps its servers apart."""

import socket
import threading

import pytest

from labctl.errors import InjectionError
from labctl.links import LinkState
from labctl.links.client import RefusedRequestError, ServerFailedError, ToxiproxyClient
from labctl.links.transport import ServerUnreachableError
from tests.system.links.servers import ApiServer, Upstream, run_server

pytestmark = pytest.mark.system


def test_views_say_what_is_there(client: ToxiproxyClient, upstream: Upstream) -> None:
    made = client.create("p", upstream.address)
    assert made == client.proxy("p") == client.proxies()["p"] or made.stats
    assert (made.name, made.upstream, made.enabled, made.state) == ("p", upstream.address, True, LinkState.OPEN)
    toxic = client.add_toxic("p", "latency", name="slow", stream="upstream", toxicity=0.25, latency=5)
    assert (toxic.name, toxic.type, toxic.stream, toxic.toxicity) == ("slow", "latency", "upstream", 0.25)
    assert toxic.attributes == {"latency": 5, "jitter": 0}
    assert client.toxics("p") == {"slow": toxic}
    assert client.proxy("p").toxics == (toxic,)
    changed = client.update_toxic("p", "slow", toxicity=0.5, jitter=2)
    assert (changed.toxicity, changed.attributes) == (0.5, {"latency": 5, "jitter": 2})
    client.remove_toxic("p", "slow")
    assert client.toxics("p") == {}
    client.delete("p")
    assert client.proxies() == {}


def test_names_are_quoted(client: ToxiproxyClient, upstream: Upstream) -> None:
    name = "redis-1.to.redis 2?#ü"
    client.create(name, upstream.address)
    client.add_toxic(name, "latency", name="slow & steady", latency=1)
    assert client.toxics(name)["slow & steady"].attributes["latency"] == 1
    client.delete(name)


def test_every_refusal_raises_with_where_and_why(client: ToxiproxyClient, upstream: Upstream) -> None:
    client.create("p", upstream.address)
    with pytest.raises(RefusedRequestError, match=r"404: proxy not found") as missing:
        client.proxy("nobody")
    assert missing.value.status == 404
    assert "127.0.0.1" in missing.value.message
    with pytest.raises(RefusedRequestError, match="409: proxy already exists"):
        client.create("p", upstream.address)
    with pytest.raises(RefusedRequestError, match="400: invalid toxic type"):
        client.add_toxic("p", "nix")
    with pytest.raises(RefusedRequestError, match="404: toxic not found"):
        client.remove_toxic("p", "nothing")
    with pytest.raises(ServerFailedError, match=r"500: .*address already in use"):
        client.create("q", upstream.address, upstream.address)


def test_an_attribute_that_the_toxic_lacks_is_an_error_and_leaves_no_toxic(
    client: ToxiproxyClient, upstream: Upstream
) -> None:
    client.create("p", upstream.address)
    with pytest.raises(InjectionError, match="latencyy"):
        client.add_toxic("p", "latency", latencyy=5)
    assert client.toxics("p") == {}


def test_states_and_reset(client: ToxiproxyClient, upstream: Upstream) -> None:
    client.create("p", upstream.address)
    assert client.set_state("p", LinkState.REFUSED).state is LinkState.REFUSED
    client.add_toxic("p", "latency", latency=1)
    client.reset()
    assert client.proxy("p").state is LinkState.OPEN
    assert client.toxics("p") == {}


def test_what_only_labctl_can_do_fails_on_toxiproxy_and_leaves_nothing(
    client: ToxiproxyClient, api: ApiServer, upstream: Upstream
) -> None:
    client.create("p", upstream.address)
    if api.name == "labctl":
        assert client.set_state("p", LinkState.BLACKHOLE).state is LinkState.BLACKHOLE
        assert client.set_state("p", LinkState.OPEN).state is LinkState.OPEN
        assert client.create("q", upstream.address, source="127.0.0.2").source == "127.0.0.2"
        assert client.add_toxic("p", "latency", ttl_ms=60_000, seed=3).ttl_ms == 60_000
        return
    with pytest.raises(InjectionError, match="state"):
        client.set_state("p", LinkState.BLACKHOLE)
    with pytest.raises(InjectionError, match="source"):
        client.create("q", upstream.address, source="127.0.0.2")
    with pytest.raises(InjectionError, match="ttl_ms"):
        client.add_toxic("p", "latency", ttl_ms=60_000)
    assert list(client.proxies()) == ["p"]
    assert client.toxics("p") == {}


def test_moving_and_populating(client: ToxiproxyClient, upstream: Upstream) -> None:
    made = client.populate([{"name": "p", "upstream": upstream.address, "listen": "127.0.0.1:0"}])[0]
    moved = client.move("p", listen="127.0.0.1:0")
    assert moved.listen != made.listen
    assert client.move("p", upstream="127.0.0.1:9").upstream == "127.0.0.1:9"


@pytest.mark.parametrize("through", ["http", "library"])
def test_two_clients_in_one_process_reach_two_servers(
    through: str, running_labctl: ApiServer, upstream: Upstream
) -> None:
    with run_server("labctl") as other:
        one = ToxiproxyClient("127.0.0.1", running_labctl.port, through=through)  # type: ignore[arg-type]
        two = ToxiproxyClient("127.0.0.1", other.port, through=through)  # type: ignore[arg-type]
        one.create("of-one", upstream.address)
        two.create("of-two", upstream.address)
        assert (list(one.proxies()), list(two.proxies())) == (["of-one"], ["of-two"])
        one.delete("of-one")


@pytest.mark.parametrize("through", ["http", "library"])
def test_nobody_there_and_nobody_answering(through: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        mute = ToxiproxyClient("127.0.0.1", port, timeout_s=0.1, through=through)  # type: ignore[arg-type]
        with pytest.raises(ServerUnreachableError, match=f"127.0.0.1:{port} did not answer within 0.1 s"):
            mute.version()
    with pytest.raises(ServerUnreachableError, match=f"127.0.0.1:{port} cannot be reached"):
        mute.version()


@pytest.mark.parametrize("through", ["http", "library"])
def test_statuses_that_toxiproxy_python_swallows_raise(through: str) -> None:
    """403 and 503 with bodies that are no JSON, from something in front of the API."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            for status in (b"403 Forbidden", b"503 Service Unavailable"):
                sock, _ = listening.accept()
                with sock:
                    sock.recv(65536)
                    sock.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope")

        thread = threading.Thread(target=answer)
        thread.start()
        client = ToxiproxyClient("127.0.0.1", listening.getsockname()[1], through=through)  # type: ignore[arg-type]
        with pytest.raises(RefusedRequestError, match="403: nope"):
            client.reset()
        with pytest.raises(ServerFailedError, match="503: nope"):
            client.reset()
        thread.join()


def test_plain_toxiproxy_python_works_with_either_server(api: ApiServer, upstream: Upstream) -> None:
    """Its users can point it at labctl's link server as it is."""
    toxiproxy = pytest.importorskip(
        "toxiproxy", reason="toxiproxy-python is not installed: pip install 'labctl[toxiproxy]'"
    )
    server = toxiproxy.Toxiproxy()
    server.update_api_consumer("127.0.0.1", api.port)
    try:
        proxy = server.create(name="p", upstream=upstream.address)
        proxy.add_toxic(type="latency", attributes={"latency": 3})
        assert server.get_proxy("p").toxics()["latency_downstream"].attributes == {"latency": 3, "jitter": 0}
        with proxy.down():
            assert server.get_proxy("p").enabled is False
        assert server.get_proxy("p").enabled is True
        proxy.destroy_toxic("latency_downstream")
        assert proxy.toxics() == {}
        server.reset()
        server.populate([{"name": "q", "upstream": upstream.address, "listen": "127.0.0.1:0"}])
        server.destroy_all()
        assert server.proxies() == {}
    finally:
        server.update_api_consumer("127.0.0.1", 8474)
