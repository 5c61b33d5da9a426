"""Finding + promise → verdict."""

from __future__ import annotations

from labctl.model.scenario import Check, Expectation
from labctl.model.verdict import Finding, Judgement, Outcome, Verdict


def judge(check: Check, finding: Finding) -> Verdict:
    """Hold a finding against the promise of a check.

    UNKNOWN is never a pass. A stat above its bound breaks the promise whatever else is expected; a bound on a stat that
    was not measured leaves the verdict open. An anomaly breaks a promise that HOLDS and is documented behaviour where
    the scenario says that data may be lost. A scenario that exists to show a loss and shows none proves nothing.
    """
    return Verdict(finding, check.promise, _judgement(check, finding))


def exceeded(check: Check, finding: Finding) -> list[str]:
    """Bounds that the finding exceeds, in words."""
    over = []
    for name, bound in check.bounds.items():
        measured = finding.stats.get(name)
        if isinstance(measured, int | float) and measured > bound:
            over.append(f"{name} is {measured:g}, at most {bound:g} is promised")
    return over


def _judgement(check: Check, finding: Finding) -> Judgement:
    if exceeded(check, finding):
        return Judgement.BROKEN
    unmeasured = any(not isinstance(finding.stats.get(name), int | float) for name in check.bounds)
    if finding.outcome is Outcome.UNKNOWN or unmeasured:
        return Judgement.INCONCLUSIVE
    if finding.outcome is Outcome.VALID:
        return Judgement.INCONCLUSIVE if check.expect is Expectation.LOSES else Judgement.HELD
    return Judgement.BROKEN if check.expect is Expectation.HOLDS else Judgement.DOCUMENTED_LOSS
