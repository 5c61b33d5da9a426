"""A lab's network, volumes, pods and gateway: everything of it but the servers."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from labctl.errors import LabError, StartError
from labctl.model.plan import ANNOUNCED_HOST, Containers, LabPlan, LinksBy, NodePlan
from labctl.runtime.docker.engine import Engine, RefusedError
from labctl.runtime.docker.names import ID, NODE, PART, Names, Part
from labctl.runtime.docker.toxiproxy import API_PORT, Toxiproxy

PROBE_PORT = 8475
"""In each pod, from here on, proxies to the pod's own links: whoever connects finds a link as the pod's server would."""
FILES = "/lab"
"""Where a node's volume is mounted, in both containers of its pod."""
SERVER_USER = "999:999"
"""User and group of servers; by number, for not every image knows a name. The official images call it redis or valkey."""
PYTHON = "/opt/python/bin/python3"
"""In labctl's own image."""
PUBLISHED, DIRECT = "published", "direct"
REACH_VARIABLE = "LABCTL_DOCKER_REACH"

_LINKS_USER = "65534:65534"
_LINKS_MEMORY = "256m"
_READY_S = 20.0


@dataclass(frozen=True, slots=True)
class Reach:
    """How this process reaches a pod or the gateway.

    Attributes:
        address: Its address on the lab's network, where its peers reach it.
        api: Host and port of its Toxiproxy's API.
        probe: Host and port of its probe proxy; the gateway has none.
        admin: Host and port of its server, past all links; the gateway has none.
    """

    address: str
    api: tuple[str, int]
    probe: tuple[str, int] | None
    admin: tuple[str, int] | None


async def make_network(engine: Engine, names: Names) -> str:
    """Make the lab's network and return how pods on it can be reached: DIRECT or PUBLISHED.

    On Linux this process can connect to a container's own address. Where the engine lives in a virtual machine or in a
    network namespace of its own (Docker Desktop, rootless), only published ports lead to it. The bridge tells: its
    address is one of this host's, or is not.
    """
    api = engine.api
    await engine.call(
        "make a network",
        api.create_network,
        names.network,
        driver="bridge",
        labels=names.labels(Part.NETWORK),
        check_duplicate=True,
    )
    if stated := os.environ.get(REACH_VARIABLE):
        return PUBLISHED if stated == PUBLISHED else DIRECT
    network = await engine.call("look at its network", api.inspect_network, names.network)
    gateways = [config.get("Gateway", "") for config in network["IPAM"]["Config"] or ()]
    return DIRECT if any(map(_is_mine, gateways)) else PUBLISHED


def _is_mine(address: str) -> bool:
    with suppress(OSError), socket.socket() as probe:
        probe.bind((address.partition("/")[0], 0))
        return bool(address)
    return False


async def start_gateway(engine: Engine, names: Names, containers: Containers, ports: Sequence[int], reach: str) -> None:
    """Start the gateway with these ports published on 127.0.0.1. Raises PortTakenError when somebody has one of them."""
    published: dict[int, tuple[str, int | None]] = {port: (ANNOUNCED_HOST, port) for port in ports}
    if reach == PUBLISHED:
        published[API_PORT] = (ANNOUNCED_HOST, None)
    await _start_links(engine, names, names.gateway, names.labels(Part.GATEWAY), containers, published, "gateway")


async def start_pod(engine: Engine, names: Names, containers: Containers, node: NodePlan, reach: str) -> None:
    """Make a node's volume, and start the link server that owns its pod's namespace."""
    volume = names.volume(node.name)
    in_memory = {"type": "tmpfs", "device": "tmpfs", "o": f"size={containers.disk},mode=0755"}
    await engine.call(
        "make a volume",
        engine.api.create_volume,
        volume,
        labels=names.labels(Part.DATA, node.name),
        driver="local",
        driver_opts=in_memory if containers.disk else None,
    )
    ports = (API_PORT, PROBE_PORT, node.port) if reach == PUBLISHED else ()
    published: dict[int, tuple[str, int | None]] = dict.fromkeys(ports, (ANNOUNCED_HOST, None))
    container, labels = names.links(node.name), names.labels(Part.LINKS, node.name)
    await _start_links(engine, names, container, labels, containers, published, node.name, volume)


@dataclass(frozen=True, slots=True)
class Program:
    """What a container of links runs."""

    path: str
    arguments: tuple[str, ...]


PROGRAMS = {
    LinksBy.TOXIPROXY: Program("/toxiproxy", ("-host=0.0.0.0",)),  # where the official image has it
    LinksBy.LABCTL: Program(PYTHON, ("-m", "labctl.links")),
}


class PortTakenError(StartError):
    """A port that was free a moment ago is somebody else's now."""


async def _start_links(
    engine: Engine,
    names: Names,
    container: str,
    labels: dict[str, str],
    containers: Containers,
    published: Mapping[int, tuple[str, int | None]],
    alias: str,
    volume: str | None = None,
) -> None:
    api, image, program = engine.api, containers.links_image, PROGRAMS[containers.links_by]
    host = api.create_host_config(
        network_mode=names.network,
        port_bindings=dict(published),
        binds={volume: {"bind": FILES, "mode": "rw"}} if volume else {},
        mem_limit=_LINKS_MEMORY,
        **hardened(),
    )
    aliases = api.create_endpoint_config(aliases=[alias])
    await engine.call(
        f"make the container {container}",
        api.create_container,
        image,
        list(program.arguments),
        name=container,
        entrypoint=[program.path],
        hostname=alias,
        user=_LINKS_USER,
        environment={"LOG_LEVEL": "error"},
        ports=list(published),
        labels=labels,
        host_config=host,
        networking_config=api.create_networking_config({names.network: aliases}),
    )
    try:
        await engine.call(f"start {container}", api.start, container)
    except RefusedError as error:
        if any(sign in error.reason for sign in ("address already in use", "port is already allocated")):
            await engine.call(f"remove {container}", api.remove_container, container, force=True)
            raise PortTakenError(f"A port of {container} is taken: {error.reason}") from error
        raise not_startable(image, program.path, error, "LABCTL_TOXIPROXY_IMAGE names another.") from error


def hardened(*, read_only: bool = True) -> dict[str, Any]:
    """No privileges, nothing written outside volumes, no endless logs."""
    return {
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "read_only": read_only,
        "pids_limit": 1024,
        "restart_policy": {"Name": "no"},
        "log_config": {"type": "json-file", "config": {"max-size": "20m", "max-file": "2"}},
    }


def not_startable(image: str, program: str, error: RefusedError, hint: str = "--engine names another.") -> LabError:
    """A clearer error for an image without the program that it should have; otherwise `error`."""
    said = error.reason
    if ("executable file" in said and "not found" in said) or f"stat {program}: no such file" in said:
        return StartError(f"The image {image} has no {program}.", hint)
    return error


async def discover(engine: Engine, lab_id: str) -> dict[str, Reach]:
    """How to reach each pod, by its node's name, and the gateway, by `gateway`. Only what is running."""
    found = await engine.call("list its containers", engine.api.containers, filters={"label": [f"{ID}={lab_id}"]})
    reaches = {}
    for item in found:
        labels = item["Labels"]
        if labels[PART] in (Part.LINKS, Part.GATEWAY):
            reaches[labels.get(NODE, Part.GATEWAY.value)] = _reach(item)
    return reaches


def _reach(item: Mapping[str, Any]) -> Reach:
    (network,) = item["NetworkSettings"]["Networks"].values()
    address = network["IPAddress"]
    published = {p["PrivatePort"]: (ANNOUNCED_HOST, p["PublicPort"]) for p in item["Ports"] if p.get("PublicPort")}
    api = published.get(API_PORT, (address, API_PORT))
    if NODE not in item["Labels"]:
        return Reach(address, api, None, None)
    others = [where for port, where in published.items() if port not in (API_PORT, PROBE_PORT)]
    return Reach(address, api, published.get(PROBE_PORT, (address, PROBE_PORT)), others[0] if others else None)


async def toxiproxies(plan: LabPlan, reaches: Mapping[str, Reach]) -> dict[str, Toxiproxy]:
    """The Toxiproxy of each pod and of the gateway, answering.

    Raises:
        StartError: A pod of the lab is gone.
    """
    wanted = [*(node.name for node in plan.nodes), Part.GATEWAY.value]
    gone = [name for name in wanted if name not in reaches]
    if gone:
        raise StartError(
            f"These pods of lab {plan.lab} do not run any more: {', '.join(gone)}.",
            f"labctl down {plan.lab} removes the rest.",
        )
    found = {name: Toxiproxy(name, *reaches[name].api) for name in wanted}
    await asyncio.gather(*(each.until_ready(_READY_S) for each in found.values()))
    return found
