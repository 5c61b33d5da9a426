"""`reset_peer`: connection reset by peer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labctl.links.toxics.base import Attributes, Draw, TimedStage

if TYPE_CHECKING:
    from labctl.links.pipe import Ending, Pipe


@dataclass(frozen=True, slots=True)
class ResetPeer(Attributes):
    """Reset both ends (TCP RST) after `timeout` milliseconds; 0 at once.

    They count from the first byte in the toxic's direction, so that connecting itself succeeds, and for a connection
    that was there before the toxic from then on, idle or not; Toxiproxy closes such a one with a FIN. Data is held
    meanwhile and lost in the reset.
    """

    type: ClassVar[str] = "reset_peer"
    timeout: int = 0

    def stage(self, pipe: Pipe, draw: Draw) -> ResetPeerStage:
        """See `Attributes`."""
        return ResetPeerStage(self, pipe, draw)


class ResetPeerStage(TimedStage):
    """Holds everything, and waits to reset."""

    __slots__ = ("_data", "_ending", "_since", "_timeout")

    def __init__(self, attributes: ResetPeer, pipe: Pipe, draw: Draw) -> None:
        super().__init__(pipe, draw)
        self._timeout = attributes.timeout
        self._since: float | None = None  # when the timeout began
        self._data: list[tuple[bytes, float]] = []
        self._ending: Ending | None = None

    def start(self, *, live: bool) -> None:
        """See `Stage`."""
        if live:
            self._begin()

    def feed(self, data: bytes, at: float) -> None:
        """Hold it, for the toxic may be removed before its time."""
        self._data.append((data, at))
        self.held += len(data)
        self._begin()

    def end(self, ending: Ending) -> None:
        """Hold it as well: the reset is still to come."""
        self._ending = ending
        self._begin()

    def due(self) -> None:
        """Reset, if the time has come."""
        if self._since is None or time.monotonic() < self._since + self._seconds:
            self._schedule()
        else:
            self.tally.acted += 1
            self.pipe.connection.close(reset=True)

    def update(self, attributes: Attributes) -> None:
        """Count the new timeout from the same start."""
        assert isinstance(attributes, ResetPeer)
        self._timeout = attributes.timeout
        self._schedule()

    def release(self) -> None:
        """See `Stage`."""
        self.sleep()
        self.held = 0
        for data, at in self._data:
            self.next.feed(data, at)
        if self._ending is not None:
            self.next.end(self._ending)

    def close(self) -> None:
        """See `Stage`."""
        super().close()
        self._data.clear()

    @property
    def _seconds(self) -> float:
        return max(self._timeout, 0) / 1000

    def _begin(self) -> None:
        if self._since is None:
            self._since = time.monotonic()
            self._schedule()

    def _schedule(self) -> None:
        if self._since is not None:
            self.wake_at(self._since + self._seconds)
