"""Every kind of action. A new one is a function in a file beside this one and an entry in its `KINDS`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from labctl.actions import backups, certificates, commands, membership, passwords, servers, slots, upgrade
from labctl.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from labctl.actions.kind import ActionKind
    from labctl.model.fault import Scalar
    from labctl.model.scenario import Maintenance
    from labctl.model.topology import Topology

_MODULES = (servers, upgrade, commands, backups, slots, membership, certificates, passwords)
ACTIONS: dict[str, ActionKind] = {kind.name: kind for module in _MODULES for kind in module.KINDS}


def complete(wanted: Maintenance, topology: Topology) -> Maintenance:
    """`wanted` with its target and every parameter filled in.

    Raises:
        UsageError: Unknown action or parameter, a value out of bounds, or a topology that it is not for.
    """
    kind = ACTIONS.get(wanted.action)
    if kind is None:
        raise UsageError(f"There is no action '{wanted.action}'.", f"{did_you_mean(wanted.action, ACTIONS)}")
    if kind.kinds and topology.kind not in kind.kinds:
        raise UsageError(f"'{kind.name}' is not for a topology of kind {topology.kind}.", kind.summary)
    known = {param.name: param for param in kind.params}
    params: dict[str, Scalar] = {param.name: param.default for param in kind.params}
    for name, value in wanted.params.items():
        if name in known:
            params[name] = known[name].read(value)
        elif kind.any_param:
            params[name] = value
        else:
            raise UsageError(
                f"The action '{kind.name}' has no parameter '{name}'.",
                f"Parameters: {', '.join(known)}." if known else "It has none.",
            )
    if reason := kind.refuse(params, topology):
        raise UsageError(reason)
    return replace(wanted, target=wanted.target or kind.default_target, params=params)
