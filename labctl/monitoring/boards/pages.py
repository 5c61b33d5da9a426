"""The five dashboards: what each asks, from top to bottom."""

from __future__ import annotations

from labctl.monitoring.boards.parts import (
    BLUE,
    GREEN,
    GREY,
    OK_OR_NOT,
    RED,
    YELLOW,
    YES_OR_NO,
    Panel,
    Query,
    Section,
    Shown,
    board,
    graph,
    number,
    of,
    rate,
    rows,
    states,
)

GOOD_AT_ZERO = ((None, GREEN), (1, RED))
ROLES = {
    0: Shown("down", RED),
    1: Shown("replica", GREEN),
    2: Shown("primary", BLUE),
    3: Shown("Sentinel", GREY),
}
ROLE_OF_NODES = (
    f"2 * max by (node) ({of('redis_instance_info', role='master')}) "
    f"or max by (node) ({of('redis_instance_info', role='slave')}) "
    f"or 3 * max by (node) ({of('redis_instance_info', role='')}) "
    f"or max by (node) ({of('redis_up')})"
)


def all_boards() -> dict[str, str]:
    """File name → JSON."""
    return {
        "overview": _overview(),
        "replication": _replication(),
        "cluster": _cluster(),
        "memory": _memory(),
        "workload": _workload(),
    }


def _roles(width: int = 24) -> Panel:
    return states(
        "Roles",
        Query(ROLE_OF_NODES),
        about="What each node says that it is. Two primaries of a shard at one time are a split brain.",
        words=ROLES,
        width=width,
    )


def _overview() -> str:
    lab = [
        number(
            "Healthy",
            Query(of("labctl_lab_healthy", "lab"), ""),
            about="Whether all nodes are up and agree, as labctl status judges it.",
            words=OK_OR_NOT,
        ),
        number(
            "Nodes that answer",
            Query(f"sum({of('redis_up', 'lab')})", ""),
            about="Within half a second.",
        ),
        number(
            "Faults in force",
            Query(of("labctl_faults", "lab"), ""),
            about="What is broken on purpose.",
            colours=((None, GREEN), (1, YELLOW)),
        ),
        number(
            "Links not open",
            Query('sum(labctl_links{lab="$lab",state!="open"})', ""),
            about="Directed links that are cut.",
            colours=((None, GREEN), (1, YELLOW)),
        ),
        number(
            "Failovers",
            Query(f"sum({of('labctl_failovers_total', 'lab')})", ""),
            about="Changes of primary since the agent is looked at.",
        ),
        number(
            "Alerts",
            Query('count(ALERTS{lab="$lab",alertstate="firing",severity!="info"}) or vector(0)', ""),
            about="Critical ones and warnings that fire.",
            colours=GOOD_AT_ZERO,
        ),
    ]
    what = [
        _roles(),
        states(
            "Faults",
            Query(of("labctl_fault_active", "lab"), "{{kind}} {{target}}"),
            about="Each fault while it was in force.",
            words={1: Shown("in force", RED)},
            width=12,
        ),
        rows(
            "Alerts that fire",
            Query('ALERTS{lab="$lab",alertstate="firing"}'),
            about="All of them; Prometheus' own page has their texts.",
            columns={"alertname": "Alert", "severity": "Severity", "node": "Node", "shard": "Shard", "kind": "Kind"},
        ),
    ]
    clients = [
        graph(
            "Operations of the workload",
            Query(f"sum by (outcome) ({rate('labctl_operations_total', 'lab')})", "{{outcome}}"),
            about="As clients saw them end: ok; fail, certainly not applied; unknown, perhaps applied.",
            unit="ops",
            stacked=True,
        ),
        graph(
            "Latency of the workload",
            *_percentiles(),
            about="Of acknowledged operations, from the moment when they were due.",
            unit="s",
        ),
        graph(
            "Commands",
            Query(rate("redis_commands_processed_total")),
            about="What each server processed, replication and this monitoring included.",
            unit="ops",
        ),
        graph(
            "Traffic on links to each node",
            Query(
                'sum by (target) (rate(labctl_link_bytes_total{lab="$lab",target=~"$node"}[$__rate_interval]))',
                "{{target}}",
            ),
            about="Both directions, of all links that lead to a node.",
            unit="Bps",
        ),
    ]
    sections = [Section("The lab", lab), Section("What happened", what), Section("Clients and servers", clients)]
    return board("overview", "Overview", "A lab at a glance: roles, faults, alerts and what clients see.", sections)


def _percentiles() -> list[Query]:
    buckets = f"sum by (le) ({rate('labctl_operation_duration_seconds_bucket', 'lab')})"
    return [Query(f"histogram_quantile({q}, {buckets})", f"p{q * 100:g}") for q in (0.5, 0.99, 0.999)]


def _replication() -> str:
    streams = [
        _roles(12),
        states(
            "Replication links",
            Query(f"max by (node) ({of('redis_master_link_up')})"),
            about="Whether each replica's link to its primary is up.",
            words={0: Shown("down", RED), 1: Shown("up", GREEN)},
        ),
        graph(
            "Lag in bytes",
            Query(of("labctl:replication_lag:bytes")),
            about="How far each replica's offset is behind that of its primary.",
            unit="bytes",
        ),
        graph(
            "Seconds since a replica acknowledged",
            Query(of("redis_connected_slave_lag_seconds"), "{{slave_port}} of {{node}}"),
            about="By its primary's count; a replica acknowledges each second.",
            unit="s",
        ),
        graph(
            "Replication offsets",
            Query(of("redis_master_repl_offset")),
            about="Where each node is in the stream.",
            unit="bytes",
            floor=None,
        ),
        graph(
            "Resynchronisations",
            Query(of("redis_replica_resyncs_full"), "{{node}} full"),
            Query(of("redis_replica_partial_resync_accepted"), "{{node}} partial"),
            Query(of("redis_replica_partial_resync_denied"), "{{node}} partial denied"),
            about="Copies that a primary sent since it started: in full, from its backlog, and when that did not reach.",
        ),
        graph(
            "Replicas attached",
            Query(of("redis_connected_slaves")),
            about="How many follow each node.",
        ),
        graph(
            "Backlog",
            Query(of("redis_repl_backlog_history_bytes")),
            about="How far back a replica may be and still get no full copy.",
            unit="bytes",
        ),
    ]
    sentinels = [
        states(
            "Quorum",
            Query(f"max by (node) ({of('redis_sentinel_master_ckquorum_status')})"),
            about="What each Sentinel answers to CKQUORUM.",
            words=OK_OR_NOT,
        ),
        states(
            "The primary, as each Sentinel sees it",
            Query(f"min by (node) ({of('redis_sentinel_master_status')})"),
            about="Down for it alone (s_down) or for a quorum (o_down) is not ok.",
            words={0: Shown("down", RED), 1: Shown("ok", GREEN)},
        ),
        graph(
            "Usable Sentinels",
            Query(of("redis_sentinel_master_ok_sentinels")),
            about="How many each Sentinel counts, itself included. Below the majority nothing fails over.",
        ),
        graph(
            "Configuration epoch",
            Query(of("redis_sentinel_master_config_epoch")),
            about="Rises with each failover; Sentinels that differ have not heard of the last one.",
        ),
        graph(
            "Different primaries that Sentinels name",
            Query(of("labctl:sentinel_beliefs:count", "lab"), "primaries"),
            about="One, except while a failover is announced.",
        ),
        states(
            "TILT",
            Query(of("redis_sentinel_tilt")),
            about="In TILT mode a Sentinel watches and does not act.",
            words={0: Shown("no", GREEN), 1: Shown("TILT", YELLOW)},
        ),
        graph(
            "Stages of the last failover",
            Query(of("labctl_failover_stage_seconds", "lab"), "{{stage}} (shard {{shard}})"),
            about="From suspicion to a quorum, from there to a new primary, from there until all Sentinels send clients to it.",
            unit="s",
        ),
        graph(
            "Since the primary answered a Sentinel",
            Query(of("redis_sentinel_master_last_ok_ping_reply_seconds")),
            about="Reaches down-after before a failover.",
            unit="s",
        ),
    ]
    about = "Who follows whom, how far behind, and what the Sentinels make of it."
    sections = [Section("Replication", streams), Section("Sentinels", sentinels)]
    return board("replication", "Replication and Sentinel", about, sections)


def _cluster() -> str:
    health = [
        states(
            "Cluster state",
            Query(of("redis_cluster_state")),
            about="As each node sees it; a node in a minority says fail, and answers CLUSTERDOWN.",
            words={0: Shown("fail", RED), 1: Shown("ok", GREEN)},
        ),
        _roles(12),
        graph(
            "Slots without an owner that answers",
            Query(f"16384 - {of('redis_cluster_slots_ok')}"),
            about="As each node sees it: suspected, failed or not assigned.",
        ),
        graph(
            "Slots suspected and failed",
            Query(of("redis_cluster_slots_pfail"), "{{node}} suspected"),
            Query(of("redis_cluster_slots_fail"), "{{node}} failed"),
            about="Suspected: this node alone does not hear the owner. Failed: the majority agreed.",
        ),
        graph(
            "Current epoch",
            Query(of("redis_cluster_current_epoch")),
            about="The highest that each node has heard of; it rises with each election.",
        ),
        graph(
            "Own epoch",
            Query(of("redis_cluster_my_epoch")),
            about="Of each node's configuration: the higher one wins a slot.",
        ),
        graph(
            "Primaries with slots",
            Query(of("redis_cluster_size")),
            about="As each node counts them.",
        ),
        graph(
            "Known nodes",
            Query(of("redis_cluster_known_nodes")),
            about="As each node counts them.",
        ),
    ]
    work = [
        graph(
            "Messages on the bus",
            Query(rate("redis_cluster_messages_sent_total"), "{{node}} sent"),
            Query(rate("redis_cluster_messages_received_total"), "{{node}} received"),
            about="Of each node, a second.",
            unit="cps",
        ),
        graph(
            "Failovers",
            Query(of("labctl_failovers_total", "lab"), "shard {{shard}}"),
            about="Changes of primary that the agent observed.",
        ),
        graph("Keys", Query(of("redis_db_keys", db="db0")), about="By node."),
        graph("Commands", Query(rate("redis_commands_processed_total")), about="By node.", unit="ops"),
    ]
    about = "Slots, epochs and views of a Redis Cluster."
    return board("cluster", "Cluster", about, [Section("State", health), Section("Work", work)])


def _memory() -> str:
    memory = [
        graph(
            "Memory",
            Query(of("redis_memory_used_bytes")),
            Query(f"{of('redis_memory_max_bytes')} > 0", "{{node}} maxmemory"),
            about="Used, and the limit where there is one.",
            unit="bytes",
        ),
        graph(
            "Share of maxmemory",
            Query(of("redis:memory_used:ratio")),
            about="At the limit a server evicts, or refuses writes.",
            unit="percentunit",
        ),
        graph(
            "Resident memory and fragmentation",
            Query(of("redis_memory_used_rss_bytes"), "{{node}} resident"),
            about="What the operating system has given it.",
            unit="bytes",
        ),
        graph(
            "Keys that went",
            Query(rate("redis_evicted_keys_total"), "{{node}} evicted"),
            Query(rate("redis_expired_keys_total"), "{{node}} expired"),
            about="Evicted at the limit, or at the end of their time.",
            unit="ops",
        ),
        graph("Keys", Query(f"sum by (node) ({of('redis_db_keys')})"), about="In all databases."),
        graph(
            "Hit ratio",
            Query(of("redis:hit:ratio")),
            about="Of reads of keys, over ten seconds.",
            unit="percentunit",
        ),
    ]
    persistence = [
        graph(
            "Since the last dump",
            Query(f"time() - {of('redis_rdb_last_save_timestamp_seconds')}"),
            about="Or since the start, when there was none.",
            unit="s",
        ),
        graph(
            "Changes that no dump has",
            Query(of("redis_rdb_changes_since_last_save")),
            about="What a crash would lose without an AOF.",
        ),
        states(
            "Last dump",
            Query(of("redis_rdb_last_bgsave_status")),
            about="Whether it succeeded.",
            words=OK_OR_NOT,
        ),
        states(
            "Dump in progress",
            Query(of("redis_rdb_bgsave_in_progress")),
            about="A child process writes.",
            words=YES_OR_NO,
        ),
        states(
            "AOF",
            Query(f"{of('redis_aof_enabled')} * {of('redis_aof_last_write_status')}"),
            about="Written, or not wanted, or its last write failed.",
            words={0: Shown("off or failing", GREY), 1: Shown("ok", GREEN)},
        ),
        graph(
            "AOF size",
            Query(of("redis_aof_current_size_bytes")),
            about="Where there is one.",
            unit="bytes",
        ),
        graph(
            "Writes that waited for fsync",
            Query(of("redis_aof_delayed_fsync")),
            about="Since the server started. Each waited up to two seconds.",
        ),
        graph(
            "Last fork",
            Query(of("redis_latest_fork_seconds")),
            about="How long everybody waited for it.",
            unit="s",
        ),
    ]
    clients = [
        graph(
            "Clients",
            Query(of("redis_connected_clients"), "{{node}}"),
            Query(of("redis_blocked_clients"), "{{node}} blocked"),
            about="Connected, and waiting in a blocking command.",
        ),
        graph(
            "Refused connections and errors",
            Query(rate("redis_rejected_connections_total"), "{{node}} refused"),
            Query(f"sum by (node, err) ({rate('redis_errors_total')})", "{{node}} {{err}}"),
            about="At maxclients; and errors answered, by their first word.",
            unit="ops",
        ),
        graph(
            "Slow log",
            Query(of("redis_slowlog_length")),
            about="Entries kept.",
        ),
        graph(
            "Latency spikes",
            Query(of("redis_latency_spike_duration_seconds"), "{{node}} {{event_name}}"),
            about="The latest of each event, where latency-monitor-threshold is set.",
            unit="s",
        ),
        graph(
            "Processor",
            Query(f"{rate('redis_cpu_user_seconds_total')} + {rate('redis_cpu_sys_seconds_total')}"),
            about="Share of one, without child processes.",
            unit="percentunit",
        ),
        graph(
            "Network",
            Query(rate("redis_net_input_bytes_total"), "{{node}} in"),
            Query(rate("redis_net_output_bytes_total"), "{{node}} out"),
            about="As each server counts it.",
            unit="Bps",
        ),
    ]
    sections = [Section("Memory", memory), Section("Persistence", persistence), Section("Clients", clients)]
    about = "Memory, keys, dumps, AOF, and what servers say of their clients."
    return board("memory", "Memory and persistence", about, sections)


def _workload() -> str:
    run = 'run=~"$run"'
    live = [
        graph(
            "Operations",
            Query(f"sum by (function, outcome) ({rate('labctl_operations_total', 'lab')})", "{{function}} {{outcome}}"),
            about="Of the workloads on this lab, by how they ended.",
            unit="ops",
        ),
        graph(
            "Latency",
            *_percentiles(),
            about="Of acknowledged operations, from the moment when they were due.",
            unit="s",
        ),
        graph(
            "Operations under way",
            Query(f"sum({of('labctl_operations_under_way', 'lab')})", "sent, not answered"),
            about="They pile up while a primary is silent.",
        ),
        graph(
            "Acknowledged writes",
            Query(f"sum({rate('labctl_acknowledged_writes_total', 'lab')})", "a second"),
            about="What must not be lost.",
            unit="ops",
        ),
    ]
    stored = [
        rows(
            "Verdicts",
            Query(f"labctl_run_verdict{{{run}}} == 1"),
            about="What each check of each phase came to, against the promise.",
            columns={"run": "Run", "phase": "Phase", "check": "Check", "judgement": "Verdict"},
            width=24,
        ),
        graph(
            "Acknowledged writes that were judged",
            Query(f"labctl_run_acknowledged_writes{{{run}}}", "{{run}} {{phase}}"),
            about="By the final reads of each phase.",
        ),
        graph(
            "Lost writes",
            Query(f"labctl_run_lost_writes{{{run}}}", "{{run}} {{phase}}"),
            about="Acknowledged, and not there in the end.",
        ),
        graph(
            "Recovery",
            Query(f'labctl_run_stat{{{run},stat="recovery_ms"}} / 1000', "{{run}} {{phase}}"),
            about="From the old primary's last acknowledged write to the first of the new one.",
            unit="s",
        ),
        graph(
            "Length of phases",
            Query(f"labctl_run_phase_seconds{{{run}}}", "{{run}} {{phase}}"),
            about="To the last final read.",
            unit="s",
        ),
    ]
    sections = [Section("Now", live), Section("Stored runs", stored)]
    about = "What clients saw, and what the checks made of it."
    return board("workload", "Workload and verdicts", about, sections, nodes=False, run=True)
