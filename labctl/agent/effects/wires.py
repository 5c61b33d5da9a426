"""HoldImpaired: single packets on a wire are lost, doubled, damaged, late or out of order."""

from __future__ import annotations

import asyncio
from math import ceil
from typing import TYPE_CHECKING

from labctl.agent.effects.base import BACK_DEADLINE_S, Effect, Felt, only
from labctl.errors import CapabilityError, InjectionError, RevertError
from labctl.faults.claims import impairments
from labctl.model.fault import Action, HoldImpaired, Impairment, Link
from labctl.runtime.base import Arrivals, Met, WiredLinks

if TYPE_CHECKING:
    from collections.abc import Collection

_PROBED = 8
"""Pairs that are measured; each costs some datagrams and the time that the fault takes."""
_HITS = 20
"""How often chance should meet one of the datagrams sent: that it meets none then has a probability of e^-20."""
_MOST_DATAGRAMS = 2000
_LONGEST_WAIT_MS = 3000
_PATIENCE_S = 0.3
_CLEAN = 20
_NAMED = 8


class Wires(Effect):
    """Proven by datagrams between two sockets, one in each party's namespace; gone by the kernel's routes, and by them."""

    async def prepare(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> tuple[Action, ...]:  # noqa: ARG002
        """See `Effect`."""
        if any(only(HoldImpaired, actions)):
            self._links()
        return actions

    async def apply(self, touched: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        wanted = impairments(standing)
        links = {action.link for action in only(HoldImpaired, touched)}
        if links:
            self._links().impair({link: wanted.get(link, ()) for link in links})

    async def prove(self, actions: tuple[Action, ...]) -> list[str]:
        """See `Effect`."""
        claims = list(only(HoldImpaired, actions))
        if not claims:
            return []
        self._require_detoured({claim.link for claim in claims})
        pairs = f"packets of {len({claim.link for claim in claims})} pairs"
        if claims[0].ms > _LONGEST_WAIT_MS:
            return [pairs, f"{claims[0].ms:g} ms are too long to be waited for"]
        chosen = claims[:: max(1, -(-len(claims) // _PROBED))]
        if claims[0].what is Impairment.CORRUPT:  # what is damaged is counted by namespace, not by socket
            found = [await self._bitten(claim) for claim in chosen]
        else:
            found = await asyncio.gather(*map(self._bitten, chosen))
        return [pairs, f"through {len(chosen)} of them {_seen(claims[0].what, found)}"]

    async def felt(self, actions: tuple[Action, ...]) -> Felt | None:
        """See `Effect`."""
        claims = list(only(HoldImpaired, actions))
        if not claims:
            return None
        told = self._links().impaired({claim.link for claim in claims})
        counts = [told[claim.link][claim] for claim in claims if claim in told[claim.link]]
        seen, acted = sum(count.seen for count in counts), sum(count.acted for count in counts)
        unmet = f"in place, none of {seen} packets was met" if seen else "in place, no packet has passed yet"
        return Felt(acted, f"{{}} of {seen} packets were met", unmet)

    async def prove_gone(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        wanted = impairments(standing)
        freed = sorted({action.link for action in only(HoldImpaired, actions)} - set(wanted))
        if not freed:
            return
        left = self._links().detoured(freed)
        if left:
            raise RevertError(f"The kernel still sends these packets elsewhere: {_names(left)}.")
        step = max(1, -(-len(freed) // _PROBED))
        await asyncio.gather(*(self._unharmed(link) for link in freed[::step]))

    def _links(self) -> WiredLinks:
        if not isinstance(self.bench.links, WiredLinks):
            raise CapabilityError(
                "Faults on packets need a lab with wires between its servers; this one talks over loopback.",
                "labctl down, then labctl up … --net netns. Drills do so by themselves.",
            )
        return self.bench.links

    def _require_detoured(self, links: Collection[Link]) -> None:
        missing = set(links) - set(self._links().detoured(links))
        if missing:
            raise InjectionError(f"The kernel has no detour for the packets of {_names(missing)}.")

    async def _bitten(self, claim: HoldImpaired) -> Arrivals:
        """Send datagrams until chance must have met some, and see what arrives."""
        count = min(_MOST_DATAGRAMS, ceil(_HITS / claim.share))
        patience_s = _PATIENCE_S + (claim.ms + claim.jitter_ms) / 1000
        before = self._counts(claim)
        arrivals = await self._links().send_datagrams(claim.link, count, patience_s)
        after = self._counts(claim)
        alone = len(self._links().impaired([claim.link])[claim.link]) == 1
        reached = alone or after.seen > before.seen  # an older fault may let nothing through
        sure = reached and count * claim.share >= _HITS
        if sure and (after.acted == before.acted or (alone and not _shows(claim, arrivals))):
            raise InjectionError(f"{claim.link.name} should {claim.what} packets; {_seen(claim.what, [arrivals])}.")
        return arrivals

    def _counts(self, claim: HoldImpaired) -> Met:
        return self._links().impaired([claim.link])[claim.link].get(claim, Met(0, 0))

    async def _unharmed(self, link: Link) -> None:
        """Datagrams come as they were sent, at the latest when those are through that were held back until now."""
        last = None
        try:
            async with asyncio.timeout(BACK_DEADLINE_S):
                while last is None or not last.unharmed:
                    last = await self._links().send_datagrams(link, _CLEAN, _PATIENCE_S)
        except TimeoutError:
            raise RevertError(f"Packets of {link.name} still suffer: {last or 'none comes'}.") from None


def _shows(claim: HoldImpaired, arrivals: Arrivals) -> bool:
    """Whether what arrived is what the claim makes of it, when nothing else is in the way."""
    match claim.what:
        case Impairment.LOSS:
            return arrivals.arrived < arrivals.sent
        case Impairment.DUPLICATE:
            return arrivals.twice > 0
        case Impairment.REORDER:
            return arrivals.overtaken > 0 or claim.share == 1
        case Impairment.CORRUPT:
            return arrivals.damaged > 0 or arrivals.arrived < arrivals.sent
        case Impairment.DELAY:
            return arrivals.least_ms is not None and arrivals.least_ms >= claim.ms - claim.jitter_ms


def _seen(what: Impairment, found: Collection[Arrivals]) -> str:
    """What arrived, and of it what the impairment is about."""
    words = [f"{sum(a.arrived for a in found)} of {sum(a.sent for a in found)} datagrams came"]
    match what:
        case Impairment.LOSS:
            pass
        case Impairment.DUPLICATE:
            words.append(f"{sum(a.twice for a in found)} of them twice")
        case Impairment.REORDER:
            words.append(f"{sum(a.overtaken for a in found)} of them were overtaken")
        case Impairment.CORRUPT:
            words.append(f"{sum(a.damaged for a in found)} were refused for their checksum")
        case Impairment.DELAY:
            words.append(
                f"the quickest in {min((a.least_ms for a in found if a.least_ms is not None), default=0):.1f} ms"
            )
    return ", ".join(words)


def _names(links: Collection[Link]) -> str:
    return ", ".join(link.name for link in sorted(links)[:_NAMED])
