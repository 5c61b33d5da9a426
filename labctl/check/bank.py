"""Bank accounts: whatever is transferred, the total stays the same.

Model. `init` opens the accounts of a key with a balance each. `transfer` moves an amount between two of them in one
atomic step; `read` and `final-read` return all balances at one moment, as a mapping from account to balance (None for
an account that is not there: nothing). Whatever subset of the transfers was applied, in whatever order, every read sums
up to the same total, and no balance is negative unless `negative_allowed`.

Sound: the total does not depend on which unknown transfers happened. Not complete: a lost transfer does not change the
total (see the transactional checkers), and two errors may cancel out.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from labctl.check.common import Deadline, Stats, never, unknown
from labctl.check.tally import Tally
from labctl.errors import HistoryError
from labctl.model.history import FINAL_READ, History, describe
from labctl.model.verdict import Finding, Outcome

NAME: Final = "bank"
_KINDS: Final = {
    "wrong_total": "The balances sum up to {total} instead of {expected}.",
    "negative": "Balances are negative: {accounts}.",
}


def check(
    history: History, *, deadline: Deadline = never, total: int | None = None, negative_allowed: bool = False
) -> Finding:
    """Sum up every read.

    Args:
        history: Transfers and reads.
        deadline: Consulted before each read.
        total: What each key's balances must sum up to; None for what `init` says, or without one the first read.
        negative_allowed: Whether a balance may be below zero.
    """
    tally = Tally(history, _KINDS)
    first: dict[str, tuple[int, int]] = {}
    for position in np.flatnonzero(history.where("init") & history.ok).tolist():
        first[history[position].key] = (sum(_balances(history, position).values()), position)
    reads = np.flatnonzero(history.where("read", FINAL_READ) & history.ok).tolist()
    for position in reads:
        if deadline():
            return unknown(NAME, "out of time", {"reads": len(reads)})
        balances = _balances(history, position)
        found = sum(balances.values())
        expected, since = (
            (total, position) if total is not None else first.setdefault(history[position].key, (found, position))
        )
        if found != expected:
            operations = [since, position] if since != position else [position]
            tally.note("wrong_total", operations, total=found, expected=expected)
        overdrawn = sorted(account for account, value in balances.items() if value < 0)
        if overdrawn and not negative_allowed:
            tally.note("negative", [position], accounts=overdrawn)
    transfers = history.where("transfer")
    stats: Stats = {
        "reads": len(reads),
        "transfers": int(transfers.sum()),
        "acknowledged_transfers": int((transfers & history.ok).sum()),
        **tally.counts,
    }
    if not reads:
        return unknown(NAME, "no read was acknowledged: nothing to judge", stats)
    if not stats["acknowledged_transfers"]:
        return unknown(NAME, "no transfer was acknowledged: totals that stay the same prove nothing", stats)
    summary = f"{len(reads)} reads during {transfers.sum()} transfers: {tally.text or 'the total never changed'}"
    if tally.any:
        return tally.invalid(NAME, summary, stats)
    return Finding(NAME, Outcome.VALID, summary, "Every read sums up to the same total.", stats=stats)


def _balances(history: History, position: int) -> dict[str, int]:
    value = history.value_at(position)
    if not isinstance(value, dict) or not all(v is None or isinstance(v, int) for v in value.values()):
        where = describe(history, position)
        raise HistoryError([f"{where}: a bank's balances are a mapping from account to whole number"])
    return {str(account): amount or 0 for account, amount in value.items()}
