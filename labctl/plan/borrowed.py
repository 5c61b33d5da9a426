"""Settings that a seeded formation borrows: stated on the command line of the first start, given back before "healthy".

They stand in no file, so a server that is started again, or whose formation was cut short, never has them.
"""

from __future__ import annotations

from collections.abc import Mapping

from labctl.model.plan import Formation, LabPlan, NodePlan
from labctl.model.topology import Directives, Kind, Role
from labctl.plan.config import data_directives

FAST_SYNC: Mapping[str, str] = {
    # From a socket the primary waits 5 s for more replicas to come, and it sends nothing after the copy before a replica
    # acknowledges it. An acknowledgement that overtakes the end of the dumping process is lost, and the next is 1 s away.
    "repl-diskless-sync": "no",
    "repl-diskless-load": "on-empty-db",  # Valkey 9.1 otherwise notices the end of a download 1 s late
}
"""What makes a first full copy take milliseconds."""

FAST_CRON: Mapping[str, str] = {"hz": "100"}
"""The cron notices that a dump has been sent. In a hundred servers it would take most of a small machine's processor."""

_FAST_CRON_MAX_NODES = 16

PATIENT: Mapping[str, str] = {"cluster-node-timeout": "60000"}
"""What keeps Cluster nodes from suspecting each other while a hundred of them start."""

SERVER_DEFAULTS: Mapping[str, str] = {
    "hz": "10",
    "repl-diskless-sync": "yes",
    "repl-diskless-load": "disabled",
}
"""What the servers take where no file says otherwise: the same from Redis 7.0 to Valkey 9.1, as tests check."""


def formation_overrides(plan: LabPlan, node: NodePlan) -> Directives:
    """Directives for the command line of a node's first start only, after the file and so stronger than it.

    Each becomes `--NAME` followed by the words of its value.
    """
    return tuple(_borrowed(plan, node).items())


def given_back(plan: LabPlan, node: NodePlan) -> Mapping[str, str]:
    """What each borrowed setting of a node is to be once the lab is formed: as its file states, else the default."""
    stated = {name.lower(): value for name, value in data_directives(plan, node)}
    return {name: stated.get(name) or SERVER_DEFAULTS[name] for name in _borrowed(plan, node)}


def _borrowed(plan: LabPlan, node: NodePlan) -> Mapping[str, str]:
    if plan.formation is not Formation.SEEDED or node.role is Role.SENTINEL:
        return {}
    fast = {**FAST_SYNC, **(FAST_CRON if len(plan.data_nodes) <= _FAST_CRON_MAX_NODES else {})}
    if plan.topology.kind is Kind.CLUSTER:
        return {**fast, **PATIENT}
    return fast if len(plan.data_nodes) > 1 else {}
