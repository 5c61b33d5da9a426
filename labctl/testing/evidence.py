"""What a failed test shows of a lab: what it is now, faults in force, and events and log lines since the test began."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labctl.model.view import NodeView
    from labctl.testing.lab import RedisLab

_EVENTS = 30
_LOG_LINES = 8
_LOG_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment in the life of a lab.

    Attributes:
        at_ns: Monotonic.
        seq: Its last event by then.
        logs: Size in bytes of each server's log.
    """

    at_ns: int
    seq: int
    logs: dict[str, int]


def mark(lab: RedisLab) -> Mark:
    """Where the lab stands now."""
    known = lab.events()
    sizes = {node.name: _size(lab.log(node.name)) for node in lab.plan.nodes}
    return Mark(time.monotonic_ns(), known[-1]["seq"] if known else 0, sizes)


def text(lab: RedisLab, since: Mark) -> str:
    """Everything, in lines."""
    return "\n".join(_lines(lab, since))


def _lines(lab: RedisLab, since: Mark) -> Iterator[str]:
    yield f"{lab.plan.topology.name} on {lab.engine}; it is now:"
    yield from (f"  {_node(node)}" for node in lab.view().nodes)
    yield from (f"  not healthy: {reason}" for reason in lab.unhealthy)
    yield "faults in force: " + ("; ".join(f"{f['kind']} {f['target']}" for f in lab.faults) or "none")
    events = sorted(lab.events(since.seq), key=lambda event: int(event["at_ns"]))
    yield f"events since the test began: {len(events) or 'none'}"
    if len(events) > _EVENTS:
        yield f"  … the first {len(events) - _EVENTS} are left out"
    yield from (f"  {_moment(event, since)}" for event in events[-_EVENTS:])
    for node in lab.plan.nodes:
        if said := _said(lab.log(node.name), since.logs.get(node.name, 0)):
            yield f"the log of {node.name} since then, its end:"
            yield from (f"  {line}" for line in said)


def _node(node: NodeView) -> str:
    if not node.up:
        return f"{node.name}: does not answer: {node.error}"
    if node.sentinel is not None:
        flags = ",".join(node.sentinel.primary_flags)
        return f"{node.name}: Sentinel; for it {node.sentinel.primary} is primary ({flags})"
    if node.follows is None:
        return f"{node.name}: {node.role}, offset {node.offset}, {node.keys} keys"
    link = "link up" if node.link_up else "link down"
    return f"{node.name}: {node.role} of {node.follows}, {link}, offset {node.offset}, {node.keys} keys"


def _moment(event: dict[str, Any], since: Mark) -> str:
    return f"{(event['at_ns'] - since.at_ns) / 1e9:+9.3f} s  {event['text']}"


def _said(path: Path, size: int) -> list[str]:
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(size, end - _LOG_BYTES))
            return file.read().decode(errors="replace").splitlines()[-_LOG_LINES:]
    except OSError:
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
