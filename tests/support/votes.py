"""What keeps Sentinels from a failover on a busy machine, and no defect of anybody: a test of what comes after one tries again.

An election that nobody won: three Sentinels that find a primary dead in the same moment may all vote for themselves. Replicas
of which nobody had heard for too long to promote one.

The next attempt comes two failover timeouts later, and so after the end of most drills, whose primary is back by then. TILT:
a Sentinel that was not run for two seconds trusts nothing that it measured and does nothing for thirty.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from labctl.errors import Exit
from tests.support.command import Done, Labctl

ATTEMPTS = 3
_HINDERED = ("-failover-abort-not-elected", "-failover-abort-no-good-slave", "+tilt")
_OTHERWISE = (Exit.INCONCLUSIVE, Exit.VIOLATED, Exit.ABORTED)


def sentinels_were_hindered(run: Path) -> bool:
    """Whether a Sentinel of a run says so in its log."""
    logs = [log.read_text() for log in (run / "logs").glob("sentinel-*.log")]
    return any(event in log for log in logs for event in _HINDERED)


def drilled(labctl: Labctl, *words: str, within_s: float) -> Done:
    """`labctl drill WORDS`, run again where Sentinels were hindered and it did not end as it says; the newest run counts."""
    for _ in range(ATTEMPTS):
        drill = labctl.start("drill", *words)
        try:
            drill.process.wait(within_s)
        except subprocess.TimeoutExpired:
            drill.send(signal.SIGINT)
        done = drill.finish()
        newest = max((labctl.home / "runs").iterdir(), default=None)
        if done.code not in _OTHERWISE or newest is None or not sentinels_were_hindered(newest):
            break
    return done
