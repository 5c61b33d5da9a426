"""Counts of operations, read from a history while it is written: a drill does nothing for its metrics but name a file.

`HistoryWriter` hands whole blocks to the kernel as it goes; a tail takes in those that are new since its last look. Nothing
is judged here, and nothing is refused: a block that is not as it should be ends the tail, and the reader of the finished
history says why.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from labctl.metrics.exposition import Exposition
from labctl.model.history import FINAL_READ, OpOutcome
from labctl.model.run import Recording
from labctl.store.history_format import (
    BLOCK,
    BLOCK_MAGIC,
    COMPLETE,
    DUE,
    END,
    HEADER,
    INVOKE,
    MAGIC,
    NAMES,
    RECORD_TYPE,
    RECORDS,
    TRANSACTIONS,
    checks_size,
)

BOUNDS_S: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of latency buckets: an operation on loopback takes a tenth of a millisecond, a failover seconds."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""What one look takes in at the most, some 350,000 operations; the next look goes on from there."""
READS: Final = frozenset({"read", "receive", FINAL_READ})
"""Functions that change nothing: every other one that is acknowledged is an acknowledged write."""

_Column = npt.NDArray[np.int64]


@dataclass(slots=True)
class _Durations:
    counts: _Column = field(default_factory=lambda: np.zeros(len(BOUNDS_S) + 1, np.int64))
    total_s: float = 0.0


class Tail:
    """What a recording says so far. Not for two threads at once.

    Attributes:
        recording: Which.
        outcomes: Operations that ended, by function and outcome.
        invoked: Operations sent.
        ended: The recorder closed the file or is gone, or nothing more can be read from it.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.invoked = 0
        self.ended = False
        self._durations: dict[str, _Durations] = {}
        self._functions: list[str] = []
        self._at = 0
        self._function_of: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
        self._since_ns: _Column = np.empty(0, np.int64)

    def look(self) -> None:
        """Take in what is new."""
        if self.ended:
            return
        lives = _lives(self.recording.pid)
        try:
            with Path(self.recording.history).open("rb") as file:
                file.seek(self._at)
                data = file.read(MOST_BYTES)
        except OSError:
            self.ended = self._at > 0 or not lives  # removed, and what was counted stays; else it is not there yet
            return
        self._at += self._take(data)
        self.ended |= not lives and len(data) < MOST_BYTES

    def write(self, out: Exposition) -> None:
        """Its metrics."""
        of = self.recording
        labels = {"run": of.run, "scenario": of.scenario, "phase": of.phase}
        text = "Whether the phase of a run is being recorded."
        out.gauge("labctl_run_recording", text, float(not self.ended), **labels)
        under_way = 0 if self.ended else self.invoked - sum(self.outcomes.values())
        out.gauge("labctl_operations_under_way", "Operations sent and not answered yet.", under_way, **labels)
        for (function, outcome), count in sorted(self.outcomes.items()):
            text = "Operations of a workload that ended, by how."
            out.counter("labctl_operations_total", text, count, **labels, function=function, outcome=outcome)
        for function, seen in sorted(self._durations.items()):
            text = "From due (or sent, in a closed loop) to acknowledged."
            name = "labctl_operation_duration_seconds"
            out.histogram(name, text, BOUNDS_S, seen.counts.tolist(), seen.total_s, **labels, function=function)
        acknowledged = sum(
            count
            for (function, outcome), count in self.outcomes.items()
            if outcome == OpOutcome.OK.label and function not in READS
        )
        out.counter("labctl_acknowledged_writes_total", "Writes that were acknowledged.", acknowledged, **labels)

    def _take(self, data: bytes) -> int:
        """Take in every whole block of `data`; how many bytes they are."""
        at = 0
        if self._at == 0:
            if not data.startswith(MAGIC):
                self.ended = len(data) >= len(MAGIC)
                return 0
            at = len(MAGIC)
        while len(data) - at >= BLOCK.size and not self.ended:
            magic, kind, _, count, size, _ = BLOCK.unpack_from(data, at)
            end = at + BLOCK.size + size
            if magic != BLOCK_MAGIC or not HEADER <= kind <= TRANSACTIONS:
                self.ended = True
            elif end > len(data):
                break
            else:
                self._block(kind, data[at + BLOCK.size + checks_size(kind, count) : end])
                at = end
        return at

    def _block(self, kind: int, payload: bytes) -> None:
        if kind == NAMES:
            self._functions += map(str, json.loads(payload).get("functions", ()))
        elif kind == RECORDS:
            self._records(np.frombuffer(payload, RECORD_TYPE))
        elif kind == END:
            self.ended = True

    def _records(self, records: npt.NDArray[np.void]) -> None:
        invoked = records[records["tag"] == INVOKE]
        self.invoked += len(invoked)
        self._function_of = np.concatenate([self._function_of, invoked["code"]])
        self._since_ns = np.concatenate([self._since_ns, invoked["at_ns"]])
        due = records[records["tag"] == DUE]
        self._since_ns[due["number"]] = due["at_ns"]
        completed = records[records["tag"] == COMPLETE]
        functions = self._function_of[completed["number"]]
        seconds = (completed["at_ns"] - self._since_ns[completed["number"]]) / 1e9
        for code in np.unique(functions):
            name, mine = self._functions[code], functions == code
            for outcome, count in enumerate(np.bincount(completed["code"][mine], minlength=len(OpOutcome))):
                if count:
                    self.outcomes[name, OpOutcome(outcome).label] += int(count)
            took = seconds[mine & (completed["code"] == OpOutcome.OK)]
            seen = self._durations.setdefault(name, _Durations())
            seen.counts += np.bincount(np.searchsorted(BOUNDS_S, took), minlength=len(BOUNDS_S) + 1)
            seen.total_s += float(took.sum())


def _lives(pid: int) -> bool:
    """Whether a process is there, be it somebody else's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
