"""A stage whose chunks go on piece by piece: what `bandwidth` and `slicer` have in common."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from labctl.links.toxics.base import Draw, TimedStage

if TYPE_CHECKING:
    from labctl.links.pipe import Ending, Pipe


class PiecesStage(TimedStage):
    """Chunks in order, the first of which is passed on in pieces; the end of the stream waits until all are gone."""

    __slots__ = ("_ending", "_free", "_queue")

    def __init__(self, pipe: Pipe, draw: Draw) -> None:
        super().__init__(pipe, draw)
        self._queue: deque[tuple[memoryview, float]] = deque()
        self._ending: Ending | None = None
        self._free = 0.0  # when the next piece may begin

    def begin(self) -> None:
        """There is something to pass on again, from `_free` on."""
        raise NotImplementedError

    def feed(self, data: bytes, at: float) -> None:
        """See `Stage`."""
        self._queue.append((memoryview(data), at))
        self.held += len(data)
        if len(self._queue) == 1:
            self._free = max(self._free, time.monotonic())
            self.begin()

    def end(self, ending: Ending) -> None:
        """See `Stage`."""
        if self._queue:
            self._ending = ending
        else:
            self.next.end(ending)

    def release(self) -> None:
        """See `Stage`."""
        self.sleep()
        while self._queue:
            self._pass(len(self._queue[0][0]))
        if self._ending is not None:
            self.next.end(self._ending)

    def close(self) -> None:
        """See `Stage`."""
        super().close()
        self._queue.clear()

    def _end_if_told(self) -> None:
        """Nothing waits any more: pass on the end of the stream if it has come."""
        if self._ending is not None:
            ending, self._ending = self._ending, None
            self.next.end(ending)

    def _pass(self, count: int) -> bool:
        """Pass on so many bytes of the first chunk; says whether some of it is left."""
        data, at = self._queue.popleft()
        rest = count < len(data)
        if rest:
            self._queue.appendleft((data[count:], at))
        piece = bytes(data[:count])
        self.held -= len(piece)
        self.next.feed(piece, at)
        return rest
