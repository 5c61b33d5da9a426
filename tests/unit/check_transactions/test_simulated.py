"""Simulated systems: a correct one never raises an alarm, and each planted bug is caught and named."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labctl.check.transactions import Model, check
from labctl.check.transactions.evidence import UNEXPLAINED
from labctl.check.transactions.models import ruled_out
from labctl.model.verdict import Finding, Outcome
from tests.unit.check_transactions import simulator as sim

SEEDS = range(5)


def run(
    planted: sim.Planted, seed: int, *, registers: bool = False, transactions: int = 400, **options: float
) -> Finding:
    random = Random(seed)
    store = planted(random, registers=registers)
    workload = sim.Workload(random, registers=registers)
    return check(sim.simulate(random, store, workload, transactions, **options))  # type: ignore[arg-type]


def names(finding: Finding) -> set[str]:
    return {str(anomaly["anomaly"]) for anomaly in finding.anomalies}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    random=st.randoms(use_true_random=False),
    registers=st.booleans(),
    transactions=st.integers(1, 40),
    clients=st.integers(1, 6),
    unknown=st.sampled_from([0.0, 0.3, 0.9]),
    failed=st.sampled_from([0.0, 0.3]),
)
def test_a_correct_store_never_raises_an_alarm(
    *, random: Random, registers: bool, transactions: int, clients: int, unknown: float, failed: float
) -> None:
    history = sim.simulate(
        random,
        sim.Store(random, registers=registers),
        sim.Workload(random, registers=registers),
        transactions,
        clients=clients,
        unknown=unknown,
        failed=failed,
    )
    finding = check(history)
    assert not finding.anomalies, finding.summary
    assert finding.outcome is (Outcome.VALID if finding.stats["ok"] else Outcome.UNKNOWN)


@pytest.mark.parametrize("registers", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_long_correct_run_is_valid_and_not_vacuous(seed: int, registers: bool) -> None:
    finding = run(sim.Store, seed, registers=registers, transactions=3000, clients=10, unknown=0.1, failed=0.1)
    assert finding.outcome is Outcome.VALID
    assert not finding.anomalies
    ordered = "register_versions_ordered" if registers else "list_versions_ordered"
    assert int(finding.stats[ordered] or 0) > 1000
    assert int(finding.stats["edges_wr"] or 0) > 500
    assert int(finding.stats["edges_rw"] or 0) > 500
    assert int(finding.stats["observed_unknown"] or 0) > 10


CAUGHT = {
    # store: (for lists, for registers), each the anomalies of which at least one must be named in every run
    sim.ReadUncommitted: ({"G0", "G1c"}, {"G1c"}),
    sim.ReadCommitted: ({"G-single"}, {"G-single"}),
    sim.LostUpdates: ({"lost-update"}, {"lost-update"}),
    sim.SnapshotIsolation: ({"G2-item"}, {"G2-item", "G2-item-process", "G2-item-realtime"}),
    sim.StaleReads: ({"G-single-process", "G-single-realtime"}, {"G-single-process", "G-single-realtime"}),
    sim.DirtyAborts: ({"G1a"}, {"G1a"}),
    sim.LostWrites: (
        {"incompatible-order", "G-single-realtime", "G-single-process"},
        {"G-single-realtime", "G-single-process"},
    ),
    sim.SplitBrain: ({"incompatible-order"}, {"G-single", "G-single-process", "G-single-realtime", "G2-item"}),
    sim.HalfExec: ({"G-single-process", "G-single-realtime", "G0"}, {"G-single-process", "G-single-realtime"}),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("registers", [False, True])
@pytest.mark.parametrize("planted", CAUGHT, ids=lambda planted: planted.__name__)
def test_a_planted_bug_is_caught_and_named(planted: type[sim.Store], registers: bool, seed: int) -> None:
    finding = run(planted, seed, registers=registers)
    assert finding.outcome is Outcome.INVALID
    assert names(finding) & CAUGHT[planted][registers]
    assert not [anomaly for anomaly in finding.anomalies if UNEXPLAINED in str(anomaly["explanation"])]


@pytest.mark.parametrize("seed", SEEDS)
def test_an_append_that_is_sent_twice_is_caught(seed: int) -> None:
    assert "duplicate-elements" in names(run(sim.DuplicatingRetries, seed))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("registers", [False, True])
@pytest.mark.parametrize(
    ("planted", "model"),
    [
        (sim.SnapshotIsolation, Model.STRONG_SNAPSHOT_ISOLATION),
        (sim.StaleReads, Model.SERIALIZABLE),
        (sim.ReadCommitted, Model.READ_COMMITTED),
        (sim.LostUpdates, Model.READ_UNCOMMITTED),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_store_keeps_what_it_promises(planted: type[sim.Store], model: Model, registers: bool, seed: int) -> None:
    """A weak store breaks strict serializability, and nothing that rules out its own model is claimed."""
    finding = run(planted, seed, registers=registers)
    assert model not in ruled_out(names(finding)), finding.summary


def test_every_seed_of_the_same_run_says_the_same() -> None:
    assert run(sim.SplitBrain, 3).anomalies == run(sim.SplitBrain, 3).anomalies
