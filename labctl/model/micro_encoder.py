"""From the values of transactions to columns, a batch at a time; see `micro_operations` for what is plain.

Everything that can be done to a batch as a whole is done that way, without a step of the interpreter for each
micro-operation. What is left is one comparison of lists for each read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from labctl.model.micro_operations import FUNCTIONS, NOTHING, READS, Batch, Int64, Numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

_CODES: Final = {name: code for code, name in enumerate(FUNCTIONS)}
_CONTENTS: Final = frozenset({int, list, type(None)})
_KEYS: Final = frozenset({int, str})
_TOGETHER: Final = 512  # values that are looked at in one go: their Python objects fit into a processor's cache
_REMEMBERED: Final = 1_000_000  # elements of lists that reads are compared with; then all are forgotten

_NOT_KNOWN: Final[tuple[int, list[int] | tuple[()]]] = (-1, ())  # a tuple, for no list equals it, not even an empty one


@dataclass(slots=True)
class MicroEncoder:
    """Turns values into batches, and keeps apart those that are not plain.

    Numbers that Python calls equal are one element: a list read as `[1.0]` after it was read as `[1]` comes back as
    that.

    Attributes:
        new_keys: Keys met since they were last taken away from here.
    """

    new_keys: list[str | int] = field(default_factory=list)
    _keys: dict[str | int, int] = field(default_factory=dict)
    _lists: dict[int, tuple[int, list[int]]] = field(default_factory=dict)  # by key: its list's number and content
    _opened: int = 0
    _remembered: int = 0

    def encode(self, values: Sequence[object]) -> tuple[list[Batch], list[int]]:
        """The plain ones of these values in order, and the indices of the others."""
        plain = [
            i for i, value in enumerate(values) if value.__class__ is list and value and value[0].__class__ is list
        ]
        if not plain:
            return [], list(range(len(values)))
        batches: list[Batch] = []
        others = set(range(len(values))).difference(plain)
        for begin in range(0, len(plain), _TOGETHER):
            some = plain[begin : begin + _TOGETHER]
            together = self._try([values[i] for i in some])
            if together:
                batches.append(together)
                continue
            alone = {i: self._try([values[i]]) for i in some}
            batches += filter(None, alone.values())
            others |= {i for i, batch in alone.items() if batch is None}
        return batches, sorted(others)

    def _try(self, values: Sequence[Any]) -> Batch | None:
        """These values; None if one of them is not plain.

        Keys and elements that were taken in before that showed stay: they are numbered, and harm nobody.
        """
        try:
            return self._batch(values)
        except (TypeError, ValueError, KeyError, OverflowError):
            return None

    def _batch(self, values: Sequence[Any]) -> Batch:
        micros = list(chain.from_iterable(values))
        _require(_all(values, {list}) and _all(micros, {list}) and set(map(len, micros)) <= {3})
        flat = list(chain.from_iterable(micros))
        keys, contents = flat[1::3], flat[2::3]
        kinds = list(map(type, contents))
        _require(_all(keys, _KEYS) and set(kinds) <= _CONTENTS)
        function = np.frombuffer(bytes(map(_CODES.__getitem__, flat[::3])), np.uint8)
        value = np.array([c if kind is int else NOTHING for kind, c in zip(kinds, contents, strict=True)], np.int64)
        is_int = value != NOTHING
        _require(np.count_nonzero(is_int) == kinds.count(int))  # or one of them was NOTHING itself
        _require(bool(np.all((value >= NOTHING) & (value < -NOTHING) & (is_int | (function >= READS)))))
        numbers = self._numbers(keys)
        of_list, length = np.full(len(micros), -1, np.int32), np.zeros(len(micros), np.uint32)
        read = [i for i, kind in enumerate(kinds) if kind is list]
        lists = [contents[i] for i in read]
        length[read] = list(map(len, lists))
        of_list[read], grown, growth, elements = self._place(numbers[read].tolist(), lists)
        sizes = np.fromiter(map(len, values), np.uint32, len(values))
        return Batch(sizes, function, numbers, value, of_list, length, grown, growth, elements)

    def _numbers(self, keys: Sequence[str | int]) -> Numbers:
        known = self._keys
        try:
            return np.fromiter(map(known.__getitem__, keys), np.uint32, len(keys))
        except KeyError:
            new = [key for key in dict.fromkeys(keys) if key not in known]
            self.new_keys += new
            known.update(zip(new, count(len(known)), strict=False))
            return self._numbers(keys)

    def _place(self, keys: Sequence[int], contents: Sequence[list[int]]) -> tuple[list[int], Numbers, Numbers, Int64]:
        """The number of the list of which each content is the beginning, and how lists grew or began for that."""
        known = self._lists
        places: list[int] = []
        grown: list[int] = []
        growth: list[int] = []
        elements: list[int] = []
        for key, content in zip(keys, contents, strict=True):
            number, seen = known.get(key, _NOT_KNOWN)
            have, length = len(seen), len(content)
            if length <= have:
                if content == seen[:length]:
                    places.append(number)
                    continue
                number = -1
            elif content[:have] != seen:
                number = -1
            if number < 0:  # another list than the one that is known of this key, or the first
                number, have = self._opened, 0
                self._opened += 1
            known[key] = (number, content)
            elements += content[have:]
            grown.append(number)
            growth.append(length - have)
            places.append(number)
        self._remembered += len(elements)
        try:
            _require(_all(elements, {int}))
            fresh = np.array(elements, np.int64)
            _require(bool(np.all((fresh > NOTHING) & (fresh < -NOTHING))))
        except (ValueError, OverflowError):
            self._remembered = _REMEMBERED
            raise
        finally:
            if self._remembered >= _REMEMBERED:
                known.clear()
                self._remembered = 0
        return places, np.array(grown, np.uint32), np.array(growth, np.uint32), fresh


def _all(values: Sequence[object], kinds: set[type] | frozenset[type]) -> bool:
    return set(map(type, values)) <= kinds


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError
