"""Replies of one node → its metrics, under redis_exporter's names. Pure: no connection in here."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from redis.exceptions import ResponseError

from labctl.metrics.exposition import Exposition
from labctl.metrics.names import (
    CLUSTER,
    INFO_COUNTERS,
    INFO_GAUGES,
    INFO_OTHERWISE,
    INSTANCE_LABELS,
    PREFIX,
    SCALE,
    WORDS,
)
from labctl.observe import parse
from labctl.observe.access import Reply

Fields = Mapping[str, str]
Command = tuple[str, ...]

DATA: tuple[Command, ...] = (
    ("INFO", "ALL"),
    ("CONFIG", "GET", "maxclients", "maxmemory", "io-threads"),
    ("SLOWLOG", "LEN"),
    ("SLOWLOG", "GET", "1"),
    ("LATENCY", "LATEST"),
)
"""What a data node is asked, in one round trip."""

IN_CLUSTER: tuple[Command, ...] = (*DATA, ("CLUSTER", "INFO"))
"""What a Cluster node is asked."""


def sentinel_commands(name: str) -> tuple[Command, ...]:
    """What a Sentinel is asked about the primary that it calls `name`."""
    about = ("MASTER", "CKQUORUM", "REPLICAS", "SENTINELS")
    return (("INFO", "ALL"), *(("SENTINEL", word, name) for word in about))


def up(out: Exposition, *, answered: bool) -> None:
    """Whether the node answered in time."""
    out.gauge("redis_up", "Whether the node answered within the scrape's deadline.", float(answered))


def data_node(out: Exposition, replies: Sequence[Reply]) -> None:
    """The answers to `DATA` or `IN_CLUSTER`. Parts that the server refused are left out.

    Raises:
        ResponseError: INFO itself was refused.
    """
    fields = _info(out, replies[0])
    _settings(out, replies[1])
    _slow_log(out, replies[2], replies[3])
    _latency_events(out, replies[4])
    _replication(out, fields)
    if len(replies) > len(DATA):
        _cluster(out, replies[-1])


def sentinel_node(out: Exposition, replies: Sequence[Reply]) -> None:
    """The answers to `sentinel_commands`.

    Raises:
        ResponseError: INFO itself was refused.
    """
    fields = _info(out, replies[0])
    for name in ("masters", "tilt", "running_scripts", "scripts_queue_length", "simulate_failure_flags"):
        _gauge(out, f"sentinel_{name}", f"sentinel_{name}", fields.get(f"sentinel_{name}"))
    for field, value in fields.items():
        if field.startswith("master") and field[6:].isdigit():
            _watched(out, _equations(value))
    primary, ckquorum, replicas, sentinels = replies[1:]
    if not isinstance(primary, ResponseError):
        _belief(out, _pairs(primary), ckquorum, replicas, sentinels)


def _info(out: Exposition, reply: Reply) -> Fields:
    if isinstance(reply, ResponseError):
        raise reply
    fields = parse.info(str(reply))
    for field, value in fields.items():
        if (gauge := INFO_GAUGES.get(field)) is not None:
            if (number := _number(value)) is not None:
                out.gauge(*gauge, number * SCALE.get(field, 1))
        elif (counter := INFO_COUNTERS.get(field)) is not None:
            if (number := _number(value)) is not None:
                out.counter(*counter, number)
        elif field.startswith("db") and field[2:].isdigit():
            _database(out, field, _equations(value))
        elif field.startswith("errorstat_"):
            count = float(_equations(value).get("count", 0))
            error = field.removeprefix("errorstat_")
            out.counter("redis_errors_total", "Errors answered, by their first word.", count, err=error)
    if "db0" not in fields and fields.get("role"):
        _database(out, "db0", {"keys": "0", "expires": "0"})
    _commands(out, fields)
    _instance(out, fields)
    return fields


def _instance(out: Exposition, fields: Fields) -> None:
    known = {name: fields.get(name) or fields.get(INFO_OTHERWISE.get(name, ""), "") for name in INSTANCE_LABELS}
    out.gauge("redis_instance_info", "Who this server says that it is.", 1, **known)
    if (uptime := _number(fields.get("uptime_in_seconds"))) is not None:
        started = int(time.time()) - uptime
        out.gauge("redis_start_time_seconds", "When the process started, Unix time.", started)


def _database(out: Exposition, name: str, fields: Fields) -> None:
    labels = {"db": name}
    out.gauge("redis_db_keys", "Keys in a database.", float(fields.get("keys", 0)), **labels)
    out.gauge("redis_db_keys_expiring", "Keys that have a time to live.", float(fields.get("expires", 0)), **labels)
    if "avg_ttl" in fields:
        seconds = float(fields["avg_ttl"]) / 1000
        out.gauge("redis_db_avg_ttl_seconds", "Average time to live of those.", seconds, **labels)


def _commands(out: Exposition, fields: Fields) -> None:
    """`cmdstat_*` and the percentiles of `latency_percentiles_usec_*`, whose quantiles are percentages there."""
    for field, value in fields.items():
        if field.startswith("cmdstat_"):
            command = field.removeprefix("cmdstat_")
            _command(out.about(cmd=command), _equations(value), fields.get(f"latency_percentiles_usec_{command}", ""))


def _command(out: Exposition, stats: Fields, percentiles: str) -> None:
    calls, usec = float(stats["calls"]), float(stats["usec"])
    out.counter("redis_commands_total", "Calls of a command.", calls)
    out.counter("redis_commands_duration_seconds_total", "Time spent in a command.", usec / 1e6)
    if (rejected := stats.get("rejected_calls")) is not None:
        text = "Calls that were rejected before the command was run."
        out.counter("redis_commands_rejected_calls_total", text, float(rejected))
    if (failed := stats.get("failed_calls")) is not None:
        out.counter("redis_commands_failed_calls_total", "Calls that failed while it was run.", float(failed))
    if percentiles:
        quantiles = {name[1:]: float(number) for name, number in _equations(percentiles).items()}
        text = "Latency of a command inside the server, microseconds."
        out.summary("redis_latency_percentiles_usec", text, quantiles, calls, usec)


def _settings(out: Exposition, reply: Reply) -> None:
    if isinstance(reply, ResponseError):
        return
    for name, value in _pairs(reply).items():
        _gauge(out, f"config_{name.replace('-', '_')}", f"setting {name}", value)


def _slow_log(out: Exposition, length: Reply, entries: Reply) -> None:
    if isinstance(length, ResponseError) or isinstance(entries, ResponseError):
        return
    last_id, last_seconds = (entries[0][0], entries[0][2] / 1e6) if entries else (0, 0.0)
    out.gauge("redis_slowlog_length", "Entries of the slow log.", length)
    out.gauge("redis_slowlog_last_id", "Number of its last entry.", last_id)
    text = "How long the last slow command took."
    out.gauge("redis_last_slow_execution_duration_seconds", text, last_seconds)


def _latency_events(out: Exposition, reply: Reply) -> None:
    if isinstance(reply, ResponseError):
        return
    for name, at, latest_ms, *_ in reply:
        labels = {"event_name": str(name)}
        out.gauge("redis_latency_spike_last", "When the latest latency spike was, Unix time.", at, **labels)
        text = "How long the latest latency spike took."
        out.gauge("redis_latency_spike_duration_seconds", text, latest_ms / 1000, **labels)


def _replication(out: Exposition, fields: Fields) -> None:
    for number in range(int(fields.get("connected_slaves", 0))):
        replica = _equations(fields.get(f"slave{number}", ""))
        labels = {f"slave_{name}": replica.get(name, "") for name in ("ip", "port", "state")}
        if "offset" in replica:
            text = "Offset that an attached replica acknowledged last."
            out.gauge("redis_connected_slave_offset_bytes", text, float(replica["offset"]), **labels)
        if "lag" in replica:
            text = "Seconds since an attached replica acknowledged."
            out.gauge("redis_connected_slave_lag_seconds", text, float(replica["lag"]), **labels)
    if fields.get("role") != "slave":
        return
    labels = {f"master_{name}": fields.get(f"master_{name}", "") for name in ("host", "port")}
    link = fields.get("master_link_status") == "up"
    out.gauge("redis_master_link_up", "Whether a replica's link to its primary is up.", float(link), **labels)
    for field in ("master_last_io_seconds_ago", "master_sync_in_progress", "slave_repl_offset"):
        if (value := _number(fields.get(field))) is not None:
            out.gauge(f"redis_{field}", f"INFO's {field}.", value, **labels)
    out.gauge("redis_slave_info", "A replica.", 1, **labels, read_only=fields.get("slave_read_only", ""))


def _cluster(out: Exposition, reply: Reply) -> None:
    if isinstance(reply, ResponseError):
        return
    for field, value in parse.info(str(reply)).items():
        name = CLUSTER.get(field, field)
        _gauge(out, name.replace("-", "_"), field, value)  # such as cluster_stats_messages_auth-ack_sent


def _watched(out: Exposition, fields: Fields) -> None:
    """A line such as `master0:name=lab,status=ok,address=127.0.0.1:7001,slaves=2,sentinels=3`."""
    labels = {"master_name": fields.get("name", ""), "master_address": fields.get("address", "")}
    status = fields.get("status", "")
    text = "Whether a Sentinel finds the primary that it watches ok."
    out.gauge("redis_sentinel_master_status", text, float(status == "ok"), **labels, master_status=status)
    for name in ("slaves", "sentinels"):
        text = f"How many {'replicas' if name == 'slaves' else 'Sentinels'} a Sentinel knows for its primary."
        out.gauge(f"redis_sentinel_master_{name}", text, float(fields.get(name, 0)), **labels)


def _belief(out: Exposition, primary: Fields, ckquorum: Reply, replicas: Reply, sentinels: Reply) -> None:
    name, address = primary.get("name", ""), f"{primary.get('ip', '')}:{primary.get('port', '')}"
    labels = {"master_name": name, "master_address": address}
    out.gauge(
        "redis_sentinel_master_ckquorum_status",
        "Whether enough Sentinels are usable for the quorum and for the majority.",
        float(not isinstance(ckquorum, ResponseError)),
        master_name=name,
        message=str(ckquorum),
    )
    settings = {"quorum": "ckquorum", "failover-timeout": "failover_timeout", "parallel-syncs": "parallel_syncs"}
    settings["down-after-milliseconds"] = "down_after_milliseconds"
    for setting, metric in settings.items():
        _gauge(out, f"sentinel_master_setting_{metric}", setting, primary.get(setting), **labels)
    _gauge(out, "sentinel_master_config_epoch", "config-epoch", primary.get("config-epoch"), **labels)
    if (since := _number(primary.get("last-ok-ping-reply"))) is not None:
        text = "Seconds since the primary answered a Sentinel's PING."
        out.gauge("redis_sentinel_master_last_ok_ping_reply_seconds", text, since / 1000, **labels)
    for what, peers, itself in (("slaves", replicas, 0), ("sentinels", sentinels, 1)):
        if not isinstance(peers, ResponseError):
            well = itself + sum(1 for peer in peers if not {"s_down", "o_down"} & set(_flags(peer)))
            text = f"How many {'replicas' if what == 'slaves' else 'Sentinels, itself included,'} are not down for it."
            out.gauge(f"redis_sentinel_master_ok_{what}", text, well, **labels)


def _flags(peer: Reply) -> Iterable[str]:
    return _pairs(peer).get("flags", "").split(",")


def _gauge(out: Exposition, name: str, source: str, text: str | None, **labels: str) -> None:
    """A gauge from what the server calls `source`, unless it is missing or no number."""
    if (value := _number(text)) is not None:
        out.gauge(PREFIX + name, f"What the server calls {source}.", value, **labels)


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return WORDS.get(text)


def _equations(text: str) -> dict[str, str]:
    """Parts of `a=1,b=2`."""
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)


def _pairs(reply: Reply) -> dict[str, str]:
    """A RESP2 map: keys and values in turn."""
    return {str(key): str(value) for key, value in zip(reply[::2], reply[1::2], strict=True)}
