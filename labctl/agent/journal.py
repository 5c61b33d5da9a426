"""The undo journal: what is to be reverted is on disk before it is done.

One JSON object a line. `begin` holds a fault and the claims that it makes; it is fsynced before the first action.
`end` says that the claims were dropped and the lab was seen without them. What has a `begin` and no `end` is to be
undone by whoever reads the journal next. A line that a crash cut short is a fault that never started.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from labctl.model.fault import Action, Fault
from labctl.store.codec import from_data, to_data


@dataclass(frozen=True, slots=True)
class Record:
    """A fault in force, or one whose undo has not been seen yet.

    Attributes:
        fault_id: 1, 2, 3 … within the lab.
        fault: As asked for, its target filled in.
        actions: Its claims.
        began_ns: Monotonic clock.
        ends_ns: When the agent reverts it, monotonic clock; None for a fault without an end.
    """

    fault_id: int
    fault: Fault
    actions: tuple[Action, ...]
    began_ns: int
    ends_ns: int | None


class Journal:
    """An append-only file of begins and ends.

    Args:
        path: The file; made with mode 0600 when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.open_records, self.last_id = _read(path)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            os.write(self._file, b"\n")

    def begin(self, record: Record) -> None:
        """Note a fault; on return it has reached the disk."""
        self._append({"begin": to_data(record)})

    def end(self, fault_id: int) -> None:
        """Note that a fault is undone."""
        self._append({"end": fault_id})

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _append(self, entry: dict[str, object]) -> None:
        os.write(self._file, json.dumps(entry).encode() + b"\n")
        os.fsync(self._file)


def _read(path: Path) -> tuple[tuple[Record, ...], int]:
    records: dict[int, Record] = {}
    last = 0
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # cut short by a crash, before any of its actions
        if "end" in entry:
            records.pop(entry["end"], None)
        elif "begin" in entry:
            record = from_data(Record, entry["begin"])
            records[record.fault_id] = record
            last = max(last, record.fault_id)
    return tuple(records.values()), last
