"""labctl: bring up a real Redis topology, break it on purpose, and say with evidence what held.

In Python: `with labctl.redis_lab("sentinel") as lab:`; docs/testing-your-application.md has the rest. What is named here
is imported when it is first used, for every verb of the command line pays for what this module imports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labctl.errors import LabError, RevertError, UsageError
    from labctl.model.scenario import Workload
    from labctl.model.topology import Topology
    from labctl.model.verdict import Finding, Outcome
    from labctl.model.view import View
    from labctl.testing.factory import LabFactory
    from labctl.testing.injected import Injected
    from labctl.testing.lab import RedisLab, attach, redis_lab
    from labctl.testing.recording import Recording

__version__ = "0.1.0"
__all__ = [
    "Finding",
    "Injected",
    "LabError",
    "LabFactory",
    "Outcome",
    "Recording",
    "RedisLab",
    "RevertError",
    "Topology",
    "UsageError",
    "View",
    "Workload",
    "attach",
    "redis_lab",
]
_HOMES = {
    "labctl.errors": ("LabError", "RevertError", "UsageError"),
    "labctl.model.scenario": ("Workload",),
    "labctl.model.topology": ("Topology",),
    "labctl.model.verdict": ("Finding", "Outcome"),
    "labctl.model.view": ("View",),
    "labctl.testing.factory": ("LabFactory",),
    "labctl.testing.injected": ("Injected",),
    "labctl.testing.lab": ("RedisLab", "attach", "redis_lab"),
    "labctl.testing.recording": ("Recording",),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            from importlib import import_module  # noqa: PLC0415

            return getattr(import_module(home), name)
    raise AttributeError(f"module 'labctl' has no attribute {name!r}")
