"""Where a lab runs, by the name of its runtime. Only the runtime that is asked for is imported."""

from __future__ import annotations

from collections.abc import Callable

from labctl.agent.request import Request
from labctl.model.plan import LabPlan, Net, RuntimeName
from labctl.runtime.base import Site
from labctl.store.folders import LabFolder

OnExit = Callable[[str], None]
"""Called with a node's name when its server ended, whoever ended it."""


Say = Callable[[str], None]
"""Told what is being done, for people."""


async def open_site(request: Request, folder: LabFolder, on_exit: OnExit, say: Say = lambda _: None) -> Site:
    """Plan a new lab and hold all of its addresses, links open. Its servers are neither written for nor started.

    Raises:
        LabError: This machine cannot run it, or no addresses are free. Nothing is left.
    """
    match request.runtime:
        case RuntimeName.PROCESS if request.net is Net.NETNS:
            from labctl.agent import netns_site  # noqa: PLC0415

            return await netns_site.open_site(request, folder, on_exit)
        case RuntimeName.PROCESS:
            from labctl.agent import process_site  # noqa: PLC0415

            return await process_site.open_site(request, folder, on_exit)
        case RuntimeName.DOCKER:
            from labctl.agent import docker_site  # noqa: PLC0415

            return await docker_site.open_site(request, folder, on_exit, say)


async def reopen_site(plan: LabPlan, folder: LabFolder, on_exit: OnExit) -> Site:
    """Take over a lab whose agent died: its servers as they are, its links as they were left or open.

    Raises:
        LabError: Something of it is gone for good.
    """
    match plan.runtime:
        case RuntimeName.PROCESS if plan.net is Net.NETNS:
            from labctl.agent import netns_site  # noqa: PLC0415

            return await netns_site.reopen_site(plan, folder, on_exit)
        case RuntimeName.PROCESS:
            from labctl.agent import process_site  # noqa: PLC0415

            return await process_site.reopen_site(plan, folder, on_exit)
        case RuntimeName.DOCKER:
            from labctl.agent import docker_site  # noqa: PLC0415

            return await docker_site.reopen_site(plan, folder, on_exit)
