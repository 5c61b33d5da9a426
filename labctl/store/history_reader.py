"""Reading history segments back into one `History`.

A segment whose recorder died is read up to its last complete record. Anything else that is not as the recorder wrote it
is refused with the record and the byte offset.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from labctl.errors import HistoryError, UsageError
from labctl.model.history import NEVER, NIL, Event, History, Int64, Interner, OpOutcome, ValueTable
from labctl.model.micro_operations import Batch, MicroOperations, Numbers
from labctl.store.history_format import (
    BLOCK,
    BLOCK_MAGIC,
    CHECK_BYTES,
    COMPLETE,
    DUE,
    END,
    EVENTS,
    HEADER,
    INVOKE,
    MAGIC,
    NAMES,
    RECORD_TYPE,
    RECORDS,
    SAME,
    TRANSACTIONS,
    checks_size,
    checksum,
    read_transactions,
    record_checks,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CUT = "history-cut"
"""Kind of the event that marks a segment whose recorder died: its tail may be missing. `detail` says what was read."""

_TABLES = ("functions", "keys", "processes", "answers", "micro_keys")

Records = npt.NDArray[np.void]


def read_history(paths: Path | Iterable[Path]) -> History:
    """The history of one or several segments, merged by time.

    A segment without its end mark adds an event of kind `CUT` at its last record. Operations without completion are
    unknown. The result is not yet validated across segments; see `labctl.model.history.validate`.

    Raises:
        UsageError: A file is missing, cannot be read, or is no history at all.
        HistoryError: A segment was damaged or edited; the message names record and byte offset.
    """
    segments = [_Segment(path) for path in ([paths] if isinstance(paths, Path) else paths)]
    for segment in segments:
        segment.read()
    return _merge(segments)


def read_header(path: Path) -> Mapping[str, object]:
    """The JSON at the head of a segment: `unix_ns` and `monotonic_ns` of one moment, and what the recorder added.

    Raises:
        UsageError, HistoryError: As `read_history`.
    """
    segment = _Segment(path)
    segment.read()
    return segment.header


@dataclass
class _Segment:
    path: Path
    header: dict[str, object] = field(default_factory=dict)
    tables: dict[str, list[Any]] = field(default_factory=dict)
    batches: list[tuple[Numbers, Batch]] = field(default_factory=list)
    parts: list[Records] = field(default_factory=list)
    offsets: list[tuple[int, int]] = field(default_factory=list)  # (first record, byte offset) of each part
    events: list[Event] = field(default_factory=list)
    count: int = 0
    closed: bool = False

    def read(self) -> None:
        try:
            data = memoryview(self.path.read_bytes())
        except OSError as error:
            raise UsageError(f"{self.path}: cannot read the history: {error.strerror}", "Check the path.") from error
        self.tables = {name: [] for name in _TABLES} | {"values": [None]}
        if data[: len(MAGIC)] != MAGIC[: len(data)]:
            raise UsageError(
                f"{self.path}: not a labctl history", "Convert other formats with `labctl history convert`."
            )
        at, number = len(MAGIC), 0
        while at < len(data) and not self.closed:
            at = self._read_block(data, at, number)
            number += 1
        if at < len(data):
            self._damaged(at, "data after the end mark")
        records = self.records
        if not self.closed:
            last = int(records["at_ns"].max(initial=0))
            detail = {"file": self.path.name, "records": len(records), "bytes": len(data)}
            self.events.append(Event(CUT, last, None, detail))
        self._check(records)

    @cached_property
    def records(self) -> Records:
        return np.concatenate(self.parts) if self.parts else np.empty(0, RECORD_TYPE)

    @property
    def in_columns(self) -> Numbers:
        """Numbers of the values that are in columns."""
        return np.concatenate([np.empty(0, np.uint32), *(numbers for numbers, _ in self.batches)])

    @property
    def values(self) -> int:
        """How many values there are, with None as number 0."""
        return len(self.tables["values"]) + sum(len(numbers) for numbers, _ in self.batches)

    @cached_property
    def micro_operations(self) -> MicroOperations:
        """The values that are in columns."""
        return MicroOperations.of((batch for _, batch in self.batches), self.tables["micro_keys"])

    def _read_block(self, data: memoryview, at: int, number: int) -> int:
        """Take in the block at byte `at`; returns where the next begins. An incomplete last block ends the segment."""
        if len(data) - at < BLOCK.size:
            return len(data)
        if data[at] == 0 and not any(data[at:]):  # zeros: power loss undid a write but not the growth of the file
            return len(data)
        magic, kind, found, count, size, crc = BLOCK.unpack_from(data, at)
        start = at + BLOCK.size
        end: int = start + size
        if magic != BLOCK_MAGIC or not HEADER <= kind <= TRANSACTIONS:
            self._damaged(at, "no block begins here")
        if found != number:
            self._damaged(at, f"block {found} where block {number} belongs: blocks were removed or moved")
        payload = data[start:end]
        checks = checks_size(kind, count)
        if end > len(data):
            if kind == RECORDS:
                self._take_tail(payload[:checks], payload[checks:], start + checks)
            return len(data)
        if checksum(kind, count, payload) != crc:
            ends = f" to {self.count + count - 1}" if kind == RECORDS else ""
            self._damaged(at, f"checksum mismatch in the block of records {self.count}{ends}: changed after writing")
        try:
            self._take_block(kind, payload[checks:], start + checks)
        except (ValueError, TypeError, KeyError):
            self._damaged(at, "the block is not what a recorder writes, though its checksum is right")
        return end

    def _take_block(self, kind: int, payload: memoryview, start: int) -> None:
        if kind == RECORDS:
            self._take(np.frombuffer(payload, RECORD_TYPE), start)
        elif kind == HEADER:
            self.header = json.loads(bytes(payload))
        elif kind == NAMES:
            for table, names in json.loads(bytes(payload)).items():
                self.tables[table] += names
        elif kind == TRANSACTIONS:
            self.batches.append(read_transactions(payload))
        elif kind == EVENTS:
            self.events += [Event(*event) for event in json.loads(bytes(payload))]
        self.closed = kind == END

    def _take(self, records: Records, start: int) -> None:
        self.offsets.append((self.count, start))
        self.parts.append(records)
        self.count += len(records)

    def _take_tail(self, checks: memoryview, payload: memoryview, start: int) -> None:
        """Take in the records of a block that breaks off, up to the first that is not as it was written."""
        count = min(len(checks) // CHECK_BYTES, len(payload) // RECORD_TYPE.itemsize)
        whole = payload[: count * RECORD_TYPE.itemsize]
        wrong = np.flatnonzero(np.frombuffer(checks, "<u2", count) != record_checks(whole))
        self._take(np.frombuffer(whole, RECORD_TYPE)[: wrong[0] if len(wrong) else count], start)

    def _damaged(self, at: int, what: str) -> NoReturn:
        raise HistoryError([f"{self.path}: record {self.count}, byte offset {at}: {what}"])

    def _refuse(self, bad: npt.NDArray[np.intp], what: str) -> None:
        """Refuse the segment for the first of these record numbers, if there is one."""
        if len(bad):
            record = int(bad[0])
            first, start = max(pair for pair in self.offsets if pair[0] <= record)
            offset = start + (record - first) * RECORD_TYPE.itemsize
            raise HistoryError([f"{self.path}: record {record}, byte offset {offset}: {what}"])

    def _check(self, records: Records) -> None:
        numbers = self.in_columns
        if np.any(numbers[1:] <= numbers[:-1]) or (len(numbers) and not 0 < numbers[0] <= numbers[-1] < self.values):
            raise HistoryError([f"{self.path}: values are not numbered in order"])
        if problem := self.micro_operations.problem():
            raise HistoryError([f"{self.path}: {problem}"])
        tag, number = records["tag"], records["number"]
        self._refuse(np.flatnonzero((tag < INVOKE) | (tag > DUE)), "neither an invocation nor a completion")
        timed = np.flatnonzero(tag != DUE)
        self._refuse(timed[1:][np.diff(records["at_ns"][timed]) < 0], "the clock went backwards")
        invoked = tag == INVOKE
        self._refuse(
            np.flatnonzero(invoked & (number >= len(self.tables["keys"]))), "names a key that the file does not define"
        )
        self._refuse(
            np.flatnonzero(invoked & (records["code"] >= len(self.tables["functions"]))),
            "names a function that the file does not define",
        )
        self._refuse(
            np.flatnonzero(invoked & (records["slot"] >= len(self.tables["processes"]))),
            "names a process that the file does not define",
        )
        self._refuse(
            np.flatnonzero(~invoked & (number >= np.cumsum(invoked))), "completes an operation that was not invoked"
        )
        completions = np.flatnonzero(tag == COMPLETE)
        repeated = np.ones(len(completions), bool)
        repeated[np.unique(number[completions], return_index=True)[1]] = False
        self._refuse(completions[repeated], "completes an operation for the second time")
        self._refuse(
            completions[records["slot"][completions] >= len(self.tables["answers"])],
            "names an answer that the file does not define",
        )
        self._refuse(completions[records["code"][completions] > max(OpOutcome)], "has an outcome that does not exist")
        values = records["value"]
        undefined = (values <= NIL - self.values) & ((values != SAME) | (tag != COMPLETE))
        self._refuse(np.flatnonzero(undefined & (tag != DUE)), "has a value that the file does not define")


def _recode(segments: list[_Segment], values: ValueTable) -> list[Int64]:
    """For each segment the codes in the merged history of its values, by their numbers in the segment."""
    single = [_codes(map(values.code, segment.tables["values"])) for segment in segments]
    first = len(values.values)
    recoded: list[Int64] = []
    for segment, codes in zip(segments, single, strict=True):
        new = np.empty(segment.values, np.int64)
        in_columns = np.zeros(segment.values, np.bool_)
        in_columns[segment.in_columns] = True
        new[~in_columns] = codes
        new[in_columns] = NIL - np.arange(first, first + len(segment.in_columns))
        first += len(segment.in_columns)
        recoded.append(new)
    return recoded


def _merge(segments: list[_Segment]) -> History:
    """One history from all segments: names and values numbered anew, operations sorted by invocation."""
    functions, keys, nodes, errors, values = Interner(), Interner(), Interner(), Interner(), ValueTable()
    parts: list[dict[str, Int64]] = []
    for segment, value_codes in zip(segments, _recode(segments, values), strict=True):
        columns, tables = _join(segment.records), segment.tables
        answers = [(None, None), *tables["answers"]]  # slot 0: no completion
        slots = columns.pop("answer")
        columns["node"] = _codes(nodes.code(pair[0]) for pair in answers)[slots]
        columns["error"] = _codes(errors.code(pair[1]) for pair in answers)[slots]
        columns["function"] = _codes(functions.code(str(name)) for name in tables["functions"])[columns["function"]]
        columns["key"] = _codes(keys.code(str(name)) for name in tables["keys"])[columns["key"]]
        columns["process"] = np.array(tables["processes"], np.int64)[columns["process"]]
        other = columns["value"] <= NIL
        columns["value"][other] = value_codes[NIL - columns["value"][other]]
        parts.append(columns)
    if not parts:
        return History.of()
    order = np.argsort(np.concatenate([part["invoke_ns"] for part in parts]), kind="stable")
    merged = {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}
    events = sorted((event for segment in segments for event in segment.events), key=lambda event: event.at_ns)
    return History(
        process=merged["process"].astype(np.int32),
        function=merged["function"].astype(np.int32),
        key=merged["key"].astype(np.int32),
        value=merged["value"],
        invoke_ns=merged["invoke_ns"],
        complete_ns=merged["complete_ns"],
        due_ns=merged["due_ns"],
        outcome=merged["outcome"].astype(np.int8),
        node=merged["node"].astype(np.int32),
        error=merged["error"].astype(np.int32),
        functions=functions.table,
        keys=keys.table,
        values=values.values,
        nodes=nodes.table,
        errors=errors.table,
        events=tuple(events),
        micro_operations=MicroOperations.concatenate(segment.micro_operations for segment in segments),
    )


def _codes(codes: Iterable[int]) -> Int64:
    return np.fromiter(codes, np.int64)


def _join(records: Records) -> dict[str, Int64]:
    """Each invocation of a segment with its completion, in the segment's own codes; answer 0 is no completion."""
    invoked = records[records["tag"] == INVOKE]
    completed = records[records["tag"] == COMPLETE]
    due = records[records["tag"] == DUE]
    count, of = len(invoked), completed["number"]
    columns = {
        "process": invoked["slot"].astype(np.int64),
        "function": invoked["code"].astype(np.int64),
        "key": invoked["number"].astype(np.int64),
        "value": invoked["value"].astype(np.int64),
        "invoke_ns": invoked["at_ns"].astype(np.int64),
        "complete_ns": np.full(count, NEVER, np.int64),
        "due_ns": invoked["at_ns"].astype(np.int64),
        "outcome": np.full(count, OpOutcome.UNKNOWN, np.int64),
        "answer": np.zeros(count, np.int64),
    }
    changed = completed["value"] != SAME
    columns["value"][of[changed]] = completed["value"][changed]
    columns["complete_ns"][of] = completed["at_ns"]
    columns["outcome"][of] = completed["code"]
    columns["answer"][of] = completed["slot"].astype(np.int64) + 1
    columns["due_ns"][due["number"]] = due["at_ns"]
    return columns
