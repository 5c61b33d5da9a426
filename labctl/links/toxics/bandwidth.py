"""`bandwidth`: a slower line."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labctl.links.toxics.base import Attributes, Draw
from labctl.links.toxics.pieces import PiecesStage

if TYPE_CHECKING:
    from labctl.links.pipe import Pipe

_PIECE_S = 0.1
"""A chunk is passed on in pieces of at most this much line time, as Toxiproxy does."""


@dataclass(frozen=True, slots=True)
class Bandwidth(Attributes):
    """Carry at most `rate` kilobytes (of 1,000 bytes) per second. 0 lets nothing pass, which users rely on."""

    type: ClassVar[str] = "bandwidth"
    rate: int = 0

    def stage(self, pipe: Pipe, draw: Draw) -> BandwidthStage:
        """See `Attributes`."""
        return BandwidthStage(self, pipe, draw)


class BandwidthStage(PiecesStage):
    """A line that is busy until the piece at the head has passed."""

    __slots__ = ("_rate",)

    def __init__(self, attributes: Bandwidth, pipe: Pipe, draw: Draw) -> None:
        super().__init__(pipe, draw)
        self._rate = attributes.rate

    def feed(self, data: bytes, at: float) -> None:
        """See `Stage`."""
        self.tally.acted += 1
        super().feed(data, at)

    def begin(self) -> None:
        """Wait until the first piece has crossed the line."""
        self.wake_at(self._free + self._cost())

    def due(self) -> None:
        """Pass on each piece whose last byte has crossed the line."""
        now = time.monotonic()
        while self._queue and (done := self._free + self._cost()) <= now:
            self._free = done
            self._pass(self._piece())
        if self._queue:
            self.begin()
        else:
            self._end_if_told()

    def update(self, attributes: Attributes) -> None:
        """A new rate holds from now on, for the piece on the line as well."""
        assert isinstance(attributes, Bandwidth)
        self._rate = attributes.rate
        self._free = time.monotonic()
        if self._queue:
            self.begin()

    def _piece(self) -> int:
        return min(len(self._queue[0][0]), max(1, int(self._rate * 1000 * _PIECE_S)))

    def _cost(self) -> float:
        return self._piece() / (self._rate * 1000) if self._rate > 0 else math.inf
