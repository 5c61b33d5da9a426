"""A primary, its replicas, and the Sentinels that watch them."""

from __future__ import annotations

import asyncio

from labctl.errors import StartError
from labctl.formation import replica
from labctl.formation.nodes import Formed, answering, pairs
from labctl.model.plan import NodePlan

FAST_PERIODS = {"info-period": "50", "ping-period": "50", "publish-period": "50"}
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
    periods = await asyncio.gather(*(_hasten(lab, node) for node in sentinels))
    await lab.until_healthy()
    lab.progress("Sentinels agree")
    await asyncio.gather(
        lab.give_back(),
        *(_give_back(lab, node, before) for node, before in zip(sentinels, periods, strict=True)),
    )


async def _hasten(lab: Formed, node: NodePlan) -> dict[str, str]:
    """Set the fast periods; return the node's own."""
    put = [part for pair in FAST_PERIODS.items() for part in pair]
    before, _ = await lab.call(node, ("SENTINEL", "DEBUG"), ("SENTINEL", "DEBUG", *put))
    return _periods(before)


async def _give_back(lab: Formed, node: NodePlan, before: dict[str, str]) -> None:
    put = [part for pair in before.items() for part in pair]
    _, now = await lab.call(node, ("SENTINEL", "DEBUG", *put), ("SENTINEL", "DEBUG"))
    if _periods(now) != before:
        raise StartError(f"{node.name} did not take its own periods back: wanted {before}, reads {_periods(now)}")


def _periods(reply: list[str]) -> dict[str, str]:
    """The periods among SENTINEL DEBUG's names and values."""
    return {name.lower(): value for name, value in pairs(reply).items() if name.lower() in FAST_PERIODS}
