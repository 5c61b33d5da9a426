"""Every connection comes from its group's address, over TLS where the lab has it, as the application's user."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import servers as real
import trustme
import uvloop

from labctl.model.endpoints import Endpoint, Endpoints
from labctl.model.history import OpOutcome
from labctl.model.scenario import Workload
from labctl.model.topology import Kind
from labctl.store.history import HistoryWriter, read_history
from labctl.workload.connections import open_sentinel
from labctl.workload.habits import Driver, Habits
from labctl.workload.runner import Runner
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

pytestmark = pytest.mark.system

SOURCE = "127.0.0.9"
DRIVERS = pytest.mark.parametrize("driver", list(Driver))


def run_and_look(
    folder: Path, endpoints: Endpoints, driver: Driver, kind: str, look: Callable[[], object], **options: object
) -> None:
    """Run a workload for a while, look at the servers while it runs, and see that its operations succeeded."""

    async def run() -> None:
        stop = asyncio.Event()
        workload = Workload(
            kind, clients=4, options={"driver": driver, "timeout_ms": 10_000, "connect_timeout_ms": 10_000, **options}
        )
        async with Runner([workload], {"clients": endpoints}, writer, seed=1, namespace=folder.name) as runner:
            running = asyncio.create_task(runner.run(stop))
            while path.stat().st_size < 20_000:  # noqa: ASYNC110  # it looks at a file
                await asyncio.sleep(0.05)
            await asyncio.to_thread(look)
            stop.set()
            await running
            await runner.final_reads()

    path = folder / "history"
    with HistoryWriter(path, flush_interval_s=0) as writer:
        uvloop.run(asyncio.wait_for(run(), 60))
    history = read_history([path])
    assert len(history) > 0
    assert [op for op in history if op.error not in {None, "Declined", "WatchError"}] == []
    assert {op.node for op in history if op.node} <= {node.name for node in endpoints.nodes}


@pytest.mark.parametrize("shape", ["standalone", "replica", "sentinel", "cluster"])
@pytest.mark.parametrize("kind", ["register", "pubsub", "bank"])
@DRIVERS
def test_connections_come_from_the_groups_address(driver, kind, shape, topology, tmp_path) -> None:
    servers = topology(shape)
    seen: list[set[str]] = []

    def look() -> None:
        for group in (servers.nodes, servers.sentinels):
            addresses = {client["addr"].split(":")[0] for s in group for client in s.clients()}
            seen.append(addresses)

    read_from_replica = kind == "register" and shape != "standalone"
    endpoints = replace(servers.endpoints, source=SOURCE)
    run_and_look(tmp_path, endpoints, driver, kind, look, read_from_replica=read_from_replica)
    assert SOURCE in seen[0]
    assert seen[0] <= {SOURCE, "127.0.0.1"}  # the test itself, replicas and Sentinels come from there
    if servers.sentinels:
        assert SOURCE in seen[1]


def test_an_address_that_this_machine_lacks_is_a_failure_to_connect(topology, tmp_path) -> None:
    endpoints = replace(topology("standalone").endpoints, source="192.0.2.1")

    async def run() -> None:
        async with Runner([Workload("set", clients=1)], {"clients": endpoints}, writer, seed=1) as runner:
            await runner.run_for(0.1)

    with HistoryWriter(tmp_path / "history") as writer:
        uvloop.run(run())
    history = read_history([tmp_path / "history"])
    assert {(op.outcome, op.error) for op in history} == {(OpOutcome.FAIL, "NotConnected")}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    return folder


def tls_lines(certificates: Path, port: int) -> list[str]:
    return [
        f"tls-port {port}",
        f"tls-cert-file {certificates / 'cert.pem'}",
        f"tls-key-file {certificates / 'key.pem'}",
        f"tls-ca-cert-file {certificates / 'ca.pem'}",
        "tls-auth-clients no",
    ]


ACL = "user app on >secret ~* &* +@all"


def secured(endpoints: Endpoints, certificates: Path, ports: dict[str, int]) -> Endpoints:
    """The same lab by its TLS ports, as the application's user."""

    def over_tls(nodes: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        return tuple(replace(node, port=ports[node.name]) for node in nodes)

    return replace(
        endpoints,
        nodes=over_tls(endpoints.nodes),
        sentinels=over_tls(endpoints.sentinels),
        username="app",
        password="secret",
        ca_file=str(certificates / "ca.pem"),
        source=SOURCE,
    )


def applications(servers: real.Servers) -> list[dict[str, str]]:
    """The workload's connections at the data nodes."""
    everyone = [client for server in servers.nodes for client in server.clients()]
    return [client for client in everyone if client["addr"].startswith(f"{SOURCE}:")]


@DRIVERS
@pytest.mark.parametrize("kind", ["register", "pubsub"])
def test_tls_and_acl_on_a_single_server(driver, kind, certificates, tmp_path) -> None:
    ports = {"redis-1": free_port()}
    with real.standalone(tmp_path / "lab", *tls_lines(certificates, ports["redis-1"]), ACL) as servers:
        check_secured(tmp_path, servers, driver, kind, certificates, ports)


@DRIVERS
@pytest.mark.parametrize("kind", ["register", "sharded-pubsub"])
def test_tls_and_acl_on_a_cluster(driver, kind, certificates, tmp_path) -> None:
    ports = {f"redis-{n}": free_port() for n in range(1, 4)}
    over_tls = ["tls-cluster yes", "tls-replication yes"]  # CLUSTER SLOTS has the ports that the bus is told
    each = {name: [*tls_lines(certificates, port), *over_tls] for name, port in ports.items()}
    with real.cluster(tmp_path / "lab", ACL, replicas=0, each=each) as servers:
        check_secured(tmp_path, servers, driver, kind, certificates, ports)


@DRIVERS
def test_tls_and_acl_with_sentinel(driver, certificates, tmp_path) -> None:
    names = ["redis-1", "redis-2", "sentinel-1", "sentinel-2", "sentinel-3"]
    ports = {name: free_port() for name in names}
    each = {name: [*tls_lines(certificates, port), "tls-replication yes"] for name, port in ports.items()}
    with real.sentinel(tmp_path / "lab", ACL, each=each, primary_port=ports["redis-1"]) as servers:
        check_secured(tmp_path, servers, driver, "register", certificates, ports)


def check_secured(
    folder: Path, servers: real.Servers, driver: Driver, kind: str, certificates: Path, ports: dict[str, int]
) -> None:
    found: list[dict[str, str]] = []
    endpoints = secured(servers.endpoints, certificates, ports)
    run_and_look(folder, endpoints, driver, kind, lambda: found.extend(applications(servers)))
    assert found
    assert {client["user"] for client in found} == {"app"}
    assert {int(client["laddr"].rpartition(":")[2]) for client in found} <= set(ports.values())


def test_a_certificate_of_another_authority_is_a_failure_to_connect(certificates, tmp_path) -> None:
    other = trustme.CA()
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    ports = {"redis-1": free_port()}
    with real.standalone(tmp_path / "lab", *tls_lines(certificates, ports["redis-1"]), ACL) as servers:
        endpoints = replace(secured(servers.endpoints, certificates, ports), ca_file=str(tmp_path / "other.pem"))
        assert endpoints.kind is Kind.STANDALONE
        for driver in Driver:

            async def run(driver: Driver = driver) -> None:
                workload = Workload("set", clients=1, options={"driver": driver})
                async with Runner([workload], {"clients": endpoints}, writer, seed=1) as runner:
                    await runner.run_for(0.1)

            with HistoryWriter(tmp_path / driver) as writer:
                uvloop.run(run())
            history = read_history([tmp_path / driver])
            assert {(op.outcome, op.error) for op in history} == {(OpOutcome.FAIL, "NotConnected")}


def test_clients_that_ask_the_sentinels_at_once_forget_none_of_them(topology) -> None:
    """The first Sentinel of the list does not answer, so that everybody goes on to the second and moves it up."""
    endpoints = topology("sentinel").endpoints
    unknown = replace(endpoints.sentinels[0], port=free_port())
    endpoints = replace(endpoints, sentinels=(unknown, *endpoints.sentinels))

    async def ask() -> tuple[set[object], list[object]]:
        sentinel = open_sentinel(endpoints, Habits())
        known = set(sentinel.sentinels)
        addresses = await asyncio.gather(*(sentinel.discover_master("lab") for _ in range(20)))
        for one in known:
            await one.connection_pool.disconnect()
        assert set(addresses) == {("127.0.0.1", endpoints.nodes[0].port)}
        return known, sentinel.sentinels

    known, left = asyncio.run(ask())
    assert len(left) == 4
    assert set(left) == known
    assert left[0].connection_pool.connection_kwargs["port"] != unknown.port
