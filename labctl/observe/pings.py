"""What clients find now: a PING through each client group's own link to each primary, over a connection that is kept."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from ssl import SSLContext

from labctl.model.plan import ANNOUNCED_HOST, LabPlan, TlsFiles
from labctl.observe.access import context
from labctl.plan.endpoints import endpoints

SILENT_AFTER_S = 0.5
"""A PING that has been under way for longer than this is called silent, whatever becomes of it."""
GIVEN_UP_AFTER_S = 5.0
"""Then its connection is given up and another one opened."""

Pair = tuple[str, str]
"""A client group and a node."""


@dataclass(frozen=True, slots=True)
class Echo:
    """What became of the last PING of a pair.

    Attributes:
        ms: Round trip in milliseconds; None when nothing came back.
        error: Why not, or the word that the server answered instead of PONG; empty otherwise.
    """

    ms: float | None
    error: str = ""


@dataclass(slots=True)
class _Line:
    """One connection and what came of it."""

    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None
    asking: asyncio.Task[Echo] | None = None
    asked_at: float = 0.0
    last: Echo | None = None


@dataclass(slots=True)
class Pings:
    """Pings of one lab. Nothing waits for an answer: a round sends, and reads what has come back by then.

    Not as a user of the lab's ACL: a server answers an unknown client's PING too, with NOAUTH, and as fast.

    Args:
        plan: The lab.
        tls: Its certificates, where it has any.
    """

    plan: LabPlan
    tls: TlsFiles | None
    _lines: dict[Pair, _Line] = field(default_factory=dict)
    _context: SSLContext | None = None

    def send(self, pairs: Collection[Pair]) -> None:
        """Ask for each pair whose last question was answered; let go of the pairs that are not wanted any more."""
        for pair in [pair for pair in self._lines if pair not in pairs]:
            self._close(self._lines.pop(pair))
        for pair in pairs:
            line = self._lines.setdefault(pair, _Line())
            if line.asking is None:
                line.asked_at = time.monotonic()
                line.asking = asyncio.create_task(self._ask(line, pair), name=f"ping {pair}")

    async def settle(self, patience_s: float) -> None:
        """Wait until every question is answered, `patience_s` at the most, and not at all for those asked long ago."""
        now = time.monotonic()
        fresh = {line.asking for line in self._lines.values() if line.asking and now - line.asked_at < patience_s}
        if fresh:
            await asyncio.wait(fresh, timeout=patience_s)

    def read(self) -> dict[Pair, Echo]:
        """What is known of each pair; pairs that were asked for the first time just now may be missing."""
        found = {}
        for pair, line in self._lines.items():
            if line.asking is not None and line.asking.done():
                line.last, line.asking = line.asking.result(), None
            waiting_s = time.monotonic() - line.asked_at
            if line.asking is not None and waiting_s > SILENT_AFTER_S:
                found[pair] = Echo(None, "silent")
            elif line.last is not None:
                found[pair] = line.last
        return found

    def close(self) -> None:
        """Close every connection."""
        for line in self._lines.values():
            self._close(line)
        self._lines.clear()

    async def _ask(self, line: _Line, pair: Pair) -> Echo:
        """One question. A connection that was lost since the last one is opened again."""
        try:
            async with asyncio.timeout(GIVEN_UP_AFTER_S):
                if line.writer is not None:
                    with contextlib.suppress(OSError, EOFError):
                        return await self._round_trip(line)
                    self._hang_up(line)
                await self._connect(line, pair)
                return await self._round_trip(line)
        except TimeoutError:
            echo = Echo(None, "silent")
        except ConnectionRefusedError:
            echo = Echo(None, "refused")
        except (OSError, EOFError):
            echo = Echo(None, "reset")
        self._hang_up(line)
        return echo

    async def _connect(self, line: _Line, pair: Pair) -> None:
        group, name = pair
        way = endpoints(self.plan, None, self.tls, group)
        port = self.plan.node(name).port
        host, port = way.dial.get(port, (ANNOUNCED_HOST, port))
        source = (way.source, 0) if way.source else None
        line.reader, line.writer = await asyncio.open_connection(host, port, local_addr=source, ssl=self._tls())

    @staticmethod
    async def _round_trip(line: _Line) -> Echo:
        assert line.reader is not None
        assert line.writer is not None
        began = time.perf_counter()
        line.writer.write(b"PING\r\n")
        reply = await line.reader.readline()
        ms = (time.perf_counter() - began) * 1000
        if not reply.endswith(b"\n"):
            raise EOFError
        word = reply[1:].split(b" ", 1)[0].strip().decode("ascii", "replace")
        return Echo(ms, word if reply.startswith(b"-") and word != "NOAUTH" else "")

    def _tls(self) -> SSLContext | None:
        if self.tls is not None and self._context is None:
            self._context = context(self.tls)
        return self._context

    def _close(self, line: _Line) -> None:
        if line.asking is not None:
            line.asking.cancel()
        self._hang_up(line)

    @staticmethod
    def _hang_up(line: _Line) -> None:
        if line.writer is not None:
            line.writer.transport.abort()
        line.reader = line.writer = None
