"""Keys that are there before a workload begins."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from labctl.errors import LabError
from labctl.model.conditions import primary, slot_owner
from labctl.model.slots import key_slot
from labctl.model.topology import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labctl.model.plan import LabPlan
    from labctl.model.scenario import Preload
    from labctl.model.view import View
    from labctl.observe.access import Access

_BATCH_BYTES = 1_000_000
_MOST_KEYS = 1000
_REPLY_S = 60.0


async def preload(wanted: Preload, plan: LabPlan, access: Access, view: View) -> int:
    """Write the keys to the primaries that own them, past the links, in batches; how many were written.

    Values are the key's number, padded with `x` to the length that is asked for.

    Raises:
        LabError: No primary is known, or one refused a write (`maxmemory` with noeviction, say).
    """
    by_node: dict[str, list[int]] = defaultdict(list)
    for number in range(wanted.keys):
        by_node[_owner(f"{wanted.prefix}{number}", plan, view)].append(number)
    await asyncio.gather(*(_fill(node, numbers, wanted, plan, access) for node, numbers in by_node.items()))
    return wanted.keys


def _owner(key: str, plan: LabPlan, view: View) -> str:
    name = slot_owner(view, key_slot(key)) if plan.topology.kind is Kind.CLUSTER else primary(view)
    if name is None:
        raise LabError("Keys cannot be loaded: there is no agreed primary.", "labctl status")
    return name


async def _fill(name: str, numbers: list[int], wanted: Preload, plan: LabPlan, access: Access) -> None:
    session = access.session(plan.node(name))
    try:
        for batch in _batches(numbers, wanted.value_bytes):
            async with asyncio.timeout(_REPLY_S):
                replies = await session.call(*(_command(number, wanted) for number in batch))
            refused = [reply for reply in replies if isinstance(reply, RedisError)]
            if refused:
                raise LabError(f"{name} refused {len(refused)} keys that were to be loaded: {refused[0]}")
    except (RedisError, OSError) as error:
        raise LabError(f"Keys cannot be loaded into {name}: {str(error) or 'no answer'}") from error
    finally:
        await session.close()


def _batches(numbers: list[int], value_bytes: int) -> Iterator[list[int]]:
    size = max(1, min(_MOST_KEYS, _BATCH_BYTES // value_bytes))
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def _command(number: int, wanted: Preload) -> tuple[str | int, ...]:
    value = str(number).ljust(wanted.value_bytes, "x")
    ttl = ("PX", round(wanted.ttl_s * 1000)) if wanted.ttl_s else ()
    return ("SET", f"{wanted.prefix}{number}", value, *ttl)
