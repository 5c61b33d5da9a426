"""Real labs inside the test's own event loop: the parts of the agent without its process."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from labctl.agent.bringup import Keys, make_keys, start_all
from labctl.agent.request import Request
from labctl.agent.sites import open_site
from labctl.engines.find import find_engines
from labctl.formation import form
from labctl.model.engine import Engine
from labctl.model.plan import Formation, LabPlan
from labctl.model.topology import Topology
from labctl.model.view import View
from labctl.observe.access import Access
from labctl.observe.poll import Observer
from labctl.observe.wait import Condition, wait_for
from labctl.runtime.base import Links
from labctl.runtime.process import ProcessRuntime
from labctl.store.folders import LabFolder


@cache
def engines() -> dict[str, Engine]:
    """Servers of this machine by short name, `redis-7` for example; the first of each."""
    found: dict[str, Engine] = {}
    for engine in find_engines():
        found.setdefault(f"{engine.flavour}-{engine.version[0]}", engine)
    return found


@dataclass
class Lab:
    """A lab whose servers run. `steps` is what its formation said, with seconds since the first fork."""

    plan: LabPlan
    keys: Keys
    folder: LabFolder
    runtime: ProcessRuntime
    links: Links
    access: Access
    observer: Observer
    first_fork: float
    steps: list[tuple[float, str]] = field(default_factory=list)

    async def form(self) -> View:
        """Form it; return the first healthy view."""
        return await form(self.plan, self.access, self.observer, self._step)

    async def until(self, condition: Condition, deadline_s: float = 60) -> View:
        """Wait for a condition on the view."""
        return await wait_for(self.observer, condition, deadline_s)

    async def ask(self, node: str, *command: str | int) -> object:
        """One command to one node, as admin."""
        session = self.access.session(self.plan.node(node))
        try:
            return await session.one(*command)
        finally:
            await session.close()

    def file(self, node: str, name: str) -> str:
        """Text of a file in a node's folder."""
        return (self.folder.node(node) / name).read_text()

    def _step(self, text: str) -> None:
        self.steps.append((time.monotonic() - self.first_fork, text))


_PATIENCE_S = 5.0
"""Tests look once where an agent looks again and again, and the machine is busy with other tests."""


@contextlib.asynccontextmanager
async def started(
    folder: Path, topology: Topology, engine: Engine, formation: Formation = Formation.SEEDED
) -> AsyncIterator[Lab]:
    """A lab whose servers were just started behind open links, not formed yet; gone afterwards."""
    files = LabFolder(folder / secrets.token_hex(4))
    files.path.mkdir()
    request = Request(topology.name, secrets.token_hex(16), topology, engine.path, engine.name, formation)
    site = await open_site(request, files, lambda _: None)
    assert isinstance(site.runtime, ProcessRuntime)
    keys = make_keys(site.plan, files)
    await site.runtime.place(keys.secrets, keys.tls)
    access = Access(site.plan, keys.secrets, keys.tls)
    observer = Observer(site.plan, access.session, deadline_s=_PATIENCE_S)
    lab = Lab(site.plan, keys, files, site.runtime, site.links, access, observer, time.monotonic())
    try:
        await start_all(site.plan, site.runtime)
        yield lab
    finally:
        await site.runtime.destroy()
        for child in list(site.runtime._children.values()):
            child.wait()  # an agent that ends has no need to
        await observer.close()
        await site.links.close()


@contextlib.asynccontextmanager
async def healthy_lab(
    folder: Path, topology: Topology, engine: Engine, formation: Formation = Formation.SEEDED
) -> AsyncIterator[Lab]:
    """A lab that was formed."""
    async with started(folder, topology, engine, formation) as lab:
        await lab.form()
        yield lab
