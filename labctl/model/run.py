"""A run of a scenario as it is kept: everything from which its verdicts can be computed again."""

from __future__ import annotations

from dataclasses import dataclass

from labctl.model.application import Application
from labctl.model.scenario import Scenario
from labctl.model.verdict import Judgement, Verdict


@dataclass(frozen=True, slots=True)
class PhaseRun:
    """One phase of a run.

    Attributes:
        name: As declared.
        history: File name of its history, inside the run folder.
        started_ns: Monotonic clock.
        ended_ns: When its final reads were done.
        trouble: Why it cannot be judged (a fault that did not bite, a lab that did not recover); empty when it can.
    """

    name: str
    history: str
    started_ns: int
    ended_ns: int
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """A run.

    Attributes:
        run_id: Name of its folder.
        scenario: As declared, topology included.
        seed: Of everything random in it.
        engine: Such as `redis 7.0.15`.
        labctl: Version of labctl that made it.
        started_unix_s: Wall clock, seconds.
        healthy_s: First server started to lab observed healthy.
        phases: In order; fewer than declared when it was aborted.
        aborted: Whether somebody ended it early.
        application: The user's own program that ran in it; None when there was none.
        runtime: Where its servers ran.
        trouble: Why no phase could be run, a lab that never was healthy; empty otherwise.
        command: The words after `labctl` that asked for it, without seed, cell and output; empty when no command line did.
    """

    run_id: str
    scenario: Scenario
    seed: int
    engine: str
    labctl: str
    started_unix_s: float
    healthy_s: float
    phases: tuple[PhaseRun, ...] = ()
    aborted: bool = False
    application: Application | None = None
    runtime: str = "process"
    trouble: str = ""
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recording:
    """A history that is being written.

    Attributes:
        run: Name of the run, as `labctl runs` lists it.
        scenario: Name of the scenario, or of the workload where there is none.
        phase: Of the scenario.
        history: Path of the file.
        pid: The process that writes it; when that is gone, nothing more will come.
    """

    run: str
    scenario: str
    phase: str
    history: str
    pid: int

    @property
    def series(self) -> tuple[str, str, str]:
        """What tells its metrics apart from those of others."""
        return self.run, self.scenario, self.phase


@dataclass(frozen=True, slots=True)
class PhaseVerdicts:
    """The verdicts of one phase, in the order of its checks."""

    phase: str
    verdicts: tuple[Verdict, ...]


def worst(verdicts: tuple[PhaseVerdicts, ...]) -> Judgement:
    """What the whole run comes to: broken outweighs inconclusive outweighs a documented loss outweighs held."""
    order = (Judgement.BROKEN, Judgement.INCONCLUSIVE, Judgement.DOCUMENTED_LOSS, Judgement.HELD)
    found = {verdict.judgement for phase in verdicts for verdict in phase.verdicts}
    return next((judgement for judgement in order if judgement in found), Judgement.INCONCLUSIVE)
