"""What happened in a lab, in order, kept in the agent and streamed to whoever asks."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any

_KEPT = 5000

EventData = dict[str, Any]
"""`seq`, `at_ns` (monotonic), `kind`, `node` (or None), `text` (for people) and `detail` (JSON values)."""


class Events:
    """The last few thousand events.

    Their numbers rise, also from one agent of a lab to the next: the first is the microsecond at which the agent began.
    """

    def __init__(self) -> None:
        self._kept: deque[EventData] = deque(maxlen=_KEPT)
        self._seq = time.monotonic_ns() // 1000
        self._grown = asyncio.Event()
        self.subscribers = 0

    def add(
        self, kind: str, text: str, node: str | None = None, detail: Mapping[str, object] | None = None, at_ns: int = 0
    ) -> None:
        """Note an event; `at_ns` defaults to now."""
        self._seq += 1
        self._kept.append(
            {
                "seq": self._seq,
                "at_ns": at_ns or time.monotonic_ns(),
                "kind": kind,
                "node": node,
                "text": text,
                "detail": dict(detail or {}),
            }
        )
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    @property
    def grown(self) -> asyncio.Event:
        """Set when there is a new event; a new one each time."""
        return self._grown

    def since(self, seq: int) -> list[EventData]:
        """Kept events with a number above `seq`."""
        return [event for event in self._kept if event["seq"] > seq]

    async def follow(self, seq: int) -> AsyncIterator[EventData]:
        """Events with a number above `seq`, then new ones as they come, for ever."""
        self.subscribers += 1
        try:
            while True:
                grown = self._grown
                for event in self.since(seq):
                    seq = event["seq"]
                    yield event
                await grown.wait()
        finally:
            self.subscribers -= 1
