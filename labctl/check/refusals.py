"""Refusals: ACL and TLS refuse what they should.

Model. Whoever ran the lab tried, on every node, what nobody without the right to may do, and noted each attempt as a
`REFUSAL` event: what was tried, and whether it was refused. One attempt that was let through is enough.
"""

from __future__ import annotations

from labctl.check.common import SHOWN, Anomaly, Deadline, Stats, never, unknown
from labctl.model.history import REFUSAL, History
from labctl.model.verdict import Finding, Outcome

NAME = "refusals"


def check(history: History, *, deadline: Deadline = never) -> Finding:
    """UNKNOWN when nothing was tried, as on a lab with neither TLS nor ACL.

    Args:
        history: The run.
        deadline: Not consulted.
    """
    del deadline
    tried = [event for event in history.events if event.kind == REFUSAL]
    if not tried:
        return unknown(NAME, "nothing was tried that should be refused")
    through: list[Anomaly] = [
        {"kind": "let through", "node": event.node, "what": event.detail.get("what"), "how": event.detail.get("how")}
        for event in tried
        if not event.detail.get("refused")
    ]
    stats: Stats = {"tried": len(tried), "let_through": len(through)}
    if through:
        first = through[0]
        story = f"{first['node']} did not refuse {first['what']}: {first['how']}."
        return Finding(
            NAME,
            Outcome.INVALID,
            f"{len(through)} of {len(tried)} attempts let through",
            story,
            (),
            stats,
            tuple(through[:SHOWN]),
        )
    nodes = len({event.node for event in tried})
    return Finding(NAME, Outcome.VALID, f"all {len(tried)} attempts on {nodes} nodes refused", stats=stats)
