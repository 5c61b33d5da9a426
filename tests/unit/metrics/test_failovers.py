"""Failovers and their stages from the agent's events."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from labctl.metrics.exposition import Exposition
from labctl.metrics.failovers import Failovers
from tests.support.views import CLUSTER, SENTINEL, plan_of

S = 1_000_000_000


def event(seq: int, at_s: float, kind: str, node: str, **detail: Any) -> dict[str, Any]:
    return {"seq": seq, "at_ns": round(at_s * S), "kind": kind, "node": node, "detail": detail}


def samples(failovers: Failovers) -> dict[tuple[str, ...], float]:
    out = Exposition()
    failovers.write(out)
    return {
        (s.name, *(value for _, value in sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(out.render())
        for s in family.samples
    }


def test_a_sentinel_failover_has_three_stages() -> None:
    failovers = Failovers(plan_of(SENTINEL))
    failovers.take(
        [
            event(1, 0, "role", "redis-1", role="primary"),
            event(2, 0, "role", "redis-2", role="replica"),
            event(3, 10.0, "down", "redis-1"),
            event(4, 10.5, "sentinel", "sentinel-1", s_down=True),
            event(5, 11.0, "sentinel", "sentinel-2", o_down=True),
            event(6, 11.1, "sentinel", "sentinel-1", o_down=True),
            event(7, 12.0, "role", "redis-2", role="primary"),
            event(8, 12.5, "sentinel", "sentinel-1", primary="redis-2"),
            event(9, 13.0, "sentinel", "sentinel-2", primary="redis-2"),
        ]
    )
    found = samples(failovers)
    assert found["labctl_failovers_total", "1"] == 1
    assert found["labctl_failover_stage_seconds", "1", "agreement"] == 1.0
    assert found["labctl_failover_stage_seconds", "1", "promotion"] == 1.0
    assert found["labctl_failover_stage_seconds", "1", "announcement"] == 1.0
    assert found["labctl_role_changes_total", "redis-2", "primary"] == 1
    assert found["labctl_events_total", "sentinel"] == 5


def test_a_primary_that_comes_back_as_one_is_no_failover() -> None:
    failovers = Failovers(plan_of(SENTINEL))
    failovers.take(
        [
            event(1, 0, "role", "redis-1", role="primary"),
            event(2, 1, "down", "redis-1"),
            event(3, 2, "role", "redis-1", role="primary"),
        ]
    )
    assert samples(failovers)["labctl_failovers_total", "1"] == 0
    failovers.take([event(4, 9, "role", "redis-3", role="primary")])
    found = samples(failovers)
    assert found["labctl_failovers_total", "1"] == 1
    assert not any(key[0] == "labctl_failover_stage_seconds" for key in found), "nobody was suspected: it was planned"


def test_shards_are_counted_apart_and_no_event_twice() -> None:
    plan = plan_of(CLUSTER)
    failovers = Failovers(plan)
    names = {node.shard: node.name for node in plan.data_nodes if node.role.value == "replica"}
    first = [event(n, 0, "role", f"redis-{n}", role="primary") for n in (1, 2, 3)]
    events = [*first, event(4, 5, "down", "redis-2"), event(5, 7, "role", names[2], role="primary")]
    failovers.take(events)
    failovers.take(events)
    found = samples(failovers)
    assert [found["labctl_failovers_total", str(n)] for n in (1, 2, 3)] == [0, 1, 0]
    assert found["labctl_failover_stage_seconds", "2", "promotion"] == 2.0
