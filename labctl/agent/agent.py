"""The lab's agent: one process that owns the links, the servers, the faults and the observed view of one lab."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from labctl.agent.bringup import Keys, make_keys, start_all, unless_one_dies
from labctl.agent.effects.base import Bench
from labctl.agent.events import Events
from labctl.agent.exits import Exits
from labctl.agent.journal import Journal
from labctl.agent.keeper import Keeper
from labctl.agent.sites import reopen_site
from labctl.agent.upkeep import Upkeep
from labctl.errors import StartError
from labctl.formation import form
from labctl.model.plan import LabPlan, NodePlan
from labctl.model.run import Recording
from labctl.model.view import View
from labctl.observe.access import Access
from labctl.observe.changes import changes
from labctl.observe.poll import Observer
from labctl.runtime.base import Links, Runtime, Site
from labctl.store import codec
from labctl.store.folders import LabFolder

WATCH_INTERVAL_S = 0.05
"""How often the lab is looked at while somebody follows its events; a role change is dated to within this."""
UPHOLD_INTERVAL_S = 1.0
"""How soon a cut that somebody else undid is put back, where that can happen at all: in Toxiproxies of pods."""

Progress = Callable[[dict[str, object]], None]


@dataclass(slots=True)
class Agent:
    """Everything of one lab that lives in memory.

    Attributes:
        link_apis: Where Toxiproxy's API over its links is served.
        metrics: Where its metrics are served, `host:port`.
        scrapes: How often they were asked for.
        recordings: Histories that are written about it, newest last.
        last_view: What was seen of it last.
    """

    folder: LabFolder
    plan: LabPlan
    links: Links
    runtime: Runtime
    observer: Observer
    events: Events
    keeper: Keeper
    keys: Keys
    upkeep: Upkeep
    link_apis: list[str] = field(default_factory=list)
    metrics: str = ""
    scrapes: int = 0
    recordings: list[Recording] = field(default_factory=list)
    last_view: View | None = None
    _following: asyncio.Task[None] | None = None

    async def view(self) -> View:
        """Look at every node now, and note what changed since the last look."""
        view = await self.observer.poll()
        for change in changes(self.last_view, view):
            self.events.add(change.kind, change.text, change.node, change.detail, view.at_ns)
        self.last_view = view
        return view

    async def recent(self, max_age_s: float) -> View:
        """The last view, or a new one when that is older: whoever watches at the same time shares the polls."""
        view = self.last_view
        if view is None or time.monotonic_ns() - view.at_ns > max_age_s * 1e9:
            view = await self.view()
        return view

    async def watch(self) -> None:
        """Look at the lab for as long as somebody follows its events."""
        while True:
            if self.events.subscribers or self.keeper.active:
                started = time.monotonic()
                self._follow(await self.view())
                await asyncio.sleep(max(WATCH_INTERVAL_S, time.monotonic() - started))
            else:
                await asyncio.sleep(WATCH_INTERVAL_S)

    def _follow(self, view: View) -> None:
        """Let faults follow their targets, beside the looking, which must not wait for them."""
        if (self._following is None or self._following.done()) and any(a.where for a in self.keeper.active):
            self._following = asyncio.create_task(self.keeper.follow(view))

    async def uphold(self) -> None:
        """See now and then that faults are in force as listed."""
        while True:
            await asyncio.sleep(UPHOLD_INTERVAL_S)
            await self.keeper.uphold()

    async def down(self) -> bool:
        """End every server and free every port. What is on disk is left to the caller.

        Returns:
            False where a change was under way, which may make something yet.
        """
        if self._following is not None:
            self._following.cancel()
        idle = await self.keeper.close()
        await self.runtime.destroy()
        await self.links.close()
        await self.observer.close()
        return idle


def _assemble(folder: LabFolder, site: Site, keys: Keys, exits: Exits) -> Agent:
    plan = site.plan
    access = Access(plan, keys.secrets, keys.tls)
    observer = Observer(plan, access.session)
    bench = Bench(plan, folder, site.runtime, site.links, observer, access)
    keeper = Keeper(bench, Journal(folder.journal), exits.events)
    upkeep = Upkeep(plan, folder, site.runtime)
    return Agent(folder, plan, site.links, site.runtime, observer, exits.events, keeper, keys, upkeep)


async def bring_up(folder: LabFolder, site: Site, exits: Exits, progress: Progress) -> Agent:
    """Bring up the lab whose site was opened; the agent it returns has seen it healthy.

    Args:
        folder: The lab's.
        site: Its addresses and links, from `agent.sites.open_site`.
        exits: What the site tells of servers that end.
        progress: Told of every step.

    Raises:
        LabError: It could not be brought up. Nothing is left running.
    """
    plan = site.plan
    codec.save(folder.plan, plan)
    progress({"step": f"{len(plan.nodes)} nodes planned, {len(site.links.states())} links open"})
    keys = make_keys(plan, folder)
    agent = _assemble(folder, site, keys, exits)
    died: asyncio.Future[NodePlan] = asyncio.get_running_loop().create_future()

    def on_exit(name: str) -> None:
        if not died.done():
            died.set_result(plan.node(name))

    exits.tell = on_exit
    try:
        await agent.runtime.place(keys.secrets, keys.tls)
        first_fork = time.monotonic()
        await start_all(plan, agent.runtime)
        progress({"step": f"{len(plan.nodes)} servers started"})
        access = Access(plan, keys.secrets, keys.tls)

        async def formed() -> None:
            await form(plan, access, agent.observer, lambda step: progress({"step": step}))

        await unless_one_dies(agent.runtime, died, lambda: asyncio.ensure_future(formed()))
        progress({"healthy_s": time.monotonic() - first_fork})
        await agent.view()
        folder.formed.touch(mode=0o600)
    except BaseException:
        await agent.down()
        raise
    return agent


async def take_over(folder: LabFolder) -> Agent:
    """Go on where an agent that died left off: its faults are reverted before this returns, those that can be.

    Raises:
        LabError: The lab's files are damaged, or somebody else took one of its ports meanwhile.
    """
    try:
        plan = codec.load(LabPlan, folder.plan)
        keys = codec.load(Keys, folder.secrets)
    except (OSError, ValueError) as error:
        raise StartError(f"A state file of the lab is damaged: {error}", "labctl down ends the lab.") from None
    exits = Exits()
    agent = _assemble(folder, await reopen_site(plan, folder, exits), keys, exits)
    agent.events.add("agent", "the agent was started again; faults of its predecessor are being reverted")
    await agent.keeper.revert_all()
    await agent.view()
    return agent
