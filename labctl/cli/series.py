"""Several runs of one drill: the cells of its matrix, and repetitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labctl.errors import CapabilityError, Exit, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from labctl.declare.scenario import Declared
    from labctl.model.plan import Containers, RuntimeName
    from labctl.model.run import PhaseVerdicts, Run
    from labctl.model.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Planned:
    """One cell that can be run here, and what to run it on."""

    scenario: Scenario
    engine: str | None


@dataclass(frozen=True, slots=True)
class Done:
    """A run with its verdicts."""

    run: Run
    verdicts: tuple[PhaseVerdicts, ...]


def cells(declared: Declared, selector: str | None) -> tuple[Scenario, ...]:
    """The cells to run. Raises UsageError for a selector that names none."""
    from labctl.declare.matrix import chosen  # noqa: PLC0415

    if selector is None:
        return declared.cells
    if not declared.scenario.matrix:
        raise UsageError(f"`{declared.scenario.name}` has no matrix, so there is no cell to choose.")
    return chosen(declared.cells, selector)


def reasons(
    scenarios: Sequence[Scenario], where: RuntimeName, engine: str | None, made_of: Containers | None = None
) -> dict[str, list[str]]:
    """By cell, every reason why it cannot be run here; cells that can be have an empty list."""
    from labctl import requirements  # noqa: PLC0415

    return {each.cell: list(requirements.check(each, where, engine, made_of).reasons) for each in scenarios}


def ready(
    scenarios: Sequence[Scenario], where: RuntimeName, engine: str | None, made_of: Containers | None = None
) -> list[Planned]:
    """What to run each cell on.

    Raises:
        CapabilityError: One of them cannot be run here; every reason.
    """
    from labctl import requirements  # noqa: PLC0415

    found = [requirements.check(each, where, engine, made_of) for each in scenarios]
    refused = [
        f"{each.cell}: {reason}" if each.cell else reason
        for each, readiness in zip(scenarios, found, strict=True)
        for reason in readiness.reasons
    ]
    if refused:
        raise CapabilityError(
            f"{scenarios[0].name} cannot be run here:\n" + "\n".join(f"  {reason}" for reason in refused),
            "Nothing was started. labctl doctor says what this machine can do.",
        )
    return [Planned(each, readiness.engine) for each, readiness in zip(scenarios, found, strict=True)]


def run_all(planned: Sequence[Planned], repeat: int, run_one: Callable[[Planned], Done]) -> list[Done]:
    """Every cell, each `repeat` times; fewer when one was interrupted."""
    done: list[Done] = []
    for each in planned:
        for _ in range(repeat):
            done.append(run_one(each))
            if done[-1].run.aborted:
                return done
    return done


def as_data(done: Sequence[Done]) -> list[dict[str, Any]]:
    """The table as JSON."""
    from labctl.model.run import worst  # noqa: PLC0415

    return [
        {
            "run": each.run.run_id,
            "cell": each.run.scenario.cell,
            "seed": each.run.seed,
            "engine": each.run.engine,
            "verdict": worst(each.verdicts).value,
            "checks": [
                {
                    "phase": phase.phase,
                    "check": verdict.finding.check,
                    "outcome": verdict.finding.outcome.value,
                    "verdict": verdict.judgement.value,
                    "summary": verdict.finding.summary,
                }
                for phase in each.verdicts
                for verdict in phase.verdicts
            ],
        }
        for each in done
    ]


def exit_code(done: Sequence[Done]) -> Exit:
    """Of all runs together: aborted, then broken, then inconclusive, then held."""
    from labctl.model.run import worst  # noqa: PLC0415
    from labctl.model.verdict import Judgement  # noqa: PLC0415

    if any(each.run.aborted for each in done):
        return Exit.ABORTED
    found = {worst(each.verdicts) for each in done}
    if Judgement.BROKEN in found:
        return Exit.VIOLATED
    return Exit.INCONCLUSIVE if Judgement.INCONCLUSIVE in found else Exit.HELD
