"""A short notation for transactions, so that an anomaly is a few lines of a test.

`ax1` appends 1 to x, `wx1` writes it; `rx[1,2]` reads the list x, `rx1` the register x, `rx_` finds nothing.
"""

from __future__ import annotations

import json

from labctl.model.history import History, Op, OpOutcome

_FUNCTIONS = {"a": "append", "w": "w", "r": "r"}


def micros(text: str) -> list[list[object]]:
    """Micro-operations from the notation."""
    found: list[list[object]] = []
    for word in text.split():
        value = None if word[2:] == "_" else json.loads(word[2:])
        found.append([_FUNCTIONS[word[0]], word[1], value])
    return found


def txn(text: str, process: int = 0, span: tuple[int, int | None] = (0, 0), outcome: OpOutcome = OpOutcome.OK) -> Op:
    """A transaction that was invoked and completed at the two moments of `span`."""
    return Op(
        process=process,
        function="txn",
        key="",
        value=micros(text),
        invoke_ns=span[0],
        complete_ns=span[1],
        outcome=outcome,
    )


def overlapping(*texts: str, failed: tuple[int, ...] = (), unknown: tuple[int, ...] = ()) -> History:
    """Transactions of one process each that all overlap: only what they read and wrote orders them."""
    outcomes = dict.fromkeys(failed, OpOutcome.FAIL) | dict.fromkeys(unknown, OpOutcome.UNKNOWN)
    return History.of(
        txn(text, process=i, span=(i, 1000 + i), outcome=outcomes.get(i, OpOutcome.OK)) for i, text in enumerate(texts)
    )


def one_after_another(*texts: str, processes: tuple[int, ...] | None = None) -> History:
    """Transactions of which each completes before the next is invoked, by one process each unless told otherwise."""
    who = processes or tuple(range(len(texts)))
    return History.of(
        txn(text, process=process, span=(10 * i, 10 * i + 5))
        for i, (text, process) in enumerate(zip(texts, who, strict=True))
    )
