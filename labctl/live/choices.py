"""What can be done to a lab from the live view: kinds of faults, targets, durations. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labctl.faults.registry import FAULTS
from labctl.model.topology import Kind, Role

if TYPE_CHECKING:
    from labctl.faults.kind import FaultKind
    from labctl.live.frame import Frame

DURATIONS_S: tuple[float | None, ...] = (5, 10, 30, 60, 300, None)
"""What the confirmation offers; None lasts until it is healed."""
USUAL_DURATION = 2
_MOMENTARY_FAILOVER = {
    Kind.SENTINEL: "sentinel-failover",
    Kind.CLUSTER: "cluster-failover",
    Kind.REPLICA: "failover",
    Kind.STANDALONE: "failover",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of a list.

    Attributes:
        value: What is chosen.
        meaning: What that is, for people.
    """

    value: str
    meaning: str


def kinds() -> list[Choice]:
    """Every kind of fault."""
    return [Choice(kind.name, kind.summary) for kind in FAULTS.values()]


def failover(kind: Kind) -> str:
    """The fault by which an operator hands over in a topology of this kind."""
    return _MOMENTARY_FAILOVER[kind]


def usual_target(fault: FaultKind, kind: Kind) -> str:
    """The target that is meant when none is stated."""
    return (kind is Kind.CLUSTER and fault.cluster_target) or fault.default_target


def targets(fault_name: str, frame: Frame) -> list[Choice]:
    """Targets to offer, the usual one first: roles that this lab has, then its nodes as they are now, then its clients."""
    fault = FAULTS[fault_name]
    usual = usual_target(fault, frame.kind)
    nodes = frame.picture.nodes
    data = [node for node in nodes if node.role is not Role.SENTINEL]
    words = {"primary": ", ".join(node.name for node in data if node.role is Role.PRIMARY and not node.former)}
    if any(node.role is Role.REPLICA for node in data):
        words["replicas"] = "every replica"
    if frame.picture.sentinels:
        words |= {"sentinels": "every Sentinel", "sentinel-leader": "the Sentinel that was voted for last"}
    if len(data) > 1:
        words |= {"any": "one data node at random", "minority": "a primary, and who votes with the minority"}
        words["all"] = "every server"
    named = {node.name: f"{node.role.value}, {node.condition.value}" for node in nodes}
    groups = dict.fromkeys(frame.picture.groups, "connections of these clients") if fault.one_way else {}
    every = {usual: words.get(usual, ""), **words, **named, **groups}
    return [
        Choice(value, f"{meaning}  (usual)".strip() if value == usual else meaning) for value, meaning in every.items()
    ]


def matching(choices: list[Choice], typed: str) -> list[Choice]:
    """Those that contain what was typed, names before meanings."""
    wanted = typed.strip().lower()
    by_name = [choice for choice in choices if wanted in choice.value.lower()]
    return by_name + [choice for choice in choices if choice not in by_name and wanted in choice.meaning.lower()]


def duration(seconds: float | None) -> str:
    """`30 s`, `5 min`, `until healed`."""
    if seconds is None:
        return "until healed"
    return f"{seconds / 60:g} min" if seconds >= 120 else f"{seconds:g} s"
