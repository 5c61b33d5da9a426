"""Transactions as columns: what the dependency inference reads instead of a million Python lists (see `packing`).

A *transaction* is one operation of the history with the function `txn` whose value is its list of *micro-operations*
`[function, key, value]`:

- `["append", k, v]` appends `v` to the list `k` (RPUSH); no other transaction appends `v` to `k`.
- `["w", k, v]` writes `v` to the register `k` (SET); no other transaction writes `v` to `k`.
- `["r", k, v]` reads: a list's whole content (LRANGE 0 -1) or a register's value, None for a key that does not exist.

A key is a list or a register, never both. Reads count only in transactions that ended `ok`; what the history says
about the reads of the others is not looked at. A `final-read` operation on such a key is a transaction with that one
read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.model.history import NIL, OpOutcome, Outcomes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labctl.model.history import Int8, Int64

_TEXT_LIMIT = 12  # elements of a list, and micro-operations of a transaction, that are told; lists keep their ends


class Function(IntEnum):
    """What a micro-operation does."""

    APPEND = 0
    WRITE = 1
    READ_LIST = 2
    READ = 3


_NAMES: Final = {Function.APPEND: "append", Function.WRITE: "write", Function.READ_LIST: "read", Function.READ: "read"}


@dataclass(frozen=True, slots=True, eq=False)
class Transactions(Outcomes):
    """n transactions in order of invocation, with m micro-operations and all elements of all list reads.

    Attributes:
        process: (n,) the client; sequential.
        invoke_ns: (n,) never decreasing.
        complete_ns: (n,) `NEVER` without completion.
        outcome: (n,) `OpOutcome`.
        position: (n,) position in the history.
        start: (n+1,) micro-operations of transaction i are `start[i]:start[i+1]`, in program order.
        function: (m,) `Function`.
        key: (m,) codes into `keys`.
        value: (m,) the value appended or written, or a register's value read, coded as in `History`; NIL for None.
        list_begin: (m,) elements of list read j are `list_length[j]` of `elements` from here on; 0 for others.
        list_length: (m,) 0 for all but list reads.
        elements: Values read from lists. Reads of which one is a prefix of the other may share a stretch.
        keys: Key names by code.
        values: What the codes at and below NIL stand for; see `labctl.model.history`.
    """

    process: Int64
    invoke_ns: Int64
    complete_ns: Int64
    outcome: Int8
    position: Int64
    start: Int64
    function: Int8
    key: Int64
    value: Int64
    list_begin: Int64
    list_length: Int64
    elements: Int64
    keys: tuple[str, ...] = ()
    values: Sequence[object] = (None,)

    def __len__(self) -> int:
        return len(self.invoke_ns)

    @property
    def owner(self) -> Int64:
        """(m,) the transaction of each micro-operation."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))

    def value_text(self, code: int) -> str:
        """A value for people."""
        return str(code) if code > NIL else repr(self.values[NIL - code])

    def list_text(self, codes: Sequence[int]) -> str:
        """A list for people: `[1 2 3]`, the middle of a long one left out."""
        shown = [self.value_text(int(code)) for code in codes[-_TEXT_LIMIT:]]
        return f"[{'… ' if len(codes) > _TEXT_LIMIT else ''}{' '.join(shown)}]"

    def micro_text(self, micro: int) -> str:
        """A micro-operation for people: `append k 5`, `read k [1 2]`."""
        function, key = Function(int(self.function[micro])), self.keys[self.key[micro]]
        if function is Function.READ_LIST:
            return f"read {key} {self.list_text(self.read_elements(micro).tolist())}"
        return f"{_NAMES[function]} {key} {self.value_text(int(self.value[micro]))}"

    def read_elements(self, micro: int) -> Int64:
        """What list read `micro` returned."""
        begin = self.list_begin[micro]
        return self.elements[begin : begin + self.list_length[micro]]

    def text(self, transaction: int) -> str:
        """A transaction for people: its micro-operations, reads without results where the outcome is not `ok`."""
        texts = []
        first, end = int(self.start[transaction]), int(self.start[transaction + 1])
        for micro in range(first, min(end, first + _TEXT_LIMIT)):
            is_read = self.function[micro] in {Function.READ, Function.READ_LIST}
            if is_read and self.outcome[transaction] != OpOutcome.OK:
                texts.append(f"read {self.keys[self.key[micro]]}")
            else:
                texts.append(self.micro_text(micro))
        if end > first + _TEXT_LIMIT:
            texts.append(f"and {end - first - _TEXT_LIMIT} more")
        return ", ".join(texts) or "nothing"

    def describe(self, transaction: int) -> str:
        """Where a transaction is found in the history."""
        return f"operation {self.position[transaction]} (process {self.process[transaction]})"

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        columns = (self.process, self.invoke_ns, self.complete_ns, self.outcome, self.position, self.start)
        micro = (self.function, self.key, self.value, self.list_begin, self.list_length, self.elements)
        return sum(column.nbytes for column in (*columns, *micro))
