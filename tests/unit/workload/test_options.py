from __future__ import annotations

import pytest

from labctl.errors import UsageError
from labctl.model.scenario import Workload
from labctl.model.topology import Kind
from labctl.workload import registry
from labctl.workload.habits import Driver, Habits
from labctl.workload.options import Options


def habits(**given) -> tuple[Habits, list[str]]:
    options = Options("workload x", given)
    return Habits.read(options), options.problems


def test_habits_are_read_with_their_types() -> None:
    read, problems = habits(driver="lean", retries=3, timeout_ms=250, read_from_replica=True, pool=7)
    assert problems == []
    assert read == Habits(driver=Driver.LEAN, retries=3, timeout_ms=250.0, read_from_replica=True, pool=7)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"driver": "jedis"}, "driver is 'jedis', and has to be one of redis-py, lean"),
        ({"retries": -1}, "retries is -1, and has to be a whole number, 0 or more"),
        ({"retries": 1.5}, "retries is 1.5"),
        ({"retries": True}, "retries is True"),
        ({"timeout_ms": 0}, "timeout_ms is 0, and has to be a number above 0"),
        ({"timeout_ms": "1s"}, "timeout_ms is '1s'"),
        ({"timeout_ms": float("nan")}, "timeout_ms is nan"),
        ({"read_from_replica": "yes"}, "read_from_replica is 'yes', and has to be true or false"),
        ({"waitaof_local": 2}, "waitaof_local is 2, and has to be a whole number, 0 to 1"),
        ({"wait_replicas": 1, "wait_ms": 1000}, "wait_ms 1000 has to be below timeout_ms 1000"),
        ({"wait_replicas": 1, "waitaof_replicas": 1}, "exclude each other"),
    ],
)
def test_a_wrong_habit_is_named(given, says) -> None:
    _, problems = habits(**given)
    assert len(problems) == 1
    assert problems[0].startswith("workload x: ")
    assert says in problems[0]


def test_all_problems_of_a_workload_come_at_once_and_name_the_near_option() -> None:
    workload = Workload("register", options={"kyes": 3, "reads": 2, "retries": "many"})
    with pytest.raises(UsageError) as raised:
        registry.make(workload, "w")
    assert raised.value.message.splitlines() == [
        "workload register: reads is 2, and has to be a number 0 or more and at most 1",
        "workload register: retries is 'many', and has to be a whole number, 0 or more",
        "workload register: there is no option 'kyes'; do you mean keys?",
    ]


def test_an_unknown_kind_names_its_neighbours() -> None:
    assert registry.problems(Workload("regster"), Kind.STANDALONE) == [
        "there is no workload kind 'regster'. Do you mean register?"
    ]


@pytest.mark.parametrize(
    ("kind", "lab"),
    [("redlock", Kind.SENTINEL), ("sharded-pubsub", Kind.STANDALONE), ("session", Kind.STANDALONE)],
)
def test_a_kind_that_makes_no_sense_on_a_lab_says_why(kind, lab) -> None:
    (problem,) = registry.problems(Workload(kind), lab)
    assert problem.startswith(f"workload {kind} does not run on a {lab} lab: ")


@pytest.mark.parametrize("changes", [{"clients": 0}, {"rate": 0.0}, {"rate": -5.0}])
def test_no_clients_and_no_rate_are_refused(changes) -> None:
    (problem,) = registry.problems(Workload("register", **changes), Kind.STANDALONE)
    assert "has to be" in problem


@pytest.mark.parametrize("name", sorted(registry.KINDS))
def test_every_kind_describes_itself_and_its_history(name) -> None:
    kind = registry.KINDS[name]
    assert kind.name == name
    assert kind.summary
    assert kind.__doc__ is not None
    assert "History" in kind.__doc__
    assert kind.refusal or len(kind.runs_on) == len(Kind)
    for lab in kind.runs_on:
        assert registry.problems(Workload(name), lab) == []
