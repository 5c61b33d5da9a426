"""The process runtime's site: servers on loopback addresses of their own, every link a proxy on 127.0.0.1."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import ceil
from random import Random

from labctl.agent.descriptors import descriptors_allowed, descriptors_needed
from labctl.agent.link_hosts import LinkHost, OwnProcess, Workers
from labctl.agent.linktable import LinkTable
from labctl.agent.ports import client_hosts, free_ports, node_host, nodes_share_address, ports_of_other_labs
from labctl.agent.request import Request
from labctl.errors import StartError
from labctl.links.spec import ListenError
from labctl.model.plan import ANNOUNCED_HOST, LabPlan
from labctl.model.topology import Topology
from labctl.plan.layout import layout
from labctl.runtime import shim
from labctl.runtime.base import Site
from labctl.runtime.process import ProcessRuntime
from labctl.store.folders import LabFolder, allocation_lock

_TRIES = 5
_MOST_NODES_IN_AGENT = 30
_FILLED = 0.7
"""How much of its descriptors a worker should need: reconnecting nodes hold old and new connections for a while."""


async def open_site(request: Request, folder: LabFolder, on_exit: Callable[[str], None]) -> Site:
    """See `agent.sites.open_site`."""
    if request.shim:
        await asyncio.to_thread(shim.build, folder.path)
    plan, links = await _plan_lab(request, ports_of_other_labs(folder))
    return Site(plan, ProcessRuntime(plan, folder, on_exit), links)


async def reopen_site(plan: LabPlan, folder: LabFolder, on_exit: Callable[[str], None]) -> Site:
    """See `agent.sites.reopen_site`. The links died with the agent: all of them are open again."""
    runtime = ProcessRuntime(plan, folder, on_exit)
    await runtime.adopt()
    links = LinkTable(plan, _host(plan.topology))
    await links.open()
    return Site(plan, runtime, links)


def _host(topology: Topology) -> LinkHost:
    """The agent itself, unless the lab has more connections than one process may hold or can carry beside its work."""
    allowed = descriptors_allowed(topology)
    if topology.nodes <= _MOST_NODES_IN_AGENT and descriptors_needed(topology) <= allowed:
        return OwnProcess()
    return Workers(max(2, ceil(descriptors_needed(topology) / (_FILLED * allowed))))


async def _plan_lab(request: Request, taken: frozenset[int]) -> tuple[LabPlan, LinkTable]:
    """Decide every address and listen on all of them. A port that a stranger takes meanwhile costs another try."""
    shared = nodes_share_address(request.lab_id)
    host = _host(request.topology)
    with allocation_lock():
        for _ in range(_TRIES):
            ports = free_ports(request.topology, taken)
            own_ports = free_ports(request.topology, taken | frozenset(ports)) if shared else ()
            plan = layout(
                request.topology,
                lab=request.lab,
                lab_id=request.lab_id,
                engine=request.engine,
                engine_name=request.engine_name,
                hosts=lambda index: ANNOUNCED_HOST if shared else node_host(request.lab_id, index),
                ports=ports,
                client_hosts=client_hosts(request.lab_id, shared=shared),
                own_ports=own_ports,
                rng=Random(request.lab_id),
                formation=request.formation,
            )
            table = LinkTable(plan, host)
            try:
                await table.open()
            except ListenError:
                taken |= frozenset(ports)
                continue
            return plan, table
    raise StartError("Ports were taken as fast as they were found free.", "Try again when less is being started.")
