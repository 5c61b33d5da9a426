"""Real servers of Toxiproxy's API: labctl's own, and toxiproxy-server where it is installed."""

from collections.abc import Iterator

import pytest

from labctl.links.client import ToxiproxyClient
from tests.system.links.servers import ApiServer, Upstream, run_server


@pytest.fixture(scope="session", params=["labctl", "toxiproxy"])
def running(request: pytest.FixtureRequest) -> Iterator[ApiServer]:
    with run_server(request.param) as server:
        yield server


@pytest.fixture(scope="session")
def running_labctl() -> Iterator[ApiServer]:
    with run_server("labctl") as server:
        yield server


def _clean(server: ApiServer) -> None:
    for name in server.call("GET", "/proxies").json:
        server.call("DELETE", f"/proxies/{name}")


@pytest.fixture
def api(running: ApiServer) -> Iterator[ApiServer]:
    """Either server, without proxies before and after."""
    yield running
    _clean(running)


@pytest.fixture
def labctl_api(running_labctl: ApiServer) -> Iterator[ApiServer]:
    """labctl's server, without proxies before and after."""
    yield running_labctl
    _clean(running_labctl)


@pytest.fixture(params=["http", "library"])
def client(request: pytest.FixtureRequest, api: ApiServer) -> ToxiproxyClient:
    """The adapter, over both transports, to both servers."""
    if request.param == "library":
        pytest.importorskip("toxiproxy", reason="toxiproxy-python is not installed: pip install 'labctl[toxiproxy]'")
    return ToxiproxyClient("127.0.0.1", api.port, through=request.param)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()
