"""What toxics do to connections, through the adapter: one suite, two servers, two transports."""

import time

import pytest

from labctl.links.client import ToxiproxyClient
from tests.system.links.servers import Upstream
from tests.system.links.sockets import is_silent, receive, rest

pytestmark = pytest.mark.system


def test_bytes_pass_in_both_directions(client: ToxiproxyClient, upstream: Upstream) -> None:
    address = client.create("p", upstream.address).listen
    near, far = upstream.dial(address), upstream.accept()
    near.sendall(b"question")
    assert receive(far, 8) == b"question"
    far.sendall(b"answer")
    assert receive(near, 6) == b"answer"
    near.close()
    assert rest(far) == (b"", "fin")


def test_down_closes_connections_and_refuses_new_ones(client: ToxiproxyClient, upstream: Upstream) -> None:
    address = client.create("p", upstream.address).listen
    near, far = upstream.dial(address), upstream.accept()
    assert client.disable("p").enabled is False
    rest(near)
    rest(far)
    with pytest.raises(ConnectionRefusedError):
        upstream.dial(address)
    assert client.enable("p").listen == address
    upstream.dial(address)
    upstream.accept()


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_latency_on_a_live_connection(client: ToxiproxyClient, upstream: Upstream, stream: str) -> None:
    address = client.create("p", upstream.address).listen
    near, far = upstream.dial(address), upstream.accept()
    client.add_toxic("p", "latency", stream=stream, latency=80)
    slow, fast = (near, far) if stream == "upstream" else (far, near)
    began = time.monotonic()
    slow.sendall(b"late")
    assert receive(fast, 4) == b"late"
    assert time.monotonic() - began >= 0.080
    client.update_toxic("p", f"latency_{stream}", latency=0)
    client.remove_toxic("p", f"latency_{stream}")
    slow.sendall(b"prompt")
    assert receive(fast, 6) == b"prompt"


def test_bandwidth_zero_blocks_until_it_is_raised(client: ToxiproxyClient, upstream: Upstream) -> None:
    address = client.create("p", upstream.address).listen
    near, far = upstream.dial(address), upstream.accept()
    client.add_toxic("p", "bandwidth", rate=0)
    far.sendall(b"stuck")
    assert is_silent(near)
    client.update_toxic("p", "bandwidth_downstream", rate=1000)
    assert receive(near, 5) == b"stuck"


def test_bandwidth_is_in_kilobytes_of_a_thousand_bytes(client: ToxiproxyClient, upstream: Upstream) -> None:
    address = client.create("p", upstream.address).listen
    client.add_toxic("p", "bandwidth", rate=100)
    near, far = upstream.dial(address), upstream.accept()
    began = time.monotonic()
    far.sendall(bytes(20_000))
    assert len(receive(near, 20_000)) == 20_000
    assert time.monotonic() - began >= 0.199


def test_timeout_drops_data_and_closes(client: ToxiproxyClient, upstream: Upstream) -> None:
    address = client.create("p", upstream.address).listen
    client.add_toxic("p", "timeout", timeout=50)
    near, far = upstream.dial(address), upstream.accept()
    far.sendall(b"lost")
    assert rest(near)[0] == b""


def test_timeout_zero_stays_until_it_is_removed_and_then_closes(client: ToxiproxyClient, upstream: Upstream) -> None:
    address = client.create("p", upstream.address).listen
    client.add_toxic("p", "timeout", timeout=0)
    near, far = upstream.dial(address), upstream.accept()
    far.sendall(b"lost")
    assert is_silent(near)
    client.remove_toxic("p", "timeout_downstream")
    assert rest(near)[0] == b""


def test_slow_close_delays_the_end_only(client: ToxiproxyClient, upstream: Upstream) -> None:
    address = client.create("p", upstream.address).listen
    client.add_toxic("p", "slow_close", delay=80)
    near, far = upstream.dial(address), upstream.accept()
    began = time.monotonic()
    far.sendall(b"bye")
    far.close()
    assert rest(near) == (b"bye", "fin")
    assert time.monotonic() - began >= 0.080


def test_reset_peer_resets_new_connections(client: ToxiproxyClient, upstream: Upstream) -> None:
    address = client.create("p", upstream.address).listen
    client.add_toxic("p", "reset_peer", stream="upstream", timeout=0)
    near = upstream.dial(address)
    try:
        near.sendall(b"x")
    except ConnectionError:
        return
    assert rest(near) == (b"", "rst")


def test_limit_data_closes_after_so_many_bytes(client: ToxiproxyClient, upstream: Upstream) -> None:
    address = client.create("p", upstream.address).listen
    client.add_toxic("p", "limit_data", bytes=5)
    near, far = upstream.dial(address), upstream.accept()
    far.sendall(b"0123456789")
    assert rest(near)[0] == b"01234"


def test_slicer_changes_nothing_but_the_pieces(client: ToxiproxyClient, upstream: Upstream) -> None:
    address = client.create("p", upstream.address).listen
    client.add_toxic("p", "slicer", average_size=100, size_variation=20, delay=10)
    near, far = upstream.dial(address), upstream.accept()
    payload = bytes(range(256)) * 20
    far.sendall(payload)
    assert receive(near, len(payload)) == payload


def test_toxicity_none_and_all(client: ToxiproxyClient, upstream: Upstream) -> None:
    address = client.create("p", upstream.address).listen
    client.add_toxic("p", "limit_data", toxicity=0, bytes=0)
    near, far = upstream.dial(address), upstream.accept()
    far.sendall(b"unharmed")
    assert receive(near, 8) == b"unharmed"
    client.update_toxic("p", "limit_data_downstream", toxicity=1.0)
    near, far = upstream.dial(address), upstream.accept()
    far.sendall(b"harmed")
    assert rest(near)[0] == b""


def test_toxics_form_a_chain(client: ToxiproxyClient, upstream: Upstream) -> None:
    address = client.create("p", upstream.address).listen
    client.add_toxic("p", "latency", latency=50)
    client.add_toxic("p", "slicer", average_size=3)
    client.add_toxic("p", "limit_data", bytes=7)
    near, far = upstream.dial(address), upstream.accept()
    began = time.monotonic()
    far.sendall(b"0123456789")
    assert rest(near)[0] == b"0123456"
    assert time.monotonic() - began >= 0.050
