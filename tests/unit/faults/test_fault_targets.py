"""Targets against a healthy view: what each word means, and what the parser of scenarios knows of them."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.declare import targets as declared
from labctl.errors import UsageError
from labctl.faults.targets import FORMS, SHAPES, WORDS, resolve, shape
from labctl.model.fault import Link
from labctl.model.topology import Kind, Topology
from tests.support.views import CLUSTER, SENTINEL, healthy_view, plan_of


def test_the_parser_of_scenarios_knows_the_same_words() -> None:
    assert set(declared.WORDS) == set(WORDS)
    assert set(declared.FORMS) == set(FORMS)
    assert set(declared.SHAPES) == set(SHAPES)


@pytest.mark.parametrize(
    ("target", "topology", "names"),
    [
        ("primary", SENTINEL, {"redis-1"}),
        ("replicas", SENTINEL, {"redis-2", "redis-3"}),
        ("replica-of:redis-1", SENTINEL, {"redis-2", "redis-3"}),
        ("minority", SENTINEL, {"redis-1", "sentinel-1"}),
        ("majority", SENTINEL, {"redis-2", "redis-3", "sentinel-2", "sentinel-3"}),
        ("primary, sentinel-2", SENTINEL, {"redis-1", "sentinel-2"}),
        ("primary", CLUSTER, {"redis-1", "redis-2", "redis-3"}),
        ("minority", CLUSTER, {"redis-1"}),
        ("slot:0", CLUSTER, {"redis-1"}),
        ("slot:16383", CLUSTER, {"redis-3"}),
        ("shard:2", CLUSTER, {"redis-2", "redis-5"}),
        ("key:user:1", CLUSTER, {"redis-2"}),
    ],
)
def test_words(target: str, topology: Topology, names: set[str]) -> None:
    plan = plan_of(topology)
    assert set(resolve(target, plan, healthy_view(plan), Random(1))) == names


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.integers(1, 100))
def test_shares_and_halves(seed: int, percent: int) -> None:
    plan = plan_of(CLUSTER)
    view = healthy_view(plan)
    assert len(resolve(f"{percent}%", plan, view, Random(seed))) == max(1, round(6 * percent / 100))
    half = resolve("halves", plan, view, Random(seed))
    assert len(half) == 3
    assert half == resolve("halves", plan, view, Random(seed))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(0, 2))
def test_in_a_bridge_one_node_reaches_everybody_and_nobody_else_does(seed: int, primaries: int, replicas: int) -> None:
    plan = plan_of(Topology("c", Kind.CLUSTER, primaries=max(3, primaries), replicas=replicas))
    names = {node.name for node in plan.nodes}
    cut = set(shape("bridge", plan, Random(seed)))
    assert cut == {Link(link.target, link.source) for link in cut}
    whole = [n for n in names if not any(n in (link.source, link.target) for link in cut)]
    assert len(whole) == 1


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.integers(4, 12))
def test_in_a_ring_everybody_sees_a_majority_and_no_two_the_same(seed: int, size: int) -> None:
    plan = plan_of(Topology("c", Kind.CLUSTER, primaries=size, replicas=0))
    names = [node.name for node in plan.nodes]
    cut = set(shape("majorities-ring", plan, Random(seed)))
    seen = {name: frozenset(o for o in names if o == name or Link(name, o) not in cut) for name in names}
    assert all(len(group) * 2 > size for group in seen.values())
    assert len(set(seen.values())) == size


@pytest.mark.parametrize("target", ["bridge", "redis-9", "slot:x", "", "clients-z", "150%x"])
def test_what_is_no_target(target: str) -> None:
    plan = plan_of(SENTINEL)
    with pytest.raises(UsageError):
        resolve(target, plan, healthy_view(plan), Random(1))


def test_a_ring_of_three_cuts_nothing_and_is_refused() -> None:
    with pytest.raises(UsageError, match="more servers"):
        shape("majorities-ring", plan_of(Topology("c", Kind.CLUSTER, primaries=3, replicas=0)), Random(1))
