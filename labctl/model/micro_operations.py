"""The values of transactions as columns: what a million lists of micro-operations are in memory and on disk.

A transaction's value is a list of micro-operations `[function, key, content]`. As Python values, a million of those
with what they read are gigabytes, and reading them from a file takes longer than judging them. Nearly all of them are
*plain*: the functions are those of `FUNCTIONS`, keys are strings or integers, and what is written or read is a small
integer, None, or a list of small integers. Plain ones are kept here; all others stay Python values.

A list that only grows, as Redis lists under RPUSH do, is read as one prefix after another of what it becomes. So each
list is kept once, and a read is the number of that list and a length. A read that is no prefix of what its key's
list is known to be, nor continues it, begins another list; so whatever was read comes back as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

FUNCTIONS: Final = ("append", "w", "write", "r", "read")
"""Names of functions by their code."""

READS: Final = FUNCTIONS.index("r")
"""Codes from this one on are reads."""

NOTHING: Final = -(2**62)
"""The `value` of a micro-operation whose content is None or a list: `labctl.model.history.NIL`."""

Int8 = npt.NDArray[np.int8]
Int64 = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.uint32]


class Batch(NamedTuple):
    """Some plain values, as `micro_encoder` lays them out and as a history file has them.

    Attributes:
        size: u4, micro-operations of each value.
        function: u1, index into `FUNCTIONS`.
        key: u4, number of the key among all keys that the encoder met.
        value: i8, the integer; `NOTHING` for None and lists.
        of_list: i4, number of the list whose beginning was read; -1 for other contents.
        length: u4, elements read.
        grown: u4, the lists that grew, in order of time; one can grow several times.
        growth: u4, by how many elements.
        element: i8, those elements.
    """

    size: Numbers
    function: npt.NDArray[np.uint8]
    key: Numbers
    value: Int64
    of_list: npt.NDArray[np.int32]
    length: Numbers
    grown: Numbers
    growth: Numbers
    element: Int64


_TYPES: Final = ("u4", "u1", "u4", "i8", "i4", "u4", "u4", "u4", "i8")  # of a batch's columns


@dataclass(frozen=True, slots=True, eq=False)
class MicroOperations:
    """n values with m micro-operations and the lists that they read.

    Attributes:
        start: (n+1,) micro-operations of value i are `start[i]:start[i+1]`.
        function: (m,) index into `FUNCTIONS`.
        key: (m,) index into `keys`.
        value: (m,) the integer; `NOTHING` for None and lists.
        of_list: (m,) number of the list whose beginning was read; -1 for other contents.
        length: (m,) elements read.
        list_start: (lists+1,) elements of list i are `elements[list_start[i]:list_start[i+1]]`.
        elements: Of all lists, one list after another.
        keys: Keys by code; strings and integers.
    """

    start: Int64
    function: Int8
    key: Int64
    value: Int64
    of_list: Int64
    length: Int64
    list_start: Int64
    elements: Int64
    keys: tuple[str | int, ...]

    @classmethod
    def of(cls, batches: Iterable[Batch] = (), keys: Sequence[str | int] = ()) -> MicroOperations:
        """All values of one encoder, from its batches in order."""
        columns = join(batches)
        of_element = np.repeat(columns.grown, columns.growth)
        lists = int(columns.grown.max(initial=0)) + 1  # every list began by growing, an empty one by nothing
        return cls(
            start=_starts(columns.size),
            function=columns.function.astype(np.int8),
            key=columns.key.astype(np.int64),
            value=columns.value,
            of_list=columns.of_list.astype(np.int64),
            length=columns.length.astype(np.int64),
            list_start=_starts(np.bincount(of_element, minlength=lists)),
            elements=columns.element[np.argsort(of_element, kind="stable")],
            keys=tuple(keys),
        )

    @classmethod
    def concatenate(cls, parts: Iterable[MicroOperations]) -> MicroOperations:
        """All values of several, in order; equal keys become one."""
        given = [part for part in parts if len(part)]
        if len(given) < 2:
            return given[0] if given else cls.of()
        codes: dict[str | int, int] = {}
        lists = np.cumsum([0] + [len(part.list_start) - 1 for part in given])
        keys = [np.array([codes.setdefault(key, len(codes)) for key in part.keys], np.int64) for part in given]
        return cls(
            start=_starts(np.concatenate([np.diff(part.start) for part in given])),
            function=np.concatenate([part.function for part in given]),
            key=np.concatenate([codes_of[part.key] for codes_of, part in zip(keys, given, strict=True)]),
            value=np.concatenate([part.value for part in given]),
            of_list=np.concatenate(
                [np.where(part.of_list < 0, -1, part.of_list + lists[i]) for i, part in enumerate(given)],
            ),
            length=np.concatenate([part.length for part in given]),
            list_start=_starts(np.concatenate([np.diff(part.list_start) for part in given])),
            elements=np.concatenate([part.elements for part in given]),
            keys=tuple(codes),
        )

    def __len__(self) -> int:
        return len(self.start) - 1

    def problem(self) -> str:
        """What is wrong with the columns, or nothing: what an encoder makes is always right."""
        lists = np.flatnonzero(self.of_list >= 0)
        lengths = np.diff(self.list_start)
        if self.start[-1] != len(self.function):
            return "transactions have another number of micro-operations than there are"
        if np.any(self.function >= len(FUNCTIONS)):
            return "a micro-operation has a function that does not exist"
        if np.any(self.key >= len(self.keys)):
            return "a micro-operation has a key that the file does not define"
        if np.any(self.of_list >= len(lengths)) or np.any(self.length[lists] > lengths[self.of_list[lists]]):
            return "more was read of a list than the file has"
        if any(np.any((column < NOTHING) | (column >= -NOTHING)) for column in (self.value, self.elements)):
            return "a micro-operation has an integer of 2**62 or more"
        return ""

    def __getitem__(self, number: int) -> list[list[object]]:
        """One value as Python has it."""
        return [self._micro(micro) for micro in range(int(self.start[number]), int(self.start[number + 1]))]

    def _micro(self, micro: int) -> list[object]:
        value, read = int(self.value[micro]), int(self.of_list[micro])
        content: object = None if value == NOTHING else value
        if read >= 0:
            begin = self.list_start[read]
            content = self.elements[begin : begin + self.length[micro]].tolist()
        return [FUNCTIONS[self.function[micro]], self.keys[self.key[micro]], content]


def join(batches: Iterable[Batch]) -> Batch:
    """Batches of one encoder, in order, as one."""
    parts = list(batches)
    if not parts:
        return Batch(*(np.empty(0, kind) for kind in _TYPES))
    return parts[0] if len(parts) == 1 else Batch(*map(np.concatenate, zip(*parts, strict=True)))


def _starts(sizes: npt.NDArray[Any]) -> Int64:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)))
