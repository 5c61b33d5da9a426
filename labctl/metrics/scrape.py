"""Asks every node of a lab for its metrics, one round trip each, all at once, none for longer than the deadline."""

from __future__ import annotations

from redis.exceptions import ResponseError

from labctl.metrics import nodes
from labctl.metrics.exposition import Exposition
from labctl.model.plan import ANNOUNCED_HOST, LabPlan, NodePlan
from labctl.model.topology import Kind, Role
from labctl.observe.access import Access, Reply, Session
from labctl.observe.rounds import Rounds

DEADLINE_S = 0.5
"""How long a scrape waits for a node. Prometheus gives up a scrape after its interval, which is 1 s for a lab."""

Answers = dict[str, list[Reply] | str]
"""By node: its replies, or why there are none."""


class Scraper:
    """The connections over which the nodes of one lab are scraped: not those of the observer, which must not wait."""

    def __init__(self, plan: LabPlan, access: Access) -> None:
        self._plan = plan
        self._rounds = Rounds(plan, access.session, self._ask)

    async def ask(self, deadline_s: float = DEADLINE_S) -> Answers:
        """One round. A node that hangs costs one deadline in all, and has no answer."""
        return await self._rounds.round(deadline_s)

    async def close(self) -> None:
        """Close every connection."""
        await self._rounds.close()

    async def _ask(self, node: NodePlan, session: Session) -> list[Reply]:
        return await session.call(*_commands(self._plan, node))


def _commands(plan: LabPlan, node: NodePlan) -> tuple[nodes.Command, ...]:
    if node.role is Role.SENTINEL:
        return nodes.sentinel_commands(plan.topology.primary_name)
    return nodes.IN_CLUSTER if plan.topology.kind is Kind.CLUSTER else nodes.DATA


def labels_of(node: NodePlan) -> dict[str, str]:
    """The labels of a node's samples.

    `instance` is the announced address, as it would be if Prometheus scraped a redis_exporter for it: the community's
    dashboards tell nodes apart by it.
    """
    return {"node": node.name, "instance": f"{ANNOUNCED_HOST}:{node.port}"}


def write(out: Exposition, plan: LabPlan, answers: Answers) -> None:
    """The metrics of all nodes. Pure. One that refuses INFO, because it loads its data for example, is not up."""
    for node in plan.nodes:
        about, replies = out.about(**labels_of(node)), answers[node.name]
        answered = not isinstance(replies, str)
        try:
            if isinstance(replies, str):
                pass
            elif node.role is Role.SENTINEL:
                nodes.sentinel_node(about, replies)
            else:
                nodes.data_node(about, replies)
        except ResponseError:
            answered = False
        nodes.up(about, answered=answered)
