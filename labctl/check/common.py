"""What every checker needs: its deadline, UNKNOWN findings, and pairs of key and value as numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from labctl.model.history import describe, duplicates
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from labctl.model.history import History, Int32, Int64, Mask

Deadline = Callable[[], bool]
"""Says whether a checker's time is up. Checkers know no clock; whoever calls them does."""

Stats = dict[str, float | int | str | bool | None]
Anomaly = dict[str, object]

SHOWN = 100
"""Anomalies of one kind that a finding carries in full; the stats count them all."""


def never() -> bool:
    """A deadline that never comes."""
    return False


def unknown(check: str, why: str, stats: Mapping[str, float | int | str | bool | None] | None = None) -> Finding:
    """A finding that nothing could be judged, and why."""
    return Finding(check, Outcome.UNKNOWN, why, explanation=why, stats=stats or {})


def refuse_duplicates(check: str, history: History, mask: Mask, what: str) -> Finding | None:
    """An UNKNOWN finding when two operations of `mask` have the same key and value, or None when all are unique."""
    pairs = duplicates(history, mask)
    if not pairs:
        return None
    named = "; ".join(f"{describe(history, a)} and {describe(history, b)}" for a, b in pairs)
    return Finding(
        check,
        Outcome.UNKNOWN,
        f"refused: {what} must be unique",
        explanation=f"The model needs unique {what}, and these repeat: {named}.",
        witness=tuple(position for pair in pairs for position in pair),
    )


def refused_values(check: str, history: History, positions: Sequence[int], stats: Stats) -> Finding:
    """An UNKNOWN finding about writes of registers, two of the same value or one of None."""
    named = " and ".join(describe(history, position) for position in positions)
    why = f"Values written must be unique and not None, and this is not so: {named}."
    return Finding(check, Outcome.UNKNOWN, "refused: values written must be unique", why, tuple(positions), stats)


def pair_ids(*columns: tuple[Int32 | Int64, Int64]) -> list[Int64]:
    """Equal numbers for equal (key, value) pairs, across several pairs of columns."""
    sizes = [len(key) for key, _ in columns]
    keys = np.concatenate([key for key, _ in columns]).astype(np.int64)
    _, values = np.unique(np.concatenate([value for _, value in columns]), return_inverse=True)
    ids = keys * (int(values.max(initial=0)) + 1) + values
    return np.split(ids, np.cumsum(sizes)[:-1])


def milliseconds(ns: float) -> float:
    """Nanoseconds as milliseconds with microsecond precision."""
    return round(float(ns) / 1e6, 3)
