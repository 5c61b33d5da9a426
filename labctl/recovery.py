"""What is waited for when the faults of a phase are gone: a healthy lab whose replicas have converged.

Left to itself, a Sentinel setup takes up to half a minute for that: a Sentinel demotes a returned primary four hello periods
(8 s) after it saw its role, looks at a node by INFO each 10 s, and a primary waits 5 s for more replicas before it sends a
copy. A Sentinel that was not run for two seconds does nothing for thirty (TILT). A drill has its answers by then: the load has
ended, and what was lost is lost. So it has Sentinels and primaries look at once, and gives their own settings back before
anything else happens, as bring-up does. `recovery: {natural: true}` and `labctl drill --natural` leave them alone, for whoever
wants to see how long the lab is without its redundancy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from labctl.actions.operator import Connections
from labctl.errors import LabError
from labctl.formation import borrow
from labctl.lab import Lab
from labctl.model.conditions import primaries, primary
from labctl.model.history import SETTLED, Event
from labctl.model.plan import LabPlan
from labctl.model.topology import Kind
from labctl.model.view import View
from labctl.observe.access import Reply
from labctl.store.codec import from_data
from labctl.store.history import HistoryWriter

PERIODS: Mapping[str, str] = {"info-period": "50", "publish-period": "50", "tilt-period": "50"}
"""Milliseconds. The ping period stays: a Sentinel that has to fail over believes an INFO for five of them, and asks for one
only each second."""
AT_ONCE: Mapping[str, str] = {"repl-diskless-sync-delay": "0"}
"""Of primaries. Nothing here may leave a dump behind, which a server would load when it is started again."""
_LOOK_S = 0.05


async def settle(
    lab: Lab, history: HistoryWriter, healed_ns: int, deadline_s: float, *, hastened: bool = False
) -> tuple[list[str], dict[str, Any]]:
    """Wait until the lab is healthy and its replicas have converged; note what is left at the deadline.

    Args:
        lab: The lab.
        history: Where it is noted.
        healed_ns: When the faults were gone, monotonic clock.
        deadline_s: How long it may take.
        hastened: What is noted: whether the lab was in haste meanwhile.

    Returns:
        What is left, as sentences, and the status that says so.
    """
    until = time.monotonic() + deadline_s
    while True:
        status: dict[str, Any] = await asyncio.to_thread(lab.call, "GET", "/status")
        reasons: list[str] = [*status["unhealthy"], *status["unconverged"]]
        if not reasons or time.monotonic() > until:
            break
        await asyncio.sleep(_LOOK_S)
    now = time.monotonic_ns()
    nodes = sum(1 for node in status["view"]["nodes"] if node["role"] in ("primary", "replica"))
    detail = {"reasons": reasons, "waited_ms": (now - healed_ns) / 1e6, "nodes": nodes, "hastened": hastened}
    history.event(Event(SETTLED, now, None, detail))
    return reasons, status


@asynccontextmanager
async def in_haste(lab: Lab, connections: Connections) -> AsyncIterator[None]:
    """Sentinels and primaries look and act at once until the block ends; one that cannot be told is left as it is.

    Raises:
        LabError: One did not take its own settings back: what comes after this would not be at the lab's own pace.
    """
    plan = lab.plan()
    status = await asyncio.to_thread(lab.call, "GET", "/status")
    view = from_data(View, status["view"])
    hurried = [_readable(borrow.periods, connections, n.name, PERIODS) for n in view.nodes if n.up and n.sentinel]
    eager = [_readable(borrow.settings, connections, name, AT_ONCE) for name in in_charge(plan, view)]
    borrowed = [each for each in await asyncio.gather(*hurried, *eager) if each is not None]
    try:
        await asyncio.gather(*(_take(each) for each in borrowed))
        yield
    finally:
        await asyncio.shield(_give_back(borrowed))


def in_charge(plan: LabPlan, view: View) -> tuple[str, ...]:
    """Primaries that stay what they are. Pure.

    Where there are Sentinels, only the one that they agree on: another one is demoted and told to write its settings to its
    file, borrowed ones included.
    """
    own = tuple(node.name for node in primaries(view))
    return own if plan.topology.kind is not Kind.SENTINEL else tuple(name for name in own if name == primary(view))


async def _readable(
    how: Callable[[str, borrow.Call, Mapping[str, str]], Awaitable[borrow.Borrowed]],
    connections: Connections,
    node: str,
    wanted: Mapping[str, str],
) -> borrow.Borrowed | None:
    async def call(*commands: Sequence[str]) -> list[Reply]:
        return await connections.call_all(node, commands)

    try:
        return await how(node, call, wanted)
    except LabError:
        return None


async def _take(each: borrow.Borrowed) -> None:
    """Whether or not it was heard: it is given back in any case."""
    with suppress(LabError):
        await each.take()


async def _give_back(borrowed: Iterable[borrow.Borrowed]) -> None:
    """All of them, whatever becomes of one."""
    for outcome in await asyncio.gather(*(each.give_back() for each in borrowed), return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
