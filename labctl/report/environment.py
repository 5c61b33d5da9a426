"""Endpoints → environment variables, for `labctl env`, `exec` and drilled applications."""

from __future__ import annotations

from urllib.parse import quote

from labctl.model.endpoints import Endpoint, Endpoints
from labctl.model.topology import Kind


def environment(endpoints: Endpoints) -> dict[str, str]:
    """Variables by name. REDIS_URL is the first node; whoever needs the primary of a Sentinel lab asks the Sentinels.

    A group that is known by the ports that it connects to is given those. Servers know nothing of them: Sentinels and
    redirections name the announced addresses, and REDIS_ADDRESS_MAP says what to connect to instead.
    """
    nodes, sentinels = _dialled(endpoints, endpoints.nodes), _dialled(endpoints, endpoints.sentinels)
    values = {
        "REDIS_URL": _url(endpoints, nodes[0]),
        "REDIS_URLS": ",".join(_url(endpoints, node) for node in nodes),
        "REDIS_HOST": nodes[0].host,
        "REDIS_PORT": str(nodes[0].port),
        "REDIS_NODES": _hosts(nodes),
    }
    if endpoints.kind is Kind.CLUSTER:
        values["REDIS_CLUSTER_NODES"] = _hosts(nodes)
    if sentinels:
        values["REDIS_SENTINELS"] = _hosts(sentinels)
        values["REDIS_SENTINEL_MASTER"] = endpoints.primary_name
    if endpoints.username is not None and endpoints.password is not None:
        values["REDIS_USERNAME"] = endpoints.username
        values["REDIS_PASSWORD"] = endpoints.password
    if endpoints.ca_file is not None:
        values["REDIS_CA_FILE"] = endpoints.ca_file
    if endpoints.source is not None:
        values["REDIS_SOURCE_ADDRESS"] = endpoints.source
    if endpoints.dial:
        announced = (*endpoints.nodes, *endpoints.sentinels)
        values["REDIS_ADDRESS_MAP"] = ",".join(
            f"{known.host}:{known.port}={dialled.host}:{dialled.port}"
            for known, dialled in zip(announced, (*nodes, *sentinels), strict=True)
        )
    return values


def _dialled(endpoints: Endpoints, servers: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """Servers at the addresses that this group connects to."""
    return tuple(Endpoint(s.name, *endpoints.dial.get(s.port, (s.host, s.port))) for s in servers)


def _hosts(nodes: tuple[Endpoint, ...]) -> str:
    return ",".join(f"{node.host}:{node.port}" for node in nodes)


def _url(endpoints: Endpoints, node: Endpoint) -> str:
    scheme = "rediss" if endpoints.ca_file is not None else "redis"
    user = ""
    if endpoints.username is not None and endpoints.password is not None:
        user = f"{quote(endpoints.username, safe='')}:{quote(endpoints.password, safe='')}@"
    trust = f"?ssl_ca_certs={quote(endpoints.ca_file, safe='/')}" if endpoints.ca_file is not None else ""
    return f"{scheme}://{user}{node.host}:{node.port}/0{trust}"
