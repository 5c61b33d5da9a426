"""Writing a history to disk while it happens.

`HistoryWriter` packs each record into a buffer and hands whole blocks to the kernel, at least every `flush_bytes` and,
as long as records keep coming, every `flush_interval_s`. What the kernel has survives a SIGKILL of the recorder; what
was still in the buffer is lost with it, and an operation whose completion was lost reads as unknown, which is sound.
With `flush_interval_s=0` every record reaches the kernel before the call returns, at the price of a system call each.
`read_history` (re-exported from `history_reader`) reads segments back.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np

from labctl.errors import LabError
from labctl.model.history import NEVER, NIL, Event, History, OpOutcome
from labctl.model.micro_encoder import MicroEncoder
from labctl.model.micro_operations import join
from labctl.store.history_format import (
    BLOCK,
    BLOCK_MAGIC,
    COMPLETE,
    DUE,
    END,
    EVENTS,
    HEADER,
    INVOKE,
    MAGIC,
    NAMES,
    RECORD,
    RECORDS,
    SAME,
    TRANSACTIONS,
    checksum,
    record_checks,
    transactions_payload,
)
from labctl.store.history_reader import read_header, read_history

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

__all__ = ["HistoryWriter", "read_header", "read_history", "write_history"]

_Name = TypeVar("_Name")
_UNCHANGED = object()
_INTERNED = 65_536  # keys remembered at once; a forgotten one is written again under a new number
_STRINGS = 8_192  # strings as values likewise; as many as fit into a processor's cache


class HistoryWriter:
    """Appends to one segment file. For one thread or event loop; several workers write a segment each.

    Args:
        path: The file, which must not exist.
        header: JSON to keep at the head of the file (who recorded, what).
        flush_bytes: Size of the buffer.
        flush_interval_s: Longest time that a record waits in the buffer while others follow; 0 writes each at once.
        clock: Monotonic nanoseconds; the same clock for all segments of a run.

    Raises:
        LabError: The file exists, or the disk refused a write (here and in every method).
    """

    def __init__(
        self,
        path: Path,
        *,
        header: Mapping[str, object] | None = None,
        flush_bytes: int = 64 * 1024,
        flush_interval_s: float = 0.1,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._path = path
        try:
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise LabError(f"{path}: cannot create the history: {error.strerror}", "Choose another path.") from error
        self._clock = clock
        self._interval_ns = round(flush_interval_s * 1e9)
        self._buffer = bytearray(max(flush_bytes // RECORD.size, 2) * RECORD.size)
        self._limit = len(self._buffer) - 2 * RECORD.size  # an invocation may need a due record as well
        self._used = 0
        self._blocks = 0
        self._operations = 0
        self._functions: dict[str, int] = {}
        self._processes: dict[int, int] = {}
        self._answers: dict[tuple[str | None, str | None], int] = {}
        self._keys: dict[str, int] = {}
        self._strings: dict[str, int] = {}
        self._keys_named = 0
        self._values_named = 1
        self._encoder = MicroEncoder()
        self._new_names: dict[str, list[object]] = {}
        self._new_keys: list[str] = []
        self._new_values: list[object] = []
        self._new_events: list[Event] = []
        self._flush_at = clock() + self._interval_ns
        self._write_file(MAGIC)
        started = {"unix_ns": time.time_ns(), "monotonic_ns": clock()}
        self._write_blocks([(HEADER, 0, _json({**started, **(header or {})}))])

    def invoke(self, process: int, function: str, key: str, value: object = None, due_ns: int | None = None) -> int:
        """Record that an operation is about to be sent. Returns the handle that `complete` wants."""
        at_ns = self._clock()
        try:
            function_code, slot = self._functions[function], self._processes[process]
        except KeyError:
            function_code = self._name("functions", self._functions, function, 2**8)
            slot = self._name("processes", self._processes, process, 2**16)
        number = self._keys.get(key)
        if number is None:
            number = self._name_key(key)
        code = value if type(value) is int and NIL < value < -NIL else self._code_of(value)
        used = self._used
        RECORD.pack_into(self._buffer, used, INVOKE, function_code, slot, number, code, at_ns)
        self._used = used = used + 24
        handle = self._operations
        self._operations = handle + 1
        if due_ns is not None:
            RECORD.pack_into(self._buffer, used, DUE, 0, 0, handle, NIL, due_ns)
            self._used = used = used + 24
        if used > self._limit or at_ns >= self._flush_at:
            self._flush(at_ns)
        return handle

    def complete(
        self,
        handle: int,
        outcome: OpOutcome,
        value: object = _UNCHANGED,
        node: str | None = None,
        error: str | None = None,
    ) -> None:
        """Record how an operation ended; `value` replaces the invocation's when given (a read's result)."""
        at_ns = self._clock()
        slot = self._answers.get((node, error))
        if slot is None:
            slot = self._name("answers", self._answers, (node, error), 2**16)
        if value is _UNCHANGED:  # noqa: SIM108 - three cases in a row read better as branches
            code = SAME
        else:
            code = value if type(value) is int and NIL < value < -NIL else self._code_of(value)
        used = self._used
        RECORD.pack_into(self._buffer, used, COMPLETE, outcome, slot, handle, code, at_ns)
        self._used = used = used + 24
        if used > self._limit or at_ns >= self._flush_at:
            self._flush(at_ns)

    def event(self, event: Event) -> None:
        """Record a fault, a role change or a mark. Events are rare and reach the kernel at once."""
        self._new_events.append(event)
        self.flush()

    def flush(self) -> None:
        """Hand everything recorded so far to the kernel. Call it from time to time while operations stall."""
        self._flush(self._clock())

    def close(self) -> None:
        """Write what is left and the end mark. A closed writer stays closed."""
        if not self._file.closed:
            self.flush()
            self._write_blocks([(END, 0, b"")])
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _flush(self, at_ns: int) -> None:
        self._flush_at = at_ns + self._interval_ns
        blocks: list[tuple[int, int, bytes]] = []
        batches, others = self._encoder.encode(self._new_values)
        values = [self._new_values[i] for i in others] if batches else self._new_values
        micro_keys, self._encoder.new_keys = self._encoder.new_keys, []
        names = {**self._new_names, "keys": self._new_keys, "values": values, "micro_keys": micro_keys}
        if any(names.values()):
            blocks.append((NAMES, 0, _json({table: new for table, new in names.items() if new})))
        if batches:
            first = self._values_named - len(self._new_values)
            numbers = np.delete(np.arange(first, self._values_named, dtype=np.uint32), others)
            blocks.append((TRANSACTIONS, len(numbers), transactions_payload(numbers, join(batches))))
        if self._used:
            records = bytes(memoryview(self._buffer)[: self._used])
            blocks.append((RECORDS, self._used // RECORD.size, record_checks(records).tobytes() + records))
        if self._new_events:
            events = [[e.kind, e.at_ns, e.node, dict(e.detail)] for e in self._new_events]
            blocks.append((EVENTS, len(events), _json(events)))
        if blocks:
            self._write_blocks(blocks)
        self._new_names, self._new_keys, self._new_values, self._new_events, self._used = {}, [], [], [], 0

    def _write_blocks(self, blocks: list[tuple[int, int, bytes]]) -> None:
        parts: list[bytes] = []
        for number, (kind, count, payload) in enumerate(blocks, self._blocks):
            crc = checksum(kind, count, payload)
            parts += [BLOCK.pack(BLOCK_MAGIC, kind, number, count, len(payload), crc), payload]
        self._write_file(b"".join(parts))
        self._blocks += len(blocks)

    def _write_file(self, data: bytes) -> None:
        """One write for all of it; a disk that takes only a part leaves the file as it was before."""
        start = self._file.tell()
        try:
            written = self._file.write(data)
            while written < len(data):
                written += self._file.write(data[written:])
        except OSError as error:
            self._file.truncate(start)
            raise LabError(
                f"{self._path}: the history could not be written: {error.strerror}",
                "What was recorded before is kept. Free some space and run again.",
            ) from error

    def _name(self, table: str, codes: dict[_Name, int], name: _Name, limit: int) -> int:
        code = codes.get(name)
        if code is None:
            code = len(codes)
            if code == limit:
                raise LabError(f"{self._path}: more than {limit} {table} in one history segment", "Write several.")
            codes[name] = code
            self._new_names.setdefault(table, []).append(name)
        return code

    def _name_key(self, key: str) -> int:
        if len(self._keys) >= _INTERNED:
            self._keys.clear()
        code = self._keys[key] = self._keys_named
        self._keys_named += 1
        self._new_keys.append(key)
        return code

    def _code_of(self, value: object) -> int:
        """The code of a value that is no small integer."""
        code = NIL - self._values_named
        if isinstance(value, str):
            known = self._strings.get(value)
            if known is not None:
                return known
            if len(self._strings) >= _STRINGS:
                self._strings.clear()
            self._strings[value] = code
        elif value is None:
            return NIL
        self._values_named += 1
        self._new_values.append(value)
        return code


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def write_history(history: History, path: Path) -> None:
    """Write a history that exists already (imported, simulated) as one segment.

    Raises:
        LabError: As `HistoryWriter`.
    """
    now = 0
    answered = np.flatnonzero(history.complete_ns != NEVER)
    same = history.complete_ns[answered] == history.invoke_ns[answered]
    # At one moment: completions first, for a process may go on at once; but an instant operation begins before it ends.
    times = np.concatenate([history.invoke_ns, history.complete_ns[answered]])
    phase = np.concatenate([np.ones(len(history), int), same])
    ends = np.concatenate([np.zeros(len(history), int), np.ones(len(answered), int)])
    positions = np.concatenate([np.arange(len(history)), answered])
    handles: dict[int, int] = {}
    with HistoryWriter(path, clock=lambda: now, flush_interval_s=1e9) as writer:
        for i in np.lexsort((ends, positions, phase, times)):
            now, position = int(times[i]), int(positions[i])
            op = history[position]
            if ends[i]:
                writer.complete(handles.pop(position), op.outcome, node=op.node, error=op.error)
            else:
                handles[position] = writer.invoke(op.process, op.function, op.key, op.value, op.due_ns)
        for event in history.events:
            writer.event(event)
