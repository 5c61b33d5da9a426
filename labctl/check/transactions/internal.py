"""Transactions that contradict themselves: a read must agree with what its own transaction read and wrote before.

Within an atomic transaction nobody else's writes appear between two of its steps. So a register read returns the value
of the nearest earlier micro-operation on the key, whichever it is. A list read returns the list of the nearest earlier
read followed by the transaction's own appends in between; without an earlier read it ends with the own appends. This
is the axiom INT of Cerone, Bernardi and Gotsman (CONCUR 2015), and it needs no other transaction to be judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labctl.check.transactions.anomalies import Anomaly, Collected
from labctl.check.transactions.columns import Function

if TYPE_CHECKING:
    from labctl.check.transactions.columns import Transactions
    from labctl.check.transactions.lists import Lists
    from labctl.check.transactions.program import Program
    from labctl.model.history import Int64, Mask


def add_internal(transactions: Transactions, owner: Int64, program: Program, lists: Lists, found: Collected) -> None:
    """Add the `ok` transactions that contradict themselves."""
    counted = transactions.ok[owner[program.micro]]  # by place
    places = np.concatenate(
        (
            _registers(transactions, program, counted),
            _list_lengths(transactions, program, counted),
            _own_appends(transactions, program, counted),
            _earlier_reads(transactions, program, lists),
        )
    )
    micros = program.micro[np.unique(places)]
    examples = (
        Anomaly(
            "internal",
            transactions.keys[transactions.key[micro]],
            (int(owner[micro]),),
            f"T1 contradicts itself: {transactions.micro_text(micro)} does not follow from what it did to that key "
            f"before.",
        )
        for micro in micros.tolist()
    )
    found.add("internal", len(micros), examples)


def _registers(transactions: Transactions, program: Program, counted: Mask) -> Int64:
    """Places of register reads that differ from the micro-operation before them."""
    value, function = transactions.value[program.micro], transactions.function[program.micro]
    differs = np.diff(value, prepend=value[:1]) != 0
    follows = program.begin < np.arange(len(value))
    return np.flatnonzero((function == Function.READ) & counted & follows & differs)


def _list_reads(transactions: Transactions, program: Program, counted: Mask) -> Int64:
    """Places of list reads that are not their transaction's first micro-operation on the key."""
    function = transactions.function[program.micro]
    follows = program.begin < np.arange(len(function))
    return np.flatnonzero((function == Function.READ_LIST) & counted & follows)


def _lengths(transactions: Transactions, program: Program, places: Int64) -> Int64:
    micro = program.micro[places]
    length: Int64 = transactions.list_length[micro]
    return length


def _list_lengths(transactions: Transactions, program: Program, counted: Mask) -> Int64:
    """Places of list reads with more or fewer elements than the transaction's earlier steps allow."""
    places = _list_reads(transactions, program, counted)
    length, before = _lengths(transactions, program, places), program.read_before[places]
    since = np.where(before >= 0, before, program.begin[places])
    appended = program.writes_before[places] - program.writes_before[since]
    known = np.where(before >= 0, _lengths(transactions, program, np.maximum(before, 0)), 0)
    wrong = np.where(before >= 0, length != known + appended, length < appended)
    return places[wrong]


def _own_appends(transactions: Transactions, program: Program, counted: Mask) -> Int64:
    """Places of list reads that do not show an own append made since the read before, where it should be."""
    function = transactions.function[program.micro]
    appends = np.flatnonzero((function == Function.APPEND) & counted & (program.read_after < len(function)))
    read = program.read_after[appends]
    from_end = program.writes_before[read] - program.writes_before[appends]
    length = _lengths(transactions, program, read)
    long_enough = length >= from_end  # shorter ones are wrong by their length
    appends, read, element = appends[long_enough], read[long_enough], (length - from_end)[long_enough]
    shown = transactions.elements[transactions.list_begin[program.micro[read]] + element]
    wrong: Int64 = read[shown != transactions.value[program.micro[appends]]]
    return wrong


def _earlier_reads(transactions: Transactions, program: Program, lists: Lists) -> Int64:
    """Places of list reads that do not begin with what the same transaction had read before.

    Two prefixes of one list agree, so only pairs with a divergent read are compared.
    """
    divergent = program.place[lists.read[lists.divergent]]
    after = program.read_after[divergent]
    pairs = [(place, int(program.read_before[place])) for place in divergent.tolist()]
    pairs += [(place, before) for place, before in zip(after.tolist(), divergent.tolist(), strict=True)]
    wrong = []
    for place, before in pairs:
        if before >= 0 and place < len(program.micro):
            now = transactions.read_elements(int(program.micro[place]))
            then = transactions.read_elements(int(program.micro[before]))
            if not np.array_equal(now[: len(then)], then):
                wrong.append(place)
    return np.array(wrong, dtype=np.int64)
