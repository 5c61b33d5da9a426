"""What a kind of workload is: a base class, one subclass a file under `kinds/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from labctl.model.topology import Kind

if TYPE_CHECKING:
    from labctl.model.endpoints import Endpoints
    from labctl.workload.habits import Habits
    from labctl.workload.options import Options
    from labctl.workload.process import Process


class WorkloadKind(ABC):
    """A kind of workload, instantiated once for all clients of one declared workload.

    Each kind's own docstring says which functions, keys and values its history has, and which checkers they are for.

    Args:
        prefix: Begins every key, so that neither phases nor workloads meet. Has no braces.
        options: Read whatever the kind knows; problems stay with it.
        clients: How many processes will call `step`.

    Attributes:
        name: Registry name.
        summary: One line for listings.
        runs_on: Shapes of labs on which it makes sense.
        refusal: Why not on the others.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    runs_on: ClassVar[frozenset[Kind]] = frozenset(Kind)
    refusal: ClassVar[str] = ""

    @abstractmethod
    def __init__(self, prefix: str, options: Options, clients: int) -> None: ...

    def refuse(self, endpoints: Endpoints, habits: Habits) -> str | None:  # noqa: ARG002  # for kinds that want them
        """Why this workload makes no sense on this lab with these habits, or None."""
        return None if endpoints.kind in self.runs_on else self.refusal

    def paced(self, process: Process) -> bool:  # noqa: ARG002  # most kinds have no consumers
        """Whether this process serves arrivals of an open loop. Consumers don't: they take what producers made."""
        return True

    async def setup(self, process: Process) -> None:  # noqa: B027  # most kinds need none
        """Prepare the lab before any process steps, with the first process's client. Raises what the client raises."""

    @abstractmethod
    async def step(self, process: Process) -> None:
        """One operation, or a few that belong together, of one process."""

    async def finish(self, process: Process) -> None:  # noqa: B027  # most kinds need none
        """Bring a process to rest after its last step: consumers take what is still under way."""

    @abstractmethod
    async def final_reads(self, process: Process) -> None:
        """Read back what was kept, after the lab is healed and every process has stopped."""
