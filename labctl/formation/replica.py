"""A primary and its replicas, and servers on their own."""

from __future__ import annotations

import asyncio

from labctl.formation.nodes import RETRY_S, Formed, answering
from labctl.model.plan import ANNOUNCED_HOST, NodePlan


async def form(lab: Formed) -> None:
    """Link each replica to its primary."""
    if lab.seeded and lab.plan.topology.replicas:
        await link(lab)
        lab.progress("replicas linked")
        await lab.until_healthy()
        await lab.give_back()
    else:
        await lab.reach(lab.plan.nodes)
        lab.progress(answering(lab.plan))


async def link(lab: Formed) -> None:
    """Have every replica connect as soon as its primary answers; return when their links are up.

    Their files say `replicaof` already, but a server whose primary did not listen yet tries again only each second.
    """
    nodes = lab.plan.data_nodes
    await lab.reach(nodes)
    await asyncio.gather(*(_connect(lab, node) for node in nodes if node.primary is not None))


async def _connect(lab: Formed, node: NodePlan) -> None:
    """Send REPLICAOF to a replica that waits for its next attempt; it connects at once.

    REPLICAOF with the address that it has already would do nothing, hence NO ONE before it.
    """
    assert node.primary is not None
    follow = ("REPLICAOF", ANNOUNCED_HOST, lab.plan.node(node.primary).port)
    while True:
        (role,) = await lab.call(node, ("ROLE",))
        if role[0] == "slave" and role[3] == "connected":
            return
        if role[0] == "master" or role[3] == "connect":
            await lab.call(node, ("REPLICAOF", "NO", "ONE"), follow)
        await asyncio.sleep(RETRY_S)
