"""A summary for a pull request, in GitHub's and GitLab's Markdown: the verdicts first, the evidence folded away."""

from __future__ import annotations

import re
from collections.abc import Iterator

from labctl.model.verdict import Judgement, Verdict
from labctl.report.replay import replay
from labctl.report.summary import PhaseSummary, RunSummary
from labctl.report.wording import CLOSING, SYMBOLS

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~&])")
_EXPLAINED = 1200
_MOST = 60_000
"""Characters; a comment on GitHub holds 65,536."""


def render_markdown(summary: RunSummary) -> str:
    """The summary, ending in a line break."""
    text = "\n".join(_lines(summary)) + "\n"
    return text if len(text) <= _MOST else text[:_MOST].rpartition("\n")[0] + "\n\n… cut here\n"


def _lines(summary: RunSummary) -> Iterator[str]:
    run = summary.run
    judgement = summary.judgement
    yield f"### {SYMBOLS[judgement]} {plain(run.scenario.title)}"
    yield ""
    aborted = "Aborted. " if run.aborted else ""
    what = plain(f"{run.scenario.name} {run.scenario.cell}")
    yield f"**{aborted}{CLOSING[judgement]}** {what} on {plain(run.engine)}, seed {run.seed}."
    yield ""
    if run.trouble:
        yield plain(run.trouble)
        yield ""
    yield "| | Phase | Check | Measured |"
    yield "|---|---|---|---|"
    for phase in summary.phases:
        for verdict in phase.verdicts:
            finding = verdict.finding
            mark = f"{SYMBOLS[verdict.judgement]} {verdict.judgement.value}"
            yield f"| {mark} | {plain(phase.ran.name)} | {plain(finding.check)} | {plain(finding.summary)} |"
    for phase in summary.phases:
        yield ""
        yield from _phase(phase)
    yield ""
    yield "Again:"
    yield ""
    yield from fenced(replay(run))


def _phase(phase: PhaseSummary) -> Iterator[str]:
    yield f"**{plain(phase.declared.title)}.** {plain(phase.numbers.sentence())}"
    if phase.ran.trouble:
        yield ""
        yield f"Trouble: {plain(phase.ran.trouble)}"
    told = [verdict for verdict in phase.verdicts if verdict.judgement is not Judgement.HELD]
    if told:
        yield ""
        yield f"<details><summary>{len(told)} of {len(phase.verdicts)} promises in detail</summary>"
        for verdict in told:
            yield ""
            yield from _evidence(verdict)
        for group in phase.losses.groups:
            yield ""
            yield plain(
                f"{group.count:,} writes acknowledged by {group.node} between {group.first_s:.2f} s and "
                f"{group.last_s:.2f} s. {group.story}"
            )
        yield ""
        yield "</details>"


def _evidence(verdict: Verdict) -> Iterator[str]:
    finding = verdict.finding
    why = finding.explanation or finding.summary
    short = why if len(why) <= _EXPLAINED else f"{why[:_EXPLAINED]}…"
    yield f"**{plain(finding.check)}: {verdict.judgement.value}.** Promised: {plain(verdict.promise)}"
    yield ""
    yield plain(short)


def plain(text: str) -> str:
    """Text on one line that is nothing but text: no markup, no table cell's end, nobody's mention."""
    escaped = _SPECIAL.sub(r"\\\1", " ".join(text.split()))
    return escaped.replace("@", "@\N{WORD JOINER}")


def fenced(text: str) -> Iterator[str]:
    """A code block whose fence is longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield fence
    yield text
    yield fence
