from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from itertools import count

import pytest

from labctl.errors import UsageError
from labctl.model.plan import Formation, LabPlan, Secrets, TlsFiles
from labctl.model.topology import ClusterOptions, Fsync, Kind, Persistence, SaveRule, Topology
from labctl.plan.acl import make_secrets
from labctl.plan.borrowed import formation_overrides, given_back
from labctl.plan.config import OWNED_DIRECTIVES, config_name, node_files, server_config
from labctl.plan.versions import Version
from tests.support.views import CLUSTER, REPLICA, SENTINEL, STANDALONE, plan_of

TLS = TlsFiles(ca="/lab/tls/ca.crt", cert="/lab/tls/server.crt", key="/lab/tls/server.key")


def secrets() -> Secrets:
    numbers = count(1)
    return make_secrets(lambda: f"password-{next(numbers)}")


def config(plan: LabPlan, name: str, *, acl: bool = False, tls: bool = False) -> list[str]:
    text = server_config(plan, plan.node(name), "/lab/x y", secrets() if acl else None, TLS if tls else None)
    return text.splitlines()


def directive(lines: list[str], name: str) -> list[str]:
    return [line.partition(" ")[2] for line in lines if line.partition(" ")[0] == name]


@pytest.mark.parametrize("topology", [STANDALONE, REPLICA, SENTINEL, CLUSTER], ids=lambda t: t.name)
def test_every_node_listens_and_connects_from_its_own_address(topology: Topology) -> None:
    plan = plan_of(topology)
    for node in plan.nodes:
        lines = config(plan, node.name)
        assert directive(lines, "bind") == directive(lines, "bind-source-addr") == [node.host]
        assert directive(lines, "port") == [str(node.port)]
        assert directive(lines, "set-proc-title") == ["no"]
        assert directive(lines, "dir") == ['"/lab/x y/data"']


def test_announced_addresses_are_those_of_the_links() -> None:
    lines = config(plan_of(CLUSTER), "redis-2")
    assert directive(lines, "cluster-announce-ip") == directive(lines, "replica-announce-ip") == ["127.0.0.1"]
    assert directive(lines, "cluster-announce-port") == directive(lines, "replica-announce-port") == ["7002"]
    assert directive(lines, "cluster-announce-bus-port") == directive(lines, "cluster-port") == ["7008"]
    assert "announce-port 7004" in directive(config(plan_of(SENTINEL), "sentinel-1"), "sentinel")


def test_replicas_follow_their_primary_also_after_a_restart() -> None:
    plan = plan_of(REPLICA)
    assert directive(config(plan, "redis-2"), "replicaof") == ["127.0.0.1 7001"]
    assert directive(config(plan, "redis-1"), "replicaof") == []
    assert directive(config(plan_of(CLUSTER), "redis-4"), "replicaof") == []  # a Cluster refuses the line


def test_tls_turns_the_plaintext_port_off() -> None:
    plan = plan_of(replace(CLUSTER, tls=True))
    lines = config(plan, "redis-1", tls=True)
    assert directive(lines, "port") == ["0"]
    assert directive(lines, "tls-port") == directive(lines, "cluster-announce-tls-port") == ["7001"]
    assert directive(lines, "tls-cluster") == directive(lines, "tls-replication") == ["yes"]
    assert directive(lines, "cluster-announce-port") == []
    sentinel = config(plan_of(replace(SENTINEL, tls=True)), "sentinel-1", tls=True)
    assert directive(sentinel, "tls-replication") == ["yes"]
    assert directive(sentinel, "tls-cluster") == []


def test_primaries_know_the_replication_password_too() -> None:
    """Without it a deposed primary can never follow its successor."""
    lines = config(plan_of(REPLICA), "redis-1", acl=True)
    assert directive(lines, "masteruser") == ["replication"]
    assert directive(lines, "masterauth") == ["password-3"]


def test_acl_files_hold_no_password_and_no_default_user() -> None:
    plan = plan_of(replace(SENTINEL, acl=True))
    for node in plan.nodes:
        text = node_files(plan, node, "/lab/n", secrets(), None)["users.acl"]
        assert "password-" not in text
        assert text.startswith("user default off ")
        assert f"user admin on #{sha256(b'password-2').hexdigest()} ~* &* +@all" in text
    data = node_files(plan, plan.nodes[0], "/lab/n", secrets(), None)["users.acl"]
    assert "&__sentinel__:hello" in data


def test_users_that_nothing_needs_are_not_made() -> None:
    plan = plan_of(replace(REPLICA, acl=True))
    assert "user sentinel" not in node_files(plan, plan.nodes[0], "/lab/n", secrets(), None)["users.acl"]


def test_storage_as_stated() -> None:
    nothing = config(plan_of(STANDALONE), "redis-1")
    assert directive(nothing, "save") == ['""']
    assert directive(nothing, "appendonly") == ["no"]
    both = Persistence(rdb=(SaveRule(60, 100), SaveRule(5, 1)), aof=Fsync.ALWAYS)
    lines = config(
        plan_of(replace(STANDALONE, persistence=both, maxmemory="64mb", maxmemory_policy="allkeys-lru")), "redis-1"
    )
    assert directive(lines, "save") == ["60 100", "5 1"]
    assert directive(lines, "appendfsync") == ["always"]
    assert directive(lines, "maxmemory") == ["64mb"]
    assert directive(lines, "maxmemory-policy") == ["allkeys-lru"]


def test_the_topologys_own_directives_come_last_and_only_for_their_role() -> None:
    stated = {
        "all": (("hz", "20"), ("save", "1 1")),
        "primary": (("min-replicas-to-write", "1"),),
        "replica": (("replica-priority", "7"),),
        "sentinel": (("loglevel", "verbose"),),
    }
    plan = plan_of(replace(SENTINEL, directives=stated))
    primary, replica, sentinel = (config(plan, name) for name in ("redis-1", "redis-2", "sentinel-1"))
    assert primary[-3:] == ["hz 20", "save 1 1", "min-replicas-to-write 1"]
    assert replica[-1] == "replica-priority 7"
    assert directive(primary, "replica-priority") == directive(sentinel, "hz") == []
    assert directive(sentinel, "loglevel") == ["verbose"]


def test_what_the_lab_decides_is_owned() -> None:
    """Else a topology could state it, after ours, and win."""
    values = {"loglevel"}
    for topology in (SENTINEL, CLUSTER):
        plan = plan_of(replace(topology, tls=True, acl=True))
        for node in plan.nodes:
            values |= {line.partition(" ")[0] for line in config(plan, node.name, acl=True, tls=True)}
    free = {
        "sentinel",
        "save",
        "rdb-del-sync-files",
        "appendonly",
        "cluster-node-timeout",
        "tls-auth-clients",
        "loglevel",
    }
    assert values - free <= OWNED_DIRECTIVES
    assert not free & OWNED_DIRECTIVES


def test_seeded_sentinels_know_each_other_and_natural_ones_do_not() -> None:
    seeded = directive(config(plan_of(SENTINEL), "sentinel-2"), "sentinel")
    plan = plan_of(SENTINEL)
    assert seeded[0] == f"myid {plan.node('sentinel-2').node_id}"
    assert [line for line in seeded if line.startswith("known-sentinel")] == [
        f"known-sentinel lab 127.0.0.1 {plan.node(peer).port} {plan.node(peer).node_id}"
        for peer in ("sentinel-1", "sentinel-3")
    ]
    natural = directive(config(plan_of(SENTINEL, formation=Formation.NATURAL), "sentinel-2"), "sentinel")
    assert not any(line.startswith(("known-", "myid")) for line in natural)


def test_borrowed_settings_stand_in_no_file_and_are_given_back_as_stated() -> None:
    topology = replace(CLUSTER, cluster=ClusterOptions(node_timeout_ms=1234), directives={"all": (("HZ", "33"),)})
    plan = plan_of(topology)
    node = plan.nodes[0]
    borrowed = dict(formation_overrides(plan, node))
    assert borrowed.keys() == given_back(plan, node).keys()
    assert given_back(plan, node) == {
        "hz": "33",
        "repl-diskless-sync": "yes",
        "repl-diskless-load": "disabled",
        "cluster-node-timeout": "1234",
    }
    text = server_config(plan, node, "/lab/n", None, None)
    assert not any(f"{name} {value}\n" in text for name, value in borrowed.items())


@pytest.mark.parametrize("topology", [STANDALONE, REPLICA, SENTINEL, CLUSTER], ids=lambda t: t.name)
def test_a_natural_lab_borrows_nothing(topology: Topology) -> None:
    plan = plan_of(topology, formation=Formation.NATURAL)
    assert not any(formation_overrides(plan, node) for node in plan.nodes)
    assert not any("data/nodes.conf" in node_files(plan, node, "/lab/n", None, None) for node in plan.nodes)


def test_sentinels_and_single_servers_borrow_nothing() -> None:
    plan = plan_of(SENTINEL)
    assert formation_overrides(plan, plan.node("sentinel-1")) == ()
    assert formation_overrides(plan_of(STANDALONE), plan_of(STANDALONE).nodes[0]) == ()


def test_file_names() -> None:
    plan = plan_of(SENTINEL)
    assert config_name(plan.node("redis-1")) == "redis.conf"
    assert config_name(plan.node("sentinel-1")) == "sentinel.conf"
    assert set(node_files(plan_of(CLUSTER), plan_of(CLUSTER).nodes[0], "/lab/n", None, None)) == {
        "redis.conf",
        "data/nodes.conf",
    }


def test_versions() -> None:
    assert not Version.parse("redis 7.0.15").shard_ids
    assert Version.parse("redis 8.2.3").shard_ids
    assert Version.parse("valkey 9.1.2").syncslots
    assert not Version.parse("Redis 8.2.3").syncslots
    with pytest.raises(UsageError, match="KeyDB"):
        Version.parse("KeyDB 6.3")


def test_syncslots_only_where_it_exists() -> None:
    for engine, has in (("valkey 9.1.2", True), ("redis 8.2.3", False)):
        plan = plan_of(replace(CLUSTER, acl=True), engine)
        text = node_files(plan, plan.nodes[0], "/lab/n", secrets(), None)["users.acl"]
        assert ("+cluster|syncslots" in text) is has


def test_a_cluster_of_kind_cluster_only() -> None:
    assert directive(config(plan_of(CLUSTER), "redis-1"), "cluster-enabled") == ["yes"]
    assert not [line for line in config(plan_of(Topology("s", Kind.STANDALONE)), "redis-1") if "cluster" in line]
