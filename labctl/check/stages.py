"""The operations of one object, laid out for the searches: what matters, until when, and in which order.

An unknown operation matters only while an acknowledged one may need what it makes, directly or by way of other unknown
operations (`models` says what each makes and needs); then any linearization that contains it stays one without it. A
*stage* is everything up to one completion: the operations invoked and forgotten since the one before, then that one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labctl.check.models import freeze
from labctl.model.history import OpOutcome

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from labctl.check.models import Model, Step
    from labctl.model.history import History, Op


@dataclass(frozen=True, slots=True)
class Call:
    """An operation as the searches see it.

    Attributes:
        position: Where in the history.
        op: The operation.
        end_ns: Its completion; for an unknown operation the moment from which it does not matter any more.
    """

    position: int
    op: Op
    end_ns: int

    @property
    def unknown(self) -> bool:
        """It may never have taken effect."""
        return self.op.outcome is OpOutcome.UNKNOWN


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """A call with its place among those that are pending at the same time.

    Attributes:
        call: The call.
        step: What it does to a state.
        bit: Its bit in a set of pending calls; acknowledged and unknown ones are numbered apart.
        unknown, pure: It may never have taken effect; it is acknowledged and changes nothing.
        twins: Bits of the unknown calls that do the same and were invoked before; they are forgotten with it.
    """

    call: Call
    step: Step
    bit: int
    unknown: bool
    pure: bool
    twins: int


@dataclass(frozen=True, slots=True)
class Stage:
    """What was forgotten and what was invoked since the last completion, and the next completion."""

    forgotten: tuple[Pending, ...]
    invoked: tuple[Pending, ...]
    done: Pending

    @property
    def gone(self) -> int:
        """Bits of the forgotten."""
        return sum(pending.bit for pending in self.forgotten)


def calls(model: Model, history: History, positions: Iterable[int]) -> list[Call]:
    """The operations that a search has to look at: not the refused, nor unknown ones that cannot matter."""
    ops = [(p, op) for p in positions if (op := history[p]).function in model.functions]
    return matter(model, [Call(p, op, op.complete_ns or 0) for p, op in ops if op.outcome is not OpOutcome.FAIL])


def matter(model: Model, every: Iterable[Call]) -> list[Call]:
    """These calls without the unknown ones that cannot matter, the others with the time until which they do."""
    every = list(every)
    known = [call for call in every if not call.unknown]
    unsure = [(call, makes) for call in every if call.unknown and (makes := model.makes(call.op)) is not None]
    needed: dict[Hashable, int] = {}
    for call in known:
        for need in model.needs(call.op):
            needed[need] = max(needed.get(need, -1), call.end_ns)
    changed = True
    while changed:  # an unknown operation that matters may need what another one makes
        changed = False
        for call, makes in unsure:
            until = needed.get(makes, -1)
            for need in model.needs(call.op):
                if needed.get(need, -1) < until:
                    needed[need], changed = until, True
    unknown = [Call(call.position, call.op, needed.get(makes, -1)) for call, makes in unsure]
    return known + [call for call in unknown if call.end_ns >= call.op.invoke_ns]


@dataclass(slots=True)
class _Bits:
    """Bits that are used again when their call is done."""

    free: list[int] = field(default_factory=list)
    count: int = 0

    def take(self) -> int:
        if self.free:
            return self.free.pop()
        self.count += 1
        return 1 << (self.count - 1)


def stages(model: Model, every: Sequence[Call]) -> list[Stage]:
    """The calls in order of time. At one moment invocations come first, for operations that touch are concurrent."""
    moments = [(call.op.invoke_ns, 0, number) for number, call in enumerate(every)]
    moments += [(call.end_ns, 2 if call.unknown else 1, number) for number, call in enumerate(every)]
    known, unknown = _Bits(), _Bits()
    pending: dict[int, Pending] = {}
    same: dict[Hashable, int] = {}
    result: list[Stage] = []
    invoked: list[Pending] = []
    forgotten: list[Pending] = []
    for _, sort, number in sorted(moments):
        call = every[number]
        if sort == 0:
            alike = (call.op.function, freeze(call.op.value), call.op.process if model.by_process else None)
            bit = (unknown if call.unknown else known).take()
            twins = same.get(alike, 0) if call.unknown else 0
            if call.unknown:
                same[alike] = twins | bit
            pure = not call.unknown and model.pure(call.op)
            pending[number] = Pending(call, model.step(call.op), bit, call.unknown, pure, twins)
            invoked.append(pending[number])
        elif sort == 1:
            result.append(Stage(tuple(forgotten), tuple(invoked), pending[number]))
            invoked, forgotten = [], []
            known.free.append(pending.pop(number).bit)
        else:
            alike = (call.op.function, freeze(call.op.value), call.op.process if model.by_process else None)
            same.pop(alike, None)
            forgotten.append(pending.pop(number))
            unknown.free.append(forgotten[-1].bit)
    return result
