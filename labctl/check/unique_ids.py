"""Unique identifiers: no two acknowledged operations were given the same.

Model. `generate` returns an identifier. All acknowledged identifiers are different, those of different keys too unless
`per_key`. Sound and complete for what was acknowledged; an identifier whose answer was lost is not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.check.common import Deadline, Stats, never, unknown
from labctl.check.tally import Tally
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from labctl.model.history import History

NAME: Final = "unique-ids"


def check(
    history: History, *, deadline: Deadline = never, function: str = "generate", per_key: bool = False
) -> Finding:
    """Find identifiers that were given out more than once.

    Args:
        history: Operations that return identifiers (scalars).
        deadline: Not consulted: the work is one sort.
        function: Which operations those are.
        per_key: Whether the same identifier may be given out under another key.
    """
    del deadline
    mine = np.flatnonzero(history.where(function) & history.ok)
    stats: Stats = {"attempts": int(history.where(function).sum()), "acknowledged": len(mine)}
    if not len(mine):
        return unknown(NAME, "no identifier was acknowledged: nothing to judge", stats)
    group = history.key[mine] if per_key else np.zeros(len(mine), np.int32)
    order = mine[np.lexsort((mine, history.value[mine], group))]
    same = np.diff(history.value[order]) == 0
    if per_key:
        same &= np.diff(history.key[order]) == 0
    again = np.flatnonzero(same)
    stats |= {"duplicates": len(again), "distinct": len(mine) - len(again)}
    summary = f"{len(mine)} identifiers, {len(again) or 'no'} duplicates"
    if len(again):
        tally = Tally(history, {"duplicate": "The identifier {value!r} was given out twice."})
        for i in again:
            tally.note("duplicate", [order[i], order[i + 1]])
        return tally.invalid(NAME, summary, stats)
    return Finding(NAME, Outcome.VALID, summary, "All acknowledged identifiers differ.", stats=stats)
