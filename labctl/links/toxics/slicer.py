"""`slicer`: a stream in small pieces."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labctl.links.toxics.base import Attributes, Draw
from labctl.links.toxics.pieces import PiecesStage

if TYPE_CHECKING:
    from labctl.links.pipe import Pipe

_TURN = 256
"""Pieces sent before other connections get their turn: slices of one byte must not stop the server."""


@dataclass(frozen=True, slots=True)
class Slicer(Attributes):
    """Send in pieces of `average_size` ± `size_variation` bytes, `delay` microseconds apart.

    Each piece is a send of its own, with Nagle's algorithm off. Delays under a millisecond, which event loops cannot
    tell, are kept on average: the pieces of one millisecond go out together. An average of 0 does not slice.
    """

    type: ClassVar[str] = "slicer"
    average_size: int = 0
    size_variation: int = 0
    delay: int = 0

    def stage(self, pipe: Pipe, draw: Draw) -> SlicerStage:
        """See `Attributes`."""
        return SlicerStage(self, pipe, draw)


class SlicerStage(PiecesStage):
    """Chunks waiting to be sliced."""

    __slots__ = ("_attributes",)

    def __init__(self, attributes: Slicer, pipe: Pipe, draw: Draw) -> None:
        super().__init__(pipe, draw)
        self._attributes = attributes

    def begin(self) -> None:
        """The first piece need not wait."""
        self.due()

    def due(self) -> None:
        """Send the pieces whose time has come, a turn's worth at most."""
        now = time.monotonic()
        gap = max(self._attributes.delay, 0) / 1e6
        for _ in range(_TURN):
            if not self._queue or self._free > now:
                break
            self._free += gap
            self.tally.acted += self._pass(self._size())
        if self._queue:
            self.wake_at(self._free)
        else:
            self._end_if_told()

    def update(self, attributes: Attributes) -> None:
        """For the pieces to come."""
        assert isinstance(attributes, Slicer)
        self._attributes = attributes
        self._free = time.monotonic()
        if self._queue:
            self.wake_at(self._free)

    def _size(self) -> int:
        average = self._attributes.average_size
        if average <= 0:
            return len(self._queue[0][0])
        variation = min(max(self._attributes.size_variation, 0), average - 1)
        return average + (self.draw.random.randint(-variation, variation) if variation else 0)
