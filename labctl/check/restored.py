"""Restored: a server that was started on a backup holds what was saved, key by key.

Model. The action `backup` digests every key and value of the saved node while its writes are held back, and has it fork
in that moment; `restore` digests what the server holds after it loaded the dump. The digests are equal exactly if the
data are (SHA-256 of each key with its DUMP payload, combined without order); times to live are not compared.

Source: redis.io, "Redis persistence": a dump is a point-in-time snapshot, and copying it while the server runs is safe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.check.common import Deadline, Stats, never, unknown
from labctl.model.history import ACTION_END
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from labctl.model.history import History

NAME = "restored"


def check(history: History, *, deadline: Deadline = never) -> Finding:
    """Judge every restore of the phase. UNKNOWN when there was none that could be compared."""
    del deadline
    done = [event.detail for event in history.events if event.kind == ACTION_END and event.detail.get("ok")]
    restores = [detail for detail in done if detail.get("action") == "restore" and detail.get("equal") is not None]
    stats: Stats = {"restores": len(restores)}
    if not restores:
        return unknown(NAME, "nothing was restored, or what was saved was not digested", stats)
    stats["keys"] = sum(int(str(detail["keys"])) for detail in restores)
    wrong = [detail for detail in restores if not detail["equal"]]
    if wrong:
        said = "; ".join(f"{d['node']}: {d['keys']} keys, {d['keys_saved']} were saved" for d in wrong)
        rows = tuple({"kind": "restored", **detail} for detail in wrong)
        return Finding(NAME, Outcome.INVALID, f"{len(wrong)} restores differ", f"{said}.", (), stats, rows)
    return Finding(NAME, Outcome.VALID, f"{stats['keys']} keys are back as they were saved", stats=stats)
