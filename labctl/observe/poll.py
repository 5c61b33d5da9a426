"""Rounds of polls over all nodes of a lab, one pipeline a node, none waiting for another."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from redis.exceptions import ResponseError

from labctl.model.plan import LabPlan, NodePlan
from labctl.model.topology import Kind, Role
from labctl.model.view import NodeView, View
from labctl.observe import parse
from labctl.observe.access import Reply, Session
from labctl.observe.rounds import Rounds

POLL_DEADLINE_S = 1.0
"""How long a round waits for a node. A busy machine answers within tens of milliseconds."""

_INFO = ("INFO", "server", "clients", "memory", "persistence", "stats", "replication", "keyspace")


class Observer:
    """Polls every node over a connection of its own that it keeps.

    A node that does not answer within the deadline is reported as not up.

    Args:
        plan: The lab.
        connect: How to reach a node; `Access.session`.
        deadline_s: Seconds until a node counts as not answering.
    """

    def __init__(
        self, plan: LabPlan, connect: Callable[[NodePlan], Session], *, deadline_s: float = POLL_DEADLINE_S
    ) -> None:
        self.plan = plan
        self._deadline_s = deadline_s
        self._rounds = Rounds(plan, connect, self._view)
        self._name_of = parse.names(plan)

    async def poll(self) -> View:
        """One round. Never raises for a node's sake; callers at the same time take turns."""
        at_ns = 0

        def began() -> None:
            nonlocal at_ns
            at_ns = time.monotonic_ns()

        answers = await self._rounds.round(self._deadline_s, began)
        nodes = tuple(
            NodeView(name, up=False, error=answer) if isinstance(answer, str) else answer
            for name, answer in answers.items()
        )
        return View(at_ns, with_lag(nodes))

    async def close(self) -> None:
        """Close every connection and forget outstanding requests."""
        await self._rounds.close()

    async def _view(self, node: NodePlan, session: Session) -> NodeView:
        if node.role is Role.SENTINEL:
            return self._sentinel(node, await session.call(*_sentinel_commands(self.plan.topology.primary_name)))
        if self.plan.topology.kind is not Kind.CLUSTER:
            (text,) = await session.call(_INFO)
            return parse.data_node(node.name, parse.info(_text(text)), self._name_of)
        text, nodes, cluster_info = await session.call(_INFO, ("CLUSTER", "NODES"), ("CLUSTER", "INFO"))
        view = parse.data_node(node.name, parse.info(_text(text)), self._name_of)
        refused = [str(reply) for reply in (nodes, cluster_info) if isinstance(reply, ResponseError)]
        if refused:
            return replace(view, error="; ".join(refused))
        return replace(view, cluster=parse.cluster(nodes, parse.info(cluster_info), self._name_of))

    def _sentinel(self, node: NodePlan, replies: list[Reply]) -> NodeView:
        text, node_id, address, primary, ckquorum, replicas, sentinels = replies
        fields = parse.info(_text(text))
        refused = [
            str(reply) for reply in (node_id, address, primary, replicas, sentinels) if isinstance(reply, ResponseError)
        ]
        if refused:  # it does not watch the lab's primary (yet)
            return parse.sentinel_node(node.name, fields, None, refused[0])
        view = parse.sentinel(node_id, address, primary, ckquorum, replicas, sentinels, fields, self._name_of)
        return parse.sentinel_node(node.name, fields, view, "")


def with_lag(nodes: tuple[NodeView, ...]) -> tuple[NodeView, ...]:
    """Fill in each replica's `lag_bytes` against its primary's offset of the same round."""
    offsets = {node.name: node.offset for node in nodes if node.up}
    return tuple(
        replace(node, lag_bytes=max(0, offsets[node.follows] - node.offset))
        if node.role is Role.REPLICA and node.follows in offsets
        else node
        for node in nodes
    )


def _sentinel_commands(name: str) -> list[tuple[str, ...]]:
    return [
        ("INFO", "server", "clients", "sentinel"),
        ("SENTINEL", "MYID"),
        ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name),
        ("SENTINEL", "MASTER", name),
        ("SENTINEL", "CKQUORUM", name),
        ("SENTINEL", "REPLICAS", name),
        ("SENTINEL", "SENTINELS", name),
    ]


def _text(reply: Reply) -> str:
    """INFO's text. Raises the server's refusal (LOADING for a command outside INFO, NOPERM, NOAUTH …)."""
    if isinstance(reply, ResponseError):
        raise reply
    return str(reply)
