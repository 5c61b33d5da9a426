"""The user's own program, as it is run while a drill's faults happen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Application:
    """A program that runs in each phase of a drill, from the beginning of its timeline to the end.

    Attributes:
        command: The program and its arguments; no shell reads them.
        group: The client group whose addresses are in its environment.
        exit_code: With which it is to end.
        alone: It replaces the scenario's own workloads, and the checks that judge them.
        ready: The timeline begins when a line of it has these words; at once when empty.
        grace_s: Seconds between SIGTERM, at the end of the timeline, and SIGKILL.
        not_judged: By phase, the scenario's checks that were left out because it is alone.
    """

    command: tuple[str, ...]
    group: str = "clients"
    exit_code: int = 0
    alone: bool = False
    ready: str = ""
    grace_s: float = 10.0
    not_judged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
