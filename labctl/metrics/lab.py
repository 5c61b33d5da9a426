"""labctl's own metrics of a lab: what it is, its servers, links and faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from labctl.metrics.exposition import Exposition
from labctl.metrics.scrape import labels_of
from labctl.model.fault import Link, LinkState, ServerState
from labctl.model.plan import LabPlan

if TYPE_CHECKING:
    from labctl.agent.keeper import Active
    from labctl.runtime.base import LinkTraffic

MOST_LINKS = 1000
"""With more links than that, only those that are not open have a series each: 9,900 in a Cluster of a hundred nodes."""


def identity(out: Exposition, plan: LabPlan) -> None:
    """What lab this is, and which nodes it has."""
    topology = plan.topology
    out.gauge(
        "labctl_lab_info",
        "A lab.",
        1,
        topology=topology.name,
        kind=topology.kind.value,
        engine=plan.engine_name,
        runtime=plan.runtime.value,
    )
    for node in plan.nodes:
        labels = {**labels_of(node), "planned_role": node.role.value, "shard": str(node.shard)}
        out.gauge("labctl_node_info", "A node of a lab, with the role that it had when the lab came up.", 1, **labels)


def servers(out: Exposition, plan: LabPlan, states: Mapping[str, ServerState]) -> None:
    """What the operating system says of each server."""
    for node in plan.nodes:
        if node.name not in states:
            continue
        text = "What the operating system says of a server, whatever the server says."
        out.state("labctl_server_state", text, states[node.name].value, ServerState, **labels_of(node))


def health(out: Exposition, unhealthy: Sequence[str]) -> None:
    """Strict agreement of all nodes, as `labctl status` judges it."""
    text = "Whether all nodes are up and agree, as labctl status judges it."
    out.gauge("labctl_lab_healthy", text, float(not unhealthy))
    out.gauge("labctl_lab_unhealthy_reasons", "How many reasons there are against.", len(unhealthy))


def links(out: Exposition, states: Mapping[Link, LinkState], traffic: Mapping[Link, LinkTraffic]) -> None:
    """How many links are in which state, and each link's state and traffic where there are not too many."""
    counts = Counter(states.values())
    for state in LinkState:
        out.gauge("labctl_links", "Directed links by state.", counts[state], state=state.value)
    all_of_them = len(states) <= MOST_LINKS
    for link, state in states.items():
        if all_of_them or state is not LinkState.OPEN:
            about = out.about(source=link.source, target=link.target)
            text = "Whether a directed link carries what comes."
            about.gauge("labctl_link_open", text, float(state is LinkState.OPEN))
            if all_of_them and (carried := traffic.get(link)) is not None:
                _traffic(about, carried)


def _traffic(out: Exposition, carried: LinkTraffic) -> None:
    out.gauge("labctl_link_connections", "Connections on a directed link, opened by its source.", carried.connections)
    for direction, count in (("upstream", carried.to_target), ("downstream", carried.to_source)):
        text = "Bytes that a link carried: upstream from its source to its target, downstream back."
        out.counter("labctl_link_bytes_total", text, count, direction=direction)


def faults(out: Exposition, active: Sequence[Active]) -> None:
    """What is broken on purpose now."""
    out.gauge("labctl_faults", "Faults in force.", len(active))
    stuck = sum(1 for each in active if each.trouble)
    out.gauge("labctl_faults_stuck", "Faults that could not be reverted and are tried again.", stuck)
    for each in active:
        fault = each.record.fault
        labels = {"kind": fault.kind, "target": fault.target, "id": str(each.record.fault_id)}
        out.gauge("labctl_fault_active", "A fault in force.", 1, **labels)
