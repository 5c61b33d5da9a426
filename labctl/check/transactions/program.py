"""What follows from program order alone: who wrote which value, and what each transaction did to a key, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labctl.check.transactions.columns import Function
from labctl.errors import HistoryError

if TYPE_CHECKING:
    from labctl.check.transactions.columns import Transactions
    from labctl.model.history import Int64, Mask

_SHOWN = 5  # repeated values that are spelled out


@dataclass(frozen=True, slots=True, eq=False)
class Writers:
    """Finds the micro-operation that appended or wrote a value: values are unique per key.

    A value that a failed transaction wrote may be written again by a retry; it then belongs to the retry, for the
    failed one was certainly not applied.
    """

    _micros: Int64  # writing micro-operations in order of key and value
    _values: Int64  # what they wrote
    _codes: Int64  # key and rank of the value as one number, sorted
    _ranks: _Ranks

    @classmethod
    def of(cls, transactions: Transactions, owner: Int64) -> Writers:
        """The writers of these transactions.

        Raises:
            HistoryError: Two transactions that may have committed, or one of them twice, wrote the same value to the
                same key. Names them.
        """
        micros = np.flatnonzero(transactions.function <= Function.WRITE)
        values = transactions.value[micros]
        ranks = _Ranks.of(values, len(transactions.keys))
        codes = ranks.code(transactions.key[micros], values)
        failed = transactions.failed[owner[micros]]
        order = np.argsort(codes * 2 + failed)
        codes, micros, failed = codes[order], micros[order], failed[order]
        repeated = np.flatnonzero((np.diff(codes) == 0) & ~failed[1:]) + 1
        if len(repeated):
            raise HistoryError(
                [
                    f"{transactions.describe(int(owner[micros[i]]))}: {transactions.micro_text(int(micros[i]))} "
                    f"repeats what {transactions.describe(int(owner[micros[i - 1]]))} did; "
                    f"values must be unique per key"
                    for i in repeated[:_SHOWN].tolist()
                ]
            )
        return cls(micros, values[order], codes, ranks)

    def find(self, key: Int64, value: Int64) -> Int64:
        """The micro-operation that wrote each value to each key; -1 where none did."""
        if not len(self._codes):
            return np.full(len(key), -1, dtype=np.int64)
        code = self._ranks.code(key, value)
        place = np.minimum(np.searchsorted(self._codes, code), len(self._codes) - 1)
        known = (self._codes[place] == code) & (self._values[place] == value)
        return np.where(known, self._micros[place], -1)


@dataclass(frozen=True, slots=True, eq=False)
class _Ranks:
    """Numbers for written values, so small that a key and a value fit into one integer."""

    _distinct: Int64  # sorted; empty if a value's rank is its distance from `_least`
    _least: int
    _count: int

    @classmethod
    def of(cls, values: Int64, keys: int) -> _Ranks:
        least = int(values.min()) if len(values) else 0
        span = int(values.max()) - least + 1 if len(values) else 1
        if span * (keys + 1) < 1 << 61:
            return cls(values[:0], least, span)
        distinct = np.unique(values)
        return cls(distinct, least, len(distinct))

    def code(self, key: Int64, value: Int64) -> Int64:
        """One number for each key and value, different for different values that were written."""
        rank = np.searchsorted(self._distinct, value) if len(self._distinct) else value - self._least
        return key * self._count + np.clip(rank, 0, self._count - 1)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Micro-operations grouped by transaction and key, in program order within a group.

    A *place* is an index into `micro`. Columns are per place unless they say otherwise.

    Attributes:
        micro: (m,) micro-operations, group after group.
        begin: First place of the place's group.
        is_write: Whether it appends or writes.
        first_write: Place of the group's first write; m if it has none.
        last_write: Place of the group's last write; -1 if it has none.
        read_before: Place of the nearest earlier read of the group; -1 if there is none.
        read_after: Place of the nearest later read of the group; m if there is none.
        writes_before: Writes at all earlier places, whatever their group: differences count within a group.
        place: (m,) place of each micro-operation.
    """

    micro: Int64
    begin: Int64
    is_write: Mask
    first_write: Int64
    last_write: Int64
    read_before: Int64
    read_after: Int64
    writes_before: Int64
    place: Int64

    @classmethod
    def of(cls, transactions: Transactions, owner: Int64) -> Program:
        """Group the micro-operations of these transactions."""
        total = len(owner)
        group = owner * max(len(transactions.keys), 1) + transactions.key
        micro = np.argsort(group, kind="stable")  # nearly sorted already
        group = group[micro]
        places = np.arange(total)
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        sizes = np.diff(np.append(starts, total))
        begin, end = np.repeat(starts, sizes), np.repeat(starts + sizes, sizes)
        is_write = transactions.function[micro] <= Function.WRITE
        read_up_to = np.maximum.accumulate(np.where(is_write, -1, places))
        read_before = np.concatenate(([-1], read_up_to))[:total]
        read_from = np.minimum.accumulate(np.where(is_write, total, places)[::-1])[::-1]
        read_after = np.append(read_from, total)[1:]
        writes = np.where(is_write, places, total), np.where(is_write, places, -1)
        place = np.empty(total, dtype=np.int64)
        place[micro] = places
        return cls(
            micro=micro,
            begin=begin,
            is_write=is_write,
            first_write=np.repeat(np.minimum.reduceat(writes[0], starts), sizes) if total else begin,
            last_write=np.repeat(np.maximum.reduceat(writes[1], starts), sizes) if total else begin,
            read_before=np.where(read_before >= begin, read_before, -1),
            read_after=np.where(read_after < end, read_after, total),
            writes_before=np.cumsum(is_write) - is_write,
            place=place,
        )

    def is_last_write(self, micro: Int64) -> Mask:
        """Whether each writing micro-operation is its transaction's last write to its key."""
        place = self.place[micro]
        return np.equal(self.last_write[place], place)

    def reads_first(self, micro: Int64) -> Mask:
        """Whether each reading micro-operation comes before every write of its transaction to its key."""
        place = self.place[micro]
        return self.first_write[place] > place

    def writes_later(self, micro: Int64) -> Mask:
        """Whether the transaction of each micro-operation writes to the same key later."""
        place = self.place[micro]
        return self.last_write[place] > place
