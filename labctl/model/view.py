"""What was observed of a lab at one moment: each node's own words, with addresses turned into names.

Times are nanoseconds of the monotonic clock, offsets bytes of the replication stream. Nodes are polled directly, not
through links, so a view sees both sides of a partition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from labctl.model.topology import Role

COUNTERS = (
    *("used_memory", "used_memory_rss", "used_memory_peak", "used_memory_dataset", "maxmemory"),
    *("used_memory_lua", "mem_fragmentation_ratio", "mem_not_counted_for_evict", "mem_clients_normal"),
    *("mem_clients_slaves", "mem_replication_backlog", "active_defrag_running", "lazyfree_pending_objects"),
    *("lazyfreed_objects", "active_defrag_hits", "allocator_frag_ratio"),
    *("connected_clients", "blocked_clients", "maxclients", "pubsub_channels"),
    *("total_connections_received", "rejected_connections", "total_commands_processed", "total_error_replies"),
    *("total_net_input_bytes", "total_net_output_bytes", "client_output_buffer_limit_disconnections"),
    *("evicted_keys", "evicted_clients", "expired_keys", "keyspace_hits", "keyspace_misses"),
    *("sync_full", "sync_partial_ok", "sync_partial_err", "connected_slaves", "repl_backlog_active"),
    *("repl_backlog_size", "repl_backlog_histlen", "second_repl_offset", "master_link_down_since_seconds"),
    *("rdb_changes_since_last_save", "rdb_bgsave_in_progress", "rdb_last_bgsave_status", "rdb_last_bgsave_time_sec"),
    *("rdb_last_save_time", "rdb_saves", "rdb_last_cow_size", "rdb_last_load_keys_loaded"),
    *("aof_enabled", "aof_rewrite_in_progress", "aof_last_bgrewrite_status", "aof_last_write_status"),
    *("aof_rewrites", "aof_last_cow_size", "aof_current_size", "aof_base_size", "aof_pending_bio_fsync"),
    *("aof_delayed_fsync", "current_cow_size", "current_cow_peak", "latest_fork_usec", "total_forks"),
    *("acl_access_denied_auth", "acl_access_denied_cmd", "acl_access_denied_key", "unexpected_error_replies"),
    *("migrate_cached_sockets", "loading", "async_loading", "keys"),
)
"""Fields of INFO that a view keeps, for checks and conditions; `keys` counts all databases. Which of them there are
depends on the engine and its version."""


@dataclass(frozen=True, slots=True)
class AttachedReplica:
    """A replica as its primary lists it.

    Attributes:
        name: Node name, or `host:port` when it is none of the lab's.
        state: `online`, `wait_bgsave`, `send_bulk`.
        offset: Last offset that it acknowledged.
        lag_s: Seconds since that acknowledgement.
    """

    name: str
    state: str
    offset: int
    lag_s: int


@dataclass(frozen=True, slots=True)
class PeerSeen:
    """A data node or another Sentinel, as one Sentinel sees it.

    Attributes:
        name: Node name, or `host:port` when it is none of the lab's.
        flags: Words of Sentinel's `flags`, sorted: `s_down`, `o_down`, `disconnected`, `master`, `slave`, `sentinel` …
        link_ok: For a replica, whether it told the Sentinel that its replication link is up; None for others.
    """

    name: str
    flags: tuple[str, ...]
    link_ok: bool | None = None

    @property
    def well(self) -> bool:
        """Reachable and not suspected."""
        return not {"s_down", "o_down", "disconnected"} & set(self.flags)


@dataclass(frozen=True, slots=True)
class SentinelView:
    """What one Sentinel believes.

    Attributes:
        node_id: Its own id.
        primary: Which node it would send clients to; `host:port` when it is none of the lab's.
        primary_flags: Its flags for that node, sorted; `s_down`, `o_down`, `failover_in_progress` among them.
        config_epoch: Epoch of the configuration that made this node the primary.
        failover_state: Where its own failover stands, `none` outside one (`failover-state` of SENTINEL MASTER).
        quorum: Configured quorum.
        quorum_ok: What CKQUORUM says: enough Sentinels are usable for the quorum and for the majority.
        quorum_error: CKQUORUM's reason when not.
        replicas: Replicas it knows.
        sentinels: Other Sentinels it knows.
        tilt: In TILT mode it watches but does not act.
        leader: Sentinel that its peers voted for last, as far as they told it; empty before any election.
        leader_epoch: The epoch of that vote.
    """

    node_id: str
    primary: str
    primary_flags: tuple[str, ...]
    config_epoch: int
    failover_state: str
    quorum: int
    quorum_ok: bool
    quorum_error: str
    replicas: tuple[PeerSeen, ...]
    sentinels: tuple[PeerSeen, ...]
    tilt: bool
    leader: str = ""
    leader_epoch: int = 0

    @property
    def s_down(self) -> bool:
        """Whether it alone believes that the primary is down."""
        return "s_down" in self.primary_flags

    @property
    def o_down(self) -> bool:
        """Whether a quorum agreed with it."""
        return "o_down" in self.primary_flags


@dataclass(frozen=True, slots=True)
class ClusterEntry:
    """A line of CLUSTER NODES that all nodes should agree on, in comparable form.

    Attributes:
        name: Node name, or `host:port` when it is none of the lab's.
        node_id: 40 hex digits.
        role: Primary or replica.
        follows: Name of its primary, None for primaries.
        epoch: Config epoch (that of the primary, for a replica).
        slots: Ranges it owns, both ends included, sorted.
    """

    name: str
    node_id: str
    role: Role
    follows: str | None
    epoch: int
    slots: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The Cluster as one node sees it.

    Attributes:
        node_id: Its own id.
        state: `cluster_state` of CLUSTER INFO is ok.
        current_epoch: The highest epoch it has heard of.
        my_epoch: Its own config epoch.
        slots_assigned: Slots that have an owner.
        slots_ok: Slots whose owner is neither FAIL nor PFAIL.
        table: Every node it knows, sorted by name.
        suspects: Nodes that it flags PFAIL (`fail?`).
        failed: Nodes that it flags FAIL.
        disconnected: Nodes to which it has no bus link, not even one that is being opened.
        silent: Nodes that it has not heard a word from since it started.
        handshakes: Nodes it is still meeting, or whose address it does not know.
        migrating: Open slots as CLUSTER NODES lists them, `[93->-ID]` or `[77-<-ID]`.
    """

    node_id: str
    state: bool
    current_epoch: int
    my_epoch: int
    slots_assigned: int
    slots_ok: int
    table: tuple[ClusterEntry, ...]
    suspects: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    disconnected: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    handshakes: tuple[str, ...] = ()
    migrating: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node, in its own words. Everything after `error` keeps its default while the node is not up.

    Attributes:
        name: The node.
        up: Whether it answered within the observer's deadline.
        error: Why it is not up, or which part of the answer was refused; empty otherwise.
        role: Primary, replica or Sentinel.
        follows: For a replica, the node it replicates; `host:port` when that is none of the lab's.
        link_up: For a replica, whether its replication link is up.
        syncing: For a replica, whether it is loading a full copy from its primary.
        offset: Replication offset: produced so far by a primary, applied so far by a replica.
        replid: Replication id of its data.
        lag_bytes: For a replica, how far its primary's offset is ahead; None when the primary is not up.
        lag_s: For a replica, seconds since the primary last sent something; None when the link is down.
        replicas: Replicas attached to it.
        loading: It is loading data from disk and answers nothing else.
        run_id: Changes when the process does.
        uptime_s: Seconds since the process started.
        version: Engine version as the server says it.
        keys: Keys in all databases.
        memory_bytes: `used_memory`.
        clients: Connected clients.
        ops_per_s: `instantaneous_ops_per_sec`.
        counters: Numbers of INFO under their own names, those of `COUNTERS` that the server states; `ok` counts as 1.
        sentinel: For a Sentinel that watches the lab's primary.
        cluster: For a Cluster node.
    """

    name: str
    up: bool
    error: str = ""
    role: Role | None = None
    follows: str | None = None
    link_up: bool | None = None
    syncing: bool = False
    offset: int = 0
    replid: str = ""
    lag_bytes: int | None = None
    lag_s: int | None = None
    replicas: tuple[AttachedReplica, ...] = ()
    loading: bool = False
    run_id: str = ""
    uptime_s: int = 0
    version: str = ""
    keys: int = 0
    memory_bytes: int = 0
    clients: int = 0
    ops_per_s: int = 0
    counters: Mapping[str, float] = field(default_factory=dict)
    sentinel: SentinelView | None = None
    cluster: ClusterView | None = None


@dataclass(frozen=True, slots=True)
class View:
    """The whole lab at one moment.

    Attributes:
        at_ns: When the round of polls began, monotonic clock.
        nodes: In the plan's order.
    """

    at_ns: int
    nodes: tuple[NodeView, ...] = field(default=())

    def node(self, name: str) -> NodeView:
        """The node called `name`. Raises KeyError when there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    @property
    def data_nodes(self) -> tuple[NodeView, ...]:
        """Nodes that are up and hold data."""
        return tuple(n for n in self.nodes if n.role in (Role.PRIMARY, Role.REPLICA))

    def to_dict(self) -> Mapping[str, Any]:
        """JSON values only: mappings, lists, strings, numbers, booleans and None."""
        return asdict(self)
