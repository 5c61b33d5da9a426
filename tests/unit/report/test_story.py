"""The terminal report of a run, word for word where it matters."""

from __future__ import annotations

from rich.console import Console, RenderableType

from labctl.model.fault import Fault
from labctl.model.history import (
    CLIENTS,
    FAULT_END,
    FAULT_START,
    FINAL_READ,
    ROLE,
    SETTLED,
    Event,
    History,
    Op,
    OpOutcome,
)
from labctl.model.run import PhaseRun, PhaseVerdicts, Run
from labctl.model.scenario import Check, Phase, Scenario, Step, Workload
from labctl.model.topology import Kind, Topology
from labctl.model.verdict import Finding, Judgement, Outcome, Verdict
from labctl.report.story import render_run

MS = 1_000_000
CHECK = Check("acked-writes", "Nothing is\n promised.")
PHASE = Phase(
    "main",
    "The primary goes away",
    10.0,
    (Workload("set", 2, rate=500),),
    (Step(2.0, Fault("kill", "primary")),),
    (CHECK,),
)
SCENARIO = Scenario(
    "own", "A title", "What happens.", Topology("replica", Kind.REPLICA), (PHASE,), learn=("One thing.",)
)
EVENTS = [
    Event(ROLE, 0, "redis-1", {"role": "primary", "text": "redis-1 is primary"}),
    Event(ROLE, 0, "redis-2", {"role": "replica", "text": "redis-2 is replica"}),
    Event(CLIENTS, 0, None, {"group": "clients", "processes": [0, 1]}),
    Event(FAULT_START, 2000 * MS, None, {"id": 1, "fault": "kill", "text": "fault 1 began: kill primary"}),
    Event(FAULT_END, 3000 * MS, None, {"id": 1, "fault": "kill", "text": "fault 1 ended: kill primary"}),
    Event(SETTLED, 4000 * MS, None, {"reasons": [], "waited_ms": 1.0, "nodes": 2}),
]


def op(process: int, at_ms: float, outcome: OpOutcome = OpOutcome.OK, function: str = "add") -> Op:
    return Op(process, function, "k", round(at_ms), round(at_ms * MS), round((at_ms + 2) * MS), outcome, "redis-1")


OPS = [
    op(0, 1),
    op(1, 2),
    op(0, 1500),
    op(1, 2100, OpOutcome.FAIL),
    op(0, 2200, OpOutcome.UNKNOWN),
    op(9, 4100, function=FINAL_READ),
]


def text(renderable: RenderableType, width: int = 160) -> str:
    console = Console(width=width, color_system=None, markup=False, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def story(
    judgement: Judgement,
    finding: Finding,
    *,
    trouble: str = "",
    aborted: bool = False,
    events: list[Event] | None = None,
) -> str:
    history = History.of(OPS, EVENTS if events is None else events)
    run = Run(
        "20260101-000000-own", SCENARIO, 7, "redis 7.0.15", "0", 0.0, 0.3,
        (PhaseRun("main", "1-main.history", 0, 5000 * MS, trouble),), aborted=aborted,
    )  # fmt: skip
    verdicts = [PhaseVerdicts("main", (Verdict(finding, CHECK.promise, judgement),))]
    return text(render_run(run, {"main": history}, verdicts, where="/runs/here"))


HELD = Finding("acked-writes", Outcome.VALID, "5 writes judged: all present")
LOST = Finding(
    "acked-writes",
    Outcome.INVALID,
    "5 writes judged: 7 lost",
    "This is why.",
    stats={"lost": 7},
    anomalies=tuple(
        {"kind": "lost", "key": "k", "value": n, "process": 1, "node": "redis-1", "completed_ms": 1.0} for n in range(7)
    ),
)


def test_it_is_told_in_order() -> None:
    lines = [line.strip() for line in story(Judgement.HELD, HELD).splitlines()]
    order = [
        "A title",
        "own on redis 7.0.15, seed 7",
        "What happens.",
        "▌ The primary goes away",
        "2.00 s  fault 1 began: kill primary",
        "3.00 s  fault 1 ended: kill primary",
        "4.00 s  healthy again, replicas converged",
        "What to take away",
        "• One thing.",
        "Every promise held.",
        "Evidence: /runs/here",
    ]
    assert [line for line in lines if line in order] == order
    assert any("labctl drill own --seed 7" in line and "labctl check 20260101-000000-own" in line for line in lines)
    start = next(line for line in lines if line.startswith("0.00 s"))
    assert "primary: redis-1" in start
    assert "500/s" in start
    assert not any(line.endswith("redis-2 is replica") for line in lines), "the roles at the start are one line"


def test_what_clients_saw_without_the_final_reads() -> None:
    told = story(Judgement.HELD, HELD)
    assert "Clients sent 5 operations: 3 acknowledged, 1 refused, 1 of unknown outcome." in told
    assert "Median latency 2.00 ms, 99th percentile 2.00 ms; longest silence 1,498 ms." in told
    assert "Acknowledged by: redis-1 3." in told


def test_promise_beside_measurement() -> None:
    (row,) = [line for line in story(Judgement.HELD, HELD).splitlines() if line.strip().startswith("acked-writes")]
    assert row.split() == [
        *["acked-writes", "Nothing", "is", "promised.", "5", "writes", "judged:", "all", "present", "held"]
    ]


def test_a_loss_is_listed_and_explained() -> None:
    told = story(Judgement.DOCUMENTED_LOSS, LOST)
    assert "acked-writes: This is why." in told
    assert told.count("lost: ") == 5
    assert "… 7 in all" in told
    assert "Every promise held. Data was lost in the way that Redis documents." in told


def test_a_broken_promise() -> None:
    assert "A promise was broken." in story(Judgement.BROKEN, LOST)


def test_what_could_not_be_judged() -> None:
    unknown = Finding("acked-writes", Outcome.UNKNOWN, "a fault did not take effect", "a fault did not take effect")
    told = story(Judgement.INCONCLUSIVE, unknown, trouble="a fault did not take effect: kill nobody")
    assert "a fault did not take effect: kill nobody" in told
    assert "Inconclusive: something could not be judged, so this is no pass." in told


def test_an_aborted_run_says_so() -> None:
    assert "Aborted. Every promise held." in story(Judgement.HELD, HELD, aborted=True)


def test_a_lab_that_did_not_settle() -> None:
    events = [*EVENTS[:-1], Event(SETTLED, 4000 * MS, None, {"reasons": ["a", "b", "c", "d"], "nodes": 2})]
    assert "not settled: a; b; c" in story(Judgement.HELD, HELD, events=events)


def test_many_events_are_counted_instead_of_told() -> None:
    noise = [Event("link", (100 + n) * MS, "redis-2", {"text": f"noise {n}"}) for n in range(60)]
    told = story(Judgement.HELD, HELD, events=[*EVENTS, *noise])
    assert "noise 0" in told
    assert "noise 59" not in told
    assert "more events" in told


def test_markup_in_names_is_text() -> None:
    """What a server or a user wrote is shown, never obeyed."""
    events = [*EVENTS, Event("role", 100 * MS, "redis-1", {"text": "[bold]not bold[/bold] [/red]"})]
    assert "[bold]not bold[/bold] [/red]" in story(Judgement.HELD, HELD, events=events)
