"""Every kind of workload over both clients on every shape of lab, and what its history must say without any fault."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest
import uvloop

from labctl.check import registry as checkers
from labctl.errors import UsageError
from labctl.model.history import FINAL_READ, History, Op, OpOutcome, find_problems
from labctl.model.scenario import Workload
from labctl.model.verdict import Outcome
from labctl.store.history import HistoryWriter, read_history
from labctl.workload.habits import Driver
from labctl.workload.registry import KINDS
from labctl.workload.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from labctl.model.endpoints import Endpoints
    from labctl.model.fault import Scalar

pytestmark = pytest.mark.system

OK = OpOutcome.OK
PATIENT = {"timeout_ms": 20_000, "connect_timeout_ms": 20_000}
"""A busy machine takes its time, and these tests are about something else."""
HARMLESS = {"Declined", "WatchError"}
"""Refusals that need no fault."""


class Counting:
    """A recorder that sets an event after so many operations: a workload's length without a clock."""

    def __init__(self, writer: HistoryWriter, count: int, enough: asyncio.Event) -> None:
        self._writer, self._left, self._enough = writer, count, enough

    def invoke(self, *args: object, **kwargs: object) -> int:
        self._left -= 1
        if not self._left:
            self._enough.set()
        return self._writer.invoke(*args, **kwargs)  # type: ignore[arg-type]

    def complete(self, *args: object, **kwargs: object) -> None:
        self._writer.complete(*args, **kwargs)  # type: ignore[arg-type]

    def flush(self) -> None:
        self._writer.flush()


def recorded(
    folder: Path,
    endpoints: Endpoints,
    workload: Workload,
    operations: int = 300,
    *,
    seed: int = 1,
    before_final_reads: Callable[[], object] = lambda: None,
) -> History:
    """The history of a workload of about so many operations, final reads included."""

    async def run() -> None:
        enough = asyncio.Event()
        recorder = Counting(writer, operations, enough)
        namespace = f"{folder.name}"
        async with Runner([workload], {"clients": endpoints}, recorder, seed=seed, namespace=namespace) as runner:
            async with asyncio.timeout(60):
                await runner.run(enough)
            before_final_reads()
            await runner.final_reads()

    with HistoryWriter(folder / "history") as writer:
        uvloop.run(run())
    history = read_history([folder / "history"])
    assert find_problems(history) == []
    return history


# --- what a history says when nothing goes wrong


def values(ops: Iterable[Op], function: str, outcome: OpOutcome = OK) -> list[object]:
    return [op.value for op in ops if op.function == function and op.outcome is outcome]


def counters_add_up(history: History) -> None:
    """Exactly, which the checker of bounds does not ask for."""
    sums: Counter[str] = Counter()
    for op in history:
        if op.function == "incr" and op.outcome is OK:
            sums[op.key] += op.value[0]
    finals = {op.key: op.value or 0 for op in history if op.function == FINAL_READ}
    assert finals
    assert {key: sums[key] for key in finals} == finals


def queue_conserves(history: History) -> None:
    (left,) = values(history, FINAL_READ)
    made, taken = values(history, "enqueue"), values(history, "ack")
    assert taken
    assert Counter(made) == Counter([*left, *taken])


def everything_is_accounted_for(history: History) -> None:
    made, (kept,), (pending,), (dead,) = (
        values(history, name) for name in ("add", FINAL_READ, "final-pending", "final-dead")
    )
    assert set(kept) == set(made)
    assert set(values(history, "ack")) | set(values(history, "dead-letter")) | set(pending) == set(made)
    assert set(dead) == set(values(history, "dead-letter"))


def caches_answer(history: History) -> None:
    written = set(values(history, "write"))
    assert values(history, "load")
    assert set(values(history, "read")) <= written | {None}


def boards_are_sorted(history: History) -> None:
    counters_add_up(history)
    tops = values(history, "top")
    assert tops
    for top in tops:
        scores = [score for _, score in top]
        assert scores == sorted(scores, reverse=True)


CHECKS: Mapping[str, tuple[tuple[str, Mapping[str, object]], ...]] = {
    "register": (("register", {}), ("acked-writes", {})),
    "cas": (("linearizable", {"model": "cas-register"}),),
    "set": (("acked-writes", {}), ("set-full", {})),
    "unique-writes": (("acked-writes", {}),),
    "append": (("transactions", {}),),
    "counter": (("counter-bounds", {}), ("linearizable", {"model": "counter"})),
    "unique-ids": (("unique-ids", {}),),
    "bank": (("bank", {"total": 800}),),
    "queue": (("total-queue", {}),),
    "stream": (("stream", {}),),
    "pubsub": (("pubsub", {}),),
    "sharded-pubsub": (("pubsub", {}),),
    "lock": (("mutex", {"lease_ms": 5000}), ("linearizable", {"model": "lock"})),
    "redlock": (("mutex", {"lease_ms": 5000}),),
    "rate-limit": (("rate-limit", {}),),
    "cache": (("cache", {"max_stale_ms": 30_000}),),  # old values need no fault, but not for ever: the TTL is 1 s
    "leaderboard": (("counter-bounds", {}),),
    "session": (("acked-writes", {}),),  # replicas may serve old values without any fault
    "expiry": (("expiry", {}),),
}
EXTRA: Mapping[str, Callable[[History], None]] = {
    "counter": counters_add_up,
    "queue": queue_conserves,
    "stream": everything_is_accounted_for,
    "cache": caches_answer,
    "leaderboard": boards_are_sorted,
}


def expect_all(name: str, history: History) -> None:
    for checker, parameters in CHECKS[name]:
        finding = checkers.run(checker, history, parameters=parameters)
        assert finding.outcome is Outcome.VALID, f"{checker}: {finding.summary}: {finding.explanation}"
    EXTRA.get(name, lambda _: None)(history)


OPTIONS: Mapping[str, Mapping[str, Scalar]] = {
    "session": {"read_from_replica": True},
    "rate-limit": {"limit": 10, "window_ms": 200},
    "lock": {"hold_ms": 2, "lease_ms": 5000},
    "redlock": {"hold_ms": 2, "lease_ms": 5000},
    "stream": {"min_idle_ms": 20, "abandon": 0.1},
    "expiry": {"ttl_ms": 50, "keys": 8, "writes": 0.2},
    "cache": {"keys": 10},
    "append": {"appends": 20},
}
OPERATIONS = {"lock": 60, "redlock": 60}


def test_every_kind_is_checked() -> None:
    assert set(CHECKS) == set(KINDS)


@pytest.mark.parametrize("driver", list(Driver))
@pytest.mark.parametrize("shape", ["standalone", "replica", "sentinel", "cluster"])
@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_workload_without_faults_is_what_its_kind_promises(name, shape, driver, topology, tmp_path) -> None:
    endpoints = topology(shape).endpoints
    several = name == "redlock" and shape == "standalone"
    if endpoints.kind not in KINDS[name].runs_on or several:
        why = "primaries is 1" if several else f"workload {name} does not run on a {endpoints.kind} lab"
        with pytest.raises(UsageError, match=why):
            Runner([Workload(name)], {"clients": endpoints}, None, seed=1)  # type: ignore[arg-type]
        return
    workload = Workload(name, clients=4, options={"driver": driver, **PATIENT, **OPTIONS.get(name, {})})
    history = recorded(tmp_path, endpoints, workload, OPERATIONS.get(name, 300))
    complaints = [op for op in history if op.outcome is not OK and op.error not in HARMLESS]
    assert complaints == []
    expect_all(name, history)
    known = {node.name for node in endpoints.nodes}
    assert {op.node for op in history if op.function == FINAL_READ} <= known


@pytest.mark.parametrize("driver", list(Driver))
@pytest.mark.parametrize("name", ["cas", "bank"])
def test_the_lua_variants_do_what_the_watching_ones_do(name, driver, topology, tmp_path) -> None:
    workload = Workload(name, options={"by": "lua", "driver": driver, **PATIENT})
    history = recorded(tmp_path, topology("cluster").endpoints, workload)
    assert {op.error for op in history if op.outcome is not OK} <= {"Declined"}
    expect_all(name, history)


def test_a_lock_without_fencing_fails_when_its_holder_stalls_and_fencing_saves_the_resource(topology, tmp_path) -> None:
    endpoints = topology("standalone").endpoints

    def stalling(fencing: bool) -> History:
        folder = tmp_path / f"fencing-{fencing}"
        folder.mkdir()
        options = {"stall": 0.5, "lease_ms": 20, "hold_ms": 2, "fencing": fencing}
        return recorded(folder, endpoints, Workload("lock", clients=6, options=options), 400)

    unfenced, fenced = stalling(fencing=False), stalling(fencing=True)
    finding = checkers.run("mutex", unfenced)
    assert finding.outcome is Outcome.INVALID
    assert finding.stats["overlap"] > 0
    assert any(op.function == "guarded" and op.error == "Declined" for op in fenced)
    assert checkers.run("mutex", fenced, parameters={"overlap_allowed": True}).outcome is Outcome.VALID


def test_the_same_seed_gives_each_process_the_same_choices(topology, tmp_path) -> None:
    def choices(folder: str, seed: int) -> dict[int, list[tuple[str, str]]]:
        (tmp_path / folder).mkdir()
        workload = Workload("register", clients=2, options={"driver": "lean", **PATIENT})
        made: dict[int, list[tuple[str, str]]] = defaultdict(list)
        for op in recorded(tmp_path / folder, topology("standalone").endpoints, workload, 200, seed=seed):
            made[op.process].append((op.function, op.key.rpartition(":")[2]))
        return {process: sequence[:40] for process, sequence in made.items() if process < 2}

    assert choices("first", seed=5) == choices("second", seed=5)
    assert choices("third", seed=6) != choices("fourth", seed=5)


def test_a_write_that_disappears_is_found(topology, tmp_path) -> None:
    """The evidence can fail: a key is deleted behind the workload's back, and the checker names the write."""
    servers = topology("standalone")
    deleted: list[str] = []

    def lose_one() -> None:
        with servers.nodes[0].redis() as admin:
            key = next(iter(sorted(admin.scan_iter(f"{{{tmp_path.name}:unique-writes0*"))))
            admin.delete(key)
            deleted.append(key)

    workload = Workload("unique-writes", options={"driver": "lean", **PATIENT})
    history = recorded(tmp_path, servers.endpoints, workload, before_final_reads=lose_one)
    finding = checkers.run("acked-writes", history)
    assert finding.outcome is Outcome.INVALID
    assert deleted[0].rpartition(":")[2] in str(finding.anomalies)


@pytest.mark.parametrize("driver", list(Driver))
@pytest.mark.parametrize("shape", ["sentinel", "cluster"])
def test_a_failover_leaves_nothing_unexplained(shape, driver, tmp_path) -> None:
    """Writes go on at the new primary, what was in flight is unknown, and every error is one that the table knows."""
    import servers as real  # noqa: PLC0415

    lab = tmp_path / "lab"
    with (
        real.sentinel(lab, down_after_ms=500) if shape == "sentinel" else real.cluster(lab, node_timeout_ms=2000)
    ) as servers:
        first = servers.nodes[0]

        async def run() -> None:
            stop = asyncio.Event()
            workload = Workload("set", clients=6, options={"driver": driver, "keys": 24, "timeout_ms": 2000})
            async with Runner([workload], {"clients": servers.endpoints}, writer, seed=1) as runner:
                running = asyncio.create_task(runner.run(stop))
                await _until(lambda: _acknowledged(folder, writer) >= {first.name})
                await asyncio.to_thread(first.kill)
                promoted = {node.name for node in servers.nodes[1:]} - before
                await _until(lambda: bool(_acknowledged(folder, writer) & promoted))
                stop.set()
                await running
                await asyncio.to_thread(first.start)
                await runner.final_reads()
            if shape == "cluster":  # Sentinels are clients like others
                for node in servers.nodes:
                    await asyncio.to_thread(real.wait_for, lambda n=node: n.left_alone(), f"{node.name} is left alone")

        folder = tmp_path / "history"
        before = {node.name for node in servers.nodes[:3]} if shape == "cluster" else {first.name}
        with HistoryWriter(folder, flush_interval_s=0) as writer:
            uvloop.run(asyncio.wait_for(run(), 90))
    history = read_history([folder])
    assert find_problems(history) == []
    assert any(op.outcome is not OK for op in history)
    errors = {op.error for op in history if op.error}
    if shape == "cluster" and driver is Driver.REDIS_PY:
        # redis-py's Cluster client closes all connections on CLUSTERDOWN, those that other tasks are using as well.
        errors -= {"Unexpected AttributeError", "Unexpected RuntimeError"}
    assert not [error for error in errors if error.startswith(("Unexpected", "unknown-reply"))]
    assert all(op.outcome is OK for op in history if op.function == FINAL_READ and op.error is None)
    assert checkers.run("acked-writes", history).stats["acknowledged"] > 0


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # it looks at a file
        await asyncio.sleep(0.1)


def _acknowledged(path: Path, writer: HistoryWriter) -> set[str]:
    """Nodes that have acknowledged a write so far."""
    writer.flush()
    history = read_history([path])
    return {op.node for op in history if op.outcome is OK and op.node}
