"""Runs the workloads of a phase, and reads back afterwards what the lab kept."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from labctl.errors import LabError, UsageError
from labctl.workload import registry
from labctl.workload.arrivals import Arrivals
from labctl.workload.client import open_clients
from labctl.workload.habits import Habits
from labctl.workload.process import Process, Recorder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from labctl.model.endpoints import Endpoints
    from labctl.model.scenario import Workload
    from labctl.workload.client import ClientPool
    from labctl.workload.kind import WorkloadKind

_SETUP_S = 10.0
_FLUSH_S = 0.5


@dataclass(slots=True)
class _Running:
    """One declared workload with everything that it needs."""

    declared: Workload
    kind: WorkloadKind
    habits: Habits
    endpoints: Endpoints
    pool: ClientPool
    processes: list[Process]


class Runner:
    """The workloads of one phase. Use it as an async context manager; leaving closes every connection.

    `running` is set once the lab is prepared for them and the clients begin.

    Args:
        workloads: As declared.
        endpoints: The lab as each client group reaches it, by group.
        recorder: Where operations go.
        seed: The same seed gives each client the same choices; only the servers' timing differs.
        namespace: Begins every key; a phase has its own.
        first_process: Number of the first process; phases and worker processes of one run have their own ranges.

    Raises:
        UsageError: A workload is wrong, or makes no sense on this lab; every reason at once. Nothing was connected.
    """

    def __init__(
        self,
        workloads: Sequence[Workload],
        endpoints: Mapping[str, Endpoints],
        recorder: Recorder,
        *,
        seed: int,
        namespace: str = "w",
        first_process: int = 0,
    ) -> None:
        self._recorder = recorder
        self._seed = seed
        self._namespace = namespace
        refusals = [reason for workload in workloads for reason in _refusals(workload, endpoints)]
        if refusals:
            raise UsageError("\n".join(refusals), "Nothing was started.")
        self._running: list[_Running] = []
        self.running = asyncio.Event()
        self.next_process = first_process
        for index, workload in enumerate(workloads):
            self._running.append(self._prepare(index, workload, endpoints[workload.group]))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def endless(self) -> bool:
        """Whether some workload runs until it is told to stop."""
        return any(running.declared.stop_s is None for running in self._running)

    def processes(self) -> dict[str, list[int]]:
        """Process numbers by client group."""
        groups: dict[str, list[int]] = {}
        for running in self._running:
            groups.setdefault(running.declared.group, []).extend(process.number for process in running.processes)
        return groups

    async def run(self, stop: asyncio.Event) -> None:
        """Run every workload, if any, until `stop` is set; then operations in flight may end by themselves or time out.

        Raises:
            LabError: The lab could not be prepared for a workload.
        """
        if not self._running:
            await stop.wait()
        for running in self._running:
            await self._set_up(running)
        start_ns = time.monotonic_ns()
        self.running.set()
        flushing = asyncio.create_task(self._flush_often())
        try:
            async with asyncio.TaskGroup() as group:
                for running in self._running:
                    group.create_task(self._run_one(running, start_ns, stop))
        finally:
            flushing.cancel()
            self._recorder.flush()

    async def _flush_often(self) -> None:
        """Metrics are read from what was flushed; while clients wait nothing else follows that would flush it."""
        while True:
            await asyncio.sleep(_FLUSH_S)
            self._recorder.flush()

    async def _run_one(self, running: _Running, start_ns: int, stop: asyncio.Event) -> None:
        """One workload, from its own start to its own stop, or to `stop`."""
        declared = running.declared
        if declared.start_s and await _told(stop, declared.start_s):
            return
        begin_ns = start_ns + round(declared.start_s * 1e9)
        ending = stop
        timer: asyncio.Task[None] | None = None
        if declared.stop_s is not None:
            ending = asyncio.Event()
            timer = asyncio.create_task(_set_when(ending, stop, declared.stop_s - declared.start_s))
        try:
            async with asyncio.TaskGroup() as group:
                arrivals = self._arrivals(running, begin_ns)
                for process in running.processes:
                    paced = arrivals if running.kind.paced(process) else None
                    group.create_task(_loop(running, process, paced, ending))
        finally:
            if timer is not None:
                timer.cancel()

    async def run_for(self, seconds: float) -> None:
        """Run every workload for so long."""
        stop = asyncio.Event()
        timer = asyncio.get_running_loop().call_later(seconds, stop.set)
        try:
            await self.run(stop)
        finally:
            timer.cancel()

    async def final_reads(self, endpoints: Mapping[str, Endpoints] | None = None) -> None:
        """Read back what was kept, from primaries, each workload by a process of its own.

        Args:
            endpoints: How to reach the lab now, where that changed since (a replica promoted by hand); by group.
        """
        async with asyncio.TaskGroup() as group:
            for running in self._running:
                where = endpoints[running.declared.group] if endpoints else running.endpoints
                group.create_task(self._read_back(running, where))

    async def close(self) -> None:
        """Close every connection."""
        for running in self._running:
            await running.pool.close()

    def _prepare(self, index: int, workload: Workload, endpoints: Endpoints) -> _Running:
        kind, habits = registry.make(workload, f"{self._namespace}:{workload.kind}{index}")
        pool = open_clients(endpoints, habits, workload.clients)
        processes = [self._process(pool, endpoints) for _ in range(workload.clients)]
        return _Running(workload, kind, habits, endpoints, pool, processes)

    def _process(self, pool: ClientPool, endpoints: Endpoints) -> Process:
        number = self.next_process
        self.next_process += 1
        nodes = {node.port: node.name for node in endpoints.nodes}
        return Process(number, pool.client(), random.Random(f"{self._seed}/{number}"), self._recorder, nodes)

    def _arrivals(self, running: _Running, start_ns: int) -> Arrivals | None:
        if running.declared.rate is None:
            return None
        first = running.processes[0].number
        return Arrivals(running.declared.rate, random.Random(f"{self._seed}/arrivals/{first}"), start_ns)

    async def _set_up(self, running: _Running) -> None:
        deadline = time.monotonic() + _SETUP_S
        while True:
            try:
                return await running.kind.setup(running.processes[0])
            except Exception as error:
                if time.monotonic() >= deadline:
                    raise LabError(
                        f"workload {running.kind.name}: the lab could not be prepared: {type(error).__name__}: {error}",
                        "Look at `labctl status`: the workload needs a primary that accepts writes.",
                    ) from error
                await asyncio.sleep(0.05)

    async def _read_back(self, running: _Running, endpoints: Endpoints) -> None:
        """Final reads are the checker's, not the application's: from the primary, patient, without WAIT."""
        pool = open_clients(endpoints, Habits(driver=running.habits.driver, timeout_ms=5000), 1)
        try:
            await running.kind.final_reads(self._process(pool, endpoints))
        finally:
            await pool.close()


async def run_workloads(
    workloads: Sequence[Workload],
    endpoints: Mapping[str, Endpoints],
    recorder: Recorder,
    *,
    seconds: float,
    seed: int,
) -> None:
    """Run workloads for so many seconds in this event loop, then read back. For drills without faults in between."""
    async with Runner(workloads, endpoints, recorder, seed=seed) as runner:
        await runner.run_for(seconds)
        await runner.final_reads()


async def _told(stop: asyncio.Event, within_s: float) -> bool:
    """Whether `stop` was set within so many seconds."""
    try:
        async with asyncio.timeout(within_s):
            await stop.wait()
    except TimeoutError:
        return False
    return True


async def _set_when(ending: asyncio.Event, stop: asyncio.Event, seconds: float) -> None:
    """Set `ending` when `stop` is, and after so many seconds at the latest."""
    await _told(stop, seconds)
    ending.set()


async def _loop(running: _Running, process: Process, arrivals: Arrivals | None, stop: asyncio.Event) -> None:
    """One process until it is told to stop, or cancelled.

    A step may swallow its cancellation, where a reply or a timeout comes in the same moment: `asyncio.wait_for` did so until
    Python 3.12. The task still knows.
    """
    pause_s = running.habits.error_pause_ms / 1000
    step = running.kind.step
    me = asyncio.current_task()
    assert me is not None, "this is a coroutine"
    while not stop.is_set():
        if me.cancelling():
            raise asyncio.CancelledError
        if arrivals is not None:
            process.due_ns = await arrivals.take(stop)
            if process.due_ns is None:
                break
        await step(process)
        if process.failed:
            process.failed = False
            if arrivals is None:
                await asyncio.sleep(pause_s)
    await running.kind.finish(process)


def _refusals(workload: Workload, endpoints: Mapping[str, Endpoints]) -> list[str]:
    """Why a workload cannot run here, as sentences."""
    if workload.group not in endpoints:
        return [f"workload {workload.kind}: there is no client group {workload.group!r}; known: {', '.join(endpoints)}"]
    where = endpoints[workload.group]
    wrong = registry.problems(workload, where.kind)
    if wrong:
        return wrong
    kind, habits = registry.make(workload, "check")
    reason = kind.refuse(where, habits)
    return [f"workload {kind.name}: {reason}"] if reason else []
