"""The site of a lab with wires: servers as local processes, each in a network namespace of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from random import Random

from labctl.agent.descriptors import descriptors_allowed, descriptors_needed
from labctl.agent.link_hosts import OwnProcess
from labctl.agent.netns_links import NetnsLinks
from labctl.agent.ports import client_hosts, free_ports, ports_of_other_labs, take_ports
from labctl.agent.request import Request
from labctl.errors import CapabilityError, StartError
from labctl.links.server import LinkServer
from labctl.links.spec import ListenError
from labctl.model.plan import ANNOUNCED_HOST, ANY_HOST, LabPlan, Net
from labctl.model.topology import Topology
from labctl.plan.layout import layout
from labctl.runtime import shim
from labctl.runtime.base import Site
from labctl.runtime.process import ProcessRuntime
from labctl.store.folders import LabFolder, allocation_lock
from labctl.wires.bridge import SWITCH, lay, plugs
from labctl.wires.namespaces import Namespaces

_OWN_FIRST_PORT = 30_001
_TRIES = 5


class NetnsRuntime(ProcessRuntime):
    """Servers in namespaces. What holds the namespaces ends with them."""

    def __init__(
        self, plan: LabPlan, folder: LabFolder, on_exit: Callable[[str], None], namespaces: Namespaces
    ) -> None:
        super().__init__(plan, folder, on_exit, namespaces.run)
        self._namespaces = namespaces

    async def destroy(self) -> None:
        """See `Runtime`."""
        try:
            await super().destroy()
        finally:
            self._namespaces.destroy()


async def open_site(request: Request, folder: LabFolder, on_exit: Callable[[str], None]) -> Site:
    """See `agent.sites.open_site`."""
    if descriptors_needed(request.topology) > descriptors_allowed(request.topology):
        raise CapabilityError(
            f"{request.topology.nodes} nodes with wires have more connections than one process may hold here.",
            "Leave --net netns out, or raise the limit on open files (labctl doctor).",
        )
    if request.shim:
        await asyncio.to_thread(shim.build, folder.path)
    plan, links, namespaces = await _plan_lab(request, ports_of_other_labs(folder))
    return Site(plan, NetnsRuntime(plan, folder, on_exit, namespaces), links)


async def reopen_site(plan: LabPlan, folder: LabFolder, on_exit: Callable[[str], None]) -> Site:
    """See `agent.sites.reopen_site`. Proxies and detours died with the agent; namespaces and wires are as they were."""
    descriptors_allowed(plan.topology)
    namespaces = Namespaces.adopt(plan.lab_id, [*plugs(plan), SWITCH])
    runtime = NetnsRuntime(plan, folder, on_exit, namespaces)
    await runtime.adopt()
    links = _links(plan, namespaces)
    await links.open()
    return Site(plan, runtime, links)


def _links(plan: LabPlan, namespaces: Namespaces) -> NetnsLinks:
    sockets = partial(_socket, namespaces)
    return NetnsLinks(plan, OwnProcess(sockets), LinkServer(sockets=sockets), namespaces, plugs(plan))


async def _plan_lab(request: Request, taken: frozenset[int]) -> tuple[LabPlan, NetnsLinks, Namespaces]:
    """Decide every address, lay the wires and listen."""
    parties = plugs(_plan(request, taken))
    namespaces = Namespaces.create(request.lab_id, [*parties, SWITCH])
    try:
        await asyncio.to_thread(lay, namespaces, parties)
        plan, links = await _listening(request, taken, namespaces)
    except BaseException:
        namespaces.destroy()
        raise
    return plan, links, namespaces


async def _listening(request: Request, taken: frozenset[int], namespaces: Namespaces) -> tuple[LabPlan, NetnsLinks]:
    """A port that a stranger takes meanwhile costs another try."""
    with allocation_lock():
        for _ in range(_TRIES):
            plan = _plan(request, taken)
            links = _links(plan, namespaces)
            try:
                await links.open()
            except ListenError:
                taken |= {port for node in plan.nodes for port in (node.port, node.direct[1])}
                continue
            return plan, links
    raise StartError("Ports were taken as fast as they were found free.", "Try again when less is being started.")


def _plan(request: Request, taken: frozenset[int]) -> LabPlan:
    topology: Topology = request.topology
    ports = free_ports(topology, taken)
    own = take_ports([(_OWN_FIRST_PORT, topology.nodes)], taken | frozenset(ports))
    plan = layout(
        topology,
        lab=request.lab,
        lab_id=request.lab_id,
        engine=request.engine,
        engine_name=request.engine_name,
        hosts=lambda _: ANY_HOST,
        ports=ports,
        client_hosts=client_hosts(request.lab_id),
        rng=Random(request.lab_id),
        formation=request.formation,
        net=Net.NETNS,
    )
    return plan.reached_at([(ANNOUNCED_HOST, port) for port in own])


def _socket(namespaces: Namespaces, name: str, family: socket.AddressFamily) -> socket.socket:
    return namespaces.socket(name, family) if name else socket.socket(family, socket.SOCK_STREAM)
