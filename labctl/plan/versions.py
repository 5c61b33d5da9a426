"""What differs between the servers that labctl plans for, as data."""

from __future__ import annotations

import re
from dataclasses import dataclass

from labctl.errors import UsageError

_NAME = re.compile(r"(redis|valkey)\s+(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Version:
    """An engine's family and version, of `redis 7.0.15` or `valkey 9.1.2`."""

    family: str
    major: int
    minor: int

    @classmethod
    def parse(cls, engine_name: str) -> Version:
        """Read an engine's name. Raises UsageError when it is not `redis N.N…` or `valkey N.N…`."""
        match = _NAME.match(engine_name.lower())
        if match is None:
            raise UsageError(
                f"{engine_name!r} is not a Redis or Valkey version", "Run `labctl doctor` to list engines."
            )
        return cls(match[1], int(match[2]), int(match[3]))

    @property
    def shard_ids(self) -> bool:
        """Whether nodes.conf carries `shard-id=` (Redis 7.2 and every Valkey); Redis 7.0 takes it for a hostname."""
        return self.family == "valkey" or (self.major, self.minor) >= (7, 2)

    @property
    def syncslots(self) -> bool:
        """Whether replication's user needs CLUSTER SYNCSLOTS (atomic slot migration of Valkey 9)."""
        return self.family == "valkey" and self.major >= 9
