"""A lab as a `compose.yaml`, for people who want to look, or to go on without labctl.

The same pods: a Toxiproxy that owns the network namespace, the server in it, and a gateway for clients on the host. The
servers start from the same files, here in the final form that needs nobody to form the lab: a Cluster's nodes know each
other from their `nodes.conf`, Sentinels discover replicas by INFO. Nothing borrowed, so it takes some seconds longer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from labctl.model.plan import ANNOUNCED_HOST, LabPlan, NodePlan, Secrets, TlsFiles
from labctl.model.topology import Kind, Role
from labctl.plan.config import DATA_FOLDER, config_name, node_files
from labctl.plan.nodes_conf import nodes_conf

API_PORT = 8474
"""Toxiproxy's own, inside a container."""
_FOLDER = "/lab/node"
_LINKS = "/lab/links.json"

Yaml = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ground:
    """What an exported lab stands on.

    Attributes:
        server: Image of the servers.
        toxiproxy: Image of the links.
        user: `uid:gid` that owns the exported files, as which containers run.
        apis: Ports of the host for Toxiproxy's API: the gateway's, then those of the pods, in the order of nodes.
    """

    server: str
    toxiproxy: str
    user: str
    apis: tuple[int, ...]


def compose_files(
    plan: LabPlan, ground: Ground, secrets: Secrets | None, certificates: Mapping[str, str]
) -> dict[str, str]:
    """Path → text of every file to write, `compose.yaml` first. Empty folders `nodes/NAME/data` are to be made as well.

    Args:
        plan: With containers' hosts (ANY_HOST).
        ground: Images and user.
        secrets: The lab's users where the topology asks for ACL.
        certificates: Name → text of `ca.crt`, `server.crt` and `server.key`, in this order; empty without TLS.
    """
    files = {"compose.yaml": _compose(plan, ground)}
    inside = TlsFiles(*(f"{_FOLDER}/{name}" for name in certificates)) if certificates else None
    for node in plan.nodes:
        own = {**node_files(plan, node, _FOLDER, secrets, inside), **certificates}
        if plan.topology.kind is Kind.CLUSTER:
            own[f"{DATA_FOLDER}/nodes.conf"] = nodes_conf(plan, node, swapped=False)
        files |= {f"nodes/{node.name}/{name}": text for name, text in own.items()}
        files[f"links/{node.name}.json"] = _proxies(plan, node)
    files["links/gateway.json"] = _proxies(plan, None)
    return files


def _compose(plan: LabPlan, ground: Ground) -> str:
    services: dict[str, Yaml] = {"gateway": _gateway(plan, ground)}
    for node, api in zip(plan.nodes, ground.apis[1:], strict=True):
        services[_links_of(node)] = _toxiproxy(ground, node.name, [f"{ANNOUNCED_HOST}:{api}:{API_PORT}"])
        services[node.name] = _server(plan, ground, node)
    head = (
        f"# {plan.topology.name} on {plan.engine_name}, written by `labctl export compose`.\n"
        f"# Clients on the host connect to {ANNOUNCED_HOST}:{plan.nodes[0].port} and so on, by way of the gateway. The links\n"
        "# that start at a node are proxies in its pod's Toxiproxy; each Toxiproxy's API is published on the host.\n"
    )
    return head + yaml.safe_dump({"services": services}, sort_keys=False, width=120)


def _links_of(node: NodePlan) -> str:
    return f"{node.name}-links"


def _toxiproxy(ground: Ground, name: str, ports: list[str]) -> Yaml:
    return {
        "image": ground.toxiproxy,
        "command": ["-host=0.0.0.0", f"-config={_LINKS}"],
        "hostname": name,
        "user": ground.user,
        "cap_drop": ["ALL"],
        "ports": ports,
        "volumes": [f"./links/{name}.json:{_LINKS}:ro"],
        "networks": {"default": {"aliases": [name]}},
    }


def _gateway(plan: LabPlan, ground: Ground) -> Yaml:
    ports = [f"{ANNOUNCED_HOST}:{ground.apis[0]}:{API_PORT}"]
    ports += [f"{ANNOUNCED_HOST}:{node.port}:{node.port}" for node in plan.nodes]
    return _toxiproxy(ground, "gateway", ports)


def _server(plan: LabPlan, ground: Ground, node: NodePlan) -> Yaml:
    flavour = plan.engine_name.partition(" ")[0]
    tls = ["--tls", "--cacert", f"{_FOLDER}/ca.crt"] if plan.topology.tls else []
    mode = ["--sentinel"] if node.role is Role.SENTINEL else []
    return {
        "image": ground.server,
        "entrypoint": [f"{flavour}-server"],
        "command": [f"{_FOLDER}/{config_name(node)}", *mode],
        "network_mode": f"service:{_links_of(node)}",
        "depends_on": [_links_of(node)],
        "user": ground.user,
        "cap_drop": ["ALL"],
        "volumes": [f"./nodes/{node.name}:{_FOLDER}"],
        "healthcheck": {
            "test": ["CMD", f"{flavour}-cli", *tls, "-p", str(node.port), "ping"],
            "interval": "1s",
            "timeout": "3s",
            "retries": 30,
        },
    }


def _proxies(plan: LabPlan, source: NodePlan | None) -> str:
    """Toxiproxy's configuration for the links that start at a node, or at clients on the host."""
    host = ANNOUNCED_HOST if source else "0.0.0.0"  # noqa: S104 - inside the gateway's own namespace
    name = source.name if source else "clients"
    proxies = []
    for target in plan.nodes:
        if target is source:
            continue
        proxies.append(_proxy(f"{name}.to.{target.name}", host, target, target.port))
        if source and target.bus_port is not None:
            proxies.append(_proxy(f"{name}.bus.{target.name}", host, target, target.bus_port))
    return json.dumps(proxies, indent=1)


def _proxy(name: str, host: str, target: NodePlan, port: int) -> Yaml:
    return {"name": name, "listen": f"{host}:{port}", "upstream": f"{target.name}:{port}", "enabled": True}
