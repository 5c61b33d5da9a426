"""What the keys of a history are: workloads run side by side, and a checker judges objects of its own sort only.

The values that CAS leaves in a register would be phantoms to the register checker, and a set's elements no balances. So
each key's *sort* is told by the functions that it was used with, the most telling first; a key that was only read is of
the sort of the keys that are numbered like it. A checker says for which sorts it is. Operations on other keys are hidden
from it: they keep their positions, under a function of no name. Keys used with functions that nothing here knows, as
imported histories may have them, are shown to everyone.
"""

from __future__ import annotations

import re
from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.model.history import FINAL_READ

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labctl.model.history import History, Int64


class Sort(Enum):
    """Sorts of objects."""

    TRANSACTIONS = auto()
    CAS_REGISTER = auto()
    BANK = auto()
    STREAM = auto()
    QUEUE = auto()
    LOCK = auto()
    CHANNEL = auto()
    LIMITER = auto()
    COUNTER = auto()
    CACHE = auto()
    IDENTIFIERS = auto()
    SET = auto()
    EXPIRING = auto()
    REGISTER = auto()
    UNKNOWN = auto()


_TELLING: Final[dict[Sort, frozenset[str]]] = {
    Sort.TRANSACTIONS: frozenset({"txn"}),
    Sort.CAS_REGISTER: frozenset({"cas"}),
    Sort.BANK: frozenset({"transfer"}),
    Sort.STREAM: frozenset({"deliver", "claim", "dead-letter", "final-pending", "final-dead"}),
    Sort.QUEUE: frozenset({"enqueue", "dequeue", "requeue"}),
    Sort.LOCK: frozenset({"acquire", "release"}),
    Sort.CHANNEL: frozenset({"publish", "subscribe", "receive"}),
    Sort.LIMITER: frozenset({"hit"}),
    Sort.COUNTER: frozenset({"incr"}),
    Sort.CACHE: frozenset({"load", "invalidate"}),
    Sort.IDENTIFIERS: frozenset({"generate"}),
    Sort.SET: frozenset({"add"}),  # or a counter, to which a delta is added
    Sort.EXPIRING: frozenset({"init"}),
    Sort.REGISTER: frozenset({"write"}),
}
_READS: Final = frozenset({"read", FINAL_READ})
_HIDDEN: Final = ""

Sorts = tuple[frozenset[Sort], ...]
"""Sorts that a checker is for, the usual ones first; the next are for histories that have none of those."""


def shown_to(history: History, wanted: Sorts) -> History:
    """The history with the operations on keys of other sorts hidden. Costs a few passes over the columns."""
    sorts = _sorts(history)
    present = set(sorts)
    group = next((group for group in wanted if group & present), frozenset())
    hidden = np.array([sort not in group and sort is not Sort.UNKNOWN for sort in sorts], dtype=np.bool_)
    if not hidden.any():
        return history
    function = np.where(hidden[history.key], len(history.functions), history.function).astype(np.int32)
    return replace(history, function=function, functions=(*history.functions, _HIDDEN))


def _sorts(history: History) -> list[Sort]:
    """The sort of each key by its code."""
    used: Int64 = np.zeros(len(history.keys), dtype=np.int64)
    for bit in range(len(history.functions)):  # a handful
        used[np.unique(history.key[history.function == bit])] |= 1 << min(bit, 62)
    names = {pattern: _names(history.functions, pattern) for pattern in np.unique(used).tolist()}
    sorts = [_sort(names[pattern]) for pattern in used.tolist()]
    unclear = [code for code, sort in enumerate(sorts) if sort is None]
    if not unclear:
        return [sort or Sort.UNKNOWN for sort in sorts]
    by_stem = {_stem(name): sort for name, sort in zip(history.keys, sorts, strict=True) if sort}
    rest = Sort.TRANSACTIONS if by_stem else Sort.UNKNOWN  # final reads of lists, of which the transactions know
    return [sort or by_stem.get(_stem(name), rest) for name, sort in zip(history.keys, sorts, strict=True)]


def _names(functions: Sequence[str], pattern: int) -> frozenset[str]:
    return frozenset(name for bit, name in enumerate(functions) if pattern >> min(bit, 62) & 1)


def _sort(used: frozenset[str]) -> Sort | None:
    """The sort of a key by the functions that it was used with; None where it was only read."""
    if used <= _READS:
        return None
    return next((sort for sort, telling in _TELLING.items() if telling & used), Sort.UNKNOWN)


def _stem(key: str) -> str:
    return re.sub(r"[0-9]+(?=\}?$)", "", key)
