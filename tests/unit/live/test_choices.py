from __future__ import annotations

from labctl.faults.registry import FAULTS, complete
from labctl.live.choices import DURATIONS_S, USUAL_DURATION, Choice, duration, failover, kinds, matching, targets
from labctl.model.fault import DEFAULT_FAULT_S, Fault
from labctl.model.topology import Kind
from tests.support.pictures import frame, seen, with_groups
from tests.support.views import CLUSTER, SENTINEL, STANDALONE


def test_every_kind_of_fault_is_offered() -> None:
    assert [choice.value for choice in kinds()] == list(FAULTS)


def test_the_usual_target_comes_first() -> None:
    for topology in (SENTINEL, CLUSTER):
        of = frame(seen(with_groups(topology)))
        for name in FAULTS:
            first = targets(name, of)[0]
            assert first.value == complete(Fault(name), in_cluster=topology.kind is Kind.CLUSTER).target
            assert first.meaning.endswith("(usual)")


def test_targets_are_what_the_lab_has() -> None:
    values = [choice.value for choice in targets("kill", frame(seen(with_groups(SENTINEL))))]
    assert {"primary", "replicas", "sentinels", "redis-3", "sentinel-1"} <= set(values)
    assert "clients-a" not in values, "a client cannot be killed"
    assert "clients-a" in [choice.value for choice in targets("latency", frame(seen(with_groups(SENTINEL))))]
    alone = [choice.value for choice in targets("kill", frame(seen(with_groups(STANDALONE))))]
    assert alone == ["primary", "redis-1"]
    assert len(values) == len(set(values))


def test_an_operators_failover_fits_the_topology() -> None:
    assert {kind: failover(kind) for kind in Kind} == {
        Kind.SENTINEL: "sentinel-failover",
        Kind.CLUSTER: "cluster-failover",
        Kind.REPLICA: "failover",
        Kind.STANDALONE: "failover",
    }
    assert all(failover(kind) in FAULTS for kind in Kind)


def test_typing_finds_names_before_meanings() -> None:
    choices = [Choice("a", "like kill"), Choice("kill", "end it"), Choice("b", "other")]
    assert [c.value for c in matching(choices, " KILL ")] == ["kill", "a"]
    assert matching(choices, "") == choices
    assert matching(choices, "nothing") == []


def test_durations() -> None:
    assert [duration(s) for s in DURATIONS_S] == ["5 s", "10 s", "30 s", "60 s", "5 min", "until healed"]
    assert DURATIONS_S[USUAL_DURATION] == DEFAULT_FAULT_S
