"""Several faults over time: one again and again, or many at random. Pure; the same seed gives the same schedule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from labctl.errors import UsageError
from labctl.faults.registry import FAULTS
from labctl.model.fault import Fault

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault of a schedule.

    Attributes:
        at_s: Seconds after the schedule began.
        fault: What.
        seed: Of its random targets; differs from one to the next.
    """

    at_s: float
    fault: Fault
    seed: int | None


def repeated(fault: Fault, every_s: float, times: int, seed: int | None) -> tuple[Planned, ...]:
    """`fault` every `every_s` seconds, the first at once."""
    if times < 1 or every_s <= 0:
        raise UsageError("A fault can be repeated once or more, after more than no time.", "--every 5s --times 10")
    return tuple(Planned(n * every_s, fault, None if seed is None else seed + n) for n in range(times))


def at_random(
    kinds: Sequence[str], *, every_s: float, times: int, lasts_s: float, seed: int, target: str = ""
) -> tuple[Planned, ...]:
    """`times` faults of these kinds, drawn evenly, half to one and a half `every_s` apart, on their default targets.

    Faults may overlap, which is the point: each lasts `lasts_s` seconds whatever comes after it.

    Raises:
        UsageError: A kind that there is none of, or nothing to draw from.
    """
    unknown = [kind for kind in kinds if kind not in FAULTS]
    if unknown or not kinds:
        raise UsageError(f"There is no fault '{', '.join(unknown)}'.", f"Faults: {', '.join(FAULTS)}.")
    rng = Random(seed)
    planned = []
    at_s = 0.0
    for entry in repeated(Fault(kinds[0], target, lasts_s), every_s, times, seed):
        planned.append(replace(entry, at_s=at_s, fault=replace(entry.fault, kind=rng.choice(kinds))))
        at_s += every_s * rng.uniform(0.5, 1.5)
    return tuple(planned)
