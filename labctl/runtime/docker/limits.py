"""What a server's container may have, and less of it for the time of a fault: `docker update`, which needs no privilege."""

from __future__ import annotations

import asyncio
from typing import Any

from labctl.errors import CapabilityError
from labctl.model.fault import Resource
from labctl.model.plan import Containers, NodePlan
from labctl.runtime.docker.engine import Engine
from labctl.runtime.docker.names import Names

_PERIOD_US = 100_000
_NO_QUOTA = -1


def limits(containers: Containers) -> dict[str, Any]:
    """What a server may have, as arguments of a container's host configuration; no swap on top of its memory."""
    found: dict[str, Any] = {"mem_limit": containers.memory, "memswap_limit": containers.memory}
    if containers.cpus:
        found |= {"cpu_period": _PERIOD_US, "cpu_quota": _quota(containers)}
    return found


class ContainerLimits:
    """See `runtime.base.LimitedServers`.

    Args:
        engine: Where the containers are.
        names: Of the lab.
        containers: What they have when no fault holds them.
    """

    def __init__(self, engine: Engine, names: Names, containers: Containers) -> None:
        self._engine = engine
        self._names = names
        self._containers = containers

    async def require_limit(self) -> None:
        """Podman's API has no such request; an engine without control groups keeps no limit at all."""
        if await asyncio.to_thread(self._engine.is_podman):
            raise CapabilityError("Podman does not change the limits of a container that runs.", "Docker does.")
        said = await self._engine.call("say what it can do", self._engine.api.info)
        if said.get("CgroupDriver") == "none":
            raise CapabilityError(
                "The engine runs without control groups, so that it keeps no limits.",
                "Rootless engines need cgroup v2.",
            )

    async def limit(self, node: NodePlan, resource: Resource, amount: int | None) -> None:
        """Set the limit of the container's control group."""
        match resource:
            case Resource.CPU:
                quota = _quota(self._containers) if amount is None else amount * _PERIOD_US // 100
                changed: dict[str, Any] = {"cpu_period": _PERIOD_US, "cpu_quota": quota}
            case Resource.MEMORY:
                most = self._containers.memory if amount is None else await self._used(node) + amount
                changed = {"mem_limit": most, "memswap_limit": most}
        if amount is not None or await self.is_limited(node, resource):
            container = self._names.server(node.name)
            await self._engine.call(f"limit {node.name}", self._engine.api.update_container, container, **changed)

    async def is_limited(self, node: NodePlan, resource: Resource) -> bool:
        """Whether the container has other limits than it was made with."""
        host = (await self._inspected(node)).get("HostConfig")
        if host is None:
            return False
        if resource is Resource.CPU:
            return host["CpuQuota"] not in (0, _quota(self._containers))
        return bool(host["Memory"] != self._containers.memory)

    async def times_limited(self, node: NodePlan, resource: Resource) -> int:
        """Periods throttled, or 1 when the kernel killed it for its memory."""
        if resource is Resource.CPU:
            return int((await self._stats(node))["cpu_stats"]["throttling_data"]["throttled_periods"])
        return int((await self._inspected(node))["State"]["OOMKilled"])

    async def _used(self, node: NodePlan) -> int:
        """Bytes of memory that cannot be given back: without the file cache that the kernel would drop."""
        memory = (await self._stats(node))["memory_stats"]
        detail = memory.get("stats", {})
        return int(memory["usage"]) - int(detail.get("total_inactive_file", detail.get("inactive_file", 0)))

    async def _stats(self, node: NodePlan) -> Any:
        return await self._engine.call(
            f"measure {node.name}",
            self._engine.api.stats,
            self._names.server(node.name),
            stream=False,
            one_shot=True,
        )

    async def _inspected(self, node: NodePlan) -> Any:
        container = self._names.server(node.name)
        return await self._engine.call(f"look at {node.name}", self._engine.api.inspect_container, container)


def _quota(containers: Containers) -> int:
    return round(containers.cpus * _PERIOD_US) if containers.cpus else _NO_QUOTA
