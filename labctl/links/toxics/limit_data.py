"""`limit_data`: a connection that ends in the middle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labctl.links.pipe import Ending
from labctl.links.toxics.base import Attributes, Draw, Stage

if TYPE_CHECKING:
    from labctl.links.pipe import Pipe


@dataclass(frozen=True, slots=True)
class LimitData(Attributes):
    """Close the connection once `bytes` have passed since the toxic met it; with 0, at the first byte."""

    type: ClassVar[str] = "limit_data"
    bytes: int = 0

    def stage(self, pipe: Pipe, draw: Draw) -> LimitDataStage:
        """See `Attributes`."""
        return LimitDataStage(self, pipe, draw)


class LimitDataStage(Stage):
    """Counts."""

    __slots__ = ("_limit", "_passed", "_reached")

    def __init__(self, attributes: LimitData, pipe: Pipe, draw: Draw) -> None:
        super().__init__(pipe, draw)
        self._limit = attributes.bytes
        self._passed = 0
        self._reached = False

    def feed(self, data: bytes, at: float) -> None:
        """See `Stage`."""
        if self._reached:
            return
        part = data[: max(self._limit - self._passed, 0)]
        if part:
            self._passed += len(part)
            self.next.feed(part, at)
        if self._passed >= self._limit:
            self._reached = True
            self.tally.acted += 1
            self.next.end(Ending.CLOSE)

    def end(self, ending: Ending) -> None:
        """See `Stage`."""
        if not self._reached:
            self.next.end(ending)

    def update(self, attributes: Attributes) -> None:
        """A limit that is passed already closes at the next byte."""
        assert isinstance(attributes, LimitData)
        self._limit = attributes.bytes
