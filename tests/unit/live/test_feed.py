from __future__ import annotations

from labctl.agent.feed import ping_pairs, samples
from labctl.live.frame import NO_ANSWER
from labctl.live.panels import summary
from labctl.live.picture import draw
from labctl.model.topology import Kind, Topology
from tests.support.pictures import frame, ping, seen, with_groups
from tests.support.views import CLUSTER, SENTINEL, healthy_view


def test_every_group_asks_every_primary_unless_that_is_too_much() -> None:
    plan = with_groups(CLUSTER)
    pairs = ping_pairs(plan, healthy_view(plan))
    assert len(pairs) == 9
    assert ("clients-b", "redis-3") in pairs
    big = with_groups(Topology("big", Kind.CLUSTER, primaries=50, replicas=1))
    few = ping_pairs(big, healthy_view(big))
    assert {group for group, _ in few} == {"clients"}
    assert len(few) == 24


def test_before_the_first_look_the_planned_primary_is_asked() -> None:
    plan = with_groups(SENTINEL)
    assert ping_pairs(plan, None) == tuple((group, "redis-1") for group in ("clients", "clients-a", "clients-b"))


def test_a_sample_for_every_curve() -> None:
    plan = with_groups(SENTINEL)
    found = samples(draw(seen(plan)), (ping("clients", "redis-1", 0.31), ping("clients-a", "redis-1", None)))
    assert found == {
        "ops": 0.0,
        "ops:redis-1": 0.0,
        "ops:redis-2": 0.0,
        "ops:redis-3": 0.0,
        "lag:redis-2": 0,
        "lag:redis-3": 0,
        "ms:clients:redis-1": 0.31,
        "ms:clients-a:redis-1": NO_ANSWER,
    }


def test_a_plain_line_has_the_slowest_of_each_group_and_who_is_silent() -> None:
    pings = (ping("clients", "redis-1", 0.2), ping("clients", "redis-2", 7.0), ping("clients-a", "redis-1", None))
    text = summary(frame(seen(with_groups(CLUSTER)), pings=pings))
    assert "clients 7.00 ms  clients-a redis-1 silent" in text
