"""A Cluster: shards of a primary and its replicas."""

from __future__ import annotations

import asyncio

from labctl.formation.nodes import RETRY_S, Formed, answering
from labctl.model.plan import ANNOUNCED_HOST, NodePlan
from labctl.model.slots import SLOTS
from labctl.model.topology import Role
from labctl.model.view import View
from labctl.observe.parse import info
from labctl.plan.borrowed import given_back
from labctl.plan.nodes_conf import starts_swapped

NODE_TIMEOUT = "cluster-node-timeout"
TELL_MIN_MS, TELL_MS_A_NODE = 300, 25
"""Node timeout with which replicas tell their new part after a takeover: they ping whom they have not heard of for half
of it. At least the first, and so much a node that the pings of a big Cluster do not swamp a small machine."""

_NEVER_MS = 1 << 63
"""A lone node has nobody to hear from, and so no oldest pong."""

TURNS = 8
"""How many nodes take their own node timeout back at the same time."""


async def form(lab: Formed) -> None:
    """Seeded: the servers know each other from their nodes.conf. Naturally: as `redis-cli --cluster create` does."""
    await lab.reach(lab.plan.nodes)
    lab.progress(answering(lab.plan))
    await (_seeded(lab) if lab.seeded else _natural(lab))


async def _seeded(lab: Formed) -> None:
    if starts_swapped(lab.plan):
        await lab.until(_bus_is_up, "a connected cluster bus")
        lab.progress("cluster bus connected")
        await _take_over(lab)
        await _tell(lab)
    await lab.until_healthy()
    lab.progress("nodes agree on roles, epochs and slots")
    turns = asyncio.Semaphore(TURNS)
    await asyncio.gather(*(_own_node_timeout(lab, node, turns) for node in lab.plan.nodes))
    await lab.until_healthy()
    await lab.give_back()


async def _own_node_timeout(lab: Formed, node: NodePlan, turns: asyncio.Semaphore) -> None:
    """Give a node its own timeout back, and wait until it has heard of every other node within half of it.

    A node pings every other one that it has not heard of for half its node timeout. All of a hundred nodes doing so at
    the same moment would keep a small machine busy for longer than that, and they would suspect each other.
    """
    timeout = given_back(lab.plan, node)[NODE_TIMEOUT]
    async with turns:
        _, (seconds, micros) = await lab.call(node, ("CONFIG", "SET", NODE_TIMEOUT, timeout), ("TIME",))
        since_ms = int(seconds) * 1000 + int(micros) // 1000 - int(timeout) // 2
        while await _oldest_pong_ms(lab, node) < since_ms:  # noqa: ASYNC110 - a server has no event for this
            await asyncio.sleep(RETRY_S)


async def _oldest_pong_ms(lab: Formed, node: NodePlan) -> int:
    """When the node heard last of the node that it has not heard of for longest, Unix time in milliseconds."""
    (reply,) = await lab.call(node, ("CLUSTER", "NODES"))
    lines = (line.split(" ", 6) for line in str(reply).splitlines())
    return min((int(pong) for _, _, flags, _, _, pong, _ in lines if "myself" not in flags), default=_NEVER_MS)


def _bus_is_up(view: View) -> list[str]:
    """Every node has its links, and every one that is about to be promoted calls the Cluster fine."""
    reasons = [f"{node.name} does not answer" for node in view.nodes if node.cluster is None]
    for node in view.nodes:
        if node.cluster is not None and (node.cluster.disconnected or node.cluster.silent):
            missing = {*node.cluster.disconnected, *node.cluster.silent}
            reasons.append(f"{node.name} has not heard from {len(missing)} nodes")
        if node.cluster is not None and node.role is Role.REPLICA and not node.cluster.state:
            reasons.append(f"{node.name} calls the Cluster failed")
    return reasons


async def _take_over(lab: Formed) -> None:
    """Promote the planned primaries one after another, each with an epoch of its own.

    TAKEOVER picks the highest epoch that the node knows plus one, so each waits until it has heard of the one before.
    """
    epoch = lab.plan.topology.primaries
    for node in lab.plan.nodes:
        if node.role is Role.PRIMARY:
            await _heard_of(lab, node, epoch)
            await lab.call(node, ("CLUSTER", "FAILOVER", "TAKEOVER"))
            epoch += 1


async def _tell(lab: Formed) -> None:
    """Have the replicas ping everybody soon. A new primary announces itself; whom a replica follows stands in its pings.

    Only replicas do it, which have no vote: however late a ping is on a busy machine, nobody is declared failed for it.
    """
    replicas = [node for node in lab.plan.nodes if node.role is Role.REPLICA]
    timeout = max(TELL_MIN_MS, TELL_MS_A_NODE * len(lab.plan.nodes))
    await lab.call_all(replicas, ("CONFIG", "SET", NODE_TIMEOUT, timeout))


async def _heard_of(lab: Formed, node: NodePlan, epoch: int) -> None:
    """Wait until a node's current epoch is at least `epoch`."""
    while True:
        (reply,) = await lab.call(node, ("CLUSTER", "INFO"))
        if int(info(reply)["cluster_current_epoch"]) >= epoch:
            return
        await asyncio.sleep(RETRY_S)


async def _natural(lab: Formed) -> None:
    """Slots and epochs, then everybody meets the first node, then replicas choose their primary."""
    first, *others = lab.plan.nodes
    owners = [node for node in lab.plan.nodes if node.slots is not None]
    await asyncio.gather(*(lab.call(node, ("CLUSTER", "ADDSLOTSRANGE", *(node.slots or ()))) for node in owners))
    await asyncio.gather(
        *(lab.call(node, ("CLUSTER", "SET-CONFIG-EPOCH", epoch)) for epoch, node in enumerate(lab.plan.nodes, 1))
    )
    await lab.call_all(others, ("CLUSTER", "MEET", ANNOUNCED_HOST, first.port, first.bus_port or 0))
    lab.progress("nodes meet")
    await lab.until(lambda view: _met(view, len(lab.plan.nodes)), "a Cluster in which everybody knows everybody")
    ids = dict(
        zip((n.name for n in owners), (r[0] for r in await lab.call_all(owners, ("CLUSTER", "MYID"))), strict=True)
    )
    replicas = (node for node in lab.plan.nodes if node.primary is not None)
    await asyncio.gather(*(lab.call(node, ("CLUSTER", "REPLICATE", ids[node.primary or ""])) for node in replicas))
    lab.progress("replicas follow")


def _met(view: View, count: int) -> list[str]:
    """Every node lists every other one, handshakes done, and agrees on all slots."""
    reasons = []
    for node in view.nodes:
        if node.cluster is None or node.cluster.handshakes or len(node.cluster.table) != count:
            reasons.append(f"{node.name} has not met everybody")
        elif node.cluster.slots_assigned != SLOTS:
            reasons.append(f"{node.name} knows the owners of {node.cluster.slots_assigned} slots")
    return reasons
