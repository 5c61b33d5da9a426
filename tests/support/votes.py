"""Elections that nobody won: three Sentinels that find a primary dead in the same moment may all vote for themselves.

The next attempt comes two failover timeouts later, and so after the end of most drills, whose primary is back by then. That is
how Sentinel works, and the busier a machine is the likelier; a test of what comes after a failover then tries once more.
"""

from __future__ import annotations

from pathlib import Path

from labctl.errors import Exit
from tests.support.command import Done, Labctl

ATTEMPTS = 3


def nobody_was_elected(run: Path) -> bool:
    """Whether a Sentinel of a run says so in its log."""
    return any("-failover-abort-not-elected" in log.read_text() for log in (run / "logs").glob("sentinel-*.log"))


def drilled(labctl: Labctl, *words: str, within_s: float) -> Done:
    """`labctl drill WORDS`, run again where a split vote made it inconclusive; the run that counts is the newest."""
    for _ in range(ATTEMPTS):
        drill = labctl.start("drill", *words)
        drill.process.wait(within_s)
        done = drill.finish()
        newest = max((labctl.home / "runs").iterdir(), default=None)
        if done.code != Exit.INCONCLUSIVE or newest is None or not nobody_was_elected(newest):
            break
    return done
