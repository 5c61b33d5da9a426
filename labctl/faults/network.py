"""partition and isolate: which links are cut is a matter of two sides, or of a shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.errors import CapabilityError, UsageError
from labctl.faults.kind import Context, FaultKind, Param
from labctl.faults.targets import SHAPES, resolve, shape
from labctl.model.fault import Action, CutLink, Fault, Link, LinkState
from labctl.plan.links import between, links, parties

if TYPE_CHECKING:
    from collections.abc import Iterable

_HOW = Param(
    "how",
    "drop: packets vanish, connections stall; reject: connections are reset and refused",
    "drop",
    choices=("drop", "reject"),
)
_STATES = {"drop": LinkState.BLACKHOLE, "reject": LinkState.REFUSED}


def chosen_links(fault: Fault, context: Context) -> tuple[Link, ...]:
    """The links that a fault means: both ways between the target and everybody else, or one way with an origin.

    Raises:
        UsageError: The target means nothing here, or there is no such link.
    """
    plan = context.plan
    if not plan.per_link:
        raise CapabilityError(
            "This lab's nodes share one address, so that its links cannot tell who connects: no fault of single links.",
            "labctl chaos isolate NODE cuts everything that connects to a node. Links of their own need Linux, where each "
            "node gets a loopback address of its own, or --runtime docker.",
        )
    if fault.target in SHAPES:
        if fault.origin:
            raise UsageError(f"'{fault.target}' is a shape and has no direction.", "Leave --from out.")
        found = shape(fault.target, plan, context.rng)
    else:
        side = resolve(fault.target, plan, context.view, context.rng)
        if fault.origin:
            origin = resolve(fault.origin, plan, context.view, context.rng)
            found = tuple(link for link in links(plan) if link.source in origin and link.target in side)
        else:
            found = between(plan, side, [name for name in parties(plan) if name not in side])
    if not found:
        raise UsageError(f"'{fault.target}' leaves nobody on the other side, so there is no link to fault.")
    return found


def _partition(fault: Fault, context: Context) -> tuple[Action, ...]:
    return _cut(fault, chosen_links(fault, context))


def _isolate(fault: Fault, context: Context) -> tuple[Action, ...]:
    """Each target alone: cut from everything, the other targets and all clients included."""
    plan = context.plan
    alone = resolve(fault.target, plan, context.view, context.rng)
    if not plan.per_link:
        return _cut(fault, [link for link in links(plan) if link.target in alone])
    found = {link for one in alone for link in between(plan, (one,), [p for p in parties(plan) if p != one])}
    return _cut(fault, sorted(found))


def _cut(fault: Fault, found: Iterable[Link]) -> tuple[Action, ...]:
    return tuple(CutLink(link, _STATES[str(fault.params["how"])]) for link in found)


_PROOF = "up to 128 of the links are probed from the source's own address and found silent or refused"

KINDS = (
    FaultKind(
        "partition",
        "Split the network in two: the target on one side, everything else on the other",
        "primary,clients-a",
        _partition,
        (_HOW,),
        proof=_PROOF,
        one_way=True,
        cluster_target="minority,clients-a",
    ),
    FaultKind("isolate", "Cut a node from everybody, clients included", "primary", _isolate, (_HOW,), proof=_PROOF),
)
