"""Symbolic targets → nodes and client groups, against what is observed now.

A target is a comma-separated list. Each part is one of:

- a node (`redis-1`) or a client group (`clients`, `clients-a`, `clients-b`);
- a role: `primary` (every primary of a Cluster), `replicas`, `replica-of:NODE`, `sentinels`, `sentinel-leader`;
- `any` (one data node at random), `random:N`, `N%`, `all` (every server);
- a set: `minority` or `majority` (of the nodes that vote: Sentinels, or Cluster primaries), a data primary included
  in the minority; `halves`, one half of all servers at random, with `clients-a` on its side;
- in a Cluster: `slot:N`, `key:NAME`, `shard:N`.

A partition may also have a shape that is no matter of two sides: `bridge`, two halves that only one server can reach
both of, and `majorities-ring`, where every server reaches a majority and no two the same one (both after Jepsen's
nemeses of these names). Clients reach everybody in both.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from labctl.errors import UsageError, did_you_mean
from labctl.model.conditions import primaries, primary, replicas_of, slot_owner
from labctl.model.slots import key_slot
from labctl.model.topology import Kind, Role
from labctl.plan.links import between, links

if TYPE_CHECKING:
    from collections.abc import Callable

    from labctl.model.fault import Fault, Link
    from labctl.model.plan import LabPlan
    from labctl.model.view import View


def resolve(target: str, plan: LabPlan, view: View, rng: Random) -> tuple[str, ...]:
    """Names of nodes and client groups that `target` means now, in the plan's order, each once.

    Raises:
        UsageError: A part has no meaning in this lab, or nothing meets it at the moment.
    """
    found: set[str] = set()
    for part in (p.strip() for p in target.split(",")):
        found.update(_part(part, plan, view, rng))
    everything = [n.name for n in plan.nodes] + [group for group, _ in plan.client_hosts]
    return tuple(name for name in everything if name in found)


def whereabouts(fault: Fault, plan: LabPlan, view: View) -> tuple[str, ...] | None:
    """Everybody that a fault's target and origin mean now; None where one of them means nobody at the moment.

    For faults that follow, whose targets are never drawn at random.
    """
    unused = Random(0)
    try:
        return tuple(n for t in (fault.target, fault.origin) if t for n in resolve(t, plan, view, unused))
    except UsageError:
        return None


def _part(part: str, plan: LabPlan, view: View, rng: Random) -> tuple[str, ...]:
    names = [n.name for n in plan.nodes]
    groups = [group for group, _ in plan.client_hosts]
    if part in names or part in groups:
        return (part,)
    if part in SHAPES:
        raise UsageError(f"'{part}' is the shape of a partition, not a set of nodes.", f"labctl chaos partition {part}")
    word, _, argument = part.partition(":")
    if part in WORDS:
        found = WORDS[part](plan, view, rng)
    elif word in FORMS and argument:
        found = FORMS[word](argument, plan, view, rng)
    elif part.endswith("%") and part[:-1].isdigit():
        data = [n.name for n in plan.data_nodes]
        found = _pick(data, max(1, round(len(data) * int(part[:-1]) / 100)), rng)
    else:
        raise UsageError(
            f"'{part}' is no target in lab {plan.lab}.",
            f"{did_you_mean(part, [*names, *groups, *WORDS, *SHAPES])}"
            f"Nodes: {', '.join(names)}. Client groups: {', '.join(groups)}. "
            f"Roles and sets: {', '.join([*WORDS, *(f'{w}:…' for w in FORMS), 'N%', *SHAPES])}.",
        )
    if not found:
        raise UsageError(f"Nothing in lab {plan.lab} is '{part}' at the moment.", "labctl status shows the roles.")
    return found


def _has_several(plan: LabPlan) -> bool:
    """Several primaries at once are as it should be."""
    return plan.topology.kind in (Kind.CLUSTER, Kind.STANDALONE)


def _primary(plan: LabPlan, view: View, _: Random) -> tuple[str, ...]:
    if _has_several(plan):
        return tuple(node.name for node in primaries(view))
    name = primary(view)
    return (name,) if name else ()


def _replicas(_: LabPlan, view: View, __: Random) -> tuple[str, ...]:
    return tuple(n.name for n in view.nodes if n.role is Role.REPLICA)


def _sentinels(plan: LabPlan, _: View, __: Random) -> tuple[str, ...]:
    return tuple(n.name for n in plan.sentinels)


def _sentinel_leader(_: LabPlan, view: View, __: Random) -> tuple[str, ...]:
    votes = [n.sentinel.leader for n in view.nodes if n.sentinel is not None and n.sentinel.leader]
    return (max(set(votes), key=votes.count),) if votes else ()


def _any(plan: LabPlan, _: View, rng: Random) -> tuple[str, ...]:
    return _pick([n.name for n in plan.data_nodes], 1, rng)


def _all(plan: LabPlan, _: View, __: Random) -> tuple[str, ...]:
    return tuple(n.name for n in plan.nodes)


def _minority(plan: LabPlan, view: View, rng: Random) -> tuple[str, ...]:
    """The primary with as many voters as still leave a majority on the other side."""
    if _has_several(plan):
        owners = [node.name for node in primaries(view)]
        return tuple(owners[: max(1, (len(owners) - 1) // 2)])
    voters = [n.name for n in plan.sentinels]
    return (*_primary(plan, view, rng), *voters[: (len(voters) - 1) // 2])


def _majority(plan: LabPlan, view: View, rng: Random) -> tuple[str, ...]:
    apart = set(_minority(plan, view, rng))
    return tuple(n.name for n in plan.nodes if n.name not in apart)


def _halves(plan: LabPlan, _: View, rng: Random) -> tuple[str, ...]:
    names = [n.name for n in plan.nodes]
    group = [group for group, _ in plan.client_hosts if group == "clients-a"]
    return (*_pick(names, len(names) // 2, rng), *group) if len(names) > 1 else ()


WORDS: dict[str, Callable[[LabPlan, View, Random], tuple[str, ...]]] = {
    "primary": _primary,
    "replicas": _replicas,
    "sentinels": _sentinels,
    "sentinel-leader": _sentinel_leader,
    "any": _any,
    "all": _all,
    "minority": _minority,
    "majority": _majority,
    "halves": _halves,
}


def shape(name: str, plan: LabPlan, rng: Random) -> tuple[Link, ...]:
    """The links that a partition of this shape cuts, both ways; which server stands where is drawn.

    Raises:
        UsageError: There are too few servers for it.
    """
    ring = [n.name for n in plan.nodes]
    rng.shuffle(ring)
    found = SHAPES[name](plan, ring)
    if not found:
        raise UsageError(f"'{name}' needs more servers than the {len(ring)} of lab {plan.lab}.")
    return found


def _bridge(plan: LabPlan, names: list[str]) -> tuple[Link, ...]:
    """The first server is the bridge; the others are two halves."""
    middle = 1 + len(names) // 2
    return between(plan, names[1:middle], names[middle:])


def _majorities_ring(plan: LabPlan, ring: list[str]) -> tuple[Link, ...]:
    """Each server keeps its nearest neighbours in the ring, as many as make a majority with it, and loses the others."""
    size = len(ring)
    place = {name: index for index, name in enumerate(ring)}
    reach = (size // 2 + 1) // 2

    def apart(link: Link) -> bool:
        if link.source not in place:
            return False
        steps = (place[link.source] - place[link.target]) % size
        return min(steps, size - steps) > reach

    return tuple(filter(apart, links(plan)))


SHAPES: dict[str, Callable[[LabPlan, list[str]], tuple[Link, ...]]] = {
    "bridge": _bridge,
    "majorities-ring": _majorities_ring,
}


def _replica_of(argument: str, _: LabPlan, view: View, __: Random) -> tuple[str, ...]:
    return replicas_of(view, argument)


def _random(argument: str, plan: LabPlan, _: View, rng: Random) -> tuple[str, ...]:
    return _pick([n.name for n in plan.data_nodes], _number(argument), rng)


def _slot(argument: str, _: LabPlan, view: View, __: Random) -> tuple[str, ...]:
    owner = slot_owner(view, _number(argument))
    return (owner,) if owner else ()


def _key(argument: str, plan: LabPlan, view: View, rng: Random) -> tuple[str, ...]:
    return _slot(str(key_slot(argument)), plan, view, rng)


def _shard(argument: str, plan: LabPlan, _: View, __: Random) -> tuple[str, ...]:
    return tuple(n.name for n in plan.data_nodes if n.shard == _number(argument))


FORMS: dict[str, Callable[[str, LabPlan, View, Random], tuple[str, ...]]] = {
    "replica-of": _replica_of,
    "random": _random,
    "slot": _slot,
    "key": _key,
    "shard": _shard,
}


def _number(text: str) -> int:
    if not text.isdigit():
        raise UsageError(f"'{text}' is no number.")
    return int(text)


def _pick(names: list[str], count: int, rng: Random) -> tuple[str, ...]:
    return tuple(rng.sample(names, min(count, len(names))))
