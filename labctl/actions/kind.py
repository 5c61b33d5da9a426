"""What a kind of action is: a name, its parameters, and an async function over an operator's means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labctl.faults.kind import Param
from labctl.model.fault import Scalar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from labctl.actions.operator import Operator
    from labctl.model.topology import Kind, Topology

__all__ = ["ActionKind", "Done", "Param"]


@dataclass(frozen=True, slots=True)
class Done:
    """What an action did: a sentence, and what checks want to know of it, kept in the history (JSON values only)."""

    text: str
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ActionKind:
    """A registry entry.

    Attributes:
        name: What scenarios write.
        summary: One line.
        default_target: Target when none is given; empty for an action that takes none.
        do: `(operator, target, params)` → what was done, a sentence or a `Done`. The parameters are complete and of their
            types. Raises LabError where it cannot be done.
        params: Its parameters.
        any_param: It takes parameters of any other name as well, as CONFIG SET does.
        kinds: Topologies that it is for; empty for all.
        refuse: `(params, topology)` → why it cannot be done there; None if it can.
    """

    name: str
    summary: str
    default_target: str
    do: Callable[[Operator, str, Mapping[str, Scalar]], Awaitable[str | Done]]
    params: tuple[Param, ...] = ()
    any_param: bool = False
    kinds: tuple[Kind, ...] = ()
    refuse: Callable[[Mapping[str, Scalar], Topology], str | None] = field(default=lambda _params, _topology: None)
