"""`slow_close`: the end of the stream comes late."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labctl.links.toxics.base import Attributes, DelayingStage, Draw

if TYPE_CHECKING:
    from labctl.links.pipe import Ending, Pipe


@dataclass(frozen=True, slots=True)
class SlowClose(Attributes):
    """Hold back the end of the stream (FIN or RST) for `delay` milliseconds. Removing the toxic lets it go at once."""

    type: ClassVar[str] = "slow_close"
    delay: int = 0

    def stage(self, pipe: Pipe, draw: Draw) -> SlowCloseStage:
        """See `Attributes`."""
        return SlowCloseStage(self, pipe, draw)


class SlowCloseStage(DelayingStage):
    """An end waiting for its time."""

    __slots__ = ("_delay",)

    def __init__(self, attributes: SlowClose, pipe: Pipe, draw: Draw) -> None:
        super().__init__(pipe, draw)
        self._delay = attributes.delay

    def end(self, ending: Ending) -> None:
        """See `Stage`."""
        self.tally.acted += self._delay > 0
        self.put(time.monotonic() + max(self._delay, 0) / 1000, ending, 0.0)

    def update(self, attributes: Attributes) -> None:
        """For ends to come; one that waits keeps its time."""
        assert isinstance(attributes, SlowClose)
        self._delay = attributes.delay
