"""The Docker runtime's site: a pod per node, real Toxiproxy on every link."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count, islice
from random import Random

from labctl.agent.ports import free_ports, ports_of_other_labs, take_ports
from labctl.agent.request import Request
from labctl.errors import StartError
from labctl.model.plan import ANNOUNCED_HOST, ANY_HOST, LabPlan, NodePlan, RuntimeName
from labctl.plan.layout import layout
from labctl.runtime.base import Site
from labctl.runtime.docker.dialects import dialect
from labctl.runtime.docker.engine import Engine, connect
from labctl.runtime.docker.images import select_images
from labctl.runtime.docker.links import DockerLinks
from labctl.runtime.docker.names import Names, Part
from labctl.runtime.docker.pods import (
    DIRECT,
    PUBLISHED,
    PortTakenError,
    Reach,
    discover,
    make_network,
    start_gateway,
    start_pod,
    toxiproxies,
)
from labctl.runtime.docker.remove import remove_lab
from labctl.runtime.docker.runtime import DockerRuntime
from labctl.store import codec
from labctl.store.folders import LabFolder, allocation_lock

GROUPS = ("clients", "clients-a", "clients-b")
"""The first is whoever connects to an announced address."""
_GROUP_FIRST_PORT = 28_001
_TRIES = 5


async def open_site(
    request: Request, folder: LabFolder, on_exit: Callable[[str], None], say: Callable[[str], None]
) -> Site:
    """See `agent.sites.open_site`. Which images are used is written down before anything is made from them."""
    engine = connect()
    images = await asyncio.to_thread(
        select_images, engine, request.engine, request.topology, say, request.containers.links_by
    )
    containers = replace(request.containers, links_image=images.links)
    request = replace(request, engine=images.server, engine_name=images.engine_name, containers=containers)
    codec.save(folder.request, request)
    importing = asyncio.create_task(asyncio.to_thread(_import_the_rest))
    try:
        site = await _open(engine, request, folder, on_exit)
        await importing
    except BaseException as error:
        await asyncio.shield(asyncio.to_thread(remove_lab, engine, request.lab_id))
        if isinstance(error, BaseExceptionGroup):
            raise _first(error) from error
        raise
    return site


def _import_the_rest() -> None:
    """What the agent will need soon: while containers start there is time."""
    for name in ("labctl.agent.agent", "labctl.agent.api"):
        importlib.import_module(name)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first; the others mostly follow from it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def reopen_site(plan: LabPlan, folder: LabFolder, on_exit: Callable[[str], None]) -> Site:
    """See `agent.sites.reopen_site`. The links are as the agent that died left them."""
    engine = connect()
    reaches = await discover(engine, plan.lab_id)
    assert plan.containers is not None
    links = DockerLinks(plan, await toxiproxies(plan, reaches), reaches, dialect(plan.containers.links_by))
    await links.read_back()
    runtime = DockerRuntime(engine, plan, folder, on_exit)
    runtime.watch()
    await runtime.adopt()
    return Site(plan, runtime, links)


async def _open(engine: Engine, request: Request, folder: LabFolder, on_exit: Callable[[str], None]) -> Site:
    names = Names(request.lab, request.lab_id)
    reach = await make_network(engine, names)
    plan = await _start_pods(engine, names, request, reach, ports_of_other_labs(folder))
    reaches = await discover(engine, request.lab_id)
    links_by_name = await toxiproxies(plan, reaches)
    plan = _with_addresses(plan, reaches, reach)
    links = DockerLinks(plan, links_by_name, reaches, dialect(request.containers.links_by))
    await links.open()
    runtime = DockerRuntime(engine, plan, folder, on_exit)
    runtime.watch()
    return Site(plan, runtime, links)


async def _start_pods(engine: Engine, names: Names, request: Request, reach: str, taken: frozenset[int]) -> LabPlan:
    """Start the gateway and all pods, at once where pods publish nothing that depends on the ports it gets."""
    nodes = _plan(request, frozenset(), reach).nodes

    async def pods(nodes: Iterable[NodePlan]) -> None:
        await asyncio.gather(*(start_pod(engine, names, request.containers, node, reach) for node in nodes))

    if reach == DIRECT:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pods(nodes))
            gateway = tasks.create_task(_with_gateway(engine, names, request, reach, taken))
        return gateway.result()
    plan = await _with_gateway(engine, names, request, reach, taken)
    await pods(plan.nodes)
    return plan


async def _with_gateway(engine: Engine, names: Names, request: Request, reach: str, taken: frozenset[int]) -> LabPlan:
    """Choose ports and publish them. A port that a stranger takes meanwhile costs another try.

    Where this process reaches the gateway at its own address, only the announced ports are published: each published
    port costs the engine tens of milliseconds, and more when it goes.
    """
    with allocation_lock():
        for _ in range(_TRIES):
            plan = _plan(request, taken, reach)
            ports = [
                port for group, own in plan.client_ports for port in own if reach == PUBLISHED or group == GROUPS[0]
            ]
            try:
                await start_gateway(engine, names, request.containers, ports, reach)
            except PortTakenError:
                taken |= frozenset(ports)
                continue
            return plan
    raise StartError("Ports were taken as fast as they were found free.", "Try again when less is being started.")


def _plan(request: Request, avoid: frozenset[int], reach: str) -> LabPlan:
    topology = request.topology
    ports = free_ports(topology, avoid)
    own, others = ports[: topology.nodes], topology.nodes * (len(GROUPS) - 1)
    if reach == PUBLISHED:
        more = take_ports([(_GROUP_FIRST_PORT, others)], avoid | frozenset(ports))
    else:  # the gateway's own, where nobody else takes any
        more = list(islice((port for port in count(_GROUP_FIRST_PORT) if port not in own), others))
    shares = [own, *(more[i : i + topology.nodes] for i in range(0, others, topology.nodes))]
    return layout(
        topology,
        lab=request.lab,
        lab_id=request.lab_id,
        engine=request.engine,
        engine_name=request.engine_name,
        hosts=lambda _: ANY_HOST,
        ports=ports,
        client_hosts=tuple((group, ANNOUNCED_HOST) for group in GROUPS),
        rng=Random(request.lab_id),
        formation=request.formation,
        runtime=RuntimeName.DOCKER,
        containers=request.containers,
        client_ports=tuple((group, tuple(share)) for group, share in zip(GROUPS, shares, strict=True)),
    )


def _with_addresses(plan: LabPlan, reaches: dict[str, Reach], reach: str) -> LabPlan:
    """The plan, saying how the lab itself reaches each server, and where client groups' own ports are."""
    admin = {
        node.name: (reaches[node.name].address, node.port) if reach == DIRECT else reaches[node.name].admin
        for node in plan.nodes
    }
    gateway = reaches[Part.GATEWAY.value].address if reach == DIRECT else ANNOUNCED_HOST
    nodes = tuple(replace(node, admin=admin[node.name]) for node in plan.nodes)
    return replace(plan, nodes=nodes, gateway=gateway)
