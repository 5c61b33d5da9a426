"""From anomalies to a finding: outcome, summary, prose, pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from labctl.check.transactions.graph import Kind
from labctl.check.transactions.models import ANOMALIES, Model, ruled_out, says, weakest
from labctl.check.transactions.picture import Arrow, Node, draw_cycle
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Mapping

    from labctl.check.common import Stats
    from labctl.check.transactions.anomalies import Anomaly, Collected
    from labctl.check.transactions.cycles import Cycle, Search
    from labctl.check.transactions.evidence import Evidence

_KINDS: Final = {Kind.WW: "ww", Kind.WR: "wr", Kind.RW: "rw", Kind.PROCESS: "process", Kind.TIME: "realtime"}
_DRAWN: Final = 10  # transactions of the largest cycle that is drawn


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """Everything that was found in a history.

    Attributes:
        evidence: What edges were inferred from.
        search: Cycles.
        found: Anomalies that need none.
        stats: For the finding.
    """

    evidence: Evidence
    search: Search
    found: Collected
    stats: Stats

    @property
    def counts(self) -> Counter[str]:
        """How many of each anomaly; of cycles, one for each component that has them."""
        return self.found.counts + self.search.counts


def finding(check: str, analysis: Analysis, model: Model) -> Finding:
    """What an analysis says about a model."""
    counts = analysis.counts
    ruled = ruled_out(counts)
    details = [_of_anomaly(example, analysis) for example in analysis.found.examples]
    details += [_of_cycle(cycle, analysis) for cycle in analysis.search.cycles]
    details.sort(key=lambda detail: (ANOMALIES.index(str(detail["anomaly"])), len(_transactions(detail))))
    accused = [detail for detail in details if model in ruled_out([str(detail["anomaly"])])]
    stats = dict(analysis.stats) | {f"anomaly_{name}": counts[name] for name in ANOMALIES if counts[name]}
    named = ", ".join(f"{name} ×{counts[name]}" for name in ANOMALIES if counts[name])
    over = f"{analysis.stats['transactions']} transactions over {analysis.stats['keys']} keys"
    excluded = " and ".join(weakest(ruled)) or "no model"
    if model in ruled:
        witness = min(accused, key=lambda detail: len(_transactions(detail)))
        summary = f"not {model}: {named} in {over}; {excluded} and everything stronger ruled out"
        return Finding(
            check=check,
            outcome=Outcome.INVALID,
            summary=summary,
            explanation=str(witness["explanation"]),
            witness=tuple(sorted(_transactions(witness))),
            stats=stats,
            anomalies=tuple(details),
        )
    outcome = Outcome.UNKNOWN if analysis.search.exhausted else Outcome.VALID
    summary = (
        f"{over}: cycles exist, and the step limit ended the search before one was found that rules out {model}"
        if analysis.search.exhausted
        else f"{over}: nothing rules out {model}" + (f"; found {named}" if named else "")
    )
    return Finding(check, outcome, summary, _vacuity(analysis), stats=stats, anomalies=tuple(details))


def _vacuity(analysis: Analysis) -> str:
    stats = analysis.stats
    return (
        f"{stats['ok']} of {stats['transactions']} transactions were acknowledged; "
        f"{stats['list_reads']} list reads and "
        f"{stats['register_reads']} register reads put {stats['list_versions_ordered']} list versions in order and "
        f"gave {stats['edges_ww']} ww, {stats['edges_wr']} wr and {stats['edges_rw']} rw edges between transactions."
    )


def _transactions(detail: Mapping[str, object]) -> tuple[int, ...]:
    positions = detail["operations"]
    assert isinstance(positions, list)
    return tuple(positions)


def _common(name: str, transactions: Iterable[int], analysis: Analysis) -> dict[str, object]:
    t = analysis.evidence.transactions
    members = list(transactions)
    return {
        "anomaly": name,
        "means": says(name),
        "rules_out": [str(model) for model in weakest(ruled_out([name]))],
        "operations": [int(t.position[i]) for i in members],
        "transactions": [
            {"name": f"T{n}", "operation": int(t.position[i]), "process": int(t.process[i]), "text": t.text(i)}
            for n, i in enumerate(members, start=1)
        ],
    }


def _cast(transactions: Iterable[int], analysis: Analysis) -> str:
    """Who the transactions of a story are, as in "T1 is operation 7 (process 2): append x 1"."""
    t = analysis.evidence.transactions
    return " ".join(f"T{n} is {t.describe(i)}: {t.text(i)}." for n, i in enumerate(transactions, start=1))


def _of_anomaly(example: Anomaly, analysis: Analysis) -> dict[str, object]:
    return _common(example.name, example.transactions, analysis) | {
        "key": example.key,
        "explanation": f"{example.name}, {says(example.name)}. {_cast(example.transactions, analysis)} "
        f"{example.explanation}",
    }


def _of_cycle(cycle: Cycle, analysis: Analysis) -> dict[str, object]:
    members = [step.source for step in cycle.steps]
    name = {transaction: f"T{n}" for n, transaction in enumerate(members, start=1)}
    reasons = [analysis.evidence.of(step, name[step.source], name[step.target]) for step in cycle.steps]
    clauses = [
        f"{name[step.source]} before {name[step.target]}, because {reason.because}"
        for step, reason in zip(cycle.steps, reasons, strict=True)
    ]
    t = analysis.evidence.transactions
    picture = draw_cycle(
        f"{cycle.name}: {says(cycle.name)}",
        [Node(f"{name[i]} · operation {t.position[i]}", t.text(i)) for i in members],
        [Arrow(_KINDS[step.kind], reason.key) for step, reason in zip(cycle.steps, reasons, strict=True)],
    )
    return _common(cycle.name, members, analysis) | {
        "edges": [
            {
                "from": name[step.source],
                "to": name[step.target],
                "kind": _KINDS[step.kind],
                "key": reason.key,
                "because": reason.because,
            }
            for step, reason in zip(cycle.steps, reasons, strict=True)
        ],
        "explanation": f"{cycle.name}, {says(cycle.name)}. {_cast(members, analysis)} {'; '.join(clauses)}. "
        f"So each would have to come before itself.",
        "picture": picture if len(members) <= _DRAWN else "",
    }
