"""How often a guard starts a new agent: a burst at once, then so many a minute, for as long as the lab is there.

A lab whose agent is killed again and again, by a test or by the kernel for its memory, always gets the next one; an agent
that cannot live takes little of the machine while it tries.
"""

from __future__ import annotations

from dataclasses import dataclass

BURST = 30
EVERY_S = 2.0


@dataclass(slots=True)
class Restarts:
    """The generic cell rate algorithm (ITU-T I.371): no counter that runs out, no list of times."""

    _full_at_s: float = 0.0

    def wait_s(self, now_s: float) -> float:
        """Seconds to wait before a restart that is due at `now_s`, a monotonic clock; it counts as one from then on."""
        self._full_at_s = max(self._full_at_s, now_s) + EVERY_S
        return max(0.0, self._full_at_s - now_s - BURST * EVERY_S)
