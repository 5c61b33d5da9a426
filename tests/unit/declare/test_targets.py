"""Targets: what some view of a topology may resolve passes, what none can is refused with the reason."""

import pytest

from labctl.declare.targets import fixed_nodes, impossible
from labctl.model.topology import Kind, Topology

SENTINEL = Topology("s", Kind.SENTINEL, replicas=2, sentinels=3)
CLUSTER = Topology("c", Kind.CLUSTER, primaries=3, replicas=1)
ALONE = Topology("a", Kind.STANDALONE)
GROUPS = {"clients-a"}


@pytest.mark.parametrize(
    ("target", "topology"),
    [
        ("", ALONE),
        ("primary", ALONE),
        ("any", ALONE),
        ("redis-1", ALONE),
        ("replicas", SENTINEL),
        ("sentinel-leader", SENTINEL),
        ("sentinel-3", SENTINEL),
        ("replica-of:redis-3", SENTINEL),
        ("primary, clients-a", SENTINEL),
        ("random:3", SENTINEL),
        ("100%", SENTINEL),
        ("slot:16383", CLUSTER),
        ("slot:0", CLUSTER),
        ("key:user:1", CLUSTER),
        ("shard:3", CLUSTER),
        ("minority", CLUSTER),
        ("halves", CLUSTER),
        ("bridge", CLUSTER),
        ("majorities-ring", SENTINEL),
    ],
)
def test_possible(target: str, topology: Topology) -> None:
    assert impossible(target, topology, GROUPS) is None


@pytest.mark.parametrize(
    ("target", "topology", "reason"),
    [
        ("replicas", ALONE, "`a` has no replicas"),
        ("replica-of:redis-1", ALONE, "`a` has no replicas"),
        ("sentinels", CLUSTER, "`c` has no Sentinels"),
        ("sentinel-1", CLUSTER, "`c` has no node `sentinel-1`; it has no sentinel"),
        ("redis-7", CLUSTER, "`c` has no node `redis-7`; redis-1 to redis-6"),
        ("replica-of:redis-9", CLUSTER, "`c` has no node `redis-9`; redis-1 to redis-6"),
        ("replica-of:x", CLUSTER, "`replica-of:` must name a node that holds data, such as `redis-1`, not `x`"),
        ("slot:1", SENTINEL, "`slot:` needs a cluster, and `s` is of kind sentinel"),
        ("slot:16384", CLUSTER, "`slot:` must be a number from 0 to 16383 here, not `16384`"),
        ("slot:x", CLUSTER, "`slot:` must be a number from 0 to 16383 here, not `x`"),
        ("shard:4", CLUSTER, "`shard:` must be a number from 1 to 3 here, not `4`"),
        ("random:7", CLUSTER, "`random:` must be a number from 1 to 6 here, not `7`"),
        ("key:", CLUSTER, "`key:` must name a key"),
        ("0%", CLUSTER, "`0%` is not 1% to 100%"),
        ("x%", CLUSTER, "`x%` is not 1% to 100%"),
        ("1000%", CLUSTER, "`1000%` is not 1% to 100%"),
        ("clients-b", CLUSTER, "no workload of this phase connects from `clients-b`"),
        ("sloot:1", CLUSTER, "`sloot:` is no target; did you mean `slot:`? Allowed: replica-of:, slot:, key:, shard:, random:"),
        ("primary,sentinels", CLUSTER, "`c` has no Sentinels"),
    ],
)  # fmt: skip
def test_impossible(target: str, topology: Topology, reason: str) -> None:
    assert impossible(target, topology, GROUPS) == reason


@pytest.mark.parametrize("target", ["primry", "replica", "half", ",", "redis-0", "redis-01", "REDIS-1"])
def test_no_target_at_all(target: str) -> None:
    assert "is no target; " in str(impossible(target, SENTINEL, GROUPS))


def test_fixed_nodes() -> None:
    assert fixed_nodes("redis-1, sentinel-2", SENTINEL) == {"redis-1", "sentinel-2"}
    assert fixed_nodes("sentinels", SENTINEL) == {"sentinel-1", "sentinel-2", "sentinel-3"}
    assert fixed_nodes("all", ALONE) == {"redis-1"}
    assert fixed_nodes("primary", SENTINEL) == frozenset()
