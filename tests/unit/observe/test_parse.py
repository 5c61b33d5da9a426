from __future__ import annotations

from redis.exceptions import ResponseError

from labctl.model.topology import Role
from labctl.model.view import AttachedReplica, ClusterEntry, NodeView, PeerSeen
from labctl.observe import parse
from labctl.observe.poll import with_lag
from tests.support.views import CLUSTER, REPLICA, SENTINEL, plan_of

PRIMARY = """# Server
redis_version:7.0.15
run_id:1d6e5f
uptime_in_seconds:12
# Replication
role:master
connected_slaves:2
slave0:ip=127.0.0.1,port=7002,state=online,offset=140,lag=0
slave1:ip=10.0.0.9,port=6379,state=wait_bgsave,offset=0,lag=3
master_replid:8371445b
master_repl_offset:154
loading:0
# Keyspace
db0:keys=10,expires=0,avg_ttl=0
db3:keys=2,expires=1,avg_ttl=5
"""

REPLICA_INFO = """valkey_version:9.1.2
redis_version:7.2.4
role:slave
master_host:127.0.0.1
master_port:7001
master_link_status:up
master_last_io_seconds_ago:1
master_sync_in_progress:0
slave_read_repl_offset:150
slave_repl_offset:140
master_replid:8371445b
master_repl_offset:140
connected_slaves:0
"""


def pairs(**fields: str) -> list[str]:
    return [part for name, value in fields.items() for part in (name.replace("_", "-"), value)]


def test_a_primary_in_its_own_words() -> None:
    view = parse.data_node("redis-1", parse.info(PRIMARY), parse.names(plan_of(REPLICA)))
    assert (view.role, view.follows, view.link_up, view.lag_s) == (Role.PRIMARY, None, None, None)
    assert (view.offset, view.replid, view.run_id, view.uptime_s) == (154, "8371445b", "1d6e5f", 12)
    assert (view.keys, view.version, view.loading) == (12, "redis 7.0.15", False)
    assert view.replicas == (
        AttachedReplica("10.0.0.9:6379", "wait_bgsave", 0, 3),
        AttachedReplica("redis-2", "online", 140, 0),
    )


def test_a_replica_in_its_own_words() -> None:
    name_of = parse.names(plan_of(REPLICA))
    view = parse.data_node("redis-2", parse.info(REPLICA_INFO), name_of)
    assert (view.role, view.follows, view.link_up, view.lag_s) == (Role.REPLICA, "redis-1", True, 1)
    assert (view.offset, view.version) == (140, "valkey 9.1.2")
    down = parse.info(REPLICA_INFO.replace("status:up", "status:down").replace("in_progress:0", "in_progress:1"))
    view = parse.data_node("redis-2", down, name_of)
    assert (view.link_up, view.syncing, view.lag_s) == (False, True, None)


def test_lag_is_against_the_primary_of_the_same_round() -> None:
    nodes = (
        NodeView("a", up=True, role=Role.PRIMARY, offset=100),
        NodeView("b", up=True, role=Role.REPLICA, follows="a", offset=90),
        NodeView("c", up=True, role=Role.REPLICA, follows="a", offset=101),  # polled a moment later than its primary
        NodeView("d", up=True, role=Role.REPLICA, follows="e", offset=90),
        NodeView("e", up=False),
    )
    assert [node.lag_bytes for node in with_lag(nodes)] == [None, 10, 0, None, None]


def test_addresses_become_names_whether_announced_or_own() -> None:
    name_of = parse.names(plan_of(REPLICA))
    assert name_of("127.0.0.1", "7003") == name_of("127.9.0.3", "7003") == "redis-3"
    assert name_of("127.9.0.3", "7001") == "127.9.0.3:7001"


def test_what_a_sentinel_believes() -> None:
    plan = plan_of(SENTINEL)
    own = plan.node("sentinel-1").node_id
    replies = [
        own,
        ["127.0.0.1", "7002"],
        pairs(name="lab", flags="master,o_down,s_down", config_epoch="3", quorum="2", failover_state="wait_start"),
        ResponseError("NOQUORUM 1 usable Sentinels. Not enough available Sentinels to reach the majority"),
        [pairs(ip="127.0.0.1", port="7003", flags="slave", master_link_status="err")],
        [
            pairs(ip="127.0.0.1", port="7006", runid="b" * 40, flags="sentinel,disconnected", voted_leader="?")
            + pairs(voted_leader_epoch="0"),
            pairs(ip="127.0.0.1", port="7005", runid="a" * 40, flags="sentinel", voted_leader="a" * 40)
            + pairs(voted_leader_epoch="4"),
        ],
    ]
    view = parse.sentinel(*replies, {"sentinel_tilt": "1"}, parse.names(plan))  # type: ignore[arg-type]
    assert (view.node_id, view.primary, view.config_epoch, view.quorum) == (own, "redis-2", 3, 2)
    assert (view.s_down, view.o_down, view.failover_state, view.tilt) == (True, True, "wait_start", True)
    assert not view.quorum_ok
    assert view.quorum_error.startswith("NOQUORUM")
    assert view.replicas == (PeerSeen("redis-3", ("slave",), link_ok=False),)
    assert view.sentinels == (
        PeerSeen("sentinel-2", ("sentinel",)),
        PeerSeen("sentinel-3", ("disconnected", "sentinel")),
    )
    assert (view.leader, view.leader_epoch) == ("sentinel-2", 4)


NODES = """aaaa 127.0.0.1:7001@7007,,tls-port=0,shard-id=ss master,fail - 1 2 7 disconnected 0-5460 5462
bbbb 127.0.0.1:7002@7008 myself,master - 0 0 2 connected 5461 5463-10922 [93->-cccc] [77-<-aaaa]
cccc 127.0.0.1:7004@7010,host.example slave aaaa 0 5 7 connected
dddd :0@0 slave,fail?,noaddr bbbb 0 0 2 disconnected
"""


def test_a_cluster_as_one_node_sees_it() -> None:
    info = parse.info("cluster_state:fail\ncluster_slots_assigned:10\ncluster_slots_ok:9\ncluster_current_epoch:7\n")
    view = parse.cluster(NODES, info, parse.names(plan_of(CLUSTER)))
    assert (view.node_id, view.state, view.current_epoch) == ("bbbb", False, 7)
    assert (view.slots_assigned, view.slots_ok) == (10, 9)
    assert view.table == (
        ClusterEntry(":0", "dddd", Role.REPLICA, "redis-2", 2, ()),
        ClusterEntry("redis-1", "aaaa", Role.PRIMARY, None, 7, ((0, 5460), (5462, 5462))),
        ClusterEntry("redis-2", "bbbb", Role.PRIMARY, None, 2, ((5461, 5461), (5463, 10922))),
        ClusterEntry("redis-4", "cccc", Role.REPLICA, "redis-1", 7, ()),
    )
    assert view.failed == ("redis-1",)
    assert view.suspects == (":0",)
    assert view.disconnected == (":0", "redis-1")
    assert view.handshakes == view.silent == (":0",)
    assert view.migrating == ("[93->-cccc]", "[77-<-aaaa]")


def test_the_numbers_of_info_that_a_view_keeps() -> None:
    text = (
        "role:master\r\nused_memory:1024\r\nmem_fragmentation_ratio:-nan\r\nallocator_frag_ratio:inf\r\n"
        "rdb_last_bgsave_status:ok\r\naof_last_write_status:err\r\nredis_git_sha1:00000000\r\n"
        "db0:keys=3,expires=0,avg_ttl=0\r\ndb1:keys=4,expires=0,avg_ttl=0\r\n"
    )
    assert parse.data_node("redis-1", parse.info(text), lambda host, port: f"{host}:{port}").counters == {
        "used_memory": 1024,
        "rdb_last_bgsave_status": 1,
        "aof_last_write_status": 0,
        "keys": 7,
    }
