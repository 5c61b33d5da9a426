"""Failovers as an operator asks for them. They are over once done, so there is nothing to revert."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.errors import UsageError
from labctl.faults.kind import Context, FaultKind, Param
from labctl.faults.servers import servers
from labctl.faults.targets import resolve
from labctl.model.fault import Action, Fault, Trigger
from labctl.model.plan import ANNOUNCED_HOST
from labctl.model.topology import Kind, Role

if TYPE_CHECKING:
    from collections.abc import Iterable


def _failover(fault: Fault, context: Context) -> tuple[Action, ...]:
    """FAILOVER, sent to the primary that a chosen replica follows."""
    if context.plan.topology.kind is Kind.CLUSTER:
        raise UsageError("FAILOVER is not for a Cluster.", "labctl chaos cluster-failover")
    (replica,) = _one_each(servers(fault, context, data=True), context)
    primary = context.view.node(replica).follows
    assert primary is not None
    words = ["FAILOVER", "TO", ANNOUNCED_HOST, str(context.plan.node(replica).port)]
    if fault.params["force"] == "yes":
        words.append("FORCE")
    return (Trigger(primary, (*words, "TIMEOUT", str(fault.params["timeout"])), replica),)


def _sentinel_failover(fault: Fault, context: Context) -> tuple[Action, ...]:
    """SENTINEL FAILOVER, sent to one Sentinel, which does not ask the others."""
    sentinels = [n.name for n in context.plan.sentinels]
    names = [name for name in resolve(fault.target, context.plan, context.view, context.rng) if name in sentinels]
    up = [name for name in names if context.view.node(name).up]
    if not up:
        raise UsageError(f"No Sentinel that answers is among '{fault.target}'.", "labctl status shows them.")
    return (Trigger(context.rng.choice(up), ("SENTINEL", "FAILOVER", context.plan.topology.primary_name)),)


def _cluster_failover(fault: Fault, context: Context) -> tuple[Action, ...]:
    """CLUSTER FAILOVER, sent to one replica of each shard that is meant."""
    if context.plan.topology.kind is not Kind.CLUSTER:
        raise UsageError("CLUSTER FAILOVER needs a Cluster.", "labctl chaos failover, or sentinel-failover.")
    how = () if fault.params["how"] == "plain" else (str(fault.params["how"]).upper(),)
    return tuple(
        Trigger(replica, ("CLUSTER", "FAILOVER", *how), replica)
        for replica in _one_each(servers(fault, context, data=True), context)
    )


def _one_each(names: Iterable[str], context: Context) -> tuple[str, ...]:
    """One replica for each primary that is meant: one that is named, otherwise any of its own.

    Raises:
        UsageError: A primary has no replica that is linked to it.
    """
    chosen: dict[str, list[str]] = {}
    for name in names:
        node = context.view.node(name)
        if node.role is Role.REPLICA and node.follows:
            chosen.setdefault(node.follows, []).append(name)
        elif node.role is Role.PRIMARY:
            chosen.setdefault(name, [])
    for primary, replicas in chosen.items():
        found = replicas or [n.name for n in context.view.data_nodes if n.follows == primary and n.link_up]
        if not found:
            raise UsageError(f"{primary} has no replica that could take over.", "labctl status shows the links.")
        replicas[:] = [context.rng.choice(found)]
    if not chosen:
        raise UsageError("None of these nodes is up.", "labctl status")
    return tuple(replica for (replica,) in chosen.values())


_PROOF = "the node says that it is primary"

KINDS = (
    FaultKind(
        "failover",
        "FAILOVER: hand over to a replica, in order; the primary holds writes back until it has caught up",
        "primary",
        _failover,
        (
            Param("timeout", "milliseconds until it is given up, or forced", 10_000, low=1, high=600_000),
            Param("force", "yes: after the timeout hand over all the same", "no", choices=("no", "yes")),
        ),
        proof=_PROOF,
        momentary=True,
    ),
    FaultKind(
        "sentinel-failover",
        "SENTINEL FAILOVER: one Sentinel promotes a replica without asking the others",
        "sentinels",
        _sentinel_failover,
        proof="another node than before says that it is primary",
        momentary=True,
        needs="Sentinels",
    ),
    FaultKind(
        "cluster-failover",
        "CLUSTER FAILOVER: a replica takes its primary's slots",
        "shard:1",
        _cluster_failover,
        (
            Param(
                "how",
                "plain: the primary agrees, nothing is lost; force: without it; takeover: without a vote",
                "plain",
                choices=("plain", "force", "takeover"),
            ),
        ),
        proof=_PROOF,
        momentary=True,
        needs="a Cluster",
    ),
)
