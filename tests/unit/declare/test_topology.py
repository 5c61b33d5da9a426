"""Topologies: the short common case, everything that can be stated, and every refusal in words."""
# ruff: noqa: E501 - a golden message stands in one piece

import pytest

from labctl.declare.topology import parse_topology
from labctl.errors import DeclarationError
from labctl.model.topology import (
    ClusterOptions,
    Fsync,
    Kind,
    Persistence,
    SaveRule,
    SentinelOptions,
    Topology,
)


def problems(text: str, source: str = "f.yaml") -> list[str]:
    with pytest.raises(DeclarationError) as caught:
        parse_topology(text, source)
    return caught.value.problems


@pytest.mark.parametrize(
    ("kind", "counts"),
    [("standalone", (1, 0, 0)), ("replica", (1, 2, 0)), ("sentinel", (1, 2, 3)), ("cluster", (3, 1, 0))],
)
def test_kind_alone_is_a_topology(kind: str, counts: tuple[int, int, int]) -> None:
    topology = parse_topology(f"kind: {kind}\n", "dir/my-lab.yaml")
    assert topology.name == "my-lab"
    assert topology.kind == Kind(kind)
    assert (topology.primaries, topology.replicas, topology.sentinels) == counts


def test_everything_that_can_be_stated() -> None:
    text = """
name: mine
kind: sentinel
description: All of it
replicas: 4
sentinels: 5
engine: valkey-9
tls: true
acl: true
persistence:
  rdb:
    - {after: 60s, changes: 1000}
    - {after: 5m, changes: 1}
  aof: no
maxmemory: 100MB
maxmemory-policy: allkeys-lfu
directives:
  all:
    repl-backlog-size: 2mb
    lazyfree-lazy-eviction: true
    client-output-buffer-limit: [normal 0 0 0, replica 64mb 16mb 60]
    notify-keyspace-events: ""
    tls-protocols: '"TLSv1.2 TLSv1.3"'
  primary: {appendonly: no}
  replica: {replica-priority: 50}
  sentinel: {sentinel: deny-scripts-reconfig yes, loglevel: debug}
sentinel:
  quorum: 3
  down-after: 500ms
  failover-timeout: 1.5m
  parallel-syncs: 2
  primary-name: main
"""
    assert parse_topology(text, "f.yaml") == Topology(
        name="mine",
        kind=Kind.SENTINEL,
        description="All of it",
        primaries=1,
        replicas=4,
        sentinels=5,
        engine="valkey-9",
        tls=True,
        acl=True,
        persistence=Persistence(rdb=(SaveRule(60, 1000), SaveRule(300, 1)), aof=Fsync.NO),
        maxmemory="100mb",
        maxmemory_policy="allkeys-lfu",
        directives={
            "all": (
                ("repl-backlog-size", "2mb"),
                ("lazyfree-lazy-eviction", "yes"),
                ("client-output-buffer-limit", "normal 0 0 0"),
                ("client-output-buffer-limit", "replica 64mb 16mb 60"),
                ("notify-keyspace-events", '""'),
                ("tls-protocols", '"TLSv1.2 TLSv1.3"'),
            ),
            "primary": (("appendonly", "no"),),
            "replica": (("replica-priority", "50"),),
            "sentinel": (("sentinel", "deny-scripts-reconfig yes"), ("loglevel", "debug")),
        },
        sentinel=SentinelOptions(quorum=3, down_after_ms=500, failover_timeout_ms=90_000, parallel_syncs=2),
        primary_name="main",
    )


@pytest.mark.parametrize(
    ("stated", "persistence"),
    [
        ("none", Persistence()),
        ("rdb", Persistence(rdb=(SaveRule(3600, 1), SaveRule(300, 100), SaveRule(60, 10_000)))),
        ("aof", Persistence(aof=Fsync.EVERYSEC)),
        ("{aof: always}", Persistence(aof=Fsync.ALWAYS)),
        ("{rdb: 60 1}", Persistence(rdb=(SaveRule(60, 1),))),
        ("{rdb: 60 1 5 1000, aof: everysec}", Persistence((SaveRule(60, 1), SaveRule(5, 1000)), Fsync.EVERYSEC)),
    ],
)
def test_persistence(stated: str, persistence: Persistence) -> None:
    assert parse_topology(f"kind: standalone\npersistence: {stated}\n", "f.yaml").persistence == persistence


def test_node_timeout() -> None:
    topology = parse_topology("kind: cluster\ncluster: {node-timeout: 5s}\n", "f.yaml")
    assert topology.cluster == ClusterOptions(node_timeout_ms=5000)


@pytest.mark.parametrize(("sentinels", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_quorum_is_the_majority_unless_stated(sentinels: int, quorum: int) -> None:
    assert parse_topology(f"kind: sentinel\nsentinels: {sentinels}\n", "f.yaml").sentinel.quorum == quorum


@pytest.mark.parametrize(("primaries", "replicas"), [(1, 0), (1, 99), (50, 1), (100, 0), (125, 1)])
def test_from_one_node_to_many(primaries: int, replicas: int) -> None:
    topology = parse_topology(f"kind: cluster\nprimaries: {primaries}\nreplicas: {replicas}\n", "f.yaml")
    assert topology.nodes == primaries * (1 + replicas)


def test_all_shape_errors_at_once() -> None:
    text = """kind: sentinl
replica: 2
replicas: -1
primaries: three
sentinel: {down-after: 100, quorom: 1}
persistence: rbd
tls: yes
maxmemory: lots
maxmemory-policy: lru
engine: mysql
description: ""
directives:
  al: {}
  primary: [1]
  all: {save: {}, x: ~}
"""
    assert problems(text) == [
        "f.yaml:1:7: `kind` cannot be `sentinl`; did you mean `sentinel`? Allowed: standalone, replica, sentinel, cluster",
        "f.yaml:2:1: unknown key `replica`; did you mean `replicas`? Allowed: description, primaries, replicas, sentinels, engine, tls, acl, persistence, maxmemory, maxmemory-policy, directives, sentinel, cluster, kind, name",
        "f.yaml:3:11: `replicas` must be at least 0, not `-1`",
        "f.yaml:4:12: `primaries` must be a whole number, not `three`",
        "f.yaml:5:24: `down-after` must be a duration with its unit, such as 500ms, 3s, 2m or 1h, not `100`",
        "f.yaml:5:29: unknown key `quorom`; did you mean `quorum`? Allowed: quorum, down-after, failover-timeout, parallel-syncs, primary-name",
        "f.yaml:6:14: `persistence` cannot be `rbd`; did you mean `rdb`? Allowed: none, rdb, aof, or a mapping with `rdb` and `aof` (both together)",
        "f.yaml:7:6: `tls` must be true or false, not `yes`",
        "f.yaml:8:12: `maxmemory` must be bytes as in redis.conf, such as 100mb or 1gb, not `lots`",
        "f.yaml:9:19: `maxmemory-policy` cannot be `lru`; allowed: noeviction, allkeys-lru, allkeys-lfu, allkeys-random, volatile-lru, volatile-lfu, volatile-random, volatile-ttl",
        "f.yaml:10:9: `engine` must be redis, valkey, one of them with its major version (redis-8, redis-7, valkey-9) or a path with a slash, not `mysql`",
        "f.yaml:11:14: `description` must not be empty",
        "f.yaml:13:3: unknown key `al`; did you mean `all`? Allowed: all, primary, replica, sentinel",
        "f.yaml:14:12: `primary` must be a mapping (`key: value` lines), not a list",
        "f.yaml:15:15: `save` must be text, a number, true or false, or a list of these for a directive stated repeatedly",
        "f.yaml:15:22: `x` must be text, a number, true or false, or a list of these for a directive stated repeatedly",
    ]  # fmt: skip


def test_all_inconsistencies_at_once() -> None:
    text = """kind: sentinel
sentinels: 3
primaries: 2
sentinel: {quorum: 4}
cluster: {}
persistence: {rdb: [{after: 1500ms, changes: 1}]}
directives:
  all: {port: 1, save: "", x: "a\\nb", tls-port: 3, repl-timeout: [10, 'a "b']}
  replica: {Bad Name: 1}
  sentinel: {sentinel: [monitor x, loglevel x]}
"""
    assert problems(text, "My.yaml") == [
        "My.yaml:1:1: `My` cannot name a lab: small letters, digits and dashes, a letter first, 40 at most; state another with `name:`",
        "My.yaml:3:12: `primaries` is 1 for kind sentinel; several are shards of `kind: cluster` or servers of `kind: standalone`",
        "My.yaml:4:20: `quorum` 4 cannot be reached by 3 Sentinels",
        "My.yaml:5:1: `cluster` is for kind cluster, not sentinel",
        "My.yaml:6:29: `after` must be whole seconds, as in redis.conf",
        "My.yaml:8:9: `port` is labctl's own: labctl gives each node its address, so that links can tell who is talking to whom",
        "My.yaml:8:18: `save` has a key of its own: state `persistence: {rdb: …}` (or the directive under one role only)",
        "My.yaml:8:31: `x` must be a single line without control characters",
        "My.yaml:8:39: `tls-port` is labctl's own: state `tls: true`, and labctl makes the certificates and sets the ports",
        "My.yaml:8:71: `repl-timeout` has quotes that do not match, or text right after a closing quote",
        "My.yaml:9:13: `Bad Name` is not the name of a directive: small letters, digits and dashes",
        "My.yaml:10:25: `sentinel monitor` has a key of its own: state `sentinel: {quorum: …, primary-name: …}`",
        "My.yaml:10:36: `sentinel loglevel` is labctl's own; allowed: client-reconfig-script, deny-scripts-reconfig, master-reboot-down-after-period, notification-script, primary-reboot-down-after-period",
    ]  # fmt: skip


def test_what_has_the_wrong_shape_hides_nothing_of_the_rest() -> None:
    text = """kind: sentinel
replica: 1
tls: maybe
sentinel: {quorum: 9, down-after: 1}
persistence: {rdb: [{after: 1, changes: 1}, {after: 1500ms, changes: 1}]}
directives:
  all: {port: 1, x: ~}
"""
    assert [problem.partition("; ")[0] for problem in problems(text)] == [
        "f.yaml:2:1: unknown key `replica`",
        "f.yaml:3:6: `tls` must be true or false, not `maybe`",
        "f.yaml:4:35: `down-after` must be a duration with its unit, such as 500ms, 3s, 2m or 1h, not `1`",
        "f.yaml:5:29: `after` must be a duration with its unit, such as 500ms, 3s, 2m or 1h, not `1`",
        "f.yaml:5:53: `after` must be whole seconds, as in redis.conf",
        "f.yaml:7:9: `port` is labctl's own: labctl gives each node its address, so that links can tell who is talking to whom",
        "f.yaml:7:21: `x` must be text, a number, true or false, or a list of these for a directive stated repeatedly",
    ]


def test_what_is_lost_raises_no_false_alarm() -> None:
    assert problems("kind: sentinel\nsentinels: 5x\nsentinel: {quorum: 4}\n") == [
        "f.yaml:2:12: `sentinels` must be a whole number, not `5x`"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("replicas: 1\n", "f.yaml:1:1: key `kind` is missing"),
        ("[kind]\n", "f.yaml:1:1: the file must be a mapping (`key: value` lines), not a list"),
        ("kind: standalone\nreplicas: 1\n", "f.yaml:2:11: `replicas` is 0 for kind standalone; for replicas state `kind: replica` or `kind: sentinel`"),
        ("kind: replica\nreplicas: 0\n", "f.yaml:2:11: `replicas` is at least 1 for kind replica; for a server alone state `kind: standalone`"),
        ("kind: replica\nsentinels: 1\n", "f.yaml:2:12: `sentinels` is for kind sentinel, not replica"),
        ("kind: sentinel\nsentinels: 0\n", "f.yaml:2:12: `sentinels` is at least 1 for kind sentinel; for none state `kind: replica`"),
        ("kind: cluster\nprimaries: 0\n", "f.yaml:2:12: `primaries` must be at least 1"),
        ("kind: cluster\nprimaries: 126\n", "f.yaml:2:12: 252 nodes are more than a lab's 250 addresses"),
        ("kind: cluster\nprimaries: 251\n", "f.yaml:2:12: `primaries` must be at most 250, not `251`"),
        ("kind: standalone\nsentinel: {}\n", "f.yaml:2:1: `sentinel` is for kind sentinel, not standalone"),
        ("kind: cluster\ndirectives:\n  sentinel: {loglevel: debug}\n", "f.yaml:3:3: there is no Sentinel in kind cluster"),
        ("kind: cluster\ncluster: {node-timeout: 0s}\n", "f.yaml:2:25: `node-timeout` must be longer than nothing, not `0s`"),
        ("kind: standalone\ndirectives:\n  all: {tls-protocols: TLSv1.3}\n", "f.yaml:3:9: `tls-protocols` is labctl's own: state `tls: true`, and labctl makes the certificates and sets the ports"),
        ("kind: standalone\ntls: 1\n", "f.yaml:2:6: `tls` must be true or false, not `1`"),
        ("kind: standalone\nreplicas: true\n", "f.yaml:2:11: `replicas` must be a whole number, not `true`"),
        ("kind: standalone\nreplicas: '1'\n", "f.yaml:2:11: `replicas` must be a whole number, not `1`"),
        ("kind: standalone\npersistence: {rdb: 60}\n", "f.yaml:2:20: `rdb` must be a list, not `60`"),
        ("kind: standalone\npersistence: {rdb: 60 x}\n", "f.yaml:2:20: `rdb` must be `default`, pairs of seconds and changes as in redis.conf (`3600 1 60 10000`), or a list of `{after: 60s, changes: 1000}`, not `60 x`"),
        ("kind: sentinel\nsentinel: {primary-name: 'a b'}\n", "f.yaml:2:26: `primary-name` must match ^[A-Za-z0-9._-]{1,64}$, not `a b`"),
        (f"kind: standalone\ndescription: {'x' * 201}\n", "f.yaml:2:14: `description` must have at most 200 characters"),
    ],
)  # fmt: skip
def test_refusals(text: str, problem: str) -> None:
    assert problems(text) == [problem]


def test_duplicate_keys_come_with_the_rest() -> None:
    assert problems("kind: nope\nkind: cluster\n") == [
        "f.yaml:1:7: `kind` cannot be `nope`; allowed: standalone, replica, sentinel, cluster",
        "f.yaml:2:1: key `kind` is stated twice; it was first stated at line 1",
    ]


def test_a_duplicate_key_alone_is_refused() -> None:
    assert problems("kind: cluster\nkind: cluster\n") == [
        "f.yaml:2:1: key `kind` is stated twice; it was first stated at line 1"
    ]


def test_a_large_cluster_that_states_no_node_timeout_gets_redis_own() -> None:
    """Every node pings every other one within half of it."""
    large = parse_topology("kind: cluster\nprimaries: 50\n", "large.yaml")
    assert large.cluster.node_timeout_ms == 15_000
    stated = parse_topology("kind: cluster\nprimaries: 50\ncluster: {node-timeout: 3s}\n", "large.yaml")
    assert stated.cluster.node_timeout_ms == 3000
    assert parse_topology("kind: cluster\n", "small.yaml").cluster.node_timeout_ms == 2000
