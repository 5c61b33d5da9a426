"""JUnit XML, as CI systems read it: a suite for each phase, a case for each check.

The elements and attributes are those that Jenkins, GitLab, GitHub's reporters and pytest's own `xunit2` family have in
common: `testsuites`, `testsuite` with its counts, `properties`, `testcase`, `failure`, `error`, `system-out`. A broken
promise is a failure. What could not be judged is an error: nobody may take it for a pass. A documented loss passes, and its
numbers are in the case's `system-out`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from labctl.model.run import PhaseRun, PhaseVerdicts, Run
from labctl.model.verdict import Judgement, Verdict
from labctl.report.replay import replay

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped: keys and values may be any bytes."""


def render_junit(runs: Iterable[tuple[Run, tuple[PhaseVerdicts, ...]]]) -> str:
    """These runs as one document, ending in a line break."""
    root = Element("testsuites", name="labctl")
    suites = []
    for run, verdicts in runs:
        if not run.phases:
            suites.append(_nothing_ran(root, run))
        suites += [_suite(root, run, ran, judged) for ran, judged in zip(run.phases, verdicts, strict=True)]
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in suites):.3f}")
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _suite(root: Element, run: Run, ran: PhaseRun, judged: PhaseVerdicts) -> Element:
    counts = [verdict.judgement for verdict in judged.verdicts]
    name = f"{_name(run)}.{ran.name}"
    suite = SubElement(
        root,
        "testsuite",
        name=_text(name),
        tests=str(len(counts)),
        failures=str(counts.count(Judgement.BROKEN)),
        errors=str(counts.count(Judgement.INCONCLUSIVE)),
        skipped="0",
        time=f"{(ran.ended_ns - ran.started_ns) / 1e9:.3f}",
        timestamp=_started(run, ran),
    )
    _properties(suite, run)
    for verdict in judged.verdicts:
        _case(suite, name, verdict)
    return suite


def _nothing_ran(root: Element, run: Run) -> Element:
    """A lab that never was healthy is an error of its own: a suite without cases would look like a pass."""
    why = run.trouble or "The run ended before its first phase."
    suite = SubElement(root, "testsuite", name=_text(_name(run)), tests="1", failures="0", errors="1", skipped="0")
    _properties(suite, run)
    case = SubElement(suite, "testcase", classname=_text(_name(run)), name="lab", time="0.000")
    SubElement(case, "error", message=_text(why), type=Judgement.INCONCLUSIVE.value).text = _text(why)
    return suite


def _name(run: Run) -> str:
    cell = f"[{run.scenario.cell}]" if run.scenario.cell else ""
    return f"{run.scenario.name}{cell}"


def _properties(suite: Element, run: Run) -> None:
    properties = SubElement(suite, "properties")
    for key, value in {
        "run": run.run_id,
        "engine": run.engine,
        "topology": run.scenario.topology.name,
        "seed": str(run.seed),
        "labctl": run.labctl,
        "replay": replay(run),
    }.items():
        SubElement(properties, "property", name=key, value=_text(value))


def _case(suite: Element, suite_name: str, verdict: Verdict) -> None:
    finding = verdict.finding
    case = SubElement(suite, "testcase", classname=_text(suite_name), name=_text(finding.check), time="0.000")
    why = finding.explanation or finding.summary
    promised = " ".join(verdict.promise.split())
    if verdict.judgement in (Judgement.BROKEN, Judgement.INCONCLUSIVE):
        tag = "failure" if verdict.judgement is Judgement.BROKEN else "error"
        told = SubElement(case, tag, message=_text(finding.summary), type=verdict.judgement.value)
        told.text = _text(f"Promised: {promised}\nMeasured: {finding.summary}\n\n{why}")
    stats = "\n".join(f"{name} {value}" for name, value in finding.stats.items())
    out = SubElement(case, "system-out")
    out.text = _text(
        f"Verdict: {verdict.judgement.value}\nPromised: {promised}\nMeasured: {finding.summary}\n{why}\n{stats}".rstrip()
    )


def _started(run: Run, ran: PhaseRun) -> str:
    """When the phase began, without a zone, in UTC: the form that every reader takes."""
    first = run.phases[0].started_ns
    at = run.started_unix_s + (ran.started_ns - first) / 1e9
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _text(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
