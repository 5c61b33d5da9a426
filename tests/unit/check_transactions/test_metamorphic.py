"""Changes to a history that must not change what is found, or only in one direction."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from labctl.check.transactions import Model, check
from labctl.check.transactions.models import ruled_out
from labctl.model.history import History, Op, OpOutcome
from tests.unit.check_transactions import simulator as sim

STORES = (sim.Store, sim.ReadCommitted, sim.SnapshotIsolation, sim.LostUpdates, sim.StaleReads, sim.HalfExec)
JUDGED = (Model.SERIALIZABLE, Model.STRONG_SESSION_SERIALIZABLE, Model.STRICT_SERIALIZABLE)


def recorded(seed: int) -> tuple[Random, list[Op]]:
    """A short history of one of the stores, so that some are valid and some are not."""
    random = Random(seed)
    registers = random.random() < 0.5
    store = STORES[seed % len(STORES)](random, registers=registers)
    workload = sim.Workload(random, keys="xy", registers=registers)
    history = sim.simulate(random, store, workload, random.randint(5, 25), unknown=0.1, failed=0.1)
    return random, list(history)


def anomalies(ops: list[Op]) -> dict[str, int]:
    stats = check(History.of(ops)).stats
    return {name: int(count or 0) for name, count in stats.items() if name.startswith("anomaly_")}


def judged(ops: list[Op]) -> set[Model]:
    return set(ruled_out(name.removeprefix("anomaly_") for name in anomalies(ops))) & set(JUDGED)


SEEDS = pytest.mark.parametrize("seed", range(60))


def test_the_histories_are_of_every_sort() -> None:
    sorts = [frozenset(judged(recorded(seed)[1])) for seed in range(60)]
    assert frozenset() in sorts
    assert frozenset(JUDGED) in sorts
    assert frozenset({Model.STRICT_SERIALIZABLE}) in sorts or frozenset(JUDGED[1:]) in sorts


@SEEDS
def test_names_of_keys_values_and_processes_do_not_matter(seed: int) -> None:
    _, ops = recorded(seed)

    def renamed(value: object) -> object:
        if isinstance(value, list):
            return [renamed(element) for element in value]
        return None if value is None else f"v{value}"

    other = [
        replace(op, process=97 - op.process, value=[[f, f"key {k}", renamed(v)] for f, k, v in op.value])  # type: ignore[attr-defined]
        for op in ops
    ]
    assert anomalies(other) == anomalies(ops)


@SEEDS
def test_only_the_order_of_moments_matters(seed: int) -> None:
    _, ops = recorded(seed)
    stretched = [
        replace(op, invoke_ns=op.invoke_ns**3 + 10**15, complete_ns=(op.complete_ns or 0) ** 3 + 10**15) for op in ops
    ]
    assert anomalies(stretched) == anomalies(ops)


@SEEDS
def test_transactions_on_keys_of_their_own_change_no_verdict(seed: int) -> None:
    random, ops = recorded(seed)
    others = []
    for process in range(50, 55):
        at = random.randint(0, 100)
        micros: list[object] = [["append", f"own{process}", 1], ["r", f"own{process}", [1]]]
        others.append(Op(process, "txn", "", micros, at, at + random.randint(0, 50)))
    assert judged(ops + others) == judged(ops)


@SEEDS
def test_forgetting_a_transaction_that_only_read_reveals_nothing_new(seed: int) -> None:
    _, ops = recorded(seed)
    before = judged(ops)
    for i, op in enumerate(ops):
        if all(micro[0] == "r" for micro in op.value):  # type: ignore[attr-defined]
            assert judged(ops[:i] + ops[i + 1 :]) <= before


@SEEDS
def test_forgetting_when_things_happened_reveals_nothing_new(seed: int) -> None:
    _, ops = recorded(seed)
    timeless = [replace(op, process=i, invoke_ns=i, complete_ns=10**6 + i) for i, op in enumerate(ops)]
    after = judged(timeless)
    assert after <= judged(ops)
    # Without time and sessions all that is left is about reads and writes.
    assert not after or Model.SERIALIZABLE in after


@SEEDS
def test_an_operation_that_failed_may_as_well_not_be_there_unless_somebody_read_it(seed: int) -> None:
    _, ops = recorded(seed)
    kept = [op for op in ops if op.outcome is not OpOutcome.FAIL]
    assert anomalies(kept) == anomalies(ops)
