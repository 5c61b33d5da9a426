"""Scenarios: phases or a single one, timelines, promises, and every reason why one cannot be run as written."""
# ruff: noqa: E501 - a golden message stands in one piece

import pytest

from labctl.declare.scenario import Known, parse_scenario, seconds
from labctl.declare.topology import parse_topology
from labctl.errors import DeclarationError, UsageError
from labctl.model.fault import Fault
from labctl.model.scenario import Check, Expectation, Phase, Step, Workload
from labctl.model.topology import Kind, Persistence, Topology

KNOWN = Known(
    faults=frozenset({"kill", "pause", "partition", "failover", "latency"}),
    checks=frozenset({"acked-writes", "recovery"}),
    workloads=frozenset({"set", "register"}),
)
HEAD = "title: T\ndescription: D\ntopology: sentinel\n"
CHECKS = "checks: [{check: recovery, promise: P}]\n"
REST = "duration: 1s\n" + CHECKS


def topologies(name: str) -> Topology:
    if name == "broken":
        return parse_topology("kind: x\nfoo: 1\n", "topologies/broken.yaml")
    if name not in tuple(Kind):
        raise UsageError(f"There is no topology `{name}`.", "Known: cluster, sentinel.")
    return parse_topology(f"kind: {name}\n", f"{name}.yaml")


def parse(text: str, source: str = "drill.yaml"):
    return parse_scenario(text, source, topologies, KNOWN)


def problems(text: str, source: str = "drill.yaml") -> list[str]:
    with pytest.raises(DeclarationError) as caught:
        parse(text, source)
    return caught.value.problems


def test_one_phase_without_saying_so() -> None:
    scenario = parse(
        """title: One kill
description: >
  A primary is killed.
learn: [Failover takes a moment.]
tags: [sentinel]
chapter: https://example.org/sentinel
topology: sentinel
duration: 8s
workloads:
  - {run: set, clients: 8, from: clients-a, rate: 200, with: {keys: 10}}
  - {run: register}
steps:
  - {at: 2s, kill: primary, for: 4s, with: {signal: 9}}
  - {at: 0, failover: }
checks:
  - check: acked-writes
    expect: may lose
    promise: >
      Asynchronous
      replication.
    bounds: {lost: 10}
    with: {group: clients-a}
""",
        "dir/one-kill.yaml",
    )
    assert scenario.name == "one-kill"
    assert (scenario.title, scenario.description) == ("One kill", "A primary is killed.")
    assert (scenario.learn, scenario.tags) == (("Failover takes a moment.",), ("sentinel",))
    assert scenario.chapter == "https://example.org/sentinel"
    assert scenario.topology == topologies("sentinel")
    assert scenario.phases == (
        Phase(
            name="main",
            title="One kill",
            duration_s=8.0,
            workloads=(Workload("set", 8, "clients-a", 200, {"keys": 10}), Workload("register")),
            steps=(
                Step(0.0, Fault("failover", "", 8.0)),
                Step(2.0, Fault("kill", "primary", 4.0, {"signal": 9})),
            ),
            checks=(
                Check(
                    "acked-writes",
                    "Asynchronous replication.",
                    Expectation.MAY_LOSE,
                    {"lost": 10.0},
                    {"group": "clients-a"},
                ),
            ),
        ),
    )


def test_phases_in_their_order() -> None:
    scenario = parse(
        HEAD
        + """phases:
  second-first:
    duration: 1s
    checks: [{check: recovery, promise: P}]
  another:
    title: With a title
    duration: 500ms
"""
    )
    assert [(phase.name, phase.title, phase.duration_s) for phase in scenario.phases] == [
        ("second-first", "second-first", 1.0),
        ("another", "With a title", 0.5),
    ]


def test_overrides_change_only_what_they_state() -> None:
    scenario = parse(
        """title: T
description: D
topology:
  name: sentinel
  sentinels: 5
  persistence: none
  sentinel: {down-after: 200ms}
  directives: {primary: {min-replicas-to-write: 1}}
duration: 1s
checks: [{check: recovery, promise: P}]
"""
    )
    base = topologies("sentinel")
    assert scenario.topology.replicas == base.replicas
    assert scenario.topology.sentinels == 5
    assert scenario.topology.sentinel.quorum == 3
    assert scenario.topology.sentinel.down_after_ms == 200
    assert scenario.topology.sentinel.failover_timeout_ms == base.sentinel.failover_timeout_ms
    assert scenario.topology.persistence == Persistence()
    assert scenario.topology.directives == {"primary": (("min-replicas-to-write", "1"),)}


def test_an_override_replaces_a_directive_and_an_empty_list_removes_it() -> None:
    base = parse_topology("kind: replica\ndirectives:\n  all: {hz: 10, repl-timeout: 60, loglevel: debug}\n", "b.yaml")
    scenario = parse_scenario(
        """title: T
description: D
topology: {name: b, directives: {all: {hz: 100, loglevel: []}}}
duration: 1s
checks: [{check: recovery, promise: P}]
""",
        "drill.yaml",
        lambda _: base,
        KNOWN,
    )
    assert scenario.topology.directives == {"all": (("repl-timeout", "60"), ("hz", "100"))}


def test_a_target_may_be_a_list() -> None:
    scenario = parse(
        HEAD
        + "duration: 4s\nworkloads: [{run: set, from: clients-a}]\n"
        + "steps: [{at: 1s, partition: [primary, clients-a]}]\nchecks: [{check: recovery, promise: P}]\n"
    )
    assert scenario.phases[0].steps == (Step(1.0, Fault("partition", "primary,clients-a", 3.0)),)


def test_every_mistake_of_a_scenario_at_once() -> None:
    text = """title: T
description: D
topology: {name: sentinel, sentinel: {quorum: 7}}
phases:
  Main:
    duration: 8s
    workloads:
      - {run: sett}
    steps:
      - {at: 2s, kil: primary}
      - {at: 9s, kill: primary}
      - {at: 2s, kill: primary, for: 7s}
      - {at: 1s, kill: primry}
      - {at: 1s, kill: redis-4}
      - {at: 1s, partition: "primary,clients-b"}
      - {at: 1s, kill: primary, pause: primary}
      - {at: 1s}
      - {at: 1s, kill: primary, fro: 2s}
    checks:
      - {check: acked, promise: P}
      - {check: recovery, promise: P, bounds: {recovery_ms: -1, No: 2}}
      - {check: recovery, promise: Q}
  main:
    duration: 1s
    steps:
      - {at: 0s, kill: "slot:1"}
"""
    assert problems(text) == [
        "drill.yaml:3:47: `quorum` 7 cannot be reached by 3 Sentinels",
        "drill.yaml:5:3: `Main` cannot name a phase: small letters, digits and dashes",
        "drill.yaml:8:15: there is no workload `sett`; did you mean `set`? Allowed: register, set",
        "drill.yaml:10:18: unknown key or fault `kil`; did you mean `kill`? Allowed: at, after, when, within, delay, id, may-fail, for, from, follow, every, times, with, failover, kill, latency, partition, pause",
        "drill.yaml:11:14: `at` is not within the phase, which ends at 8s",
        "drill.yaml:12:38: ends at 9s, but the phase ends at 8s and undoes every fault",
        "drill.yaml:13:24: `kill` has an impossible target: `primry` is no target; did you mean `primary`? Allowed: primary, replicas, sentinels, sentinel-leader, any, all, minority, majority, halves, bridge, majorities-ring, clients, clients-a, clients-b, replica-of:redis-1, slot:1234, key:NAME, shard:2, random:2, 50%, redis-1, sentinel-1",
        "drill.yaml:14:24: `kill` has an impossible target: `sentinel` has no node `redis-4`; redis-1 to redis-3",
        "drill.yaml:15:29: `partition` has an impossible target: no workload of this phase connects from `clients-b`",
        "drill.yaml:16:9: a step is one fault; `kill` and `pause` are 2 steps",
        "drill.yaml:17:9: a step needs a fault and its target, such as `kill: primary`",
        "drill.yaml:18:33: unknown key or fault `fro`; did you mean `from`? Allowed: at, after, when, within, delay, id, may-fail, for, from, follow, every, times, with, failover, kill, latency, partition, pause",
        "drill.yaml:20:17: there is no check `acked`; did you mean `acked-writes`? Allowed: acked-writes, recovery",
        "drill.yaml:21:61: `recovery_ms` must be at least 0",
        "drill.yaml:21:65: `No` is no name of a number",
        "drill.yaml:22:9: check `recovery` is stated twice",
        "drill.yaml:26:24: `kill` has an impossible target: `slot:` needs a cluster, and `sentinel` is of kind sentinel",
    ]  # fmt: skip


def test_what_has_the_wrong_shape_hides_nothing_of_the_rest() -> None:
    text = """title: T
description: D
topology: nope
tag: x
phases:
  a:
    duration: 8
  b:
    duration: 2s
    workloads: [{run: set, clients: 0}]
    steps:
      - {at: 1, kill: primary}
      - {at: 1s, kil: primary}
      - {at: 3s, kill: primary}
    checks:
      - {check: recovery}
      - {check: recover, promise: P}
"""
    assert problems(text) == [
        "drill.yaml:3:11: There is no topology `nope`. Known: cluster, sentinel.",
        "drill.yaml:4:1: unknown key `tag`; did you mean `tags`? Allowed: title, description, learn, tags, chapter, topology, requires, matrix, phases, duration, load, workloads, steps, checks, recovery",
        "drill.yaml:7:15: `duration` must be a duration with its unit, such as 500ms, 3s, 2m or 1h, not `8`",
        "drill.yaml:10:37: `clients` must be at least 1, not `0`",
        "drill.yaml:12:14: `at` must be a duration with its unit, such as 500ms, 3s, 2m or 1h, not `1`",
        "drill.yaml:13:18: unknown key or fault `kil`; did you mean `kill`? Allowed: at, after, when, within, delay, id, may-fail, for, from, follow, every, times, with, failover, kill, latency, partition, pause",
        "drill.yaml:14:14: `at` is not within the phase, which ends at 2s",
        "drill.yaml:16:9: key `promise` is missing",
        "drill.yaml:17:17: there is no check `recover`; did you mean `recovery`? Allowed: acked-writes, recovery",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + "duration: 1s\n", ["drill.yaml:1:1: there is nothing to judge: state at least one check"]),
        (HEAD + "phases: {}\n", ["drill.yaml:4:9: `phases` states none"]),
        (HEAD + "checks: [{check: recovery, promise: P}]\n", ["drill.yaml:1:1: key `duration` is missing (or `phases`, each with its own)"]),
        (HEAD + "steps: []\nphases:\n  a: {duration: 1s, checks: [{check: recovery, promise: P}]}\n", ["drill.yaml:4:1: `steps` belongs into each phase where there are `phases`"]),
        ("title: T\ntopology: nope\n", ["drill.yaml:1:1: key `description` is missing", "drill.yaml:1:1: key `duration` is missing (or `phases`, each with its own)", "drill.yaml:1:1: there is nothing to judge: state at least one check", "drill.yaml:2:11: There is no topology `nope`. Known: cluster, sentinel."]),
        ("title: T\nduration: 1s\nsteps: [{at: 0, kil: primary}]\n" + CHECKS, ["drill.yaml:1:1: key `description` is missing", "drill.yaml:1:1: key `topology` is missing", "drill.yaml:3:17: unknown key or fault `kil`; did you mean `kill`? Allowed: at, after, when, within, delay, id, may-fail, for, from, follow, every, times, with, failover, kill, latency, partition, pause"]),
        ("title: T\ndescription: D\ntopology: nope\n" + REST, ["drill.yaml:3:11: There is no topology `nope`. Known: cluster, sentinel."]),
        ("title: T\ndescription: D\ntopology: {name: nope}\n" + REST, ["drill.yaml:3:18: There is no topology `nope`. Known: cluster, sentinel."]),
        ("title: T\ndescription: D\ntopology: {name: sentinel, kind: cluster}\n" + REST, ["drill.yaml:3:28: unknown key `kind`; allowed: description, primaries, replicas, sentinels, engine, tls, acl, persistence, maxmemory, maxmemory-policy, directives, sentinel, cluster, name"]),
        (HEAD + "duration: 8\n" + CHECKS, ["drill.yaml:4:11: `duration` must be a duration with its unit, such as 500ms, 3s, 2m or 1h, not `8`"]),
        (HEAD + "duration: 1s\nchecks: [{check: recovery, promise: P, expect: maybe lose}]\n", ["drill.yaml:5:48: `expect` cannot be `maybe lose`; did you mean `may lose`? Allowed: holds, may lose, loses"]),
        (HEAD + "duration: 1s\nsteps: [{at: 0, kill: {a: 1}}]\n" + CHECKS, ["drill.yaml:5:23: `kill` must be a target such as `primary` or a list of targets, not a mapping"]),
        (HEAD + "duration: 1s\nsteps: [{at: 0, kill: all, with: {a: [1]}}]\n" + CHECKS, ["drill.yaml:5:38: `a` must be text, a number, true or false, not a list"]),
        (HEAD + "duration: 1s\nchapter: nowhere\n" + CHECKS, ["drill.yaml:5:10: `chapter` must match ^https?://\\S{1,500}$, not `nowhere`"]),
    ],
)  # fmt: skip
def test_refusals(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_problems_of_the_topology_file_are_passed_on() -> None:
    first, second = problems("title: T\ndescription: D\ntopology: broken\n" + REST)
    assert first.startswith("drill.yaml:3:11: topology `broken` is wrong: topologies/broken.yaml:1:7: `kind` cannot")
    assert second.startswith(
        "drill.yaml:3:11: topology `broken` is wrong: topologies/broken.yaml:2:1: unknown key `foo`"
    )


def test_the_file_must_be_able_to_name_a_scenario() -> None:
    text = HEAD + "duration: 1s\nchecks: [{check: recovery, promise: P}]\n"
    assert problems(text, "My Drill.yaml") == [
        "My Drill.yaml:1:1: `My Drill` cannot name a scenario: small letters, digits and dashes; rename the file"
    ]


def timeline(*steps: str) -> str:
    lines = "".join(f"  - {step}\n" for step in steps)
    return HEAD + f"duration: 10s\nsteps:\n{lines}checks: [{{check: recovery, promise: P}}]\n"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (
            ["{at: 2s, kill: redis-1, for: 4s}", "{at: 3s, pause: redis-1, for: 1s}"],
            ["drill.yaml:7:5: `pause` at 3s finds no process of redis-1: `kill` at 2s lasts until 6s"],
        ),
        (
            ["{at: 3s, kill: 'redis-2,redis-1', for: 1s}", "{at: 2500ms, kill: all}"],
            ["drill.yaml:6:5: `kill` at 3s finds no process of redis-1, redis-2: `kill` at 2.5s lasts until 10s"],
        ),
        (
            ["{at: 2s, kill: sentinels, for: 4s}", "{at: 2s, kill: sentinel-3, for: 1s}"],
            ["drill.yaml:7:5: `kill` at 2s finds no process of sentinel-3: `kill` at 2s lasts until 6s"],
        ),
    ],
)
def test_faults_that_would_find_no_process(steps: list[str], expected: list[str]) -> None:
    assert problems(timeline(*steps)) == expected


@pytest.mark.parametrize(
    "steps",
    [
        ["{at: 2s, kill: redis-1, for: 1s}", "{at: 3s, kill: redis-1, for: 1s}"],
        ["{at: 2s, kill: redis-1, for: 4s}", "{at: 3s, kill: redis-2, for: 4s}"],
        ["{at: 2s, kill: redis-1, for: 4s}", "{at: 3s, partition: redis-1, for: 4s}"],
        ["{at: 2s, pause: redis-1, for: 4s}", "{at: 3s, kill: redis-1, for: 4s}"],
        ["{at: 2s, kill: primary, for: 6s}", "{at: 5s, kill: primary, for: 4s}"],
    ],
)
def test_overlaps_that_are_fair(steps: list[str]) -> None:
    assert len(parse(timeline(*steps)).phases[0].steps) == 2


@pytest.mark.parametrize(("value", "text"), [(0.0, "0s"), (0.25, "250ms"), (1.0, "1s"), (2.5, "2.5s")])
def test_seconds(value: float, text: str) -> None:
    assert seconds(value) == text


def test_a_step_that_is_repeated_and_one_way() -> None:
    steps = "steps: [{at: 1s, partition: primary, from: replicas, for: 500ms, every: 2s, times: 3}]\n"
    (phase,) = parse(HEAD + "duration: 8s\n" + steps + CHECKS).phases
    fault = Fault("partition", "primary", 0.5, {}, "replicas")
    assert phase.steps == (Step(1, fault), Step(3, fault), Step(5, fault))


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("{at: 1s, kill: primary, times: 3}", "drill.yaml:5:9: `every` and `times` go together: `every: 2s, times: 3`"),
        ("{at: 1s, kill: primary, every: 3s}", "drill.yaml:5:9: `every` and `times` go together: `every: 2s, times: 3`"),
        ("{at: 1s, kill: primary, every: 3s, times: 4}", "drill.yaml:5:14: `at` is not within the phase, which ends at 8s"),
    ],
)  # fmt: skip
def test_repeats_that_cannot_be(step: str, expected: str) -> None:
    assert problems(HEAD + f"duration: 8s\nsteps: [{step}]\n" + CHECKS) == [expected]


def test_a_step_that_follows_a_role() -> None:
    step = "steps: [{at: 0, pause: primary, for: 1s, follow: true}]\n"
    assert parse(HEAD + REST + step).phases[0].steps[0].fault.follow
    for target, column, reason in (("redis-1", 50, "means the same servers"), ("any", 46, "is drawn at random")):
        (found,) = problems(HEAD + REST + f"steps: [{{at: 0, pause: {target}, for: 1s, follow: true}}]\n")
        assert found.startswith(f"drill.yaml:6:{column}: there is nothing to follow: `{target}` {reason}")
