"""What a check says: an outcome, the promise beside the measurement, and evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What a checker found in the history, whatever anybody promised.

    UNKNOWN stands for a checker that crashed, ran out of time or memory, or had nothing to look at.
    """

    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"


class Judgement(StrEnum):
    """The outcome against the promise that the topology's own configuration makes."""

    HELD = "held"
    DOCUMENTED_LOSS = "lost data as documented"
    BROKEN = "broke its own documented bound"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a pure checker returns.

    Attributes:
        check: The checker's registry name, `acked-writes` for example.
        outcome: VALID, INVALID or UNKNOWN.
        summary: One line with the numbers, for a table.
        explanation: A paragraph in plain words; for INVALID it tells the witness as a story.
        witness: Positions in the history of the smallest set of operations found that shows the problem.
        stats: Numbers that make a vacuous pass visible (operations seen, reads, keys, …). JSON values only.
        anomalies: Structured details, one mapping per anomaly, bounded by the checker. JSON values only.
    """

    check: str
    outcome: Outcome
    summary: str
    explanation: str = ""
    witness: tuple[int, ...] = ()
    stats: Mapping[str, float | int | str | bool | None] = field(default_factory=dict)
    anomalies: tuple[Mapping[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """A finding held against a promise.

    Attributes:
        finding: What was measured.
        promise: What the configuration promises, in words, with its source.
        judgement: Promise against finding.
    """

    finding: Finding
    promise: str
    judgement: Judgement
