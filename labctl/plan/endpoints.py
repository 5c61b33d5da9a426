"""Plan → what an application needs to reach the lab."""

from __future__ import annotations

from labctl.model.endpoints import Endpoint, Endpoints
from labctl.model.plan import ANNOUNCED_HOST, LabPlan, Secrets, TlsFiles


def endpoints(plan: LabPlan, secrets: Secrets | None, tls: TlsFiles | None, group: str = "clients") -> Endpoints:
    """Endpoints for clients of `group`. Raises KeyError for a group that the plan does not have."""
    source = dict(plan.client_hosts)[group]
    own = dict(plan.client_ports).get(group, ())
    return Endpoints(
        kind=plan.topology.kind,
        nodes=tuple(Endpoint(n.name, ANNOUNCED_HOST, n.port) for n in plan.data_nodes),
        sentinels=tuple(Endpoint(n.name, ANNOUNCED_HOST, n.port) for n in plan.sentinels),
        primary_name=plan.topology.primary_name,
        username=secrets.app.name if secrets else None,
        password=secrets.app.password if secrets else None,
        ca_file=tls.ca if tls else None,
        source=None if source == ANNOUNCED_HOST else source,
        dial={
            node.port: (plan.gateway, port) for node, port in zip(plan.nodes, own, strict=False) if port != node.port
        },
    )
