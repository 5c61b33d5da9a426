"""Role changes, counted as the agent's events come, and the stages of each failover."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labctl.metrics.exposition import Exposition
from labctl.model.plan import LabPlan

AGREEMENT, PROMOTION, ANNOUNCEMENT = "agreement", "promotion", "announcement"
"""Stages of a failover: from the first suspicion to a quorum, from there to a new primary, from there until the last
Sentinel sends clients to it. Without Sentinels, or without suspicion, there is less to measure, and less is stated."""


@dataclass(slots=True)
class _Shard:
    """What is known of the failover that is under way, or of the last one."""

    primary: str = ""
    suspected_ns: int = 0
    agreed_ns: int = 0
    promoted_ns: int = 0
    failovers: int = 0
    stages: dict[str, float] = field(default_factory=dict)


class Failovers:
    """Counts events and follows failovers. Reads each event once.

    Args:
        plan: Says which nodes belong together.
    """

    def __init__(self, plan: LabPlan) -> None:
        self._shard_of = {node.name: node.shard for node in plan.data_nodes}
        self._shards = {node.shard: _Shard() for node in plan.data_nodes}
        self._sentinel_of = {node.name for node in plan.sentinels}
        self._events: Counter[str] = Counter()
        self._roles: Counter[tuple[str, str]] = Counter()
        self.seen = 0

    def take(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Take in events of the agent, in order; those taken in before are passed over."""
        for event in events:
            if event["seq"] > self.seen:
                self.seen = event["seq"]
                self._events[event["kind"]] += 1
                self._take(event)

    def write(self, out: Exposition) -> None:
        """Their metrics."""
        for kind, count in sorted(self._events.items()):
            out.counter("labctl_events_total", "Events that the agent noted.", count, kind=kind)
        for (node, role), count in sorted(self._roles.items()):
            text = "How often a node was seen to take on a role; its first one counts."
            out.counter("labctl_role_changes_total", text, count, node=node, role=role)
        for number, shard in sorted(self._shards.items()):
            text = "Changes of primary that were observed."
            out.counter("labctl_failovers_total", text, shard.failovers, shard=str(number))
            for stage, seconds in shard.stages.items():
                text = "How long the stages of the last failover took."
                out.gauge("labctl_failover_stage_seconds", text, seconds, shard=str(number), stage=stage)

    def _take(self, event: Mapping[str, Any]) -> None:
        node, detail, at_ns = event["node"], event["detail"], event["at_ns"]
        match event["kind"]:
            case "role":
                self._roles[node, detail["role"]] += 1
                if detail["role"] == "primary":
                    self._promoted(self._shards[self._shard_of[node]], node, at_ns)
            case "down" if node in self._shard_of:
                shard = self._shards[self._shard_of[node]]
                if node == shard.primary:
                    _suspect(shard, at_ns)
            case "sentinel":
                self._sentinel(next(iter(self._shards.values())), detail, at_ns)
            case _:
                pass

    def _promoted(self, shard: _Shard, node: str, at_ns: int) -> None:
        before, shard.primary = shard.primary, node
        if before in ("", node):
            shard.suspected_ns = shard.agreed_ns = 0
            return
        shard.failovers += 1
        shard.promoted_ns = at_ns
        shard.stages = {}
        began = shard.agreed_ns or shard.suspected_ns
        if shard.agreed_ns and shard.suspected_ns:
            shard.stages[AGREEMENT] = (shard.agreed_ns - shard.suspected_ns) / 1e9
        if began:
            shard.stages[PROMOTION] = (at_ns - began) / 1e9
        shard.suspected_ns = shard.agreed_ns = 0

    def _sentinel(self, shard: _Shard, detail: Mapping[str, Any], at_ns: int) -> None:
        if detail.get("s_down") is True:
            _suspect(shard, at_ns)
        elif detail.get("o_down"):
            shard.agreed_ns = shard.agreed_ns or at_ns
        elif detail.get("primary") == shard.primary and shard.promoted_ns:
            shard.stages[ANNOUNCEMENT] = (at_ns - shard.promoted_ns) / 1e9


def _suspect(shard: _Shard, at_ns: int) -> None:
    shard.suspected_ns = shard.suspected_ns or at_ns
