"""The user's own program: it gets over the faults, and ends as it should.

Model. Whoever ran the drill started the program at the beginning of the timeline and told it to end, by SIGTERM, at the
end; both and how it ended are `APPLICATION` events. It may end by itself earlier. Either way it has to end with the exit
code that it should have. One that has no handler for SIGTERM and dies of it when told to has done what it was told: that
counts as if it had ended well, whether it shows as the signal or as 128 + 15. One that had to be killed did not end.
"""

from __future__ import annotations

from collections.abc import Mapping

from labctl.check.common import Anomaly, Deadline, Stats, never, unknown
from labctl.model.history import APPLICATION, Event, History
from labctl.model.verdict import Finding, Outcome

NAME = "application"
_TERMINATED = 128 + 15


def check(history: History, *, deadline: Deadline = never, exit_code: int = 0) -> Finding:
    """UNKNOWN when no program ran, or nobody saw it end.

    Args:
        history: The run.
        deadline: Not consulted.
        exit_code: With which it should end.
    """
    del deadline
    said = [event for event in history.events if event.kind == APPLICATION]
    started = [event for event in said if event.detail.get("what") == "started"]
    ended = [event for event in said if event.detail.get("what") == "ended"]
    if not started:
        return unknown(NAME, "no application ran: labctl drill SCENARIO --exec 'PROGRAM'")
    if not ended:
        return unknown(NAME, "nobody saw the application end")
    detail = ended[-1].detail
    wrong = _wrong(detail.get("exit_code"), detail.get("signal"), bool(detail.get("told")), exit_code)
    stats = _stats(ended[-1])
    how = f"killed by {detail['signal']}" if detail.get("signal") else f"exit code {detail.get('exit_code')}"
    when = "when it was told to" if detail.get("told") else f"by itself after {_seconds(detail)} s"
    summary = f"ended {when}: {how}"
    if wrong is None:
        return Finding(NAME, Outcome.VALID, summary, f"It ran for {_seconds(detail)} s.", (), stats)
    words = _last_words(detail)
    story = f"It ran for {_seconds(detail)} s and ended {when}: {how}. {wrong}{words}"
    anomaly: Anomaly = {"kind": "ended wrongly", "exit_code": detail.get("exit_code"), "signal": detail.get("signal")}
    return Finding(NAME, Outcome.INVALID, summary, story, (), stats, (anomaly,))


def _wrong(code: object, signal: object, told: bool, wanted: int) -> str | None:
    """Why this is not how it should end, as a sentence; None when it is."""
    if told and (signal == "SIGTERM" or code == _TERMINATED):
        return None
    if told and signal == "SIGKILL":
        return "It did not end of SIGTERM in the time that it was given, so it was killed."
    return None if signal is None and code == wanted else f"It should have ended with exit code {wanted}."


def _stats(ended: Event) -> Stats:
    detail = ended.detail
    code, signal = detail.get("exit_code"), detail.get("signal")
    return {
        "exit_code": code if isinstance(code, int) else None,
        "signal": str(signal) if signal else None,
        "ended_early": not detail.get("told"),
        "ran_ms": round(float(str(detail.get("ran_ms", 0))), 3),
        "lines": int(str(detail.get("lines", 0))),
        "stderr_lines": int(str(detail.get("stderr_lines", 0))),
    }


def _seconds(detail: Mapping[str, object]) -> str:
    return f"{float(str(detail.get('ran_ms', 0))) / 1000:.2f}"


def _last_words(detail: Mapping[str, object]) -> str:
    lines = detail.get("last_lines")
    return (
        "".join(["\nIts last lines:", *(f"\n  {line}" for line in lines)]) if isinstance(lines, list) and lines else ""
    )
