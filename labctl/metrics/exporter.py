"""A lab's exporter: what one scrape asks of the lab and its agent, and how it is put together."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from labctl.errors import LabError
from labctl.metrics import lab
from labctl.metrics.certificates import Certificates
from labctl.metrics.exposition import Exposition
from labctl.metrics.failovers import Failovers
from labctl.metrics.operations import Tail
from labctl.metrics.scrape import DEADLINE_S, Answers, Scraper, write
from labctl.model.conditions import healthy
from labctl.observe.access import Access
from labctl.runtime.base import LinkTraffic, MeasuredLinks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labctl.agent.agent import Agent
    from labctl.model.fault import Link, ServerState
    from labctl.model.view import View

_MARGIN = 0.8
"""The share of the scraper's own patience after which the answer is put together from what is there."""
_FRESH_NS = 1_000_000_000


class Exporter:
    """The metrics of one lab.

    Args:
        agent: The lab's.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._plan = agent.plan
        self._scraper = Scraper(agent.plan, Access(agent.plan, agent.keys.secrets, agent.keys.tls))
        self._certificates = Certificates(agent.plan, agent.keys.tls) if agent.keys.tls else None
        self._failovers = Failovers(agent.plan)
        self._tails: list[Tail] = []
        self._viewing: asyncio.Task[View] | None = None
        self._turn = asyncio.Lock()

    async def scrape(self, *, nodes: bool = True, patience_s: float | None = None) -> str:
        """Everything, in Prometheus' text format.

        Args:
            nodes: Ask the nodes too; otherwise only labctl's own metrics, for whoever runs a redis_exporter beside it.
            patience_s: How long the asker waits; its answer is there before.
        """
        started = time.perf_counter()
        deadline_s = DEADLINE_S if patience_s is None else min(DEADLINE_S, _MARGIN * patience_s)
        async with self._turn:
            answers, view, states, _ = await asyncio.gather(
                self._scraper.ask(deadline_s) if nodes else _no_answers(),
                self._view(deadline_s),
                self._states(deadline_s),
                self._look(deadline_s),
            )
            out = Exposition(lab=self._plan.lab)
            if answers is not None:
                write(out, self._plan, answers)
            lab.identity(out, self._plan)
            lab.servers(out, self._plan, states)
            lab.links(out, self._agent.links.states(), self._traffic())
            lab.faults(out, self._agent.keeper.active)
            if view is not None:
                lab.health(out, healthy(self._plan, view))
            self._failovers.take(self._agent.events.since(self._failovers.seen))
            self._failovers.write(out)
            if self._certificates is not None:
                self._certificates.write(out)
            for tail in self._tails:
                tail.write(out)
            text = "How long the lab took to answer this scrape, without rendering it."
            out.gauge("labctl_scrape_seconds", text, time.perf_counter() - started)
            self._agent.scrapes += 1
            return out.render()

    async def close(self) -> None:
        """Close every connection."""
        await self._scraper.close()

    async def _view(self, deadline_s: float) -> View | None:
        """A view no older than a second. While the agent watches the lab there is one; else this is what looks."""
        last = self._agent.last_view
        if last is not None and time.monotonic_ns() - last.at_ns < _FRESH_NS:
            return last
        if self._viewing is None or self._viewing.done():
            self._viewing = asyncio.create_task(self._agent.view(), name="view for a scrape")
        await asyncio.wait({self._viewing}, timeout=deadline_s)
        return self._viewing.result() if self._viewing.done() else last

    async def _look(self, deadline_s: float) -> None:
        """At what is read from files and by handshakes."""
        known = {id(tail.recording): tail for tail in self._tails}
        self._tails = [known.get(id(each)) or Tail(each) for each in self._agent.recordings]
        for tail in self._tails:
            await asyncio.to_thread(tail.look)
        if self._certificates is not None:
            await self._certificates.look(deadline_s)

    async def _states(self, deadline_s: float) -> Mapping[str, ServerState]:
        """What the operating system says of each server; nothing when a container engine takes too long to."""
        asking = asyncio.gather(*(self._agent.runtime.state(node) for node in self._plan.nodes))
        try:
            states = await asyncio.wait_for(asking, deadline_s)
        except (TimeoutError, LabError):
            return {}
        return {node.name: state for node, state in zip(self._plan.nodes, states, strict=True)}

    def _traffic(self) -> Mapping[Link, LinkTraffic]:
        links = self._agent.links
        return links.traffic() if isinstance(links, MeasuredLinks) and len(links.states()) <= lab.MOST_LINKS else {}


async def _no_answers() -> Answers | None:
    return None
