"""A small stored run, made without any server: a failover that loses writes, with names that want to be markup."""

from __future__ import annotations

from pathlib import Path

from labctl.check import registry
from labctl.check.judge import judge
from labctl.model.fault import Fault
from labctl.model.history import (
    CLIENTS,
    FAULT_END,
    FAULT_START,
    FINAL_READ,
    ROLE,
    SENTINEL,
    SETTLED,
    Event,
    History,
    Op,
    OpOutcome,
)
from labctl.model.run import PhaseRun, PhaseVerdicts, Run
from labctl.model.scenario import Check, Expectation, Phase, Scenario, Step, Workload
from labctl.model.topology import Kind, Role, Topology
from labctl.model.view import NodeView, SentinelView, View
from labctl.report.summary import RunSummary, summarise
from labctl.store.history import write_history
from labctl.store.runs import RunFolder
from labctl.store.views import ViewWriter

MS = 1_000_000
HOSTILE = "</script><script>document.title='taken'</script><!--<img src=x onerror=alert(1)> | `@here` \u2028 ]]> \x00"
"""A key that would like to be code."""

TOPOLOGY = Topology("sentinel", Kind.SENTINEL, replicas=1, sentinels=1)
PHASE = Phase(
    "kill",
    "The primary <b>goes</b> away",
    4.0,
    (Workload("set", 2, rate=500),),
    (Step(1.0, Fault("kill", "primary")),),
    (
        Check("acked-writes", "Nothing is promised.", Expectation.LOSES),
        Check("recovery", "Within a | moment.", bounds={"recovery_ms": 5000}),
        Check("convergence", "They agree."),
    ),
)
SCENARIO = Scenario(
    "own & hostile",
    f"A title {HOSTILE}",
    "What happens.",
    TOPOLOGY,
    (PHASE,),
    learn=("One thing <i>matters</i>.",),
    chapter="javascript:alert(1)",
)
EVENTS = [
    Event(ROLE, 0, "redis-1", {"role": "primary", "text": "redis-1 is primary", "epoch": 1}),
    Event(ROLE, 0, "redis-2", {"role": "replica", "text": "redis-2 is replica"}),
    Event(CLIENTS, 0, None, {"group": "clients", "processes": [0, 1]}),
    Event(FAULT_START, 1000 * MS, None, {"id": 1, "fault": "kill", "target": "primary", "text": "fault 1 began"}),
    Event("down", 1010 * MS, "redis-1", {"error": "refused", "text": "redis-1 does not answer: refused"}),
    Event(SENTINEL, 1300 * MS, "sentinel-1", {"s_down": True, "text": "sentinel-1: redis-1 is down for it"}),
    Event(SENTINEL, 1350 * MS, "sentinel-1", {"o_down": True, "text": "sentinel-1: a quorum agrees"}),
    Event(ROLE, 1500 * MS, "redis-2", {"role": "primary", "follows": None, "text": "redis-2 is primary"}),
    Event(SENTINEL, 1600 * MS, "sentinel-1", {"primary": "redis-2", "epoch": 2, "text": "sends clients to redis-2"}),
    Event(FAULT_END, 3000 * MS, None, {"id": 1, "fault": "kill", "target": "primary", "text": "fault 1 ended"}),
    Event("up", 3000 * MS, "redis-1", {"text": "redis-1 answers again"}),
    Event(ROLE, 3200 * MS, "redis-1", {"role": "replica", "follows": "redis-2", "text": "redis-1 is a replica"}),
    Event("link", 3400 * MS, "redis-1", {"link_up": True, "text": "redis-1: link up"}),
    Event(SETTLED, 4100 * MS, None, {"reasons": [], "waited_ms": 1.0, "nodes": 2}),
]
LOST = 5


def operations() -> list[Op]:
    """A write each 10 ms; the last five that redis-1 acknowledged are not there at the end."""
    ops, kept = [], []
    for number in range(400):
        at = number * 10 * MS
        down = 1000 * MS <= at < 1500 * MS
        node = "redis-1" if at < 1000 * MS else "redis-2"
        outcome = OpOutcome.FAIL if down else OpOutcome.OK
        error = "NoPrimary" if down else None
        op = Op(number % 2, "add", HOSTILE, f"v{number}<&>", at, at + 2 * MS, outcome, None if down else node, error)
        ops.append(op)
        if not down and not 100 - LOST <= number < 100:
            kept.append(op.value)
    ops.append(Op(2, FINAL_READ, HOSTILE, kept, 4200 * MS, 4201 * MS, OpOutcome.OK, "redis-2"))
    return ops


def view(at_ms: int, first: NodeView, second: NodeView, primary: str) -> View:
    seen = SentinelView("id", primary, ("master",), 1, "none", 1, True, "", (), (), False)
    return View(at_ms * MS, (first, second, NodeView("sentinel-1", True, role=Role.SENTINEL, sentinel=seen)))


def replica(name: str, of: str, offset: int, lag: int) -> NodeView:
    return NodeView(name, True, role=Role.REPLICA, follows=of, link_up=True, offset=offset, lag_bytes=lag)


def primary(name: str, offset: int) -> NodeView:
    return NodeView(name, True, role=Role.PRIMARY, offset=offset)


VIEWS = (
    view(0, primary("redis-1", 100), replica("redis-2", "redis-1", 100, 0), "redis-1"),
    view(500, primary("redis-1", 5000), replica("redis-2", "redis-1", 4900, 100), "redis-1"),
    view(900, primary("redis-1", 9000), replica("redis-2", "redis-1", 9000, 0), "redis-1"),
    view(990, primary("redis-1", 9900), replica("redis-2", "redis-1", 9400, 500), "redis-1"),
    view(1100, NodeView("redis-1", False, "refused"), replica("redis-2", "redis-1", 9400, 500), "redis-1"),
    view(1600, NodeView("redis-1", False, "refused"), primary("redis-2", 9400), "redis-2"),
    view(3500, replica("redis-1", "redis-2", 20000, 0), primary("redis-2", 20000), "redis-2"),
)


def run_and_history(*, trouble: str = "", aborted: bool = False) -> tuple[Run, History, tuple[PhaseVerdicts, ...]]:
    history = History.of(operations(), EVENTS)
    ran = PhaseRun("kill", "1-kill.history", 0, 4300 * MS, trouble)
    run = Run("20260101-000000-own", SCENARIO, 7, "redis 7.0.15", "0", 1_767_225_600.0, 0.3, (ran,), aborted)
    verdicts = tuple(judge(check, registry.run(check.name, history, views=VIEWS)) for check in PHASE.checks)
    return run, history, (PhaseVerdicts("kill", verdicts),)


def summary(*, trouble: str = "", aborted: bool = False) -> RunSummary:
    run, history, verdicts = run_and_history(trouble=trouble, aborted=aborted)
    phase = summarise(PHASE, run.phases[0], verdicts[0].verdicts, history, VIEWS)
    return RunSummary(run, (phase,), verdicts)


def stored(path: Path) -> RunFolder:
    """The run as a drill leaves it."""
    path.mkdir(parents=True)
    run, history, verdicts = run_and_history()
    folder = RunFolder(path)
    folder.save_run(run)
    folder.save_verdicts(verdicts)
    write_history(history, path / "1-kill.history")
    with ViewWriter(path / "1-kill.views.gz") as views:
        for each in VIEWS:
            views.add(each.to_dict(), last=True)
    return folder
