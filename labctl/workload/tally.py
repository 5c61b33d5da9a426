"""Counting what clients have seen so far, for steps that wait for so many writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.model.history import FINAL_READ, OpOutcome

if TYPE_CHECKING:
    from labctl.workload.process import Recorder

_READS = frozenset({"read", "top", FINAL_READ})
"""Functions that change nothing; everything else is counted as a write."""
_UNCHANGED = object()


class Tally:
    """A recorder that passes everything on and counts.

    Attributes:
        operations: Acknowledged so far.
        writes: Of them those that are no reads.
        errors: Operations that failed or whose outcome is unknown.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.operations = 0
        self.writes = 0
        self.errors = 0
        self._recorder = recorder
        self._writing: set[int] = set()

    def invoke(self, process: int, function: str, key: str, value: object = None, due_ns: int | None = None) -> int:
        """See `Recorder`."""
        handle = self._recorder.invoke(process, function, key, value, due_ns)
        if function not in _READS:
            self._writing.add(handle)
        return handle

    def complete(
        self,
        handle: int,
        outcome: OpOutcome,
        value: object = _UNCHANGED,
        node: str | None = None,
        error: str | None = None,
    ) -> None:
        """See `Recorder`."""
        writing = handle in self._writing
        self._writing.discard(handle)
        if outcome is OpOutcome.OK:
            self.operations += 1
            self.writes += writing
        else:
            self.errors += 1
        if value is _UNCHANGED:
            self._recorder.complete(handle, outcome, node=node, error=error)
        else:
            self._recorder.complete(handle, outcome, value, node, error)

    def flush(self) -> None:
        """See `Recorder`."""
        self._recorder.flush()
