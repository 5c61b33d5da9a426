"""`timeout`: silence, then the end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labctl.links.pipe import Ending
from labctl.links.toxics.base import Attributes, Draw, TimedStage

if TYPE_CHECKING:
    from labctl.links.pipe import Pipe


@dataclass(frozen=True, slots=True)
class Timeout(Attributes):
    """Drop all data, and close the connection `timeout` milliseconds after the toxic met it; 0 never closes it.

    Removing the toxic closes the connection too: bytes are missing from its stream.
    """

    type: ClassVar[str] = "timeout"
    timeout: int = 0

    def stage(self, pipe: Pipe, draw: Draw) -> TimeoutStage:
        """See `Attributes`."""
        return TimeoutStage(self, pipe, draw)


class TimeoutStage(TimedStage):
    """Drops, and waits to close."""

    __slots__ = ("_since", "_timeout")

    def __init__(self, attributes: Timeout, pipe: Pipe, draw: Draw) -> None:
        super().__init__(pipe, draw)
        self._timeout = attributes.timeout
        self._since = time.monotonic()

    def start(self, *, live: bool) -> None:  # noqa: ARG002 - the same for both
        """See `Stage`."""
        self._schedule()

    def feed(self, data: bytes, at: float) -> None:  # noqa: ARG002 - both are lost
        """Drop it."""
        self.tally.acted += 1

    def due(self) -> None:
        """Close, if the time has come."""
        if time.monotonic() >= self._since + self._timeout / 1000:
            self.tally.acted += 1
            self.pipe.finish(Ending.CLOSE)
        else:
            self._schedule()

    def update(self, attributes: Attributes) -> None:
        """Count the new timeout from the same start."""
        assert isinstance(attributes, Timeout)
        self._timeout = attributes.timeout
        self.sleep()
        self._schedule()

    def release(self) -> None:
        """See `Stage`."""
        self.sleep()
        self.pipe.finish(Ending.CLOSE)

    def _schedule(self) -> None:
        if self._timeout > 0:
            self.wake_at(self._since + self._timeout / 1000)
