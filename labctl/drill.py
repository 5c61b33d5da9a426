"""A drill, top to bottom: declare, plan, up, run, heal, check, report.

`labctl drill NAME` is this module and nothing else. What was declared is in `declare`, what is judged in `check`, what is
printed in `report`; here is only the order of things.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets as random_secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from labctl import __version__
from labctl import lab as labs
from labctl.actions.operator import Connections, Operator
from labctl.actions.registry import ACTIONS
from labctl.agent.client import AgentClient
from labctl.agent.launch import EarlyAgent
from labctl.application import running
from labctl.check import acked_writes
from labctl.check import registry as checks
from labctl.check.common import Deadline, unknown
from labctl.check.judge import judge
from labctl.declare.scenario import Known
from labctl.drill_alerts import alerting, expected, prometheus_where_needed
from labctl.drill_events import following, listening, note_roles, watching
from labctl.errors import HistoryError, InjectionError, LabError, NotHealthyError, UsageError
from labctl.faults.registry import FAULTS, needs_disk, needs_shim, needs_wires, require_possible
from labctl.model.application import Application
from labctl.model.fault import Fault
from labctl.model.history import CLIENTS, REFUSAL, Event, History
from labctl.model.plan import Containers, Net, RuntimeName
from labctl.model.run import PhaseRun, PhaseVerdicts, Recording, Run
from labctl.model.scenario import Phase, Preload, Recovery, Scenario
from labctl.model.view import View
from labctl.monitoring.folder import monitoring_folder
from labctl.observe.access import Access
from labctl.observe.refusals import try_refusals
from labctl.recovery import in_haste, settle
from labctl.reporting import write_page
from labctl.store import codec
from labctl.store.folders import LabFolder, write_private
from labctl.store.history import HistoryWriter, read_history
from labctl.store.history_reader import CUT
from labctl.store.runs import RunFolder
from labctl.store.views import read_views
from labctl.timeline.conditions import CONDITIONS, Load, argument_problem
from labctl.timeline.player import Player, StuckError
from labctl.workload.preload import preload
from labctl.workload.runner import Runner
from labctl.workload.tally import Tally

_COUNTED = frozenset({"operations", "writes", "errors"})
"""Conditions on what clients have seen; counting costs a little, so it is done only where somebody asks."""
_DRILL_DISK = 256 << 20
WATCHED_DEADLINE_S = 20.0
"""Twice the time that Prometheus takes at the most to notice a new target."""
_WATCHED_LOOK_S = 0.2
_NAME_LENGTH = 40
_MOST_LISTED = 100_000
_REASONS_SHOWN = 6
CHECK_S = 300.0
"""How long one check may take; what it has not decided by then is UNKNOWN."""

Say = Callable[[str], None]


@dataclass(slots=True)
class Drill:
    """One run of a scenario.

    Attributes:
        scenario: What to do.
        seed: Of everything random.
        folder: Where the evidence goes.
        engine: As for `labctl up`.
        runtime: As for `labctl up`.
        keep: Leave the lab up at the end.
        containers: As for `labctl up`.
        application: The user's own program, to run while the faults happen; `application.prepare` made it and `scenario`.
        say: Told what happens, as it happens.
        early: An agent that is there already and is for its lab, as for `labctl up`.
        command: The words after `labctl` that asked for it, to tell how to do it again.
        abort: Set it to end the timeline early: the lab is healed, checked and reported all the same.
    """

    scenario: Scenario
    seed: int
    folder: RunFolder
    engine: str | None = None
    runtime: RuntimeName = RuntimeName.PROCESS
    keep: bool = False
    application: Application | None = None
    containers: Containers | None = None
    say: Say = lambda _: None
    early: EarlyAgent | None = None
    command: tuple[str, ...] = ()
    abort: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> tuple[Run, tuple[PhaseVerdicts, ...]]:
        """The whole story. The run and its verdicts are kept in the folder.

        Raises:
            LabError: The lab did not come up, or a fault could not be reverted.
        """
        self._require_possible()
        async with prometheus_where_needed(self.scenario, self.say):
            return await self._from_up_to_report()

    async def _from_up_to_report(self) -> tuple[Run, tuple[PhaseVerdicts, ...]]:
        try:
            lab, run = await self._up()
        except NotHealthyError as error:
            return self._never_healthy(error)
        try:
            for phase in self.scenario.phases:
                if self.abort.is_set():
                    break
                run = replace(run, phases=(*run.phases, await self._phase(lab, phase, len(run.phases))))
                self.folder.save_run(run)
        finally:
            run = replace(run, aborted=self.abort.is_set())
            self.folder.save_run(run)
            self.folder.keep_logs(lab.folder)
            if not self.keep:
                lab.down()
        verdicts = check_run(run, self.folder)
        self.folder.save_verdicts(verdicts)
        list_anomalies(run, self.folder, verdicts)
        write_page(self.folder)
        return run, verdicts

    def _never_healthy(self, error: NotHealthyError) -> tuple[Run, tuple[PhaseVerdicts, ...]]:
        """A run of which nothing can be judged, with the view that shows why."""
        self.say(error.message)
        shown = self._keep_view(
            self.folder.path / "start.unhealthy.json", {"unhealthy": error.reasons, "view": error.view}
        )
        run = replace(self._run("", 0.0), trouble=f"{error.message}\nThe last view is in {shown}.")
        self.folder.save_run(run)
        self.folder.save_verdicts(())
        return run, ()

    def _run(self, engine: str, healthy_s: float) -> Run:
        return Run(
            run_id=self.folder.path.name,
            scenario=self.scenario,
            seed=self.seed,
            engine=engine,
            labctl=__version__,
            started_unix_s=time.time(),
            healthy_s=healthy_s,
            application=self.application,
            command=self.command,
            runtime=self.runtime.value,
        )

    @property
    def _faults(self) -> list[Fault]:
        return [step.fault for phase in self.scenario.phases for step in phase.steps if step.fault]

    def _require_possible(self) -> None:
        """Refuse what this runtime cannot do before anything is started; volumes get a size where a fault is to fill them."""
        if self.runtime is RuntimeName.DOCKER:
            self.containers = self.containers or Containers()
            if needs_disk(self._faults) and not self.containers.disk:
                self.containers = replace(self.containers, disk=_DRILL_DISK)
        for fault in self._faults:
            require_possible(fault, self.runtime, self.containers)

    async def _up(self) -> tuple[labs.Lab, Run]:
        """A lab of its own, observed healthy."""
        name = f"{self.scenario.name[: _NAME_LENGTH - 5]}-{random_secrets.token_hex(2)}"
        bringing = asyncio.create_task(
            asyncio.to_thread(
                labs.up,
                self.scenario.topology,
                name=name,
                engine=self.engine,
                runtime=self.runtime,
                shim=self.runtime is RuntimeName.PROCESS and needs_shim(self._faults),
                net=Net.NETNS if self.runtime is RuntimeName.PROCESS and needs_wires(self._faults) else None,
                containers=self.containers,
                progress=self.say,
                early=self.early,
                on_failure=self._keep_logs,
            )
        )
        try:
            lab, healthy_s = await asyncio.shield(bringing)
        except asyncio.CancelledError:  # a thread goes on: wait until it is done, and undo what it did
            with suppress(LabError):
                (await bringing)[0].down()
            raise
        self.say(f"lab {lab.name} is healthy, {healthy_s:.2f} s after its first server was started")
        run = self._run(lab.plan().engine_name, healthy_s)
        self.folder.save_run(run)
        await self._until_watched(lab)
        return lab, run

    def _keep_logs(self, lab: LabFolder, why: BaseException) -> None:
        """What the servers of a lab said that never was healthy; that it cannot be kept is no reason to keep the lab."""
        if isinstance(why, NotHealthyError):
            with suppress(OSError):
                self.folder.keep_logs(lab)

    async def _until_watched(self, lab: labs.Lab) -> None:
        """Where `labctl observe` is up, wait until it sees the lab: Prometheus looks for new targets each few seconds."""
        if not monitoring_folder().follows:
            return
        self.say("waiting until Prometheus sees the lab")
        until = time.monotonic() + WATCHED_DEADLINE_S
        while not (await asyncio.to_thread(lab.call, "GET", "/status"))["scrapes"]:
            if time.monotonic() > until:
                self.say("Prometheus does not see the lab; labctl observe status")
                return
            await asyncio.sleep(_WATCHED_LOOK_S)

    async def _phase(self, lab: labs.Lab, phase: Phase, index: int) -> PhaseRun:
        """Run workload, observer and faults together; heal; wait until recovered; read back."""
        name = f"{index + 1}-{phase.name}.history"
        started = time.monotonic_ns()
        agent = lab.agent()
        agent_pid = lab.call("GET", "/status")["agent_pid"]
        self.say(f"phase {phase.name}: {phase.title}")
        recording = Recording(
            self.folder.path.name, self.scenario.name, phase.name, str(self.folder.path / name), os.getpid()
        )
        agent.call("POST", "/recordings", codec.to_data(recording))
        with HistoryWriter(
            self.folder.path / name, header={"run": self.folder.path.name, "phase": phase.name}
        ) as history:
            trouble = await self._run_phase(lab, agent, phase, history, index)
        ended = time.monotonic_ns()
        if not trouble and lab.call("GET", "/status")["agent_pid"] != agent_pid:
            trouble = "the lab's agent ended meanwhile, and with it the faults and the record of what happened"
        if trouble:
            self.say(trouble)
        return PhaseRun(phase.name, name, started, ended, trouble)

    async def _run_phase(
        self, lab: labs.Lab, agent: AgentClient, phase: Phase, history: HistoryWriter, index: int
    ) -> str:
        groups = {workload.group for workload in phase.workloads}
        endpoints = {group: lab.endpoints(group) for group in groups}
        trouble = ""
        counted = any(condition.name in _COUNTED for step in phase.steps for condition in step.when)
        tally = Tally(history)
        unfelt: list[str] = []
        async with AsyncExitStack() as stack:
            note_roles(agent, history)
            if phase.load is not None:
                await self._preload(lab, phase.load)
            views = self.folder.path / f"{index + 1}-{phase.name}.views.gz"
            await stack.enter_async_context(watching(lab, views))
            await stack.enter_async_context(listening(agent, views.with_name(f"{index + 1}-{phase.name}.messages.gz")))
            await stack.enter_async_context(following(agent, history, self.say, unfelt))
            alerts = await stack.enter_async_context(alerting(lab.name, history, self.say))
            runner = await stack.enter_async_context(
                Runner(
                    phase.workloads,
                    endpoints,
                    tally if counted else history,
                    seed=self.seed,
                    namespace=phase.name,
                    first_process=1000 * index,
                )
            )
            for group, processes in runner.processes().items():
                history.event(Event(CLIENTS, time.monotonic_ns(), None, {"group": group, "processes": processes}))
            player = self._player(lab, agent, phase, history, tally)
            log = self.folder.path / f"{index + 1}-{phase.name}.application.log"
            stack.push_async_callback(player.operator.connections.close)
            try:
                async with running(self.application, phase.name, lab, history, log, self.say):
                    await self._load_and_steps(player, runner)
            except InjectionError as error:
                trouble = f"a fault did not take effect: {error.message}"
            except StuckError as error:
                trouble = error.message
            finally:
                healed_ns = time.monotonic_ns()
                await asyncio.to_thread(lab.call, "DELETE", "/faults")
            unsettled = await self._settle(lab, player.operator.connections, history, healed_ns, phase.recovery, views)
            for attempt in await try_refusals(lab.endpoints()):
                detail = {"what": attempt.what, "refused": attempt.refused, "how": attempt.how}
                history.event(Event(REFUSAL, time.monotonic_ns(), attempt.node, detail))
            await alerts.until_cleared(expected(phase))
            await runner.final_reads({group: lab.endpoints(group) for group in groups})  # passwords may have changed
        return trouble or unsettled or "; ".join(unfelt)

    def _player(self, lab: labs.Lab, agent: AgentClient, phase: Phase, history: HistoryWriter, tally: Tally) -> Player:
        keys, plan = lab.keys(), lab.plan()
        connections = Connections(plan, Access(plan, keys.secrets, keys.tls))
        operator = Operator(lab, plan, self.folder.path, connections, self.seed, self.say)
        return Player(
            phase=phase,
            agent=agent,
            operator=operator,
            note=history.event,
            say=self.say,
            load=lambda: Load(tally.operations, tally.writes, tally.errors),
            seed=self.seed,
        )

    async def _preload(self, lab: labs.Lab, wanted: Preload) -> None:
        keys, plan = lab.keys(), lab.plan()
        status = await asyncio.to_thread(lab.call, "GET", "/status")
        view = codec.from_data(View, status["view"])
        count = await preload(wanted, plan, Access(plan, keys.secrets, keys.tls), view)
        self.say(f"{count} keys of {wanted.value_bytes} bytes are loaded")

    async def _load_and_steps(self, player: Player, runner: Runner) -> None:
        """The timeline: load from start to end, each step at its time. Whatever ends it, no injection is under way."""
        stop = asyncio.Event()
        load = asyncio.create_task(runner.run(stop))
        steps = asyncio.create_task(player.play())
        aborted = asyncio.create_task(self.abort.wait())
        try:
            await asyncio.wait({load, steps, aborted}, return_when=asyncio.FIRST_COMPLETED)
            if load.done() and runner.endless and not self.abort.is_set():
                await load
                raise LabError(f"The workload of phase {player.phase.name} ended before its time.")
            if load.done():
                await load
                await asyncio.wait({steps, aborted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            aborted.cancel()
            steps.cancel()
            ended = await asyncio.gather(load, steps, return_exceptions=True)
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome

    async def _settle(
        self,
        lab: labs.Lab,
        connections: Connections,
        history: HistoryWriter,
        healed_ns: int,
        recovery: Recovery,
        views: Path,
    ) -> str:
        """Wait, with a deadline, until the lab is healthy and its replicas have converged; note what is left.

        Returns:
            Why the phase cannot be judged, where the lab had to recover and did not; empty otherwise.
        """
        self.say("faults are gone; waiting until the lab is healthy and its replicas have converged")
        hastened = recovery.required and not recovery.natural
        try:
            async with in_haste(lab, connections) if hastened else nullcontext():
                reasons, status = await settle(lab, history, healed_ns, recovery.within_s, hastened=hastened)
        except LabError as error:
            return error.message
        self.say("recovered" if not reasons else f"not recovered: {'; '.join(reasons[:4])}")
        if not reasons or not recovery.required:
            return ""
        kept = self._keep_view(views.with_name(views.name.replace(".views.gz", ".unhealthy.json")), status)
        shown = "; ".join(reasons[:_REASONS_SHOWN])
        return f"the lab was not healthy again within {recovery.within_s:g} s of the heal: {shown} (its view: {kept})"

    @staticmethod
    def _keep_view(path: Path, status: Mapping[str, object]) -> str:
        """Keep the view that shows why a lab is not healthy; the file's name."""
        names = ("unhealthy", "unconverged", "view", "servers", "links")
        write_private(path, json.dumps({name: status[name] for name in names if name in status}, indent=1))
        return path.name


def check_run(run: Run, folder: RunFolder) -> tuple[PhaseVerdicts, ...]:
    """The verdicts of a stored run: pure functions of its histories. `labctl check` is this.

    Raises:
        HistoryError: A history is damaged.
        UsageError: The run was edited by hand.
    """
    declared = {phase.name: phase for phase in run.scenario.phases}
    results = []
    for ran in run.phases:
        if ran.name not in declared:
            raise UsageError(f"{folder.path} holds a phase `{ran.name}` that its scenario lacks.", "Was it edited?")
        history = _whole_history(folder.path / ran.history)
        views = read_views((folder.path / ran.history).with_suffix(".views.gz"))
        verdicts = []
        for check in declared[ran.name].checks:
            limit = time_limit(CHECK_S)
            finding = checks.run(check.name, history, views=views, deadline=limit, parameters=check.options)
            if ran.trouble:
                finding = unknown(check.name, ran.trouble, finding.stats)
            verdicts.append(judge(check, finding))
        results.append(PhaseVerdicts(ran.name, tuple(verdicts)))
    return tuple(results)


def time_limit(seconds: float) -> Deadline:
    """Says whether so many seconds have passed since now: the clock that checkers do not have."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until


def list_anomalies(run: Run, folder: RunFolder, verdicts: tuple[PhaseVerdicts, ...]) -> None:
    """Every lost write has a line in the run folder, not only those that a verdict shows."""
    for ran, judged in zip(run.phases, verdicts, strict=True):
        if any(v.finding.check == acked_writes.NAME and v.finding.anomalies for v in judged.verdicts):
            full = acked_writes.check(read_history(folder.path / ran.history), listed=_MOST_LISTED)
            folder.save_anomalies(ran.name, acked_writes.NAME, full.anomalies)


def _whole_history(path: Path) -> History:
    """The history of a phase that ended, and so was closed by its recorder. Raises HistoryError when its end is missing."""
    history = read_history(path)
    if cut := [event for event in history.events if event.kind == CUT]:
        raise HistoryError(
            [f"{path}: its end is missing; it breaks off after {len(history)} operations ({cut[0].detail})"]
        )
    return history


def known_names() -> Known:
    """What scenarios may name, for their parser."""
    from labctl.workload.registry import KINDS  # noqa: PLC0415

    return Known(
        faults=frozenset(FAULTS),
        checks=frozenset(checks.CHECKERS),
        workloads=frozenset(KINDS),
        actions=frozenset(ACTIONS),
        conditions={name: partial(argument_problem, name) for name in CONDITIONS},
        momentary=frozenset(name for name, kind in FAULTS.items() if kind.momentary),
    )
