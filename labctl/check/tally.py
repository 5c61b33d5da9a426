"""Violations by kind: all counted, some kept, the first one told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.check.common import SHOWN, Anomaly, Stats
from labctl.check.prose import sentence, surroundings
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from labctl.model.history import History


class Tally:
    """Collects the violations that a checker finds.

    Args:
        history: What is judged.
        kinds: Every kind of violation, the gravest first, with what to say about one of it; `{field}` stands for a
            field of the anomaly.
    """

    def __init__(self, history: History, kinds: Mapping[str, str]) -> None:
        self._history = history
        self._stories = kinds
        self._shown: dict[str, list[Anomaly]] = {kind: [] for kind in kinds}
        self.counts: dict[str, int] = dict.fromkeys(kinds, 0)

    def note(self, kind: str, operations: Sequence[int], **fields: object) -> None:
        """Count a violation by these operations; key and value are those of the last one unless given."""
        self.counts[kind] += 1
        if self.counts[kind] <= SHOWN:
            positions = tuple(int(position) for position in operations)
            op = self._history[positions[-1]]
            anomaly = {"kind": kind, "operations": positions, "key": op.key, "value": op.value, **fields}
            self._shown[kind].append(anomaly)

    @property
    def any(self) -> bool:
        """Whether there was a violation."""
        return any(self.counts.values())

    @property
    def text(self) -> str:
        """`3 lost, 1 duplicated`; empty without violations."""
        return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in self.counts.items() if count)

    def invalid(self, check: str, summary: str, stats: Stats) -> Finding:
        """The INVALID finding; its witness and story are those of the first violation of the gravest kind."""
        anomalies = [anomaly for shown in self._shown.values() for anomaly in shown]
        first = anomalies[0]
        witness = first["operations"]
        assert isinstance(witness, tuple)
        told = ". ".join(sentence(self._history, position) for position in witness)
        story = f"{self._stories[str(first['kind'])].format(**first)} {told}."
        full = story + surroundings(self._history, witness)
        return Finding(check, Outcome.INVALID, summary, full, witness, stats, tuple(anomalies))
