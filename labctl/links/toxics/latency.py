"""`latency`: every chunk arrives later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labctl.links.toxics.base import Attributes, DelayingStage, Draw

if TYPE_CHECKING:
    from labctl.links.pipe import Pipe


@dataclass(frozen=True, slots=True)
class Latency(Attributes):
    """Delay each chunk by `latency` ± uniform(`jitter`) milliseconds after its arrival, in order.

    It does not limit throughput: chunks wait side by side, up to 32 MiB a direction (what Toxiproxy's queue of 1,024
    chunks of 32 KiB holds), and only then does reading stop. The end of the stream comes right after the last chunk.
    """

    type: ClassVar[str] = "latency"
    latency: int = 0
    jitter: int = 0

    def stage(self, pipe: Pipe, draw: Draw) -> LatencyStage:
        """See `Attributes`."""
        return LatencyStage(self, pipe, draw)


class LatencyStage(DelayingStage):
    """Chunks under way."""

    __slots__ = ("_attributes", "_last")
    capacity: ClassVar[int] = 32 * 1024 * 1024

    def __init__(self, attributes: Latency, pipe: Pipe, draw: Draw) -> None:
        super().__init__(pipe, draw)
        self._attributes = attributes
        self._last = 0.0  # release of the chunk before, which this one must not overtake

    def feed(self, data: bytes, at: float) -> None:
        """See `Stage`. A second latency adds to the first, for the chunk's time moves along."""
        jitter = self._attributes.jitter
        delay = self._attributes.latency + (self.draw.random.uniform(-jitter, jitter) if jitter > 0 else 0.0)
        release = at + max(delay, 0.0) / 1000
        self.tally.acted += delay > 0
        self._last = max(self._last, release)
        self.put(self._last, data, release)

    def update(self, attributes: Attributes) -> None:
        """Chunks already under way arrive when they would have; a shorter latency overtakes none of them."""
        assert isinstance(attributes, Latency)
        self._attributes = attributes
        self._last = self._queue[-1][0] if self._queue else 0.0
