"""Invariants of the topology itself, over the views that were taken during a run.

Model. A view is what every node said of itself at about one moment; views are polled past all links, some a second, so
that both sides of a partition are seen. What holds "in the end" is judged on the last view, taken after every fault was
gone and the lab had its time to settle; what holds always is judged on all of them. A state between two polls is not
seen, so *always* means in every view.

Sources: redis.io "High availability with Redis Sentinel" (configuration epochs), "Redis Cluster specification"
(configEpoch conflict resolution, slots configuration update rules).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from labctl.check.common import SHOWN, Anomaly, Stats, milliseconds, unknown
from labctl.model.slots import SLOTS
from labctl.model.topology import Role
from labctl.model.verdict import Finding, Outcome
from labctl.model.view import View

EPOCHS = "one-primary-per-epoch"
SLOTS_COVERED = "slots-covered"
SENTINELS = "sentinels-agree"
REPLICAS = "replicas-attached"


def one_primary_per_epoch(views: Sequence[View]) -> Finding:
    """No configuration epoch ever names two primaries.

    Sentinel: whatever two Sentinels say of one epoch, at any time, they name the same primary (each epoch is won by one
    failover). Cluster: in the end the config epochs of all primaries that own slots differ; until conflicts are resolved
    two may be equal, and how long that was is `conflict_ms`.
    """
    named: dict[int, dict[str, int]] = {}
    conflicts: list[Anomaly] = []
    conflict_ns = 0
    last_equal: tuple[int, list[str]] | None = None
    for before, view in zip((None, *views), views, strict=False):
        for epoch, primary in _sentinel_claims(view):
            others = named.setdefault(epoch, {})
            others.setdefault(primary, view.at_ns)
        equal = _equal_epochs(view)
        if equal and before is not None:
            conflict_ns += view.at_ns - before.at_ns
        last_equal = (view.at_ns, equal) if equal else None
    for epoch, primaries in named.items():
        if len(primaries) > 1:
            conflicts.append({"kind": "epoch", "epoch": epoch, "primaries": sorted(primaries)})
    if last_equal is not None:
        conflicts.append({"kind": "equal-in-the-end", "primaries": last_equal[1]})
    stats: Stats = {"views": len(views), "epochs": len(named), "conflict_ms": milliseconds(conflict_ns)}
    seen = any(True for view in views for _ in (*_sentinel_claims(view), *_cluster_epochs(view)))
    if not seen:
        return unknown(EPOCHS, "no view has a Sentinel or a Cluster node in it", stats)
    if conflicts:
        told = "; ".join(_tell_conflict(row) for row in conflicts[:3])
        return Finding(
            EPOCHS,
            Outcome.INVALID,
            f"{len(conflicts)} epochs with two primaries",
            told,
            (),
            stats,
            tuple(conflicts[:SHOWN]),
        )
    count = f"{len(named)} epochs" if named else "the epochs of all primaries"
    return Finding(EPOCHS, Outcome.VALID, f"{count} name one primary each, in {len(views)} views", stats=stats)


def slots_covered(views: Sequence[View]) -> Finding:
    """In the end every slot has exactly one owner, and all nodes agree on it.

    `failed_ms` is how long some node called the Cluster failed before.
    """
    with_cluster = [view for view in views if any(node.cluster is not None for node in view.nodes)]
    if not with_cluster:
        return unknown(SLOTS_COVERED, "no view has a Cluster node in it", {"views": len(views)})
    failed_ns = sum(
        later.at_ns - view.at_ns
        for view, later in pairwise(with_cluster)
        if any(node.cluster is not None and not node.cluster.state for node in view.nodes)
    )
    stats: Stats = {"views": len(with_cluster), "failed_ms": milliseconds(failed_ns)}
    wrong = list(_slot_problems(with_cluster[-1]))
    stats["problems"] = len(wrong)
    if wrong:
        return Finding(
            SLOTS_COVERED, Outcome.INVALID, wrong[0], f"In the last view: {'; '.join(wrong[:5])}.", stats=stats
        )
    return Finding(SLOTS_COVERED, Outcome.VALID, f"all {SLOTS} slots have one owner that all nodes name", stats=stats)


def sentinels_agree(views: Sequence[View]) -> Finding:
    """In the end all Sentinels name one primary with one epoch, and it is a primary.

    `disagreed_ms` is for how long they did not agree.
    """
    with_sentinels = [view for view in views if any(node.sentinel is not None for node in view.nodes)]
    if not with_sentinels:
        return unknown(SENTINELS, "no view has a Sentinel in it", {"views": len(views)})
    disagreed_ns = sum(
        later.at_ns - view.at_ns for view, later in pairwise(with_sentinels) if len(set(_sentinel_claims(view))) > 1
    )
    last = with_sentinels[-1]
    claims = {node.name: (node.sentinel.primary, node.sentinel.config_epoch) for node in last.nodes if node.sentinel}
    stats: Stats = {
        "views": len(with_sentinels),
        "sentinels": len(claims),
        "disagreed_ms": milliseconds(disagreed_ns),
        "longest_epoch": max(epoch for _, epoch in claims.values()),
    }
    if len(set(claims.values())) > 1:
        told = "; ".join(f"{name} says {primary} (epoch {epoch})" for name, (primary, epoch) in claims.items())
        return Finding(SENTINELS, Outcome.INVALID, "Sentinels disagree in the end", told, stats=stats)
    primary = next(iter(claims.values()))[0]
    role = next((node.role for node in last.nodes if node.name == primary), None)
    if role is not Role.PRIMARY:
        return Finding(SENTINELS, Outcome.INVALID, f"all Sentinels name {primary}, which is {role}", stats=stats)
    summary = f"{len(claims)} Sentinels name {primary}; they disagreed for {stats['disagreed_ms']:g} ms in all"
    return Finding(SENTINELS, Outcome.VALID, summary, stats=stats)


def replicas_attached(views: Sequence[View]) -> Finding:
    """In the end every replica has its link up, and the primary that it follows lists it as online.

    `most_detached` is how many replicas that were up had no link at the same time, in any view; `detached_ms` for how long
    one had none.
    """
    if not views or not views[-1].data_nodes:
        return unknown(REPLICAS, "the last view has no data node in it", {"views": len(views)})
    last = views[-1]
    replicas = [node for node in last.data_nodes if node.role is Role.REPLICA]
    detached = [_detached(view) for view in views]
    detached_ns = sum(later.at_ns - view.at_ns for view, later in pairwise(views) if _detached(view))
    stats: Stats = {
        "views": len(views),
        "replicas": len(replicas),
        "down": sum(not node.up for node in last.nodes),
        "most_detached": max(detached),
        "detached_ms": milliseconds(detached_ns),
    }
    if not replicas:
        return unknown(REPLICAS, "the last view has no replica in it", stats)
    listed = {
        replica.name: node.name for node in last.data_nodes for replica in node.replicas if replica.state == "online"
    }
    wrong = [
        f"{node.name} follows {node.follows}, link {'up' if node.link_up else 'down'}, listed by {listed.get(node.name)}"
        for node in replicas
        if node.link_up is not True or listed.get(node.name) != node.follows
    ]
    if wrong:
        return Finding(
            REPLICAS, Outcome.INVALID, f"{len(wrong)} replicas are not attached", "; ".join(wrong), stats=stats
        )
    summary = f"all {len(replicas)} replicas are attached to the primary they follow"
    if most := stats["most_detached"]:
        summary += f"; {most} at once had no link, and one or more for {stats['detached_ms']:.0f} ms in all"
    return Finding(REPLICAS, Outcome.VALID, summary, stats=stats)


def _detached(view: View) -> int:
    """How many replicas are up and without a link."""
    return sum(1 for node in view.data_nodes if node.role is Role.REPLICA and node.link_up is not True)


def _sentinel_claims(view: View) -> Iterator[tuple[int, str]]:
    for node in view.nodes:
        if node.sentinel is not None:
            yield node.sentinel.config_epoch, node.sentinel.primary


def _cluster_epochs(view: View) -> Iterator[tuple[int, str]]:
    """Epochs of the primaries that own slots, in their own words."""
    for node in view.nodes:
        if node.cluster is not None and node.role is Role.PRIMARY:
            own = [entry for entry in node.cluster.table if entry.name == node.name and entry.slots]
            if own:
                yield node.cluster.my_epoch, node.name


def _equal_epochs(view: View) -> list[str]:
    by_epoch: dict[int, list[str]] = {}
    for epoch, name in _cluster_epochs(view):
        by_epoch.setdefault(epoch, []).append(name)
    return sorted(name for names in by_epoch.values() if len(names) > 1 for name in names)


def _slot_problems(view: View) -> Iterator[str]:
    tables = {}
    for node in view.nodes:
        if node.cluster is None:
            continue
        if node.cluster.slots_assigned != SLOTS:
            yield f"{node.name} knows owners of {node.cluster.slots_assigned} slots"
        owners = [(entry.slots, entry.name) for entry in node.cluster.table if entry.slots]
        covered = sum(last - first + 1 for slots, _ in owners for first, last in slots)
        if covered != SLOTS:
            yield f"{node.name} lists {covered} owned slots, so some have two owners or none"
        tables[node.name] = tuple(sorted(owners))
    if len(set(tables.values())) > 1:
        yield "nodes disagree on the owners of slots"


def _tell_conflict(row: Anomaly) -> str:
    names = row["primaries"]
    assert isinstance(names, list)
    if row["kind"] == "epoch":
        return f"Sentinels named {' and '.join(names)} for epoch {row['epoch']}"
    return f"in the end {' and '.join(names)} have the same config epoch"
