"""A matrix: its cells, what differs between them, and what cannot be."""

import pytest

from labctl.declare import library
from labctl.declare.matrix import chosen
from labctl.declare.scenario import Declared, parse_cells
from labctl.drill import known_names
from labctl.errors import DeclarationError, UsageError
from labctl.model.scenario import Axis, Expectation
from labctl.model.topology import Fsync

HEAD = "title: T\ndescription: D\ntopology: {name: sentinel, persistence: rdb}\nduration: 1s\n"
MATRIX = "matrix:\n  engine: [redis-8, valkey-9]\n  persistence.aof: [no, always]\n"
CHECK = "checks: [{check: acked-writes, promise: P}]\n"


def parse(text: str) -> Declared:
    return parse_cells(HEAD + text, "d.yaml", library.topology, known_names())


def problems(text: str) -> list[str]:
    with pytest.raises(DeclarationError) as caught:
        parse(text)
    return [problem.removeprefix("d.yaml:") for problem in caught.value.problems]


def test_without_a_matrix_there_is_one_cell_the_scenario_itself() -> None:
    declared = parse(CHECK)
    assert declared.cells == (declared.scenario,)
    assert declared.scenario.cell == ""


def test_every_combination_is_a_cell_with_a_topology_of_its_own() -> None:
    declared = parse(MATRIX + CHECK)
    assert declared.scenario.matrix == (
        Axis("engine", "engine", ("redis-8", "valkey-9")),
        Axis("persistence.aof", "aof", ("no", "always")),
    )
    assert declared.scenario.topology.persistence.aof is None
    assert [cell.cell for cell in declared.cells] == [
        "engine=redis-8,aof=no",
        "engine=redis-8,aof=always",
        "engine=valkey-9,aof=no",
        "engine=valkey-9,aof=always",
    ]
    last = declared.cells[-1].topology
    assert (last.engine, last.persistence.aof) == ("valkey-9", Fsync.ALWAYS)
    assert last.persistence.rdb, "the override changes what it states and nothing else"


def test_expectations_differ_by_cell_and_a_check_may_be_for_some_only() -> None:
    declared = parse(
        MATRIX
        + """checks:
  - check: acked-writes
    expect: {"aof=always,engine=redis-8": holds, aof=no|always: may lose}
    promise: P
  - {check: recovery, only: engine=valkey-9, promise: P}
"""
    )
    found = {cell.cell: [(c.name, c.expect) for c in cell.phases[0].checks] for cell in declared.cells}
    lose, recovery = ("acked-writes", Expectation.MAY_LOSE), ("recovery", Expectation.HOLDS)
    assert found == {
        "engine=redis-8,aof=no": [lose],
        "engine=redis-8,aof=always": [("acked-writes", Expectation.HOLDS)],
        "engine=valkey-9,aof=no": [lose, recovery],
        "engine=valkey-9,aof=always": [lose, recovery],
    }


def test_axes_are_called_by_their_last_word_where_it_says_enough() -> None:
    text = "matrix:\n  directives.primary.hz: [10]\n  directives.replica.hz: [10]\n  sentinel.down-after: [1s]\n"
    names = [axis.name for axis in parse(text + CHECK).scenario.matrix]
    assert names == ["directives.primary.hz", "directives.replica.hz", "down-after"]


def test_cells_are_chosen_by_a_selector() -> None:
    cells = parse(MATRIX + CHECK).cells
    assert [cell.cell for cell in chosen(cells, "aof=always,engine=redis-8|valkey-9")] == [
        "engine=redis-8,aof=always",
        "engine=valkey-9,aof=always",
    ]
    with pytest.raises(UsageError, match="aof is never `everysec`"):
        chosen(cells, "aof=everysec")
    with pytest.raises(UsageError, match="the matrix has no `fsync`"):
        chosen(cells, "fsync=no")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("matrix: {nope: [1]}\n" + CHECK, "5:10: `nope` is nothing that a scenario overrides in its topology (nope=1)"),
        (
            "matrix: {persistence.aof: [maybe]}\n" + CHECK,
            "5:10: `persistence.aof` cannot be `maybe`; allowed: always, everysec, no (aof=maybe)",
        ),
        ("matrix: {engine: [a b]}\n" + CHECK, "5:19: `a b` cannot be a value of a matrix: one word"),
        ("matrix: {engine: [redis-8, redis-8]}\n" + CHECK, "5:28: `redis-8` is stated twice"),
        (
            "matrix: {sentinel.quorum: [2, 7]}\n" + CHECK,
            "5:1: quorum=7: `quorum` 7 cannot be reached by 3 Sentinels",
        ),
        (
            MATRIX + "checks: [{check: acked-writes, promise: P, expect: {aof=sometimes: holds, else: loses}}]\n",
            "8:52: `aof=sometimes`: aof is never `sometimes`; allowed: no, always",
        ),
        (
            MATRIX + "checks: [{check: acked-writes, promise: P, expect: {aof=no: loses}}]\n",
            "8:52: nothing is expected of engine=redis-8,aof=always: state `else`",
        ),
        (
            "checks: [{check: acked-writes, promise: P, only: aof=no}]\n",
            "5:50: `aof=no` names cells of a matrix, and the scenario has none",
        ),
        (
            "checks: [{check: acked-writes, promise: P, expect: {else: sometimes}}]\n",
            "5:52: `expect` cannot be `sometimes`; allowed: holds, may lose, loses",
        ),
    ],
)
def test_refusals(text: str, expected: str) -> None:
    assert problems(text) == [expected]


def test_a_target_that_a_cell_lacks_is_refused() -> None:
    text = "matrix: {replicas: [0, 1]}\nsteps: [{at: 100ms, kill: replicas}]\n"
    assert problems(text + CHECK) == ["6:27: `kill` has an impossible target: `sentinel` has no replicas"]


def test_too_many_cells() -> None:
    values = ", ".join(f"{n}s" for n in range(1, 10))
    text = f"matrix:\n  sentinel.down-after: [{values}]\n  sentinel.failover-timeout: [{values}]\n"
    assert problems(text + CHECK) == ["5:1: 81 cells are more than 64"]
