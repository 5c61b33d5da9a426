"""Anomalies that need no cycle, collected with bounded examples and full counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

EXAMPLES: Final = 8  # of each anomaly that are kept


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One anomaly that is not a cycle.

    Attributes:
        name: `G1a` for example; see `labctl.check.transactions.models`.
        key: The key that shows it.
        transactions: Those that show it, the accused one first.
        explanation: Plain words, in which the transactions are called T1, T2 … in order.
    """

    name: str
    key: str
    transactions: tuple[int, ...]
    explanation: str


@dataclass(slots=True)
class Collected:
    """Anomalies so far: a few examples of each, all of them counted."""

    examples: list[Anomaly] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def room(self, name: str) -> int:
        """How many more examples of this anomaly are wanted."""
        return max(0, EXAMPLES - sum(example.name == name for example in self.examples))

    def add(self, name: str, count: int, examples: Iterable[Anomaly]) -> None:
        """Count anomalies of one name and keep examples while there is room."""
        if not count:
            return
        self.counts[name] += count
        for example, _ in zip(examples, range(self.room(name)), strict=False):
            self.examples.append(example)
