"""Symbolic targets as they are spelled: which words there are, and which can never mean anything on a topology.

What a target means at a given moment is resolved against the observed view when the fault is injected; here a target is
only refused if no view of the topology could ever resolve it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from labctl.declare.yaml import near, shown
from labctl.model.topology import Kind, Topology

if TYPE_CHECKING:
    from collections.abc import Collection

GROUPS = ("clients", "clients-a", "clients-b")
"""The client sides of the link table."""

WORDS = ("primary", "replicas", "sentinels", "sentinel-leader", "any", "all", "minority", "majority", "halves")
"""Targets of a single word; a resolver of targets knows exactly these."""
SHAPES = ("bridge", "majorities-ring")
"""Targets that are the shape of a partition; a resolver knows exactly these."""
FORMS = ("replica-of", "slot", "key", "shard", "random")
"""Targets with an argument, `slot:1234`; a resolver knows exactly these, besides `50%`, nodes and client groups."""

_EXAMPLES = ("replica-of:redis-1", "slot:1234", "key:NAME", "shard:2", "random:2", "50%", "redis-1", "sentinel-1")
_NODE = re.compile(r"(?P<kind>redis|sentinel)-(?P<number>[1-9][0-9]{0,3})")


def impossible(target: str, topology: Topology, groups: Collection[str]) -> str | None:
    """Why no view of this topology can ever resolve the target; None if one may.

    Args:
        target: One target or several with commas between; empty for none.
        topology: What it is to be resolved on.
        groups: Client groups from which some workload connects.
    """
    if not target:
        return None
    reasons = (_impossible_part(part.strip(), topology, groups) for part in target.split(","))
    return next((reason for reason in reasons if reason), None)


def fixed_nodes(target: str, topology: Topology) -> frozenset[str]:
    """The nodes that the target names whatever roles they have by then; empty if that depends on the view."""
    data = [f"redis-{number}" for number in range(1, topology.data_nodes + 1)]
    sentinels = [f"sentinel-{number}" for number in range(1, topology.sentinels + 1)]
    named: set[str] = set()
    for part in (part.strip() for part in target.split(",")):
        if part == "all":
            named.update(data, sentinels)
        elif part == "sentinels":
            named.update(sentinels)
        elif _NODE.fullmatch(part):
            named.add(part)
    return frozenset(named)


def _impossible_part(part: str, topology: Topology, groups: Collection[str]) -> str | None:
    if part in GROUPS:
        return None if part in groups else f"no workload of this phase connects from `{part}`"
    if part == "replicas" and not topology.replicas:
        return f"`{topology.name}` has no replicas"
    if part in ("sentinels", "sentinel-leader") and not topology.sentinels:
        return f"`{topology.name}` has no Sentinels"
    if part in WORDS or part in SHAPES:
        return None
    if node := _NODE.fullmatch(part):
        return _missing_node(part, node["kind"], int(node["number"]), topology)
    if part.endswith("%"):
        share = part[:-1]
        return (
            None
            if share.isascii() and share.isdigit() and 1 <= int(share[:4]) <= 100
            else f"{shown(part)} is not 1% to 100%"
        )
    word, colon, rest = part.partition(":")
    if colon:
        return _impossible_form(word, rest, topology)
    return f"{shown(part)} is no target; {near(part, [*WORDS, *SHAPES, *GROUPS, *_EXAMPLES])}"


def _missing_node(name: str, kind: str, number: int, topology: Topology) -> str | None:
    count = topology.data_nodes if kind == "redis" else topology.sentinels
    if number <= count:
        return None
    return f"`{topology.name}` has no node `{name}`; " + (
        f"{kind}-1 to {kind}-{count}" if count else f"it has no {kind}"
    )


def _impossible_form(word: str, rest: str, topology: Topology) -> str | None:
    if word in ("slot", "shard", "key") and topology.kind is not Kind.CLUSTER:
        return f"`{word}:` needs a cluster, and `{topology.name}` is of kind {topology.kind}"
    match word:
        case "replica-of":
            if not topology.replicas:
                return f"`{topology.name}` has no replicas"
            return _impossible_node(rest, topology)
        case "key":
            return None if rest else "`key:` must name a key"
        case "slot":
            return _number_outside("slot", rest, 0, 16383)
        case "shard":
            return _number_outside("shard", rest, 1, topology.primaries)
        case "random":
            return _number_outside("random", rest, 1, topology.data_nodes)
        case _:
            stated = f"{word}:"
            return f"{shown(stated)} is no target; {near(stated, [f'{form}:' for form in FORMS])}"


def _impossible_node(name: str, topology: Topology) -> str | None:
    node = _NODE.fullmatch(name)
    if node is None or node["kind"] != "redis":
        return f"`replica-of:` must name a node that holds data, such as `redis-1`, not {shown(name)}"
    return _missing_node(name, node["kind"], int(node["number"]), topology)


def _number_outside(word: str, text: str, low: int, high: int) -> str | None:
    inside = re.fullmatch(r"[0-9]{1,6}", text) and low <= int(text) <= high
    return None if inside else f"`{word}:` must be a number from {low} to {high} here, not {shown(text)}"
