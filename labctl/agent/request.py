"""What `labctl up` asks of a new agent, handed over as a file."""

from __future__ import annotations

from dataclasses import dataclass, field

from labctl.model.plan import Containers, Formation, Net, RuntimeName
from labctl.model.topology import Topology


@dataclass(frozen=True, slots=True)
class Request:
    """A lab to bring up.

    Attributes:
        lab: Its name.
        lab_id: 32 random hex digits.
        topology: As declared, overrides applied.
        engine: Path of the server binary, or the image with it; what `--engine` says until an image was chosen.
        engine_name: Such as `redis 7.0.15`; empty until an image was chosen.
        formation: Seeded or natural.
        runtime: Where its servers are to run.
        net: What the servers of the process runtime are to talk over.
        shim: Preload servers with the shim that disk, clock and fork faults need.
        containers: What the containers of the Docker runtime are made of.
    """

    lab: str
    lab_id: str
    topology: Topology
    engine: str
    engine_name: str
    formation: Formation = Formation.SEEDED
    runtime: RuntimeName = RuntimeName.PROCESS
    shim: bool = False
    net: Net = Net.LOOPBACK
    containers: Containers = field(default_factory=Containers)
