"""What every toxic is made of: its attributes, and a stage per connection and direction.

A toxic is data (`Attributes`, frozen, as JSON states them). On each connection that it applies to it has one `Stage`
in the chain of its direction. Stages never wait: they take a chunk with the time of its arrival, and hand it to the
next stage now or from a timer. So nothing that the API does to them can hang, and removing one is a function call that
passes on what it held.

Numbers that make no sense (negative times, a slice of no bytes) are accepted, as Toxiproxy accepts them, and act as
the nearest number that does; none can crash or spin the server.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import deque
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, ClassVar, Self

from labctl.links.pipe import Ending
from labctl.links.tally import NOBODYS

if TYPE_CHECKING:
    from labctl.links.pipe import Pipe

log = logging.getLogger(__name__)

_LONGEST_TIMER_S = 86_400.0
"""Event loops count milliseconds in machine words; whatever is later than a day is looked at again in a day."""

SMALL = 256 * 1024
"""Bytes that a stage which slows data down holds before reading stops."""


class Draw:
    """Random numbers of one toxic on one connection: the same seed and the same connection give the same numbers."""

    __slots__ = ("_key", "_random")

    def __init__(self, *key: object) -> None:
        self._key = "/".join(map(str, key)).encode("utf-8", "replace")
        self._random: random.Random | None = None

    def share(self) -> float:
        """Return the number within [0, 1) that toxicity is held against; always the same."""
        return int.from_bytes(blake2b(self._key, digest_size=6).digest(), "big") / 2.0**48

    @property
    def random(self) -> random.Random:
        """A generator of its own, made when first needed: its state is 2.5 kB."""
        if self._random is None:
            self._random = random.Random(blake2b(self._key, digest_size=16, person=b"stream").digest())
        return self._random


class Attributes:
    """Base of every toxic's attributes: a frozen dataclass whose fields are the JSON attributes.

    Attributes:
        type: The toxic's name in the API.
        default_stream: The direction taken when none is stated.
    """

    __slots__ = ()
    type: ClassVar[str]
    default_stream: ClassVar[str] = "downstream"

    def stage(self, pipe: Pipe, draw: Draw) -> Stage:
        """Make the stage for one direction of one connection."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Noop(Attributes):
    """Passes everything; Toxiproxy registers it as a type of its own."""

    type: ClassVar[str] = "noop"

    def stage(self, pipe: Pipe, draw: Draw) -> Stage:
        """See `Attributes`."""
        return Stage(pipe, draw)


class Stage:
    """Passes everything on at once; the base of all others.

    Attributes:
        next: The stage after this one.
        held: Bytes taken and not yet passed on.
        tally: Where it notes that it did what it is for.
        capacity: Bytes that this stage wants to hold before reading stops.
    """

    __slots__ = ("draw", "held", "next", "pipe", "tally")
    capacity: ClassVar[int] = SMALL

    next: Stage

    def __init__(self, pipe: Pipe, draw: Draw) -> None:
        self.pipe = pipe
        self.draw = draw
        self.held = 0
        self.tally = NOBODYS

    def start(self, *, live: bool) -> None:
        """The chain is linked: set timers that run from now. `live`: the connection was there before the toxic."""

    def feed(self, data: bytes, at: float) -> None:
        """Take a chunk that reached the link at `at` (seconds of `time.monotonic`)."""
        self.next.feed(data, at)

    def end(self, ending: Ending) -> None:
        """The direction ends after all that was fed."""
        self.next.end(ending)

    def update(self, attributes: Attributes) -> None:
        """The toxic's attributes changed."""

    def release(self) -> None:
        """The toxic is removed: pass on all that is held; nothing is fed afterwards."""

    def close(self) -> None:
        """The connection is gone: drop what is held and every timer."""


class Sink(Stage):
    """The far end of a chain: the destination's socket."""

    __slots__ = ()

    def feed(self, data: bytes, at: float) -> None:  # noqa: ARG002 - the end of the line
        """Send it."""
        self.pipe.write(data)

    def end(self, ending: Ending) -> None:
        """End it."""
        self.pipe.finish(ending)


class TimedStage(Stage):
    """A stage with one timer. Subclasses say what happens in `due`."""

    __slots__ = ("_timer",)

    def __init__(self, pipe: Pipe, draw: Draw) -> None:
        super().__init__(pipe, draw)
        self._timer: asyncio.TimerHandle | None = None

    def due(self) -> None:
        """The time set by `wake_at` has come, or seems to have: check, and `wake_at` again if not."""
        raise NotImplementedError

    def wake_at(self, when: float) -> None:
        """Call `due` at `when` (seconds of `time.monotonic`), rounded up to the millisecond that loops can tell."""
        self.sleep()
        delay = math.ceil((when - time.monotonic()) * 1000) / 1000 if when != math.inf else _LONGEST_TIMER_S
        self._timer = asyncio.get_running_loop().call_later(min(max(delay, 0.0), _LONGEST_TIMER_S), self._wake)

    def sleep(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """See `Stage`."""
        self.sleep()
        self.held = 0

    def _wake(self) -> None:
        self._timer = None
        try:
            self.due()
        except Exception:
            log.exception("a toxic failed; its connection was closed")
            self.pipe.connection.close(reset=True)


class DelayingStage(TimedStage):
    """A queue in order, each item with the time of its release."""

    __slots__ = ("_queue",)

    def __init__(self, pipe: Pipe, draw: Draw) -> None:
        super().__init__(pipe, draw)
        self._queue: deque[tuple[float, bytes | Ending, float]] = deque()

    def put(self, release: float, item: bytes | Ending, at: float) -> None:
        """Pass `item` on at `release`, and not before what was put earlier; `at` travels on with a chunk."""
        if not self._queue and release <= time.monotonic():
            self._pass(item, at)
            return
        self._queue.append((release, item, at))
        if not isinstance(item, Ending):
            self.held += len(item)
        if len(self._queue) == 1:
            self.wake_at(release)

    def due(self) -> None:
        """Pass on what is due."""
        queue = self._queue
        now = time.monotonic()
        while queue and queue[0][0] <= now:
            self._pop()
        if queue and self._timer is None:
            self.wake_at(queue[0][0])

    def end(self, ending: Ending) -> None:
        """See `Stage`; behind whatever is queued, without a delay of its own."""
        self.put(self._queue[-1][0] if self._queue else 0.0, ending, 0.0)

    def release(self) -> None:
        """See `Stage`."""
        self.sleep()
        while self._queue:
            self._pop()

    def close(self) -> None:
        """See `Stage`."""
        super().close()
        self._queue.clear()

    def _pop(self) -> None:
        _, item, at = self._queue.popleft()
        if not isinstance(item, Ending):
            self.held -= len(item)
        self._pass(item, at)

    def _pass(self, item: bytes | Ending, at: float) -> None:
        if isinstance(item, Ending):
            self.next.end(item)
        else:
            self.next.feed(item, at)


class ToxicChain:
    """The stages of one direction of one connection, in the order in which their toxics were added."""

    __slots__ = ("_pipe", "_sink", "_stages")

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._sink = Sink(pipe, Draw())
        self._stages: list[tuple[object, Stage]] = []

    def __bool__(self) -> bool:
        return bool(self._stages)

    def stage_of(self, key: object) -> Stage | None:
        """Return the stage that was inserted under `key`."""
        return next((stage for known, stage in self._stages if known is key), None)

    def insert(self, position: int, key: object, stage: Stage, *, live: bool) -> Self:
        """Put a stage at `position` of the stages that are there, and start it."""
        self._stages.insert(position, (key, stage))
        self._link()
        stage.start(live=live)
        return self

    def keys(self) -> list[object]:
        """The keys in order."""
        return [key for key, _ in self._stages]

    def remove(self, key: object) -> None:
        """Take a stage out; what it held goes on to the stages after it."""
        for index, (known, stage) in enumerate(self._stages):
            if known is key:
                del self._stages[index]
                self._link()
                stage.release()
                return

    def feed(self, data: bytes) -> None:
        """Take a chunk; the stages hand it to `Pipe.write` when its time has come."""
        self._stages[0][1].feed(data, time.monotonic())

    def end(self, ending: Ending) -> None:
        """The source ended; `Pipe.finish` follows when everything before it is released."""
        self._stages[0][1].end(ending)

    def close(self) -> None:
        """The connection is gone: drop what is held, cancel timers."""
        for _, stage in self._stages:
            stage.close()

    def is_full(self) -> bool:
        """Whether so much is held that reading must stop. What the destination has not taken counts too."""
        held = self._pipe.pending_bytes
        capacity = 0
        for _, stage in self._stages:
            held += stage.held
            capacity = max(capacity, stage.capacity)
        return held >= capacity

    def _link(self) -> None:
        following: Stage = self._sink
        for _, stage in reversed(self._stages):
            stage.next = following
            following = stage
