"""Who holds a server within a limit: a control group for a process of this machine, the runtime for what it started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from labctl.agent.effects.local import process_id
from labctl.model.fault import Resource
from labctl.runtime.base import LimitedServers
from labctl.runtime.cgroups import Group

if TYPE_CHECKING:
    from labctl.agent.effects.base import Bench
    from labctl.model.plan import NodePlan

_HARMLESS = {Resource.CPU: 100, Resource.MEMORY: 2**40}


class Limiter(Protocol):
    """See `runtime.base.LimitedServers`."""

    async def require(self, node: NodePlan, resource: Resource) -> None:
        """Raise CapabilityError where a server cannot be held within such a limit."""

    async def limit(self, node: NodePlan, resource: Resource, amount: int | None) -> None:
        """Hold a running server within a limit, or with None let go of it."""

    async def is_limited(self, node: NodePlan, resource: Resource) -> bool:
        """Whether it is held within a limit of a fault."""
        ...

    async def times_limited(self, node: NodePlan, resource: Resource) -> int:
        """How often it ran into its limit."""
        ...

    async def refusals(self, node: NodePlan) -> int:
        """How often its memory limit was met, whether or not room was found; 0 where the limit is gone."""
        ...


def limiter(bench: Bench) -> Limiter:
    """The one of the lab's runtime."""
    if isinstance(bench.runtime, LimitedServers):
        return _ByRuntime(bench.runtime)
    return _ByGroups(bench)


class _ByRuntime:
    def __init__(self, runtime: LimitedServers) -> None:
        self._runtime = runtime
        self.limit = runtime.limit
        self.is_limited = runtime.is_limited
        self.times_limited = runtime.times_limited

    async def require(self, node: NodePlan, resource: Resource) -> None:  # noqa: ARG002
        """All servers of a runtime are alike."""
        await self._runtime.require_limit()

    async def refusals(self, node: NodePlan) -> int:
        return await self._runtime.times_limited(node, Resource.MEMORY)


class _ByGroups:
    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def require(self, node: NodePlan, resource: Resource) -> None:
        """Making the group is the only way to know whether one may; it is removed again."""
        group = self._group(node, resource)
        group.hold(process_id(self._bench, node.name), _HARMLESS[resource])
        group.let_go()

    async def limit(self, node: NodePlan, resource: Resource, amount: int | None) -> None:
        group = self._group(node, resource)
        if amount is None:
            group.let_go()
            return
        group.hold(process_id(self._bench, node.name), amount)

    async def is_limited(self, node: NodePlan, resource: Resource) -> bool:
        return self._group(node, resource).exists()

    async def times_limited(self, node: NodePlan, resource: Resource) -> int:
        return self._group(node, resource).events()

    async def refusals(self, node: NodePlan) -> int:
        return self._group(node, Resource.MEMORY).refusals()

    def _group(self, node: NodePlan, resource: Resource) -> Group:
        return Group(self._bench.plan.lab_id, node.name, resource)
