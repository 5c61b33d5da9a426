"""Load from Python: a history of one's own, in which the faults of the block stand, and the checks that judge it."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from labctl.check import registry as checks
from labctl.drill_events import following, note_roles, watching
from labctl.errors import LabError, UsageError
from labctl.lab import Lab
from labctl.model.history import CLIENTS, Event, History
from labctl.model.scenario import NATURAL_RECOVERY_S, Workload
from labctl.model.verdict import Finding, Outcome
from labctl.model.view import View
from labctl.recovery import settle
from labctl.store.history import HistoryWriter, read_history
from labctl.store.views import read_views
from labctl.workload.runner import Runner

_NAME = "recording.history"


class Recording:
    """Clients that run while the block lasts. Leaving it stops them, waits until the lab has recovered, and reads back.

    The block is to be around the faults: `with lab.record("set") as recording:`, and in it `with lab.kill("primary"):`.
    After the block `history` has every operation, fault and role change, and `check` judges it.
    """

    def __init__(self, lab: Lab, workloads: Sequence[Workload], seed: int, to: Path | None) -> None:
        self._lab = lab
        self._workloads = workloads
        self._seed = seed
        self._to = to
        self._history: History | None = None
        self._views: tuple[View, ...] = ()
        self._begun = threading.Event()
        self._stop = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)

    @property
    def history(self) -> History:
        """The history, once the block is over. Raises UsageError before that."""
        if self._history is None:
            raise UsageError("The recording is not over yet.", "Look at it after its `with` block.")
        return self._history

    @property
    def views(self) -> tuple[View, ...]:
        """Views of the lab meanwhile, several a second where something changed."""
        return self._views

    def check(self, name: str, **parameters: object) -> Finding:
        """What a checker finds, whatever anybody promised: VALID, INVALID or UNKNOWN, with numbers and evidence.

        Args:
            name: Of the checker: `acked-writes`, `recovery`, `split-brain`, `register`, … (docs/checkers.md).
            **parameters: Of the checker.
        """
        return checks.run(name, self.history, views=self._views, parameters=parameters)

    def require(self, name: str, **parameters: object) -> Finding:
        """The same, for a promise that has to hold.

        Raises:
            AssertionError: It is not VALID; says what was found, with the evidence.
        """
        finding = self.check(name, **parameters)
        if finding.outcome is not Outcome.VALID:
            raise AssertionError(f"{name}: {finding.outcome.value}: {finding.summary}\n{finding.explanation}")
        return finding

    def __enter__(self) -> Self:
        self._thread.start()
        self._begun.wait()
        if self._failed is not None:
            self._thread.join()
            raise self._failed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._stop.set()
        self._thread.join()
        if self._failed is not None and error is None:
            raise self._failed
        return False

    def _run(self) -> None:
        """The thread: an event loop of its own. What goes wrong in it is raised where the block begins or ends."""
        try:
            with tempfile.TemporaryDirectory(prefix="labctl-") as folder:
                path = self._to or Path(folder) / _NAME
                views = Path(folder) / "views.gz"
                asyncio.run(self._record(path, views))
                self._history, self._views = read_history(path), read_views(views)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self._failed = error
        finally:
            self._begun.set()

    async def _record(self, path: Path, views: Path) -> None:
        lab, agent = self._lab, self._lab.agent()
        endpoints = {group: lab.endpoints(group) for group in {workload.group for workload in self._workloads}}
        async with AsyncExitStack() as stack:
            history = stack.enter_context(HistoryWriter(path, header={"lab": lab.name}))
            note_roles(agent, history)
            await stack.enter_async_context(watching(lab, views))
            await stack.enter_async_context(following(agent, history, lambda _: None, []))
            runner = await stack.enter_async_context(Runner(self._workloads, endpoints, history, seed=self._seed))
            for group, processes in runner.processes().items():
                history.event(Event(CLIENTS, time.monotonic_ns(), None, {"group": group, "processes": processes}))
            await self._load(runner)
            if standing := await asyncio.to_thread(lab.call, "GET", "/faults"):
                raise UsageError(
                    f"The recording ends while faults are in force: {', '.join(fault['kind'] for fault in standing)}.",
                    "Its block is to be around theirs, so that what was kept is read from a lab that has recovered.",
                )
            await settle(lab, history, time.monotonic_ns(), NATURAL_RECOVERY_S)
            await runner.final_reads()

    async def _load(self, runner: Runner) -> None:
        """Load until the block ends."""
        stop = asyncio.Event()
        load = asyncio.create_task(runner.run(stop))
        load.add_done_callback(lambda _: runner.running.set())
        await runner.running.wait()
        if not load.done():
            self._begun.set()
            await asyncio.wait(
                {load, asyncio.create_task(asyncio.to_thread(self._stop.wait))}, return_when=asyncio.FIRST_COMPLETED
            )
        if load.done():
            load.result()
            raise LabError("The workload ended before its time.")
        stop.set()
        await load
