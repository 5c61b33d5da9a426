"""Endpoints as environment variables, which redis-py understands whatever is in them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from redis.connection import parse_url

from labctl.model.endpoints import Endpoint, Endpoints
from labctl.model.topology import Kind
from labctl.report.environment import environment

PLAIN = Endpoints(Kind.REPLICA, (Endpoint("redis-1", "127.0.0.1", 7001), Endpoint("redis-2", "127.0.0.1", 7002)))


def test_plain() -> None:
    assert environment(PLAIN) == {
        "REDIS_URL": "redis://127.0.0.1:7001/0",
        "REDIS_URLS": "redis://127.0.0.1:7001/0,redis://127.0.0.1:7002/0",
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": "7001",
        "REDIS_NODES": "127.0.0.1:7001,127.0.0.1:7002",
    }


def test_sentinels_clusters_and_groups() -> None:
    sentinel = replace(PLAIN, kind=Kind.SENTINEL, sentinels=(Endpoint("sentinel-1", "127.0.0.1", 26001),))
    values = environment(replace(sentinel, primary_name="mine", source="127.3.255.1"))
    assert values["REDIS_SENTINELS"] == "127.0.0.1:26001"
    assert values["REDIS_SENTINEL_MASTER"] == "mine"
    assert values["REDIS_SOURCE_ADDRESS"] == "127.3.255.1"
    assert environment(replace(PLAIN, kind=Kind.CLUSTER))["REDIS_CLUSTER_NODES"] == "127.0.0.1:7001,127.0.0.1:7002"


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_the_url_carries_any_user_and_password(user: str, password: str) -> None:
    secured = replace(PLAIN, username=user, password=password, ca_file="/a folder/ca.crt")
    values = environment(secured)
    parsed = parse_url(values["REDIS_URL"])
    assert (parsed["username"], parsed["password"]) == (user, password)
    assert (parsed["host"], parsed["port"], parsed["ssl_ca_certs"]) == ("127.0.0.1", 7001, "/a folder/ca.crt")
    assert values["REDIS_PASSWORD"] == password


def test_a_group_with_ports_of_its_own_is_given_those() -> None:
    dial = {7001: ("172.18.0.2", 28001), 7002: ("172.18.0.2", 28002)}
    values = environment(replace(PLAIN, dial=dial))
    assert values["REDIS_URL"] == "redis://172.18.0.2:28001/0"
    assert values["REDIS_NODES"] == "172.18.0.2:28001,172.18.0.2:28002"
    assert values["REDIS_ADDRESS_MAP"] == "127.0.0.1:7001=172.18.0.2:28001,127.0.0.1:7002=172.18.0.2:28002"
