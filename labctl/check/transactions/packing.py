"""From the operations of a history to the columns of its transactions.

Most values are columns already (`labctl.model.micro_operations`) or are made so many at a time; the others, those with
strings in them for example, are taken apart one by one (`unusual`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.check.transactions.columns import Function, Transactions
from labctl.check.transactions.graph import expand
from labctl.check.transactions.unusual import FUNCTIONS_BY_NAME, Unusual
from labctl.errors import HistoryError
from labctl.model.history import FINAL_READ, NIL, describe
from labctl.model.micro_encoder import MicroEncoder
from labctl.model.micro_operations import FUNCTIONS, Batch, MicroOperations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from labctl.model.history import History, Int8, Int64

TXN: Final = "txn"
_SHOWN = 10  # problems of a damaged history that are spelled out
_BY_CODE: Final = np.array([FUNCTIONS_BY_NAME[name] for name in FUNCTIONS], dtype=np.int8)


def pack(history: History) -> Transactions:
    """The transactions of a history.

    Raises:
        HistoryError: A value is not a list of micro-operations, or a key is used as a list and as a register.
    """
    packing = _Packing(history)
    positions = np.flatnonzero(history.where(TXN))
    row = NIL - history.value[positions] - len(history.values)
    packing.add_rows(positions[row >= 0], row[row >= 0])
    others = positions[row < 0].tolist()
    packing.add_values(others, [history.value_at(position) for position in others])
    final_reads = np.flatnonzero(history.where(FINAL_READ)).tolist()
    if final_reads:
        keys = packing.keys_by_name()
        names = [history.keys[code] for code in history.key[final_reads].tolist()]
        mine = [(p, keys[name]) for p, name in zip(final_reads, names, strict=True) if name in keys]
        packing.add_values([p for p, _ in mine], [[["r", key, history.value_at(p)]] for p, key in mine])
    return packing.build()


@dataclass(slots=True)
class _Packing:
    """What is known of a history's transactions while they are collected."""

    history: History
    encoder: MicroEncoder = field(default_factory=MicroEncoder)
    batches: list[Batch] = field(default_factory=list)
    positions: list[Int64] = field(default_factory=list)  # of what is in columns, now or as soon as they are made
    rows: list[Int64] = field(default_factory=list)
    encoded: int = 0
    unusual: Unusual = field(default_factory=Unusual)

    def add_rows(self, positions: Int64, rows: Int64) -> None:
        """Add transactions that are rows of the history's own columns."""
        self.positions.append(positions)
        self.rows.append(rows)

    def add_values(self, positions: Sequence[int], values: Sequence[object]) -> None:
        """Add transactions whose values are Python values."""
        batches, others = self.encoder.encode(values)
        self.batches += batches
        before, self.encoded = self.encoded, self.encoded + len(values) - len(others)
        self.positions.append(np.delete(np.array(positions, dtype=np.int64), others))
        self.rows.append(np.arange(before, self.encoded) + len(self.history.micro_operations))
        for index in others:
            problem = self.unusual.add(positions[index], values[index])
            if problem:
                self.unusual.problems.append(f"{describe(self.history, positions[index])}: {problem}")

    def keys_by_name(self) -> Mapping[str, object]:
        """Keys of micro-operations by the name that an operation on that key alone has."""
        keys: dict[str, object] = {}
        for key in (*self.history.micro_operations.keys, *self.encoder.new_keys, *self.unusual.keys):
            keys.setdefault(str(key), key)
        return keys

    def build(self) -> Transactions:
        """The columns, in order of invocation.

        Raises:
            HistoryError: With every problem found.
        """
        usual = MicroOperations.concatenate(
            [self.history.micro_operations, MicroOperations.of(self.batches, self.encoder.new_keys)]
        )
        position = np.concatenate((*self.positions, np.array(self.unusual.positions, dtype=np.int64)))
        row = np.concatenate((*self.rows, np.arange(len(self.unusual.positions)) + len(usual)))
        order = np.argsort(position, kind="stable")
        return self._transactions(_Values.of(usual, self.unusual), position[order], row[order])

    def _transactions(self, values: _Values, position: Int64, row: Int64) -> Transactions:
        micro = expand(values.start[row], values.start[row + 1])
        function, key, value = values.function[micro], values.key[micro], values.value[micro]
        problems = self.unusual.problems + _settle_kinds(function, key, value, values.keys)
        if problems:
            more = len(problems) - _SHOWN
            raise HistoryError(problems[:_SHOWN] + ([f"… and {more} more problems"] if more > 0 else []))
        history, size = self.history, values.start[row + 1] - values.start[row]
        return Transactions(
            process=history.process[position].astype(np.int64),
            invoke_ns=history.invoke_ns[position],
            complete_ns=history.complete_ns[position],
            outcome=history.outcome[position],
            position=position,
            start=np.concatenate(([0], np.cumsum(size))),
            function=function,
            key=key,
            value=value,
            list_begin=values.begin[micro],
            list_length=values.length[micro],
            elements=values.elements,
            keys=values.keys,
            values=self.unusual.values,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Values:
    """Usual and unusual values together, the usual ones first; columns as in `Transactions`."""

    start: Int64
    function: Int8
    key: Int64
    value: Int64
    begin: Int64
    length: Int64
    elements: Int64
    keys: tuple[str, ...]

    @classmethod
    def of(cls, usual: MicroOperations, unusual: Unusual) -> _Values:
        function = _BY_CODE[usual.function]
        is_list = usual.of_list >= 0
        function[is_list] = Function.READ_LIST
        begin = np.where(is_list, usual.list_start[usual.of_list], 0)  # -1 is the end of the last
        codes: dict[object, int] = {key: code for code, key in enumerate(usual.keys)}
        key = np.array([codes.setdefault(key, len(codes)) for key in unusual.keys], dtype=np.int64)
        return cls(
            start=np.concatenate((usual.start, usual.start[-1] + np.array(unusual.ends, dtype=np.int64))),
            function=np.concatenate((function, np.array(unusual.function, dtype=np.int8))),
            key=np.concatenate((usual.key, key[np.array(unusual.key, dtype=np.int64)])),
            value=np.concatenate((usual.value, np.array(unusual.value, dtype=np.int64))),
            begin=np.concatenate((begin, np.array(unusual.begin, dtype=np.int64) + len(usual.elements))),
            length=np.concatenate((usual.length, np.array(unusual.length, dtype=np.int64))),
            elements=np.concatenate((usual.elements, np.array(unusual.elements, dtype=np.int64))),
            keys=tuple(str(key) for key in codes),
        )


def _settle_kinds(function: Int8, key: Int64, value: Int64, names: Sequence[str]) -> list[str]:
    """Reads of a list that does not exist become reads of the empty list; keys used both ways are reported."""
    listlike = (function == Function.APPEND) | (function == Function.READ_LIST)
    is_list = np.zeros(len(names), dtype=np.bool_)
    is_list[key[listlike]] = True
    absent = (function == Function.READ) & (value == NIL) & is_list[key]
    function[absent] = Function.READ_LIST
    mixed = np.unique(key[~listlike & ~absent & is_list[key]])
    return [f"key {names[k]} is used both as a list and as a register" for k in mixed.tolist()]
