"""Reading a lab's feed, over the deaths of its agent. For a thread: everything here blocks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labctl.errors import LabError
from labctl.live.board import State
from labctl.live.frame import KEPT_SAMPLES, Frame
from labctl.store.codec import from_data

if TYPE_CHECKING:
    from labctl.agent.client import EventStream
    from labctl.lab import Lab

_AGAIN_S = 0.5
KEPT_EVENTS = 500
_SAMPLE_S = 0.4
"""Frames come faster than this when something happens; curves keep their pace, and take one sample of these."""


@dataclass(slots=True)
class Watch:
    """What was read of a feed so far.

    Attributes:
        lab: Whose.
        frame: The last one; None before the first.
        curves: See `sketch.Curves`.
        events: The last few hundred.
        trouble: Why nothing comes at the moment; empty while something does.
    """

    lab: Lab
    frame: Frame | None = None
    curves: dict[str, deque[float | None]] = field(default_factory=dict)
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_EVENTS))
    trouble: str = ""
    _stream: EventStream | None = None
    _seq: int = 0
    _sampled_s: float = 0.0
    _closed: bool = False

    @property
    def state(self) -> State | None:
        """What there is to show; None before the first frame."""
        return State(self.frame, self.curves, self.events) if self.frame is not None else None

    def follow(self) -> Generator[str, None, None]:
        """Take in what comes, and say what it was, for ever: `hello`, `frame`, `event` or `trouble`.

        An agent that died is started again by whoever asks for it, which this does.
        """
        while not self._closed:
            try:
                stream = self._stream = self.lab.agent().live(self._seq)
                self.trouble = ""
                for message in stream:
                    ((kind, data),) = message.items()
                    self.take(kind, data)
                    yield kind
                self.trouble = "The lab's agent has gone."
            except LabError as error:
                self.trouble = error.message
            if not self._closed:
                yield "trouble"
                time.sleep(_AGAIN_S)

    def take(self, kind: str, data: Any) -> None:
        """Take in one message."""
        match kind:
            case "hello":
                if data["curves"]:  # an agent that was just started knows none
                    self.curves = {name: deque(values, KEPT_SAMPLES) for name, values in data["curves"].items()}
                self._take_events(data["events"])
            case "event":
                self._take_events([data])
            case "frame":
                self.frame = from_data(Frame, data)
                self._sample(self.frame)
            case _:
                pass  # of a later version

    def close(self) -> None:
        """End `follow`, wherever it waits. Another thread calls this."""
        self._closed = True
        if self._stream is not None:
            self._stream.close()

    def _take_events(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            self._seq = event["seq"]
            self.events.append(event)

    def _sample(self, frame: Frame) -> None:
        if 0 <= frame.at_s - self._sampled_s < _SAMPLE_S:
            return
        self._sampled_s = frame.at_s
        for name in self.curves.keys() | frame.samples.keys():
            self.curves.setdefault(name, deque(maxlen=KEPT_SAMPLES)).append(frame.samples.get(name))
