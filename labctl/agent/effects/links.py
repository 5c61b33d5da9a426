"""CutLink: a link is held in a state other than open."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from labctl.agent.effects.base import BACK_DEADLINE_S, LOOK_S, Effect, only
from labctl.errors import InjectionError, RevertError
from labctl.faults.claims import link_states
from labctl.model.fault import Action, CutLink, HoldImpaired, HoldPackets, HoldToxic, Link, LinkState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_NAMED = 8


class Links(Effect):
    """Proven by connecting as the source of the link would."""

    async def apply(self, touched: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        wanted = link_states(standing)
        states = {action.link: wanted.get(action.link, LinkState.OPEN) for action in only(CutLink, touched)}
        if states:
            await self.bench.links.set_states(states)

    async def prove(self, actions: tuple[Action, ...]) -> list[str]:
        """See `Effect`."""
        cut = [action.link for action in only(CutLink, actions)]
        if not cut:
            return []
        probes = await self.bench.links.probe(cut)
        open_links = [p.link.name for p in probes if p.seen is LinkState.OPEN]
        if open_links:
            raise InjectionError(f"These links should be cut and still answer: {', '.join(open_links[:_NAMED])}.")
        return [f"{len(cut)} links cut, {len(probes)} of them probed and silent"]

    async def prove_gone(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        held = link_states(standing)
        freed = [action.link for action in only(CutLink, actions) if action.link not in held]
        states = self.bench.links.held()
        shut = [link.name for link in freed if states[link] is not LinkState.OPEN]
        if shut:
            raise RevertError(f"These links are still cut: {', '.join(shut[:_NAMED])}.")
        meddled = await self.bench.links.meddled(freed)
        await self._carry_again([link for link in freed if link not in meddled and not _burdened(link, standing)])

    async def _carry_again(self, links: Collection[Link]) -> None:
        """Wait until every link to a running server carries a question and its answer."""
        left = await self._with_server(links)
        try:
            async with asyncio.timeout(BACK_DEADLINE_S):
                while left:
                    seen = await self.bench.links.probe(left)
                    left = await self._with_server([p.link for p in seen if p.seen is not LinkState.OPEN])
                    await asyncio.sleep(LOOK_S if left else 0)
        except TimeoutError:
            raise RevertError(f"No answer through {', '.join(link.name for link in left[:_NAMED])}.") from None

    async def _with_server(self, links: Collection[Link]) -> list[Link]:
        """Those at whose end somebody could answer."""
        names = sorted({link.target for link in links})
        running = {
            name for name, runs in zip(names, await asyncio.gather(*map(self.bench.runs, names)), strict=True) if runs
        }
        return [link for link in links if link.target in running]


def _burdened(link: Link, standing: Iterable[Action]) -> bool:
    """Whether another fault may slow or swallow what goes through a link that is open."""
    ends = {link.source, link.target}
    return any(
        (isinstance(action, HoldToxic) and action.link == link)
        or (isinstance(action, HoldImpaired) and {action.link.source, action.link.target} == ends)
        or (isinstance(action, HoldPackets) and action.node in ends)
        for action in standing
    )
