"""Hash slots by hand, as `redis-cli --cluster reshard` moves them: SETSLOT, MIGRATE, SETSLOT.

Source: redis.io, "Redis Cluster specification" (Cluster live reconfiguration) and CLUSTER SETSLOT: the new owner is told
first, so that a crash in between leaves an open slot and no lost key; then the old one; then all other primaries.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

from labctl.actions.kind import ActionKind, Param
from labctl.errors import LabError
from labctl.model.conditions import primaries
from labctl.model.plan import ANNOUNCED_HOST, RuntimeName
from labctl.model.topology import Kind, Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from labctl.actions.operator import Operator
    from labctl.model.fault import Scalar
    from labctl.model.view import View

_KEYS_AT_ONCE = 100
_MIGRATE_MS = 5000
_SERVING_S = 10.0
"""A primary that was started again calls the Cluster failed for two seconds (CLUSTER_WRITABLE_DELAY) and takes no keys."""
_LOOK_S = 0.1


async def reshard(operator: Operator, target: str, params: Mapping[str, Scalar]) -> str:
    """Move slots from one primary to another, each with its keys, while clients go on."""
    source, destination = await owner(operator, target), await owner(operator, str(params["to"]))
    if source == destination:
        raise LabError(f"{source} is to give slots to itself.", "`to` is the shard that takes them.")
    moving = list(owned(await operator.view(), source))[: int(params["slots"])]
    if not moving:
        raise LabError(f"{source} owns no slot.")
    keys = await move(operator, moving, source, destination, batch=int(params["batch"]))
    return f"{len(moving)} slots with {keys} keys moved from {source} to {destination}"


async def fix_slots(operator: Operator, _: str, __: Mapping[str, Scalar]) -> str:
    """End every move that was interrupted, forwards: what is left of the slot's keys goes to the node that imports it."""
    view = await operator.view()
    by_route: dict[tuple[str, str], set[int]] = defaultdict(set)
    for slot, source, destination in _open_slots(view):
        by_route[source, destination].add(slot)
    await _until_serving(operator, {name for route in by_route for name in route})
    keys = 0
    for (source, destination), slots in sorted(by_route.items()):
        done = slots & set(owned(view, destination))  # the new owner was told, and perhaps nobody else
        keys += await move(operator, sorted(slots - done), source, destination, again=True)
        if done:
            await _hand(operator, sorted(done), node_ids(view)[destination], _told(view, source, destination))
    count = sum(map(len, by_route.values()))
    return f"{count} open slots closed, {keys} keys moved" if count else "no slot was open"


async def _until_serving(operator: Operator, names: set[str]) -> None:
    """Wait until nodes take commands; what they say when they do not in time is said by the move."""
    until = time.monotonic() + _SERVING_S
    while time.monotonic() < until:
        clusters = [node.cluster for node in (await operator.view()).nodes if node.name in names]
        if all(cluster is not None and cluster.state for cluster in clusters):
            return
        await asyncio.sleep(_LOOK_S)


async def move(
    operator: Operator, slots: Sequence[int], source: str, destination: str, *, batch: int = 100, again: bool = False
) -> int:
    """Move slots, `batch` at a time; how many keys went with them.

    Args:
        operator: Of the lab.
        slots: Which.
        source: Who has them.
        destination: Who takes them.
        batch: How many are open at a time.
        again: The move was interrupted, perhaps between a key's arrival and its removal where it came from. The source serves a
            key that both have, so that its value is the newer one.

    Raises:
        LabError: A node refused or did not answer; up to `batch` slots stay open.
    """
    view = await operator.view()
    ids, told = node_ids(view), _told(view, source, destination)
    keys = 0
    for start in range(0, len(slots), batch):
        some = slots[start : start + batch]
        for node, word, other in ((destination, "IMPORTING", source), (source, "MIGRATING", destination)):
            await operator.call_all(node, [("CLUSTER", "SETSLOT", slot, word, ids[other]) for slot in some])
        keys += await _migrate(operator, some, source, destination, ("REPLACE",) if again else ())
        await _hand(operator, some, ids[destination], told)
    return keys


async def _migrate(
    operator: Operator, slots: Sequence[int], source: str, destination: str, words: tuple[str, ...]
) -> int:
    host, port = _address(operator, destination)
    left, moved = list(slots), 0
    while left:
        found = await operator.call_all(source, [("CLUSTER", "GETKEYSINSLOT", slot, _KEYS_AT_ONCE) for slot in left])
        with_keys = [(slot, names) for slot, names in zip(left, found, strict=True) if names]
        if with_keys:
            options = (*words, *_credentials(operator))
            head: tuple[str | int, ...] = ("MIGRATE", host, port, "", 0, _MIGRATE_MS, *options, "KEYS")
            await operator.call_all(source, [(*head, *names) for _, names in with_keys])
            moved += sum(len(names) for _, names in with_keys)
        left = [slot for slot, _ in with_keys]
    return moved


def _told(view: View, source: str, destination: str) -> list[str]:
    """Who is told of a new owner, in this order; a node that is in trouble will learn it from the others."""
    others = (n.name for n in primaries(view) if n.cluster is not None and n.cluster.state)
    return list(dict.fromkeys((destination, source, *others)))


async def _hand(operator: Operator, slots: Sequence[int], node_id: str, told: Sequence[str]) -> None:
    """Tell of a new owner.

    A source that has heard of it already, and has no slot left, is a replica by then and refuses to be told. The rest are
    told so that they know it sooner; one that fails over meanwhile, or does not answer, learns it from the others.
    """
    destination, source, *others = told
    commands = [("CLUSTER", "SETSLOT", slot, "NODE", node_id) for slot in slots]
    await operator.call_all(destination, commands)
    try:
        await operator.call_all(source, commands)
    except LabError:
        if (await operator.view()).node(source).role is not Role.REPLICA:
            raise
    for name in others:
        with suppress(LabError):
            await operator.call_all(name, commands)


async def owner(operator: Operator, target: str) -> str:
    """The one primary that a target means: of a shard, the node that leads it now."""
    view = await operator.view()
    names = await operator.targets(target)
    found = [n.name for n in primaries(view) if n.name in names]
    if len(found) != 1:
        raise LabError(f"'{target}' means {', '.join(found) or 'no primary'}; one primary is wanted.", "shard:2")
    return found[0]


def owned(view: View, name: str) -> Iterator[int]:
    """Slots of a primary, in its own words."""
    cluster = view.node(name).cluster
    for entry in cluster.table if cluster else ():
        if entry.name == name:
            for first, last in entry.slots:
                yield from range(first, last + 1)


def node_ids(view: View) -> dict[str, str]:
    """Cluster node ids by name, in the words of the nodes that answer."""
    return {node.name: node.cluster.node_id for node in view.nodes if node.cluster is not None}


def _open_slots(view: View) -> Iterator[tuple[int, str, str]]:
    """Slot, the node that it leaves and the one that it goes to, from what both ends say."""
    names = {node_id: name for name, node_id in node_ids(view).items()}
    for node in view.nodes:
        for words in node.cluster.migrating if node.cluster and node.role is Role.PRIMARY else ():
            slot, arrow, other_id = words.strip("[]").split("-", 2)
            other = names.get(other_id)
            if other is None:
                raise LabError(f"Slot {slot} of {node.name} is on its way from or to a node that does not answer.")
            yield (int(slot), node.name, other) if arrow == ">" else (int(slot), other, node.name)


def _address(operator: Operator, name: str) -> tuple[str, int]:
    """Where another server reaches a node, past the links where it can: MIGRATE blocks both ends for as long as it takes."""
    node = operator.plan.node(name)
    return node.direct if operator.plan.runtime is RuntimeName.PROCESS else (ANNOUNCED_HOST, node.port)


def _credentials(operator: Operator) -> tuple[str, ...]:
    keys = operator.lab.keys()
    return () if keys.secrets is None else ("AUTH2", keys.secrets.admin.name, keys.secrets.admin.password)


KINDS = (
    ActionKind(
        "reshard",
        "Move slots from the primary of the target to another one, with SETSLOT and MIGRATE, while clients go on",
        "shard:1",
        reshard,
        (
            Param("to", "who takes them, a target that means one primary", "shard:2"),
            Param("slots", "how many, the lowest of its slots first", 100, low=1, high=16384),
            Param("batch", "how many of them are open at a time", 10, low=1, high=1000),
        ),
        kinds=(Kind.CLUSTER,),
    ),
    ActionKind(
        "fix-slots",
        "End the moves of slots that were interrupted, forwards",
        "",
        fix_slots,
        kinds=(Kind.CLUSTER,),
    ),
)
