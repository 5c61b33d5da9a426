"""What maintenance asks of the agent: another server binary for a node, and nodes that leave the lab or come back.

Both are remembered as files in the node's folder, so that an agent that takes over knows them too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from labctl.errors import UsageError
from labctl.model.fault import ServerState
from labctl.model.plan import RuntimeName

if TYPE_CHECKING:
    from labctl.model.plan import LabPlan, NodePlan
    from labctl.runtime.base import Runtime
    from labctl.store.folders import LabFolder

ENGINE = "engine"
"""The file with the path of a node's own server binary, where it is not the lab's."""
_OUT = "out"


class Upkeep:
    """Maintenance of one lab."""

    def __init__(self, plan: LabPlan, folder: LabFolder, runtime: Runtime) -> None:
        self._plan = plan
        self._folder = folder
        self._runtime = runtime

    @property
    def out(self) -> frozenset[str]:
        """Nodes that were taken out of the lab: they are not expected to run."""
        return frozenset(n.name for n in self._plan.nodes if (self._folder.node(n.name) / _OUT).exists())

    def set_engine(self, name: str, path: str) -> None:
        """Start the node's server from this binary from now on; the one that runs goes on.

        Raises:
            UsageError: There is no such file, or servers here do not come from files.
        """
        node = self._node(name)
        if self._plan.runtime is not RuntimeName.PROCESS:
            raise UsageError("Servers in containers come from an image, not from a file.", "--runtime process")
        if not Path(path).is_file():
            raise UsageError(f"There is no server at {path}.")
        (self._folder.node(node.name) / ENGINE).write_text(path)

    async def take_out(self, name: str) -> None:
        """End the node's server; from now on nobody expects it to run."""
        node = self._node(name)
        (self._folder.node(name) / _OUT).touch(mode=0o600)
        await self._runtime.stop(node)

    async def bring_in(self, name: str) -> None:
        """Start the server of a node that was taken out. It answers later, and is a member of nothing."""
        node = self._node(name)
        if await self._runtime.state(node) is ServerState.GONE:
            await self._runtime.start(node)
        (self._folder.node(name) / _OUT).unlink(missing_ok=True)

    def _node(self, name: str) -> NodePlan:
        try:
            return self._plan.node(name)
        except KeyError:
            raise UsageError(
                f"There is no node '{name}'.", f"Nodes: {', '.join(n.name for n in self._plan.nodes)}."
            ) from None
