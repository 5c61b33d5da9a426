"""A declared topology for people: what `labctl topologies NAME` and `labctl up --dry-run` print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from labctl.model.topology import Kind, Role, Topology


def declared_lab(topology: Topology) -> dict[str, Any]:
    """JSON values that describe a topology: its nodes as they will be, and what was stated."""
    nodes = [
        {
            "name": f"redis-{i}",
            "role": (Role.PRIMARY if i <= topology.primaries else Role.REPLICA).value,
            "follows": None if i <= topology.primaries else f"redis-{(i - 1) % topology.primaries + 1}",
        }
        for i in range(1, topology.data_nodes + 1)
    ]
    nodes += [
        {"name": f"sentinel-{i}", "role": Role.SENTINEL.value, "follows": None}
        for i in range(1, topology.sentinels + 1)
    ]
    stated: dict[str, Any] = {
        "engine": topology.engine or "the first that labctl doctor lists and that can serve it",
        "persistence": _persistence_words(topology),
        "tls": topology.tls,
        "acl": topology.acl,
    }
    if topology.maxmemory is not None:
        stated["maxmemory"] = topology.maxmemory
    if topology.maxmemory_policy is not None:
        stated["maxmemory-policy"] = topology.maxmemory_policy
    if topology.kind is Kind.SENTINEL:
        stated["quorum"] = f"{topology.sentinel.quorum} of {topology.sentinels}"
        stated["down-after"] = f"{topology.sentinel.down_after_ms} ms"
        stated["failover-timeout"] = f"{topology.sentinel.failover_timeout_ms} ms"
    if topology.kind is Kind.CLUSTER:
        stated["node-timeout"] = f"{topology.cluster.node_timeout_ms} ms"
    for role, directives in topology.directives.items():
        for name, value in directives:
            stated[f"{name} ({role})"] = value
    return {
        "name": topology.name,
        "kind": topology.kind.value,
        "description": topology.description,
        "nodes": nodes,
        "settings": stated,
    }


def render_declared(data: Mapping[str, Any]) -> RenderableType:
    """`declared_lab` as text."""
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
    for column in ("NODE", "ROLE", "FOLLOWS"):
        table.add_column(column)
    for node in data["nodes"]:
        table.add_row(node["name"], node["role"], node["follows"] or "-")
    settings = "\n".join(f"  {name}: {_word(value)}" for name, value in data["settings"].items())
    return Group(Text.assemble((data["name"], "bold"), f"  {data['description']}"), table, Text(settings))


def _persistence_words(topology: Topology) -> str:
    words = [f"dump after {r.seconds} s and {r.changes} changes" for r in topology.persistence.rdb]
    if topology.persistence.aof is not None:
        words.append(f"append-only file, fsync {topology.persistence.aof.value}")
    return ", ".join(words) or "none"


def _word(value: object) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
