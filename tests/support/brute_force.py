"""Linearizability by trying every order: slow, short, and sharing nothing with the checkers."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from labctl.model.history import History, Op, OpOutcome

if TYPE_CHECKING:
    from tests.support.objects import AnyObject

ARGUMENT_FREE = {"read", "dequeue", "incr", "acquire", "release"}


def linearizable(history: History, fresh: AnyObject) -> bool:
    """Whether some order of the acknowledged and of any of the unknown operations explains every result."""
    return _explain(fresh, [op for op in history if op.outcome is not OpOutcome.FAIL])


def _explain(state: AnyObject, left: list[Op]) -> bool:
    if not any(op.outcome is OpOutcome.OK for op in left):
        return True
    for number, op in enumerate(left):
        if any(_ended_before(other, op) for other in left):
            continue
        after = copy.deepcopy(state)
        argument = None if op.function in ARGUMENT_FREE else op.value
        outcome, value = after.apply(op.function, argument, op.process)
        explained = outcome is OpOutcome.OK and (value == op.value or op.function in {"acquire", "release"})
        if (op.outcome is OpOutcome.UNKNOWN or explained) and _explain(after, left[:number] + left[number + 1 :]):
            return True
    return False


def _ended_before(first: Op, second: Op) -> bool:
    if first.outcome is OpOutcome.UNKNOWN or first.complete_ns is None:
        return False
    return first.complete_ns < second.invoke_ns
