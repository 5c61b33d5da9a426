"""Steps that wait for others or for what is observed, maintenance beside faults, and every reason to refuse a timeline."""
# ruff: noqa: E501 - a golden message stands in one piece

import pytest

from labctl.declare.scenario import parse_scenario
from labctl.declare.topology import parse_topology
from labctl.drill import known_names
from labctl.errors import DeclarationError
from labctl.model.fault import Fault
from labctl.model.scenario import Condition, Maintenance, Phase, Preload, Recovery, Step, Workload
from labctl.model.topology import Kind, Topology

HEAD = "title: T\ndescription: D\ntopology: {topology}\nduration: 10s\nchecks: [{{check: convergence, promise: P}}]\n"


def topologies(name: str) -> Topology:
    return parse_topology(f"kind: {Kind(name)}\n", f"{name}.yaml")


def phase(*lines: str, topology: str = "sentinel") -> Phase:
    text = HEAD.format(topology=topology) + "\n".join(lines) + "\n"
    (read,) = parse_scenario(text, "d.yaml", topologies, known_names()).phases
    return read


def steps(*stated: str, topology: str = "sentinel") -> tuple[Step, ...]:
    return phase("steps:", *(f"  - {step}" for step in stated), topology=topology).steps


def problems(*stated: str, topology: str = "sentinel") -> list[str]:
    with pytest.raises(DeclarationError) as caught:
        steps(*stated, topology=topology)
    return [problem.removeprefix("d.yaml:") for problem in caught.value.problems]


def test_a_step_after_another_when_something_is_observed_and_a_while_later() -> None:
    first, second = steps(
        "{at: 1s, id: first, kill: primary, for: 4s}",
        "{after: first, when: [promoted, {writes: 500}], within: 5s, delay: 300ms, id: then, pause: primary, for: 1s}",
    )
    assert first == Step(1.0, Fault("kill", "primary", 4.0), label="first")
    assert second == Step(
        0.0,
        Fault("pause", "primary", 1.0),
        label="then",
        after="first",
        when=(Condition("promoted"), Condition("writes", "500")),
        within_s=5.0,
        delay_s=0.3,
    )


def test_those_of_a_fixed_time_come_first_and_in_its_order() -> None:
    stated = steps(
        "{when: healthy, kill: redis-1}", "{at: 3s, kill: redis-2, for: 1s}", "{at: 1s, id: a, kill: redis-3, for: 1s}"
    )
    assert [step.does.target for step in stated] == ["redis-3", "redis-2", "redis-1"]
    assert [step.fixed for step in stated] == [True, True, False]


def test_a_fault_that_waits_lasts_to_the_end_of_its_phase_unless_it_says_for_how_long() -> None:
    (waiting,) = steps("{when: healthy, kill: primary}")
    assert waiting.does == Fault("kill", "primary", None)


def test_maintenance_is_a_step_like_a_fault() -> None:
    (roll,) = steps("{at: 3s, rolling-restart: replicas, with: {by: term}, may-fail: true}")
    assert roll == Step(3.0, Maintenance("rolling-restart", "replicas", {"by": "term"}), may_fail=True)
    assert roll.fault is None


def test_what_a_step_waits_for_may_be_repeated_from_then_on() -> None:
    repeated = steps("{when: healthy, every: 1s, times: 2, command: primary, with: {send: PING}}")
    assert [step.at_s for step in repeated] == [0.0, 1.0]


def test_a_phase_has_keys_before_it_begins_clients_that_come_and_go_and_its_own_patience() -> None:
    read = phase(
        "load: {keys: 10, bytes: 20, prefix: 'p:', ttl: 1m}",
        "workloads: [{run: set, start: 1s, stop: 5s}]",
        "recovery: {within: 5s, required: false}",
    )
    assert read.load == Preload(10, 20, "p:", 60.0)
    assert read.workloads == (Workload("set", start_s=1.0, stop_s=5.0),)
    assert read.recovery == Recovery(5.0, required=False)
    assert phase().recovery == Recovery(60.0, required=True)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("{kill: primary}", "7:5: a step needs its time: `at: 2s`, `after: ID` or `when: CONDITION`"),
        ("{at: 1s, within: 2s, kill: primary}", "7:14: `within` is how long to wait for a `when`"),
        ("{after: a, kill: primary}", "7:13: no step of this phase has the `id` `a`; allowed: none"),
        ("{after: a, id: a, kill: primary, for: 1s}", "7:13: `after` `a` waits for itself"),
        ("{at: 1s, id: a, every: 1s, times: 2, kill: primary, for: 1s}", "7:14: a step that is repeated cannot have an `id`"),
        ("{at: 1s, may-fail: true, kill: primary}", "7:14: `may-fail` is for actions; a fault has to bite"),
        ("{at: 1s, config: primary, for: 2s, with: {a: 1}}", "7:36: `config` is an action, which is over once it is done; `for` is for faults"),
        ("{at: 1s, config: primary, from: replicas}", "7:37: `config` is an action, which is over once it is done; `from` is for faults"),
        ("{at: 11s, restart-node: primary}", "7:10: `at` is not within the phase, which ends at 10s"),
        ("{at: 1s, restart-node: redis-4}", "7:28: `restart-node` has an impossible target: `sentinel` has no node `redis-4`; redis-1 to redis-3"),
        ("{when: promotd, kill: primary}", "7:12: there is no condition `promotd`; did you mean `promoted`? Allowed: cluster-state, converged, down, errors, failed, failover, healthy, info, link-down, link-up, loading, migrating, odown, operations, primary, promoted, quorum, replica, sdown, syncing, tilt, unhealthy, up, writes"),
        ("{when: {cluster-state: ok}, kill: primary}", "7:12: `cluster-state` needs a topology of kind cluster, and `sentinel` is of kind sentinel"),
        ("{when: primary, kill: primary}", "7:12: `primary` needs an argument: `{primary: redis-2}`"),
        ("{when: {primary: redis-9}, kill: primary}", "7:12: `primary`: `sentinel` has no node `redis-9`; redis-1 to redis-3"),
        ("{when: {primary: any}, kill: primary}", "7:12: `primary`: `any` is no node"),
        ("{when: {healthy: 1}, kill: primary}", "7:12: `healthy` takes no argument"),
        ("{when: {writes: many}, kill: primary}", "7:12: `writes`: `many` is no whole number"),
        ("{when: {quorum: gone}, kill: primary}", "7:12: `quorum` is ok or lost"),
        ("{when: {info: evicted_keys}, kill: primary}", "7:12: `info` is a comparison such as `evicted_keys > 0` or `keys >= 1000 on primary`, not `evicted_keys`"),
        ("{when: {info: 'evictd_keys > 0'}, kill: primary}", "7:12: `info`: views keep no `evictd_keys`. Did you mean evicted_keys"),
        ("{when: [], kill: primary}", "7:12: `when` must state a condition such as `promoted`"),
        ("{when: [[healthy]], kill: primary}", "7:12: `when` must be a condition such as `promoted` or `{primary: redis-2}`, not a list"),
    ],
)  # fmt: skip
def test_refusals(stated: str, expected: str) -> None:
    found = problems(stated)
    assert any(problem.startswith(expected) for problem in found), found


def test_a_step_is_at_a_time_or_after_another() -> None:
    assert problems("{at: 1s, id: a, kill: primary, for: 1s}", "{at: 2s, after: a, kill: primary, for: 1s}") == [
        "8:14: a step begins `at` a time or `after` another, not both"
    ]


def test_labels_are_stated_once_and_lead_nowhere_in_circles() -> None:
    assert problems("{at: 1s, id: a, kill: redis-1, for: 1s}", "{at: 3s, id: a, kill: redis-1, for: 1s}") == [
        "8:18: `id` `a` is stated twice in this phase"
    ]
    found = problems("{after: b, id: a, kill: redis-1, for: 1s}", "{after: a, id: b, kill: redis-1, for: 1s}")
    assert found == ["7:13: `after` `b` waits for itself", "8:13: `after` `a` waits for itself"]


def test_what_lasts_to_the_end_of_the_phase_is_never_over_before() -> None:
    assert problems("{at: 1s, id: a, kill: redis-1}", "{after: a.end, kill: redis-1, for: 1s}") == [
        "8:13: `a` states no `for`, so it lasts until the phase ends"
    ]
    momentary = steps("{at: 1s, id: a, restart: redis-1}", "{after: a.end, kill: redis-1, for: 1s}")
    assert momentary[1].after == "a.end"


@pytest.mark.parametrize(
    ("workload", "expected"),
    [
        ("{run: set, start: 10s}", "6:31: `start` is not within the phase, which ends at 10s"),
        ("{run: set, start: 3s, stop: 2s}", "6:41: `stop` must be after `start` (3s)"),
    ],
)
def test_clients_that_cannot_come_or_go(workload: str, expected: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        phase(f"workloads: [{workload}]")
    assert caught.value.problems == [f"d.yaml:{expected}"]
