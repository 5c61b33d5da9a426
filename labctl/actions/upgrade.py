"""A rolling upgrade to another server: replicas first, each started again from the new binary on its own data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.actions.kind import ActionKind, Param
from labctl.actions.servers import BY, hand_over, heirs
from labctl.engines.select import select_engine
from labctl.errors import LabError
from labctl.model.engine import Flavour
from labctl.model.topology import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labctl.actions.operator import Operator
    from labctl.model.engine import Engine
    from labctl.model.fault import Scalar
    from labctl.model.topology import Topology
    from labctl.model.view import View

_SHARED_FORMAT = (7, 2)
"""The last Redis whose dump format (RDB 11) Valkey reads: 7.4 and 8 write RDB 12, which their licence change parted."""


async def rolling_upgrade(operator: Operator, target: str, params: Mapping[str, Scalar]) -> str:
    """Sentinels and replicas first; then each primary hands over and is upgraded as a replica."""
    engine = select_engine(str(params["to"]), operator.plan.topology)
    if reason := refusal(operator.plan.engine_name, engine):
        raise LabError(reason)
    names = await operator.targets(target)
    view = await operator.view()
    done: list[str] = []
    first = [name for name in names if view.node(name).role is not Role.PRIMARY]
    for name in [*first, *(name for name in names if name not in first)]:
        now = await operator.view()
        if now.node(name).role is Role.PRIMARY and (found := heirs(now, name)):
            # The old primary may be unable to read the dump of the new one, so nobody waits for it to follow.
            await hand_over(operator, name, found, orderly=True, settle=False)
        await operator.upkeep(name, engine=engine.path)
        await operator.fault("restart", name, by=str(params["by"]))
        await operator.until_healthy(f"after the upgrade of {name}")
        operator.say(f"{name} runs {engine.name}")
        done.append(name)
    wrong = _others(await operator.view(), done, engine)
    if wrong:
        raise LabError(f"After the upgrade {', '.join(wrong)}.")
    return f"{operator.plan.engine_name} → {engine.name} in this order: {', '.join(done)}"


def refusal(before: str, after: Engine) -> str | None:
    """Why a server of one version cannot take over the data of another; None if it can.

    Args:
        before: As a plan names it, `redis 7.0.15`.
        after: What is to run instead.
    """
    flavour, _, words = before.partition(" ")
    version = tuple(int(number) for number in words.split(".")[:3] if number.isdigit())
    if flavour == after.flavour:
        older = after.version < version
        return f"{after.name} is older than {before}, whose dumps it cannot be expected to read" if older else None
    if after.flavour is Flavour.VALKEY:
        if version[:2] <= _SHARED_FORMAT:
            return None
        return f"{after.name} cannot read the dumps of {before}: Redis' format went its own way after 7.2"
    return f"{after.name} cannot read the dumps of {before}"


def _others(view: View, names: list[str], engine: Engine) -> list[str]:
    """Nodes that run something else."""
    version = ".".join(map(str, engine.version))
    return [
        f"{node.name} runs {node.version}"
        for node in view.nodes
        if node.name in names and node.version != f"{engine.flavour} {version}"
    ]


def _refuse(params: Mapping[str, Scalar], _: Topology) -> str | None:
    return None if params["to"] else "`rolling-upgrade` needs an engine: `with: {to: redis-8}`"


KINDS = (
    ActionKind(
        "rolling-upgrade",
        "Restart nodes on another server, replicas first; a primary hands over before its turn",
        "all",
        rolling_upgrade,
        (Param("to", "the engine, as for --engine", ""), BY),
        refuse=_refuse,
    ),
)
