"""Every kind of fault. A new one is a file beside this one and a line here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from labctl.errors import CapabilityError, UsageError, did_you_mean
from labctl.faults import commands, failovers, machine, network, packets, servers, toxics
from labctl.model.plan import LinksBy
from labctl.plan.following import unfollowable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from labctl.faults.kind import Context, FaultKind
    from labctl.model.fault import Action, Fault
    from labctl.model.plan import Containers, RuntimeName

FAULTS: dict[str, FaultKind] = {
    kind.name: kind
    for module in (servers, network, packets, toxics, commands, failovers, machine)
    for kind in module.KINDS
}


def complete(fault: Fault, *, in_cluster: bool) -> Fault:
    """`fault` with its target and every parameter filled in.

    Raises:
        UsageError: Unknown kind or parameter, a value out of bounds, or a direction where there is none.
    """
    kind = FAULTS.get(fault.kind)
    if kind is None:
        raise UsageError(
            f"There is no fault '{fault.kind}'.", f"{did_you_mean(fault.kind, FAULTS)}Faults: {', '.join(FAULTS)}."
        )
    known = {param.name: param for param in kind.params}
    for name in fault.params:
        if name not in known:
            raise UsageError(
                f"The fault '{kind.name}' has no parameter '{name}'.",
                f"Parameters: {', '.join(known)}." if known else "It has none.",
            )
    if fault.origin and not kind.one_way:
        raise UsageError(f"'{kind.name}' has no direction, so --from means nothing.", "Faults on links have one.")
    if fault.follow and kind.momentary:
        raise UsageError(f"'{kind.name}' is over once it is done, so it cannot follow anybody.", "Leave --follow out.")
    params = {**kind.defaults, **{name: known[name].read(value) for name, value in fault.params.items()}}
    target = (in_cluster and kind.cluster_target) or kind.default_target
    fault = replace(fault, target=fault.target or target, params=params)
    if fault.follow and (reason := unfollowable(fault.target, fault.origin)):
        raise UsageError(f"There is nothing to follow: {reason}.", "--follow is for roles: primary, replica-of:NODE …")
    return fault


def plan_fault(fault: Fault, context: Context) -> tuple[Action, ...]:
    """The actions of a complete fault against what is observed now. Raises UsageError when there are none."""
    require_possible(fault, context.plan.runtime, context.plan.containers)
    return FAULTS[fault.kind].plan(fault, context)


def require_possible(fault: Fault, runtime: RuntimeName, containers: Containers | None) -> None:
    """Nothing, where a fault can be injected into such a lab.

    Raises:
        CapabilityError: It cannot; says where it can.
    """
    kind = FAULTS.get(fault.kind)
    if kind is None:
        return  # for whoever completes it to say
    if kind.runtimes and runtime not in kind.runtimes:
        raise CapabilityError(
            f"The fault '{kind.name}' is not possible on the {runtime} runtime. It needs {kind.needs}.",
            f"labctl up --runtime {kind.runtimes[0]}",
        )
    if kind.resp and containers is not None and containers.links_by is not LinksBy.LABCTL:
        raise CapabilityError(
            f"The fault '{kind.name}' needs links that know RESP, and Toxiproxy does not.",
            "labctl up --runtime docker --links labctl, or --runtime process.",
        )


def needs_disk(faults: Iterable[Fault]) -> bool:
    """Whether one of these can only be injected into containers whose volumes have a size."""
    return any(fault.kind == "disk-full" for fault in faults)


def needs_shim(faults: Iterable[Fault]) -> bool:
    """Whether one of these can only be injected into servers that loaded the shim when they started."""
    return any(FAULTS[fault.kind].shim for fault in faults if fault.kind in FAULTS)


def needs_wires(faults: Iterable[Fault]) -> bool:
    """Whether one of these can only be injected into a lab with wires between its servers."""
    return any(FAULTS[fault.kind].wires for fault in faults if fault.kind in FAULTS)
