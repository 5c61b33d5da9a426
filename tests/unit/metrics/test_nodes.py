"""Replies of servers → metrics: refusals, words for numbers, and labels that a server makes up."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.exceptions import ResponseError

from labctl.metrics import nodes, scrape
from labctl.metrics.exposition import Exposition
from tests.support.views import REPLICA, SENTINEL, plan_of

INFO = """# Server
redis_version:8.2.3
uptime_in_seconds:12
# Persistence
rdb_last_bgsave_status:err
latest_fork_usec:1500
mem_fragmentation_ratio:nonsense
# Replication
role:slave
master_host:127.0.0.1
master_port:7001
master_link_status:down
master_sync_in_progress:0
slave_repl_offset:77
connected_slaves:1
slave0:ip=127.0.0.1,port=7003,state=online,offset=70,lag=2
# Commandstats
cmdstat_get:calls=10,usec=50,usec_per_call=5.00,rejected_calls=1,failed_calls=2
# Errorstats
errorstat_NOPERM:count=3
# Latencystats
latency_percentiles_usec_get:p50=1.003,p99=2.007,p99.9=4.015
# Keyspace
db3:keys=5,expires=1,avg_ttl=2500
"""
REFUSED = ResponseError("NOPERM no permission")


def samples(out: Exposition) -> dict[tuple[str, ...], float]:
    """Name and label values, sorted by label → value."""
    return {
        (s.name, *(value for _, value in sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(out.render())
        for s in family.samples
    }


def of(replies: list[Any]) -> dict[tuple[str, ...], float]:
    out = Exposition()
    nodes.data_node(out, replies)
    return samples(out)


def test_a_data_node() -> None:
    found = of([INFO, ["maxclients", "100"], 4, [[9, 1, 2_000_000, ["GET", "x"]]], [["fork", 1700000000, 15, 20]]])
    wanted = {
        ("redis_rdb_last_bgsave_status",): 0,
        ("redis_latest_fork_seconds",): 0.0015,
        ("redis_master_link_up", "127.0.0.1", "7001"): 0,
        ("redis_slave_repl_offset", "127.0.0.1", "7001"): 77,
        ("redis_connected_slave_offset_bytes", "127.0.0.1", "7003", "online"): 70,
        ("redis_connected_slave_lag_seconds", "127.0.0.1", "7003", "online"): 2,
        ("redis_commands_total", "get"): 10,
        ("redis_commands_duration_seconds_total", "get"): 0.00005,
        ("redis_commands_rejected_calls_total", "get"): 1,
        ("redis_commands_failed_calls_total", "get"): 2,
        ("redis_latency_percentiles_usec", "get", "99.9"): 4.015,
        ("redis_errors_total", "NOPERM"): 3,
        ("redis_db_keys", "db3"): 5,
        ("redis_db_keys", "db0"): 0,
        ("redis_db_avg_ttl_seconds", "db3"): 2.5,
        ("redis_config_maxclients",): 100,
        ("redis_slowlog_length",): 4,
        ("redis_slowlog_last_id",): 9,
        ("redis_last_slow_execution_duration_seconds",): 2,
        ("redis_latency_spike_duration_seconds", "fork"): 0.015,
    }
    assert {key: found.get(key) for key in wanted} == wanted
    assert not any(key[0] == "redis_mem_fragmentation_ratio" for key in found), "no number, no sample"


def test_what_is_refused_is_left_out_and_the_rest_is_there() -> None:
    found = of([INFO, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED])
    assert found["redis_slave_repl_offset", "127.0.0.1", "7001"] == 77
    assert not any(key[0].startswith(("redis_config", "redis_slowlog", "redis_cluster_state")) for key in found)


def test_a_node_that_refuses_info_is_not_up() -> None:
    plan = plan_of(REPLICA)
    out = Exposition(lab=plan.lab)
    loading = ResponseError("LOADING Redis is loading the dataset in memory")
    scrape.write(
        out, plan, {"redis-1": [loading] * 5, "redis-2": "no answer within 0.5 s", "redis-3": [INFO, [], 0, [], []]}
    )
    up = {key[3]: value for key, value in samples(out).items() if key[0] == "redis_up"}
    assert up == {"redis-1": 0, "redis-2": 0, "redis-3": 1}


def test_a_sentinel_that_watches_nothing_yet() -> None:
    plan = plan_of(SENTINEL)
    commands = nodes.sentinel_commands(plan.topology.primary_name)
    out = Exposition()
    nodes.sentinel_node(out, ["sentinel_masters:0\nsentinel_tilt:0", *[ResponseError("ERR No such master")] * 4])
    assert len(commands) == 5
    assert samples(out)[("redis_sentinel_masters",)] == 0


def test_a_sentinel_without_its_quorum() -> None:
    def peer(flags: str) -> list[str]:
        return ["name", "x", "flags", flags]

    out = Exposition()
    primary = ["name", "lab", "ip", "127.0.0.1", "port", "7001", "config-epoch", "3", "last-ok-ping-reply", "250"]
    info = "sentinel_tilt:1\nmaster0:name=lab,status=odown,address=127.0.0.1:7001,slaves=2,sentinels=3"
    replies = [primary, ResponseError("NOQUORUM"), [peer("slave"), peer("slave,s_down")], [peer("s_down,sentinel")]]
    nodes.sentinel_node(out, [info, *replies])
    found = samples(out)
    at = ("127.0.0.1:7001", "lab")
    assert found["redis_sentinel_master_ckquorum_status", "lab", "NOQUORUM"] == 0
    assert found["redis_sentinel_master_ok_slaves", *at] == 1
    assert found["redis_sentinel_master_ok_sentinels", *at] == 1, "itself"
    assert found["redis_sentinel_master_config_epoch", *at] == 3
    assert found["redis_sentinel_master_last_ok_ping_reply_seconds", *at] == 0.25
    assert found["redis_sentinel_master_status", *at, "odown"] == 0
    assert found[("redis_sentinel_tilt",)] == 1


@pytest.mark.parametrize("text", ["", "inf", "yes", "0x10", "-1", "1e3"])
def test_numbers(text: str) -> None:
    found = of([f"used_memory:{text}", REFUSED, REFUSED, REFUSED, REFUSED])
    wanted = {"inf": float("inf"), "yes": 1, "-1": -1, "1e3": 1000}
    assert found.get(("redis_memory_used_bytes",)) == wanted.get(text)
