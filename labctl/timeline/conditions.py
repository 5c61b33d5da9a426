"""What a step may wait for: a registry of pure predicates over the lab as it was when the waiting began and as it is.

Each returns the reasons why it is not met yet; none means that it is. The first line of its docstring is its entry in
docs/yaml.md. A new condition is a function here and a line in `CONDITIONS`.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labctl.declare.targets import impossible
from labctl.errors import UsageError, did_you_mean
from labctl.model import conditions as observed
from labctl.model.topology import Kind, Role
from labctl.model.view import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from labctl.model.plan import LabPlan
    from labctl.model.scenario import Condition
    from labctl.model.topology import Topology
    from labctl.model.view import NodeView, View

_NODE = re.compile(r"(redis|sentinel)-[1-9][0-9]*")
_COMPARISON = re.compile(
    r"(?P<field>[a-z_]+)\s*(?P<sign>[<>]=?|==|!=)\s*(?P<number>-?[0-9]+(?:\.[0-9]+)?)(?:\s+on\s+(?P<of>[a-z0-9-]+))?"
)
_SIGNS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True, slots=True)
class Load:
    """What clients have seen in this phase so far.

    Attributes:
        operations: Acknowledged operations of every sort.
        writes: Of them those that a primary alone acknowledges.
        errors: Operations that failed or whose outcome is unknown.
    """

    operations: int = 0
    writes: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """What a condition is held against.

    Attributes:
        plan: The lab.
        before: The view when the waiting began, or the step that it is after.
        now: The view now.
        load: What clients have seen.
        unhealthy: Reasons why the lab is not healthy now, as its agent says.
        unconverged: Reasons why replicas differ from their primaries now.
    """

    plan: LabPlan
    before: View
    now: View
    load: Load = Load()
    unhealthy: tuple[str, ...] = ()
    unconverged: tuple[str, ...] = ()


def promoted(look: Look, _: str) -> list[str]:
    """Another node is primary than when the waiting, or the step of `after: ID`, began, for Sentinels, Cluster or itself."""
    was, now = _primaries(look.plan, look.before), _primaries(look.plan, look.now)
    return [] if now - was else [f"primary is still {', '.join(sorted(now)) or 'nobody'}"]


def primary(look: Look, node: str) -> list[str]:
    """NODE is primary, as Sentinels' majority, the Cluster or the node itself sees it."""
    now = _primaries(look.plan, look.now)
    return [] if node in now else [f"primary is {', '.join(sorted(now)) or 'nobody'}"]


def replica(look: Look, node: str) -> list[str]:
    """NODE is a replica whose link is up."""
    seen = look.now.node(node)
    if seen.role is not Role.REPLICA:
        return [f"{node} is {seen.role or 'down'}"]
    return [] if seen.link_up else [f"{node}'s link to {seen.follows} is down"]


def healthy(look: Look, _: str) -> list[str]:
    """All nodes strictly agree: the state in which a lab is handed out."""
    return list(look.unhealthy)


def unhealthy(look: Look, _: str) -> list[str]:
    """Something is wrong in somebody's view: the opposite of `healthy`."""
    return [] if look.unhealthy else ["everybody agrees that all is well"]


def converged(look: Look, _: str) -> list[str]:
    """Every replica is at its primary's replication id and offset."""
    return list(look.unconverged)


def down(look: Look, node: str) -> list[str]:
    """NODE does not answer."""
    return [f"{node} answers"] if look.now.node(node).up else []


def up(look: Look, node: str) -> list[str]:
    """NODE answers and has loaded its data."""
    seen = look.now.node(node)
    if not seen.up:
        return [f"{node} does not answer"]
    return [f"{node} is loading its data"] if seen.loading else []


def loading(look: Look, node: str) -> list[str]:
    """NODE (any, if left out) is loading its data from disk."""
    return [] if any(n.loading for n in _nodes(look.now, node)) else ["nobody is loading"]


def link_down(look: Look, node: str) -> list[str]:
    """The replication link of NODE (of any replica, if left out) is down."""
    links = [n for n in _nodes(look.now, node) if n.role is Role.REPLICA]
    return [] if any(n.link_up is False for n in links) else ["every replication link is up"]


def link_up(look: Look, node: str) -> list[str]:
    """The replication link of NODE (of every replica, if left out) is up."""
    links = [n for n in _nodes(look.now, node) if n.role is Role.REPLICA]
    return [f"{n.name}'s link is down" for n in links if not n.link_up] or ([] if links else ["there is no replica"])


def syncing(look: Look, node: str) -> list[str]:
    """NODE (any replica, if left out) is loading a full copy from its primary."""
    return [] if any(n.syncing for n in _nodes(look.now, node)) else ["nobody is loading a full copy"]


def sdown(look: Look, count: str) -> list[str]:
    """At least N Sentinels (1 if left out) think that the primary is down."""
    return _at_least([n.name for n in look.now.nodes if n.sentinel and n.sentinel.s_down], count, "think so")


def odown(look: Look, count: str) -> list[str]:
    """At least N Sentinels (1 if left out) know that a quorum thinks that the primary is down."""
    return _at_least([n.name for n in look.now.nodes if n.sentinel and n.sentinel.o_down], count, "know so")


def failover(look: Look, _: str) -> list[str]:
    """A Sentinel has a failover under way."""
    idle = ("none", "no-failover")
    at_it = [n.name for n in look.now.nodes if n.sentinel and n.sentinel.failover_state not in idle]
    return [] if at_it else ["no failover is under way"]


def tilt(look: Look, _: str) -> list[str]:
    """A Sentinel is in TILT."""
    return [] if any(n.sentinel and n.sentinel.tilt for n in look.now.nodes) else ["no Sentinel is in TILT"]


def quorum(look: Look, wanted: str) -> list[str]:
    """CKQUORUM is `ok` for every Sentinel that answers, or `lost` for one of them."""
    seen = [n for n in look.now.nodes if n.sentinel]
    bad = [n.name for n in seen if n.sentinel and not n.sentinel.quorum_ok]
    if wanted == "lost":
        return [] if bad else ["every Sentinel has its quorum"]
    return [f"{name} has no quorum" for name in bad] or ([] if seen else ["no Sentinel answers"])


def cluster_state(look: Look, wanted: str) -> list[str]:
    """`cluster_state` is `ok` on every node that answers, or `fail` on one of them; with `on NODE`, on that node.

    Nodes come to it at different times: who goes on to ask one node waits for that one.
    """
    state, _, of = wanted.partition(" on ")
    seen = [n for n in look.now.nodes if n.cluster and of in ("", n.name)]
    bad = [n.name for n in seen if n.cluster and not n.cluster.state]
    if not seen:
        return [f"{of} does not answer" if of else "no Cluster node answers"]
    if state == "fail":
        return [] if bad else [f"cluster_state is ok {f'on {of}' if of else 'everywhere'}"]
    return [f"{name} says fail" for name in bad]


def failed(look: Look, node: str) -> list[str]:
    """A Cluster node flags NODE (any, if left out) as FAIL: a majority agreed."""
    flagged = {name for n in look.now.nodes if n.cluster for name in n.cluster.failed}
    return [] if (node in flagged if node else flagged) else ["nobody is flagged FAIL"]


def migrating(look: Look, _: str) -> list[str]:
    """A slot is open: it is being moved, or its move was interrupted."""
    return [] if any(n.cluster and n.cluster.migrating for n in look.now.nodes) else ["no slot is open"]


def operations(look: Look, count: str) -> list[str]:
    """Clients had N operations acknowledged in this phase."""
    return _so_many(look.load.operations, count, "operations")


def writes(look: Look, count: str) -> list[str]:
    """Clients had N writes acknowledged in this phase."""
    return _so_many(look.load.writes, count, "writes")


def errors(look: Look, count: str) -> list[str]:
    """N operations failed or have an unknown outcome in this phase."""
    return _so_many(look.load.errors, count, "errors")


def info(look: Look, comparison: str) -> list[str]:
    """A number of INFO compares so on some data node: `evicted_keys > 0`, `keys >= 1000 on primary`."""
    parts = _COMPARISON.fullmatch(comparison)
    assert parts is not None, "refused when the scenario was read"
    of = parts["of"] or "all"
    roles = {"primary": Role.PRIMARY, "replicas": Role.REPLICA}
    values = [
        n.counters[parts["field"]]
        for n in look.now.data_nodes
        if parts["field"] in n.counters and (of in ("all", n.name) or n.role is roles.get(of))
    ]
    if any(_SIGNS[parts["sign"]](value, float(parts["number"])) for value in values):
        return []
    return [f"{parts['field']} of {of} is {', '.join(f'{value:g}' for value in values) or 'not stated'}"]


@dataclass(frozen=True, slots=True)
class ConditionKind:
    """A registry entry.

    Attributes:
        met: The predicate.
        argument: `""` for none, `node`, `node?`, `count`, `count?`, `info`, or words with a bar between.
        needs: The kind of topology without which it can never come; None for any.
        of_node: Whether ` on NODE` may follow the argument.
    """

    met: Callable[[Look, str], list[str]]
    argument: str = ""
    needs: Kind | None = None
    of_node: bool = False

    @property
    def meaning(self) -> str:
        """One line."""
        return (self.met.__doc__ or "").partition("\n")[0]


CONDITIONS: dict[str, ConditionKind] = {
    "promoted": ConditionKind(promoted),
    "primary": ConditionKind(primary, "node"),
    "replica": ConditionKind(replica, "node"),
    "healthy": ConditionKind(healthy),
    "unhealthy": ConditionKind(unhealthy),
    "converged": ConditionKind(converged),
    "down": ConditionKind(down, "node"),
    "up": ConditionKind(up, "node"),
    "loading": ConditionKind(loading, "node?"),
    "link-down": ConditionKind(link_down, "node?"),
    "link-up": ConditionKind(link_up, "node?"),
    "syncing": ConditionKind(syncing, "node?"),
    "sdown": ConditionKind(sdown, "count?", Kind.SENTINEL),
    "odown": ConditionKind(odown, "count?", Kind.SENTINEL),
    "failover": ConditionKind(failover, "", Kind.SENTINEL),
    "tilt": ConditionKind(tilt, "", Kind.SENTINEL),
    "quorum": ConditionKind(quorum, "ok|lost", Kind.SENTINEL),
    "cluster-state": ConditionKind(cluster_state, "ok|fail", Kind.CLUSTER, of_node=True),
    "failed": ConditionKind(failed, "node?", Kind.CLUSTER),
    "migrating": ConditionKind(migrating, "", Kind.CLUSTER),
    "operations": ConditionKind(operations, "count"),
    "writes": ConditionKind(writes, "count"),
    "errors": ConditionKind(errors, "count"),
    "info": ConditionKind(info, "info"),
}


def not_met(conditions: Iterable[Condition], look: Look) -> list[str]:
    """Reasons why some of the conditions are not met."""
    return [
        f"{each.name} {each.argument}".strip() + f": {reason}"
        for each in conditions
        for reason in CONDITIONS[each.name].met(look, each.argument)
    ]


def argument_problem(name: str, argument: str, topology: Topology) -> str | None:
    """Why a condition cannot have this argument in a lab of this topology; None if it can.

    Raises:
        UsageError: There is no such condition.
    """
    kind = CONDITIONS.get(name)
    if kind is None:
        raise UsageError(f"There is no condition `{name}`.", did_you_mean(name, CONDITIONS))
    if kind.needs is not None and topology.kind is not kind.needs:
        return f"`{name}` needs a topology of kind {kind.needs}, and `{topology.name}` is of kind {topology.kind}"
    wanted = kind.argument
    if kind.of_node:
        argument, on, node = argument.partition(" on ")
        if on and (problem := _node_problem(name, node, topology)):
            return problem
    if not argument:
        return None if not wanted or wanted.endswith("?") else f"`{name}` needs an argument: {_example(name, wanted)}"
    match wanted.rstrip("?"):
        case "":
            return f"`{name}` takes no argument"
        case "node":
            return _node_problem(name, argument, topology)
        case "count":
            return None if argument.isdigit() else f"`{name}`: `{argument}` is no whole number"
        case "info":
            return _comparison_problem(argument)
        case words:
            return None if argument in words.split("|") else f"`{name}` is {words.replace('|', ' or ')}"


def _node_problem(name: str, node: str, topology: Topology) -> str | None:
    reason = impossible(node, topology, ()) if _NODE.fullmatch(node) else f"`{node}` is no node"
    return f"`{name}`: {reason}" if reason else None


def _comparison_problem(text: str) -> str | None:
    parts = _COMPARISON.fullmatch(text)
    if parts is None:
        return f"`info` is a comparison such as `evicted_keys > 0` or `keys >= 1000 on primary`, not `{text}`"
    if parts["field"] not in COUNTERS:
        return f"`info`: views keep no `{parts['field']}`. {did_you_mean(parts['field'], COUNTERS)}".strip()
    return None


def _example(name: str, wanted: str) -> str:
    example = {"node": "redis-2", "count": "1000", "info": '"evicted_keys > 0"'}.get(wanted, wanted.partition("|")[0])
    return f"`{{{name}: {example}}}`"


def _primaries(plan: LabPlan, view: View) -> set[str]:
    match plan.topology.kind:
        case Kind.SENTINEL:
            name = observed.primary(view)
            return {name} if name else set()
        case Kind.CLUSTER:
            return {n.name for n in observed.primaries(view) if _owns_slots(n)}
        case Kind.STANDALONE | Kind.REPLICA:
            return {n.name for n in observed.primaries(view)}


def _owns_slots(node: NodeView) -> bool:
    return node.cluster is not None and any(e.name == node.name and e.slots for e in node.cluster.table)


def _nodes(view: View, name: str) -> list[NodeView]:
    return [node for node in view.nodes if not name or node.name == name]


def _at_least(names: list[str], count: str, what: str) -> list[str]:
    wanted = int(count or "1")
    return [] if len(names) >= wanted else [f"{len(names)} of {wanted} {what}"]


def _so_many(seen: int, count: str, what: str) -> list[str]:
    return [] if seen >= int(count) else [f"{seen} of {count} {what}"]
