"""Scaling in and out: nodes leave the lab, empty and stopped, and come back as new ones.

The ports and links of a lab are planned when it comes up, so what can be added is what was removed before: a scenario of
scaling out begins with scaling in, in an earlier phase or step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.actions.kind import ActionKind, Param
from labctl.actions.slots import move, node_ids, owned
from labctl.errors import LabError
from labctl.model.conditions import primaries, primary
from labctl.model.plan import ANNOUNCED_HOST
from labctl.model.slots import SLOTS
from labctl.model.topology import Kind, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labctl.actions.operator import Operator
    from labctl.model.fault import Scalar
    from labctl.model.view import View

_FORGET_S = 30.0


async def remove_node(operator: Operator, target: str, _: Mapping[str, Scalar]) -> str:
    """Slots go to the other primaries; then the nodes are forgotten by all others, emptied and stopped."""
    names = [node.name for node in await operator.data_targets(target)]
    if operator.plan.topology.kind is Kind.CLUSTER:
        moved = await _leave_cluster(operator, names)
        await operator.until_healthy(f"after {', '.join(names)} left")
        return f"{', '.join(names)} left, {moved} slots went to the others"
    if (await operator.view()).node(names[0]).role is Role.PRIMARY or len(names) != 1:
        raise LabError(f"'{target}' is {', '.join(names)}; one replica at a time can be removed.", "replica-of:redis-1")
    (name,) = names
    await operator.call(name, "REPLICAOF", "NO", "ONE")
    await operator.call(name, "FLUSHALL")
    await operator.upkeep(name, member=False)
    for sentinel in operator.plan.sentinels:  # one after another, as the documentation of SENTINEL RESET asks for
        await operator.call(sentinel.name, "SENTINEL", "RESET", operator.plan.topology.primary_name)
    await operator.until_healthy(f"after {name} left")
    return f"{name} left"


async def add_node(operator: Operator, target: str, params: Mapping[str, Scalar]) -> str:
    """Nodes that were removed are started, empty, and join; in a Cluster a new primary takes its share of the slots."""
    out = (await operator.look()).out
    names = [name for name in await operator.targets(target) if name in out]
    if not names:
        raise LabError(f"None of '{target}' was removed before.", "`remove-node` first: a lab has no spare nodes.")
    for name in names:
        await operator.upkeep(name, member=True)
    await operator.until(f"{', '.join(names)} answer", lambda view: _silent(view, names))
    if operator.plan.topology.kind is not Kind.CLUSTER:
        return await _follow(operator, names)
    moved = await _join_cluster(operator, names, share=params["slots"] == "share")
    await operator.until_healthy(f"after {', '.join(names)} joined")
    return f"{', '.join(names)} joined" + (f", {moved} slots went there" if moved else "")


async def _follow(operator: Operator, names: list[str]) -> str:
    source = primary(await operator.view()) or _busiest(await operator.view(), names)
    if source is None:
        raise LabError("There is no agreed primary to follow.", "labctl status")
    for name in names:
        await operator.call(name, "REPLICAOF", ANNOUNCED_HOST, operator.plan.node(source).port)
    await operator.until_healthy(f"after {', '.join(names)} joined")
    return f"{', '.join(names)} follow {source}"


def _busiest(view: View, new: list[str]) -> str | None:
    """The primary among the nodes that were there before: those that were started just now call themselves so too."""
    found = [node.name for node in primaries(view) if node.name not in new]
    return found[0] if len(found) == 1 else None


async def _leave_cluster(operator: Operator, names: list[str]) -> int:
    view = await operator.view()
    ids = node_ids(view)
    staying = [node.name for node in primaries(view) if node.name not in names and any(owned(view, node.name))]
    left_behind = [n.name for n in view.data_nodes if n.role is Role.REPLICA and n.follows in names]
    if not staying or any(name not in names for name in left_behind):
        raise LabError(
            f"{', '.join(names)} cannot leave: {'a replica would be left behind' if staying else 'nobody would stay'}.",
            "Remove a whole shard (`shard:3`) or replicas.",
        )
    moved = 0
    for name in names:
        slots = list(owned(view, name))
        for number, heir in enumerate(staying):
            await move(operator, slots[number :: len(staying)], name, heir)
        moved += len(slots)
    for name in sorted(names, key=lambda name: view.node(name).role is Role.PRIMARY):
        await operator.upkeep(name, member=False)
        for other in view.data_nodes:
            if other.name not in names:
                await operator.call(other.name, "CLUSTER", "FORGET", ids[name])
    return moved


async def _join_cluster(operator: Operator, names: list[str], *, share: bool) -> int:
    view = await operator.view()
    member = next(n.name for n in primaries(view) if n.name not in names and any(owned(view, n.name)))
    for name in names:
        if view.node(name).role is Role.PRIMARY:
            await operator.call(name, "FLUSHALL")
        await operator.call(name, "CLUSTER", "RESET", "HARD")
        node = operator.plan.node(name)
        await operator.call(member, "CLUSTER", "MEET", ANNOUNCED_HOST, node.port, *_bus(node.bus_port))
    view = await operator.until("the new nodes are known", lambda view: _strangers(view, names), _FORGET_S)
    ids = node_ids(view)
    lead = _leaders(operator, view, names)
    for name in names:
        if (leader := lead[operator.plan.node(name).shard]) != name:
            await operator.call(name, "CLUSTER", "REPLICATE", ids[leader])
    new = sorted(set(lead.values()) & set(names))
    if not share or not new:
        return 0
    await operator.until("the new primaries take writes", lambda view: _not_serving(view, new))
    return await _share(operator, new)


def _leaders(operator: Operator, view: View, names: list[str]) -> dict[int, str]:
    """By shard, who leads it: the primary that its nodes in the lab have, else the first of the new ones."""
    lead = {operator.plan.node(name).shard: name for name in reversed(names)}
    for node in view.data_nodes:
        leader = node.name if node.role is Role.PRIMARY else node.follows
        if node.up and node.name not in names and leader is not None and any(owned(view, leader)):
            shard = operator.plan.node(node.name).shard
            if shard in lead:
                lead[shard] = leader
    return lead


async def _share(operator: Operator, new: list[str]) -> int:
    """Give each new primary as many slots as the others will have, taken from them evenly."""
    view = await operator.view()
    givers = [n.name for n in primaries(view) if n.name not in new and any(owned(view, n.name))]
    moved = 0
    for name in new:
        each = SLOTS // (len(givers) + len(new)) // len(givers)
        for giver in givers:
            slots = list(owned(await operator.view(), giver))[-each:]
            await move(operator, slots, giver, name)
            moved += len(slots)
    return moved


def _bus(port: int | None) -> tuple[int, ...]:
    return () if port is None else (port,)


def _silent(view: View, names: list[str]) -> list[str]:
    return [f"{name} does not answer" for name in names if not view.node(name).up]


def _not_serving(view: View, names: list[str]) -> list[str]:
    """A node that has just joined refuses MIGRATE until it believes that the Cluster is up, which takes it 2 s."""
    seen = {name: view.node(name).cluster for name in names}
    return [
        f"{name} thinks that the Cluster is down" for name, cluster in seen.items() if not (cluster and cluster.state)
    ]


def _strangers(view: View, names: list[str]) -> list[str]:
    """New nodes that some node does not know yet, and handshakes that are not over."""
    reasons = []
    for node in view.nodes:
        if node.cluster is None:
            continue
        known = {entry.name for entry in node.cluster.table}
        reasons += [f"{node.name} does not know {name}" for name in names if name not in known]
        reasons += [f"{node.name} is still meeting {name}" for name in node.cluster.handshakes]
    return reasons


_KINDS = (Kind.REPLICA, Kind.SENTINEL, Kind.CLUSTER)

KINDS = (
    ActionKind(
        "remove-node",
        "Scale in: a replica, or a whole shard of a Cluster whose slots go to the others, leaves and is stopped",
        "redis-3",
        remove_node,
        kinds=_KINDS,
    ),
    ActionKind(
        "add-node",
        "Scale out: nodes that `remove-node` removed come back, empty, and join; a new shard takes its share of the slots",
        "redis-3",
        add_node,
        (
            Param(
                "slots",
                "share: a new primary takes its share; none: it stays empty",
                "share",
                choices=("share", "none"),
            ),
        ),
        kinds=_KINDS,
    ),
)
