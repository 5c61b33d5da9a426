"""What a kind of fault is: a name, its parameters, and a pure function from the observed lab to actions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labctl.errors import UsageError
from labctl.model.fault import Scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from labctl.model.fault import Action, Fault
    from labctl.model.plan import LabPlan, RuntimeName
    from labctl.model.view import View


@dataclass(frozen=True, slots=True)
class Context:
    """What planning a fault may look at: the lab as planned and as observed, and seeded randomness."""

    plan: LabPlan
    view: View
    rng: Random


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a kind of fault.

    Attributes:
        name: What users write.
        meaning: For `--help`, its unit included.
        default: Its value when none is given. Its type is the parameter's: int, float or str.
        low: Lowest number allowed.
        high: Highest number allowed.
        choices: The words allowed, for a parameter that is one of a few.
    """

    name: str
    meaning: str
    default: Scalar
    low: float = 0
    high: float = 2**53
    choices: tuple[str, ...] = ()

    def read(self, value: Scalar) -> Scalar:
        """`value` in the parameter's type. Raises UsageError when it is out of bounds or no such thing."""
        if isinstance(self.default, str):
            return self._word(("yes" if value else "no") if isinstance(value, bool) else str(value))
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not self.low <= number <= self.high or (isinstance(self.default, int) and number != int(number)):
            what = "a whole number" if isinstance(self.default, int) else "a number"
            raise UsageError(f"{self.name}={value} is not {what} from {self.low:g} to {self.high:g}.", self.meaning)
        return int(number) if isinstance(self.default, int) else number

    def _word(self, word: str) -> str:
        if self.choices and word not in self.choices:
            raise UsageError(f"{self.name}={word} is none of {', '.join(self.choices)}.", self.meaning)
        return word


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A registry entry.

    Attributes:
        name: What users write.
        summary: One line for `labctl chaos --help`.
        default_target: Target when none is given.
        plan: `(fault, context)` → actions, at least one. The fault's parameters are complete and of their types. Raises
            UsageError for a target that it cannot mean.
        params: Its parameters; any other is refused.
        proof: How it is known that it took effect, for the catalogue.
        momentary: It is reverted as soon as it took effect: a restart, a failover.
        one_way: `--from` makes sense.
        needs: What must be there besides a running server, for the catalogue; empty for nothing.
        shim: It needs the shim, which servers load when they start (`labctl up --with disk-faults`).
        wires: It needs a lab with wires (`labctl up --net netns`).
        runtimes: Where it can be done; empty for everywhere.
        resp: It needs links that know RESP: those of local processes, or `--links labctl`.
        cluster_target: Target in a Cluster, with its several primaries, when none is given; empty for the default one.
    """

    name: str
    summary: str
    default_target: str
    plan: Callable[[Fault, Context], tuple[Action, ...]]
    params: tuple[Param, ...] = ()
    proof: str = ""
    momentary: bool = False
    one_way: bool = False
    needs: str = ""
    shim: bool = False
    wires: bool = False
    cluster_target: str = ""
    runtimes: tuple[RuntimeName, ...] = ()
    resp: bool = False
    defaults: Mapping[str, Scalar] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "defaults", {param.name: param.default for param in self.params})
