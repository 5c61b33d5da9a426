"""Replies of INFO, SENTINEL and CLUSTER → views. Pure: no connection in here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TypedDict

from redis.exceptions import ResponseError

from labctl.model.plan import ANNOUNCED_HOST, LabPlan
from labctl.model.topology import Role
from labctl.model.view import COUNTERS, AttachedReplica, ClusterEntry, ClusterView, NodeView, PeerSeen, SentinelView
from labctl.observe.access import Reply

NameOf = Callable[[str, str], str]
"""(host, port) as a server states it → node name, or `host:port` when it is none of the lab's."""

_HAS_SLOTS_FROM = 8
"""Index of the first slot range among the fields of a CLUSTER NODES line."""


class _Process(TypedDict):
    """The fields of a view that every server states alike."""

    run_id: str
    uptime_s: int
    version: str
    keys: int
    memory_bytes: int
    clients: int
    ops_per_s: int


def names(plan: LabPlan) -> NameOf:
    """The mapping from addresses to names for one lab: announced addresses, and nodes' own."""
    known = {(ANNOUNCED_HOST, str(node.port)): node.name for node in plan.nodes}
    known |= {(node.host, str(node.port)): node.name for node in plan.nodes}
    return lambda host, port: known.get((host, port), f"{host}:{port}")


def info(text: str) -> dict[str, str]:
    """Fields of an INFO reply."""
    pairs = (line.partition(":") for line in text.splitlines() if line and not line.startswith("#"))
    return {key: value for key, _, value in pairs}


def data_node(name: str, fields: Mapping[str, str], name_of: NameOf) -> NodeView:
    """A data node from the fields of its INFO."""
    replica = fields.get("role") == "slave"
    link_up = fields.get("master_link_status") == "up" if replica else None
    return NodeView(
        name=name,
        up=True,
        role=Role.REPLICA if replica else Role.PRIMARY,
        follows=name_of(fields.get("master_host", ""), fields.get("master_port", "")) if replica else None,
        link_up=link_up,
        syncing=fields.get("master_sync_in_progress") == "1",
        offset=_int(fields, "slave_repl_offset" if replica else "master_repl_offset"),
        replid=fields.get("master_replid", ""),
        lag_s=_int(fields, "master_last_io_seconds_ago") if link_up else None,
        replicas=_attached(fields, name_of),
        loading=fields.get("loading") == "1",
        counters=counters(fields),
        **_process(fields),
    )


def counters(fields: Mapping[str, str]) -> dict[str, float]:
    """The numbers among INFO's fields that views keep; a status is 1 for ok and 0 otherwise."""
    found = {name: number for name in COUNTERS if (number := _number(fields.get(name, ""))) is not None}
    found["keys"] = _keys(fields)
    return found


def _number(text: str) -> float | None:
    if text in ("ok", "err"):
        return float(text == "ok")
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None  # a server that has just started divides by nothing: `-nan`


def _keys(fields: Mapping[str, str]) -> int:
    """Keys in all databases."""
    return sum(int(value[5:].partition(",")[0]) for value in fields.values() if value.startswith("keys="))


def sentinel_node(name: str, fields: Mapping[str, str], view: SentinelView | None, error: str) -> NodeView:
    """A Sentinel from the fields of its INFO and what it believes."""
    return NodeView(name=name, up=True, error=error, role=Role.SENTINEL, sentinel=view, **_process(fields))


def version(fields: Mapping[str, str]) -> str:
    """Engine name and version; Valkey states the Redis version that it is compatible with beside its own."""
    if "valkey_version" in fields:
        return f"valkey {fields['valkey_version']}"
    return f"redis {fields.get('redis_version', '?')}"


def sentinel(
    node_id: Reply, address: Reply, primary: Reply, ckquorum: Reply, replicas: Reply, sentinels: Reply,
    fields: Mapping[str, str], name_of: NameOf,
) -> SentinelView:  # fmt: skip
    """What a Sentinel believes, from MYID, GET-MASTER-ADDR-BY-NAME, MASTER, CKQUORUM, REPLICAS, SENTINELS and INFO."""
    own = _pairs(primary)
    peers = [_pairs(peer) for peer in sentinels]
    voted = max(peers, key=lambda peer: int(peer.get("voted-leader-epoch", 0)), default={})
    by_id = {peer.get("runid", ""): name_of(peer.get("ip", ""), peer.get("port", "")) for peer in peers}
    leader = voted.get("voted-leader", "?")
    refused = isinstance(ckquorum, ResponseError)
    return SentinelView(
        node_id=str(node_id),
        primary=name_of(*map(str, address)) if address else "",
        primary_flags=_flags(own),
        config_epoch=int(own.get("config-epoch", 0)),
        failover_state=own.get("failover-state", "none"),
        quorum=int(own.get("quorum", 0)),
        quorum_ok=not refused,
        quorum_error=str(ckquorum) if refused else "",
        replicas=tuple(sorted((_peer(_pairs(r), name_of) for r in replicas), key=lambda peer: peer.name)),
        sentinels=tuple(sorted((_peer(peer, name_of) for peer in peers), key=lambda peer: peer.name)),
        tilt=fields.get("sentinel_tilt") == "1",
        leader="" if leader == "?" else by_id.get(leader, "itself" if leader == node_id else leader),
        leader_epoch=int(voted.get("voted-leader-epoch", 0)),
    )


def cluster(nodes: str, fields: Mapping[str, str], name_of: NameOf) -> ClusterView:
    """The Cluster as one node sees it, from CLUSTER NODES and the fields of CLUSTER INFO."""
    lines = [line.split(" ") for line in nodes.splitlines()]
    by_id = {line[0]: _cluster_name(line[1], name_of) for line in lines}
    flags = {line[0]: frozenset(line[2].split(",")) for line in lines}

    def flagged(*words: str) -> tuple[str, ...]:
        return tuple(sorted(by_id[node] for node, has in flags.items() if has & set(words)))

    entries = (
        _entry(
            by_id[line[0]],
            line[0],
            by_id.get(line[3], "unknown") if "slave" in flags[line[0]] else None,
            int(line[6]),
            " ".join(part for part in line[_HAS_SLOTS_FROM:] if not part.startswith("[")),
        )
        for line in lines
    )
    return ClusterView(
        node_id=next((node for node, has in flags.items() if "myself" in has), ""),
        state=fields.get("cluster_state") == "ok",
        current_epoch=_int(fields, "cluster_current_epoch"),
        my_epoch=_int(fields, "cluster_my_epoch"),
        slots_assigned=_int(fields, "cluster_slots_assigned"),
        slots_ok=_int(fields, "cluster_slots_ok"),
        table=tuple(sorted(entries, key=lambda entry: (entry.name, entry.node_id))),
        suspects=flagged("fail?"),
        failed=flagged("fail"),
        disconnected=tuple(sorted(by_id[line[0]] for line in lines if line[7] != "connected")),
        silent=tuple(sorted(by_id[line[0]] for line in lines if line[5] == "0" and "myself" not in flags[line[0]])),
        handshakes=flagged("handshake", "noaddr"),
        migrating=tuple(part for line in lines for part in line[_HAS_SLOTS_FROM:] if part.startswith("[")),
    )


@lru_cache(maxsize=4096)
def _entry(name: str, node_id: str, follows: str | None, epoch: int, slots: str) -> ClusterEntry:
    """Cached, for every node of a Cluster repeats the same lines: one look-up a line, and equal tables share memory."""
    ranges = (part.partition("-") for part in slots.split())
    return ClusterEntry(
        name=name,
        node_id=node_id,
        role=Role.PRIMARY if follows is None else Role.REPLICA,
        follows=follows,
        epoch=epoch,
        slots=tuple(sorted((int(first), int(last or first)) for first, _, last in ranges)),
    )


def _cluster_name(address: str, name_of: NameOf) -> str:
    """Name of `ip:port@bus[,hostname[,key=value…]]`."""
    host, _, port = address.partition(",")[0].partition("@")[0].rpartition(":")
    return name_of(host, port)


def _attached(fields: Mapping[str, str], name_of: NameOf) -> tuple[AttachedReplica, ...]:
    attached = []
    for number in range(_int(fields, "connected_slaves")):
        parts = dict(part.split("=", 1) for part in fields.get(f"slave{number}", "").split(",") if "=" in part)
        if parts:
            attached.append(
                AttachedReplica(
                    name=name_of(parts.get("ip", ""), parts.get("port", "")),
                    state=parts.get("state", ""),
                    offset=_int(parts, "offset"),
                    lag_s=_int(parts, "lag"),
                )
            )
    return tuple(sorted(attached, key=lambda replica: replica.name))


def _process(fields: Mapping[str, str]) -> _Process:
    return {
        "run_id": fields.get("run_id", ""),
        "uptime_s": _int(fields, "uptime_in_seconds"),
        "version": version(fields),
        "keys": _keys(fields),
        "memory_bytes": _int(fields, "used_memory"),
        "clients": _int(fields, "connected_clients"),
        "ops_per_s": _int(fields, "instantaneous_ops_per_sec"),
    }


def _peer(fields: Mapping[str, str], name_of: NameOf) -> PeerSeen:
    link = fields.get("master-link-status")
    return PeerSeen(
        name=name_of(fields.get("ip", ""), fields.get("port", "")),
        flags=_flags(fields),
        link_ok=None if link is None else link == "ok",
    )


def _pairs(reply: Sequence[str]) -> dict[str, str]:
    """A RESP2 map: keys and values in turn."""
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _flags(fields: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(fields.get("flags", "").split(",")))


def _int(fields: Mapping[str, str], key: str) -> int:
    try:
        return int(fields.get(key, "0"))
    except ValueError:
        return 0
