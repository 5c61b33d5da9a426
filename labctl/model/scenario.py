"""What a user declares of a drill: phases of workload, faults and maintenance, and the promise of each check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from labctl.model.fault import Fault, Scalar
from labctl.model.topology import Topology


@dataclass(frozen=True, slots=True)
class Workload:
    """Clients of one kind that run through a phase.

    Attributes:
        kind: Registry name, `set` or `register` for example.
        clients: Concurrent clients, each one process of the history.
        group: The client side of the link table that they connect from: `clients`, `clients-a` or `clients-b`.
        rate: Operations a second, all clients together; None is closed-loop, as fast as replies come.
        options: Parameters of the kind.
        start_s: Seconds into the phase at which they begin.
        stop_s: Seconds into the phase at which they stop; None for its end.
    """

    kind: str
    clients: int = 4
    group: str = "clients"
    rate: float | None = None
    options: Mapping[str, Scalar] = field(default_factory=dict)
    start_s: float = 0.0
    stop_s: float | None = None


@dataclass(frozen=True, slots=True)
class Preload:
    """Keys that are written before a phase's workload begins, and that no checker looks at.

    Attributes:
        keys: How many.
        value_bytes: Length of each value.
        prefix: Their names begin so; a number follows.
        ttl_s: Seconds until they expire; None for never.
    """

    keys: int
    value_bytes: int = 100
    prefix: str = "preload:"
    ttl_s: float | None = None


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What an operator does to a lab on purpose: a rolling restart, a backup, CONFIG SET.

    Attributes:
        action: Registry name.
        target: Symbolic target, resolved when it begins; empty for the action's own default.
        params: Parameters of the action.
    """

    action: str
    target: str = ""
    params: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Condition:
    """Something observed that a step waits for: a registry name, and its argument where it takes one."""

    name: str
    argument: str = ""


DEFAULT_PATIENCE_S = 30.0
"""How long a step waits for its condition unless stated: Sentinels may need 20 s to see a returned primary as a replica."""


@dataclass(frozen=True, slots=True)
class Step:
    """One fault or maintenance action on a phase's timeline.

    It waits for its moment in this order: until `at_s`, or until the step `after` has begun (ended); until all of `when`
    is observed; then for `delay_s`. What its target means is resolved only then.

    Attributes:
        at_s: Seconds after the phase's workload began.
        does: The fault, or the action.
        label: Its name for other steps' `after`; empty for none.
        after: Label of another step, or `LABEL.end`; empty for none.
        when: Conditions that must be observed, all in one view.
        within_s: How long to wait for them.
        delay_s: Seconds to wait at last.
        may_fail: An action that fails is part of the drill, not a reason to call it inconclusive.
    """

    at_s: float
    does: Fault | Maintenance
    label: str = ""
    after: str = ""
    when: tuple[Condition, ...] = ()
    within_s: float = DEFAULT_PATIENCE_S
    delay_s: float = 0.0
    may_fail: bool = False

    @property
    def fault(self) -> Fault | None:
        """The fault, where it is one."""
        return self.does if isinstance(self.does, Fault) else None

    @property
    def fixed(self) -> bool:
        """Whether its time is known before the phase begins."""
        return not self.after and not self.when and not self.delay_s


class Expectation(StrEnum):
    """What Redis's documentation lets one expect of a check under these faults and this configuration."""

    HOLDS = "holds"
    MAY_LOSE = "may lose"
    LOSES = "loses"


@dataclass(frozen=True, slots=True)
class Check:
    """One checker with the promise it is held to.

    Attributes:
        name: Checker's registry name.
        promise: The promise in words, with the directive or page it comes from.
        expect: HOLDS: an anomaly breaks the promise. MAY_LOSE: an anomaly is documented behaviour, within `bounds`.
            LOSES: the scenario exists to show the anomaly; its absence makes the drill inconclusive.
        bounds: Upper bounds on the finding's stats, by name, `recovery_ms: 8000` for example. Exceeding one breaks the
            promise whatever `expect` says.
        options: Parameters of the checker.
        expect_by_cell: Where the expectation differs by cell of the matrix: pairs of a selector (`aof=always`) and the
            expectation there, first match counts, `else` for the rest; `expect` is that of the cell that is run.
        only: Selector of the cells in which it is checked; empty for all.
    """

    name: str
    promise: str
    expect: Expectation = Expectation.HOLDS
    bounds: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Scalar] = field(default_factory=dict)
    expect_by_cell: tuple[tuple[str, Expectation], ...] = ()
    only: str = ""


DEFAULT_RECOVERY_S = 60.0
"""After the faults are gone: TILT lasts 30 s, a failed failover is tried again after twice its timeout."""
NATURAL_RECOVERY_S = 120.0
"""At a lab's own pace: half a minute with Sentinels, and another one and more where a busy machine put them into TILT."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What is waited for at the end of a phase, when its faults are gone.

    Attributes:
        within_s: How long the lab may take to be healthy with its replicas converged.
        required: A lab that is not by then makes the phase inconclusive. False where the scenario is about a lab that
            does not recover: then only the checks judge.
        natural: Leave it to its own pace. Otherwise Sentinels and primaries are made to look at once, where recovery is
            required (`labctl.recovery`).
    """

    within_s: float = DEFAULT_RECOVERY_S
    required: bool = True
    natural: bool = False


@dataclass(frozen=True, slots=True)
class Phase:
    """Workloads and steps that run together, then heal, recover and are read back.

    Attributes:
        name: As stated.
        title: One line.
        duration_s: It lasts so long, and longer until its last step is done.
        workloads: Clients.
        steps: Faults and maintenance, those of a fixed time in its order.
        checks: What is judged.
        load: Keys that are there before the workload begins.
        recovery: What is waited for at its end.
    """

    name: str
    title: str
    duration_s: float
    workloads: tuple[Workload, ...]
    steps: tuple[Step, ...]
    checks: tuple[Check, ...]
    load: Preload | None = None
    recovery: Recovery = field(default_factory=Recovery)


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension of a matrix.

    Attributes:
        path: What is varied: `engine`, or a path into the topology such as `persistence.aof`.
        name: What users call it: the last word of the path where that is not ambiguous.
        values: What it takes, as they are written in `--cell`.
    """

    path: str
    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A drill as declared.

    Attributes:
        name: File stem.
        title: One line.
        description: What happens and why it is worth seeing, in plain words.
        learn: What a reader should take away; one sentence each.
        tags: Groups for listings.
        topology: The lab it runs on, overrides applied.
        phases: Run one after another on the same lab.
        chapter: Address of a page to read on; empty if there is none.
        group: The folder of the library that it stands in; empty for a file of one's own.
        requires: What it needs besides what its topology and faults show: `redis >= 7.2`, `tls`, `runtime process` ….
        matrix: Dimensions over which it is run; empty for none.
        cell: Which cell of the matrix this is, `aof=always,engine=redis-8`; empty for the declaration itself, or where
            there is no matrix.
    """

    name: str
    title: str
    description: str
    topology: Topology
    phases: tuple[Phase, ...]
    learn: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    chapter: str = ""
    group: str = ""
    requires: tuple[str, ...] = ()
    matrix: tuple[Axis, ...] = ()
    cell: str = ""

    def unhurried(self) -> Scenario:
        """The same with every phase recovering at its own pace."""
        phases = (replace(phase, recovery=replace(phase.recovery, natural=True)) for phase in self.phases)
        return replace(self, phases=tuple(phases))
