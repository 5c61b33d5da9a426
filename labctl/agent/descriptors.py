"""Open files: each connection through a link takes two descriptors of the process that carries it."""

from __future__ import annotations

import resource

from labctl.model.topology import Kind, Topology

_OTHER_DESCRIPTORS = 300


def descriptors_allowed(topology: Topology) -> int:
    """Raise this process's limit to what the lab's links take, or as far as it goes; the limit then."""
    needed = descriptors_needed(topology)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, needed), max(hard, needed)))
    except (ValueError, OSError):  # only the superuser may raise the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def descriptors_needed(topology: Topology) -> int:
    """About how many descriptors a lab's links take: every pair of Cluster nodes has two bus connections."""
    nodes = topology.nodes
    connections = nodes * (nodes - 1) if topology.kind is Kind.CLUSTER else 4 * nodes + topology.sentinels * nodes
    return 2 * connections + 10 * nodes + _OTHER_DESCRIPTORS
