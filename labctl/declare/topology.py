"""YAML of a topology to the model: defaults by kind, and what must fit together."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from labctl.declare import directives, yaml
from labctl.model.topology import (
    ClusterOptions,
    Directives,
    Fsync,
    Kind,
    Persistence,
    Role,
    SaveRule,
    SentinelOptions,
    Topology,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labctl.declare import shapes

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_MAX_NODES = 250
_COUNTED = frozenset({"kind", "primaries", "replicas", "sentinels", "quorum"})
"""Keys without which the counts say nothing."""
_PLAIN = (
    *("description", "primaries", "replicas", "sentinels"),
    *("engine", "tls", "acl", "maxmemory", "maxmemory_policy"),
)
"""Fields that a topology takes as they are stated."""


_MANY_NODES = 24
_MANY_NODES_TIMEOUT_MS = 15_000
"""Redis's own default, for a large Cluster that states none: each node pings each other one within half of its node
timeout, so that the short one of a lab would keep a small machine busy with pings alone."""


def parse_topology(text: str, source: str) -> Topology:
    """Read a topology file.

    Args:
        text: The file's text.
        source: Its path, for messages and for the default name.

    Raises:
        DeclarationError: Every problem of the file, each as `source:line:col: …`.
    """
    from labctl.declare.shapes import TopologyFile  # noqa: PLC0415 - pydantic, only once there is YAML to read
    from labctl.declare.validate import validate  # noqa: PLC0415

    document = yaml.load(text, source)
    shape = validate(TopologyFile, document)
    if shape is None:
        document.refuse_if_wrong()
        raise AssertionError("a shape was refused without a reason")
    topology = apply(shape, bare(shape.name or PurePath(source).stem, Kind(shape.kind)))
    if not _NAME.fullmatch(topology.name):
        name = yaml.shown(topology.name)
        rule = "small letters, digits and dashes, a letter first, 40 at most"
        document.problem(("name",), f"{name} cannot name a lab: {rule}; state another with `name:`")
    check_consistency(topology, shape, document, ())
    document.refuse_if_wrong()
    return topology


def bare(name: str, kind: Kind) -> Topology:
    """The usual shape of a kind: what a file that states nothing but `kind` declares."""
    match kind:
        case Kind.STANDALONE:
            return Topology(name, kind)
        case Kind.REPLICA:
            return Topology(name, kind, replicas=2)
        case Kind.SENTINEL:
            return Topology(name, kind, replicas=2, sentinels=3)
        case Kind.CLUSTER:
            return Topology(name, kind, primaries=3, replicas=1)


def apply(settings: shapes.Settings, base: Topology) -> Topology:
    """The base with what the settings state, the rest as it was.

    A topology file is applied to the bare shape of its kind, a scenario's overrides to the topology that they name.
    Stating `sentinels` without `quorum` makes the quorum their majority. A directive replaces the base's directive of
    the same name and role; an empty list removes it.
    """
    stated = {field: value for field in _PLAIN if (value := getattr(settings, field)) is not None}
    topology = replace(base, **stated)
    if settings.sentinels is not None:
        majority = settings.sentinels // 2 + 1
        topology = replace(topology, sentinel=replace(topology.sentinel, quorum=majority))
    if settings.persistence is not None:
        topology = replace(topology, persistence=_persistence(settings.persistence))
    if settings.sentinel is not None:
        topology = replace(topology, sentinel=_sentinel(settings.sentinel, topology.sentinel))
        if settings.sentinel.primary_name is not None:
            topology = replace(topology, primary_name=settings.sentinel.primary_name)
    if settings.cluster is not None and settings.cluster.node_timeout is not None:
        topology = replace(topology, cluster=ClusterOptions(node_timeout_ms=settings.cluster.node_timeout))
    elif topology.nodes > _MANY_NODES and topology.cluster == ClusterOptions():
        topology = replace(topology, cluster=ClusterOptions(node_timeout_ms=_MANY_NODES_TIMEOUT_MS))
    if settings.directives is not None:
        topology = replace(topology, directives=_directives(settings.directives, topology.directives))
    return topology


def _persistence(shape: shapes.Persistence) -> Persistence:
    rules = tuple(SaveRule(max(1, rule.after // 1000), rule.changes) for rule in shape.rdb or ())
    return Persistence(rdb=rules, aof=Fsync(shape.aof) if shape.aof else None)


def _sentinel(shape: shapes.Sentinel, base: SentinelOptions) -> SentinelOptions:
    return SentinelOptions(
        quorum=shape.quorum or base.quorum,
        down_after_ms=shape.down_after or base.down_after_ms,
        failover_timeout_ms=shape.failover_timeout or base.failover_timeout_ms,
        parallel_syncs=shape.parallel_syncs or base.parallel_syncs,
    )


def _directives(shape: shapes.Directives, base: Mapping[str, Directives]) -> dict[str, Directives]:
    result = dict(base)
    for role in ("all", *Role):
        stated: dict[str, list[str]] = getattr(shape, role)
        kept = tuple(line for line in base.get(role, ()) if line[0] not in stated)
        added = tuple((name, line or '""') for name, lines in stated.items() for line in lines)
        if kept or added:
            result[str(role)] = kept + added
        else:
            result.pop(str(role), None)
    return result


def check_consistency(topology: Topology, stated: shapes.Settings, document: yaml.Document, at: yaml.Path) -> None:
    """Note in the document whatever of the topology cannot be, at the line that states it.

    Args:
        topology: What came out, defaults and base included.
        stated: What the document states of it.
        document: Where the problems go.
        at: Path of the topology in the document.
    """
    if not document.lost & _COUNTED:
        _check_counts(topology, document, at)
    if stated.cluster is not None and topology.kind is not Kind.CLUSTER:
        document.problem((*at, "cluster"), f"`cluster` is for kind cluster, not {topology.kind}", at_key=True)
    if stated.sentinel is not None and topology.kind is not Kind.SENTINEL:
        document.problem((*at, "sentinel"), f"`sentinel` is for kind sentinel, not {topology.kind}", at_key=True)
    if stated.persistence is not None:
        _check_rules(stated.persistence, document, (*at, "persistence", "rdb"))
    if stated.directives is not None:
        _check_directives(topology, stated.directives, document, (*at, "directives"))


def _check_counts(topology: Topology, document: yaml.Document, at: yaml.Path) -> None:
    kind = topology.kind

    def wrong(key: str, message: str) -> None:
        document.problem((*at, key), message)

    if topology.primaries < 1:
        wrong("primaries", "`primaries` must be at least 1")
    if kind in (Kind.REPLICA, Kind.SENTINEL) and topology.primaries > 1:
        wrong(
            "primaries",
            f"`primaries` is 1 for kind {kind}; several are shards of `kind: cluster` or servers of `kind: standalone`",
        )
    if kind is Kind.STANDALONE and topology.replicas:
        wrong("replicas", "`replicas` is 0 for kind standalone; for replicas state `kind: replica` or `kind: sentinel`")
    if kind is Kind.REPLICA and not topology.replicas:
        wrong("replicas", "`replicas` is at least 1 for kind replica; for a server alone state `kind: standalone`")
    if kind is Kind.SENTINEL and not topology.sentinels:
        wrong("sentinels", "`sentinels` is at least 1 for kind sentinel; for none state `kind: replica`")
    if kind is not Kind.SENTINEL and topology.sentinels:
        wrong("sentinels", f"`sentinels` is for kind sentinel, not {kind}")
    if kind is Kind.SENTINEL and topology.sentinels and topology.sentinel.quorum > topology.sentinels:
        document.problem(
            (*at, "sentinel", "quorum"),
            f"`quorum` {topology.sentinel.quorum} cannot be reached by {topology.sentinels} Sentinels",
        )
    if topology.nodes > _MAX_NODES:
        stated = [key for key in ("primaries", "replicas", "sentinels") if (*at, key) in document.values]
        wrong(stated[0] if stated else "", f"{topology.nodes} nodes are more than a lab's {_MAX_NODES} addresses")


def _check_rules(persistence: shapes.Persistence, document: yaml.Document, at: yaml.Path) -> None:
    for index, rule in enumerate(persistence.rdb or ()):
        if rule.after % 1000:
            document.problem((*at, index, "after"), "`after` must be whole seconds, as in redis.conf")


def _check_directives(topology: Topology, shape: shapes.Directives, document: yaml.Document, at: yaml.Path) -> None:
    if shape.sentinel and topology.kind is not Kind.SENTINEL:
        document.problem((*at, "sentinel"), f"there is no Sentinel in kind {topology.kind}", at_key=True)
    for role in ("all", *Role):
        stated: dict[str, list[str]] = getattr(shape, role)
        for name, lines in stated.items():
            reason = directives.refusal(role, name, tls=topology.tls)
            if reason:
                document.problem((*at, role, name), f"{yaml.shown(name)} {reason}", at_key=True)
                continue
            for index, line in enumerate(lines):
                reason = directives.argument_refusal(name, line)
                if reason:
                    document.problem((*at, role, name, index), reason)
