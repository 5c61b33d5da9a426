"""What a scenario requires, as words: engines by flavour and version, a runtime, facilities of the machine."""

from __future__ import annotations

import re
from dataclasses import dataclass

from labctl.declare.yaml import near, shown
from labctl.model.engine import Engine, Flavour

_RUNTIMES = ("runtime process", "runtime docker")
FACILITIES = ("compiler", "libfaketime", "cgroups", "netns", "tun", "docker", "root", "prometheus")
"""What a machine may offer, as `labctl doctor` finds out."""
_ENGINE = re.compile(
    r"(?P<flavour>redis|valkey)(?:\s*(?P<sign>>=|<|==)\s*(?P<version>[0-9]{1,3}(?:\.[0-9]{1,3}){0,2}))?"
)


@dataclass(frozen=True, slots=True)
class EngineRange:
    """Engines of one flavour, perhaps from a version on (`>=`), below one (`<`), or of one (`==`, as far as stated)."""

    flavour: Flavour
    sign: str = ""
    version: tuple[int, ...] = ()

    def holds(self, engine: Engine) -> bool:
        """Whether this engine is one of them."""
        if engine.flavour is not self.flavour:
            return False
        match self.sign:
            case ">=":
                return engine.version >= self.version
            case "<":
                return engine.version < self.version
            case "==":
                return engine.version[: len(self.version)] == self.version
            case _:
                return True


def engine_ranges(need: str) -> tuple[EngineRange, ...] | None:
    """The engines that a need allows, `redis >= 7.2 or valkey`; None if it is no need of that sort."""
    ranges = []
    for part in re.split(r"\s+or\s+", need):
        match = _ENGINE.fullmatch(part.strip())
        if match is None:
            return None
        version = tuple(int(number) for number in (match["version"] or "").split(".") if number)
        ranges.append(EngineRange(Flavour(match["flavour"]), match["sign"] or "", version))
    return tuple(ranges)


def problem(need: str) -> str | None:
    """Why nobody could meet a need; None if it is one."""
    if need in ("tls", *_RUNTIMES, *FACILITIES) or engine_ranges(need):
        return None
    words = ("redis >= 7.2", "valkey", "tls", *_RUNTIMES, *FACILITIES)
    return f"{shown(need)} is nothing that can be required; {near(need, words)}"
