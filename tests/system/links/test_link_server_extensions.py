"""What labctl's link server adds to Toxiproxy's API, and what its users have long asked for."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labctl.links import ListenError
from labctl.links.standalone import serve
from tests.system.links.servers import ApiServer, Upstream, run_server
from tests.system.links.sockets import is_silent, receive

pytestmark = pytest.mark.system


def make(api: ApiServer, upstream: Upstream, **fields: object) -> str:
    """Create proxy `p` and return its address."""
    made = api.call("POST", "/proxies", {"name": "p", "upstream": upstream.address} | fields)
    assert made.status == 201, made.text
    return str(made.json["listen"])


def test_a_proxy_is_created_with_its_toxics_or_not_at_all(labctl_api: ApiServer, upstream: Upstream) -> None:
    toxics = [{"type": "latency", "attributes": {"latency": 5}}, {"type": "limit_data", "stream": "upstream"}]
    make(labctl_api, upstream, toxics=toxics)
    names = [toxic["name"] for toxic in labctl_api.call("GET", "/proxies/p").json["toxics"]]
    assert names == ["limit_data_upstream", "latency_downstream"]
    for bad in ([{"type": "nix"}], [toxics[0], toxics[0]], 7, [7]):
        body = {"name": "q", "upstream": upstream.address, "toxics": bad}
        assert labctl_api.call("POST", "/proxies", body).status in (400, 409)
        assert labctl_api.call("GET", "/proxies/q").status == 404


def test_links_of_one_address_are_told_apart_by_their_source(labctl_api: ApiServer, upstream: Upstream) -> None:
    address = make(labctl_api, upstream, source="127.0.0.2")
    other = {"name": "q", "upstream": upstream.address, "listen": address, "source": "127.0.0.3"}
    assert labctl_api.call("POST", "/proxies", other).status == 201
    assert labctl_api.call("POST", "/proxies", other | {"name": "r"}).status == 409
    assert labctl_api.call("PATCH", "/proxies/q", {"enabled": False}).json["enabled"] is False
    near, far = upstream.dial(address, "127.0.0.2"), upstream.accept()
    near.sendall(b"x")
    assert receive(far, 1) == b"x"
    with pytest.raises(ConnectionResetError):  # while it connects, or when it reads
        receive(upstream.dial(address, "127.0.0.3"), 1)
    assert labctl_api.call("GET", "/proxies/q").json["stats"]["refused"] == 1


def test_a_black_hole_over_the_api(labctl_api: ApiServer, upstream: Upstream) -> None:
    address = make(labctl_api, upstream)
    near, far = upstream.dial(address), upstream.accept()
    stalled = labctl_api.call("PATCH", "/proxies/p", {"state": "blackhole"}).json
    assert (stalled["state"], stalled["enabled"]) == ("blackhole", True)
    near.sendall(b"late")
    assert is_silent(far)
    # A client that knows nothing of states writes back what it read, and changes nothing.
    unchanged = labctl_api.call("POST", "/proxies/p", {"enabled": True, "listen": address}).json
    assert unchanged["state"] == "blackhole"
    assert labctl_api.call("PATCH", "/proxies/p", {"state": "open"}).json["state"] == "open"
    assert receive(far, 4) == b"late"
    assert labctl_api.call("PATCH", "/proxies/p", {"state": "ajar"}).status == 400


def test_bytes_of_live_connections_are_counted(labctl_api: ApiServer, upstream: Upstream) -> None:
    address = make(labctl_api, upstream)
    near, far = upstream.dial(address), upstream.accept()
    near.sendall(b"12345")
    assert receive(far, 5) == b"12345"
    far.sendall(b"123")
    assert receive(near, 3) == b"123"
    stats = labctl_api.call("GET", "/proxies/p").json["stats"]
    assert (stats["connections"], stats["upstream_sent"], stats["downstream_sent"]) == (1, 5, 3)
    metrics = labctl_api.call("GET", "/metrics").text
    labels = f'direction="upstream",proxy="p",listener="{address}",upstream="{upstream.address}"'
    assert f"toxiproxy_proxy_sent_bytes_total{{{labels}}} 5" in metrics
    assert 'labctl_link_connections{proxy="p"} 1' in metrics


def test_a_toxic_expires_over_the_api(labctl_api: ApiServer, upstream: Upstream) -> None:
    address = make(labctl_api, upstream)
    near, far = upstream.dial(address), upstream.accept()
    body = {"type": "bandwidth", "attributes": {"rate": 0}, "ttl_ms": 100}
    assert labctl_api.call("POST", "/proxies/p/toxics", body).json["ttl_ms"] == 100
    far.sendall(b"x")
    assert receive(near, 1) == b"x"
    assert labctl_api.call("GET", "/proxies/p/toxics").json == []
    for bad in (0, -1, "1", 1.5, 10**13):
        assert labctl_api.call("POST", "/proxies/p/toxics", body | {"ttl_ms": bad}).status == 400


def test_the_seed_decides_which_connections_are_affected(upstream: Upstream) -> None:
    def affected() -> list[bool]:
        with run_server("labctl") as api:
            address = make(api, upstream)
            body = {"type": "limit_data", "toxicity": 0.5, "attributes": {"bytes": 0}}
            api.call("POST", "/proxies/p/toxics", body)
            outcome = []
            for _ in range(20):
                near, far = upstream.dial(address), upstream.accept()
                far.sendall(b"x")
                outcome.append(receive(near, 1) == b"")
            return outcome

    first = affected()
    assert set(first) == {True, False}
    assert affected() == first


@pytest.mark.parametrize(
    "kind", ["latency", "bandwidth", "slow_close", "timeout", "reset_peer", "slicer", "limit_data"]
)
def test_removing_a_toxic_never_hangs_even_when_nobody_reads(
    labctl_api: ApiServer, upstream: Upstream, kind: str
) -> None:
    """Toxiproxy waits for a slow reader, 5 s per chunk, with the proxy locked."""
    address = make(labctl_api, upstream)
    _, far = upstream.dial(address), upstream.accept()
    attributes = {"latency": 10**9, "rate": 1, "delay": 10**9, "timeout": 10**9, "average_size": 1, "bytes": 10**9}
    body = {"type": kind, "attributes": attributes}
    assert labctl_api.call("POST", "/proxies/p/toxics", body).status == 200
    far.setblocking(False)
    deadline = time.monotonic() + 10
    try:
        while time.monotonic() < deadline:
            far.send(bytes(65536))
    except (BlockingIOError, ConnectionError):
        pass
    assert labctl_api.call("DELETE", f"/proxies/p/toxics/{kind}_downstream").status == 204
    assert labctl_api.call("GET", "/proxies/p/toxics").json == []


def test_a_taken_api_port_is_an_error_that_names_it(running_labctl: ApiServer) -> None:
    with pytest.raises(ListenError, match=f"listen tcp 127.0.0.1:{running_labctl.port}: bind: address already in use"):
        serve("127.0.0.1", running_labctl.port)


def test_running_out_of_descriptors_refuses_nobody_for_good(upstream: Upstream) -> None:
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60));"
        "from labctl.links.standalone import serve;"
        "serve('127.0.0.1', 0, 1, ready=lambda address, seed: print(address, flush=True))"
    )
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            api = ApiServer("labctl", int(process.stdout.readline().rpartition(":")[2]))
            address = make(api, upstream)
            first = upstream.dial(address), upstream.accept()
            crowd = [upstream.dial(address) for _ in range(60)]
            assert api.call("GET", "/version").status == 200
            first[0].sendall(b"still served")
            assert receive(first[1], 12) == b"still served"
            for sock in crowd:
                sock.close()
            near = upstream.dial(address)
            near.sendall(b"again")
            while receive(behind := upstream.accept(), 5) != b"again":
                behind.close()  # one of the crowd
            assert api.call("GET", "/version").status == 200
            assert process.poll() is None
        finally:
            process.terminate()


def test_a_client_that_connects_and_resets_at_once_harms_nobody(labctl_api: ApiServer, upstream: Upstream) -> None:
    address = make(labctl_api, upstream)
    host, _, port = address.rpartition(":")
    for _ in range(200):
        sock = socket.create_connection((host, int(port)))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    for name in ("latency", "slicer", "resp_error"):
        labctl_api.call("POST", "/proxies/p/toxics", {"type": name})
    labctl_api.call("POST", "/reset")
    deadline = time.monotonic() + 20
    while labctl_api.call("GET", "/proxies/p").json["stats"]["connections"]:
        assert time.monotonic() < deadline
        upstream.accept().close()
