"""A primary, its replicas, and the Sentinels that watch them."""

from __future__ import annotations

import asyncio
from functools import partial

from labctl.formation import replica
from labctl.formation.borrow import periods
from labctl.formation.nodes import Formed, answering

FAST_PERIODS = {"info-period": "50", "ping-period": "50", "publish-period": "50", "tilt-period": "50"}
"""Milliseconds, by SENTINEL DEBUG. To be given back: left on, they stall failovers, since a Sentinel believes an
INFO for 5 × ping-period only, and asks for it each second while the primary is down."""


async def form(lab: Formed) -> None:
    """Link the replicas, and have the seeded Sentinels look at everything at once instead of after 10 s.

    Naturally, they discover replicas by INFO and each other by hello messages.
    """
    if not lab.seeded:
        await lab.reach(lab.plan.nodes)
        lab.progress(answering(lab.plan))
        return
    await asyncio.gather(replica.link(lab), lab.reach(lab.plan.sentinels))
    lab.progress("replicas linked")
    sentinels = lab.plan.sentinels
    borrowed = await asyncio.gather(*(periods(n.name, partial(lab.call, n), FAST_PERIODS) for n in sentinels))
    await asyncio.gather(*(each.take() for each in borrowed))
    await lab.until_healthy()
    lab.progress("Sentinels agree")
    await asyncio.gather(lab.give_back(), *(each.give_back() for each in borrowed))
