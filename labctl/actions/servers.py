"""Restarts as an operator does them: in order, one at a time, each waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.actions.kind import ActionKind, Param
from labctl.errors import LabError
from labctl.model.conditions import primary
from labctl.model.plan import ANNOUNCED_HOST
from labctl.model.topology import Kind, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from labctl.actions.operator import Operator
    from labctl.model.fault import Scalar
    from labctl.model.view import View


async def restart_node(operator: Operator, target: str, params: Mapping[str, Scalar]) -> str:
    """Each node of the target in turn: ended, started, waited for."""
    names = await operator.targets(target)
    for name in names:
        await _restart(operator, name, str(params["by"]), wait=params["wait"] == "yes")
    return f"{', '.join(names)} restarted"


async def rolling_restart(operator: Operator, target: str, params: Mapping[str, Scalar]) -> str:
    """Replicas first; each primary hands over before its own turn, so that only replicas are ever restarted."""
    names = await operator.targets(target)
    done = await roll(operator, names, params)
    return f"restarted in this order: {', '.join(done)}"


async def roll(operator: Operator, names: tuple[str, ...], params: Mapping[str, Scalar]) -> list[str]:
    """Restart these nodes, replicas before primaries; return them in the order of their restart."""
    done: list[str] = []
    view = await operator.view()
    first = [name for name in names if view.node(name).role is not Role.PRIMARY]
    for name in [*first, *(name for name in names if name not in first)]:
        now = await operator.view()
        if now.node(name).role is Role.PRIMARY and (found := heirs(now, name)):
            await hand_over(operator, name, found, orderly=True)
        await _restart(operator, name, str(params["by"]), wait=True)
        done.append(name)
    return done


async def _restart(operator: Operator, name: str, by: str, *, wait: bool) -> None:
    await operator.fault("restart", name, by=by)
    if wait:
        await operator.until_healthy(f"after the restart of {name}")
    operator.say(f"{name} was restarted" + (", and all is well" if wait else ""))


async def hand_over(
    operator: Operator, name: str, candidates: list[str], *, orderly: bool, settle: bool = True
) -> None:
    """Make another node primary in place of `name`, in the way that the topology has for it.

    Args:
        operator: Whose means to use.
        name: The primary.
        candidates: Its replicas that are linked.
        orderly: Of a Sentinel failover, which by itself neither holds writes back nor tells the old primary: whether the
            old primary takes no writes from before the failover until it follows the new one. Otherwise it acknowledges
            writes that will be lost until a Sentinel demotes it, which takes 8 s and more (four times the 2 s at which
            Sentinels publish, `sentinel.c`). Cluster and FAILOVER are orderly of themselves.
        settle: Wait until all is well again, not only until another node is primary.
    """
    match operator.plan.topology.kind:
        case Kind.SENTINEL if orderly:
            await _orderly_sentinel_failover(operator, name, candidates)
        case Kind.SENTINEL:
            await operator.fault("sentinel-failover", "sentinels")
        case Kind.CLUSTER:
            await operator.fault("cluster-failover", candidates[0])
        case Kind.REPLICA:
            await operator.fault("failover", candidates[0])
        case Kind.STANDALONE:
            raise LabError(f"{name} has nobody to hand over to.")

    def demoted(view: View) -> list[str]:
        return [] if view.node(name).role is Role.REPLICA else [f"{name} is not a replica yet"]

    await operator.until(f"{name} hands over", demoted)
    if operator.plan.topology.kind is Kind.REPLICA:  # nobody else would: Sentinels do, and a Cluster has nodes.conf
        await keep_roles(operator, (name, candidates[0]))
    if settle:
        await operator.until_healthy(f"after {name} handed over")
    operator.say(f"{name} handed over")


async def keep_roles(operator: Operator, names: Iterable[str]) -> None:
    """CONFIG REWRITE, so that a restart finds who is whose replica as it is now."""
    for name in names:
        await operator.call(name, "CONFIG", "REWRITE")


async def _orderly_sentinel_failover(operator: Operator, name: str, candidates: Sequence[str]) -> None:
    """No write is acknowledged by `name` from when every candidate has all of them until `name` follows one of them."""
    await operator.call(name, "CLIENT", "PAUSE", _PAUSE_MS, "WRITE")
    try:

        def told(view: View) -> list[str]:
            return [] if view.node(name).up else [f"{name} does not answer"]

        last = (await operator.until(f"{name} says how far it is", told)).node(name).offset

        def caught_up(view: View) -> list[str]:
            behind = [n for n in candidates if view.node(n).offset < last and view.node(n).follows == name]
            return [f"{n} is at {view.node(n).offset} of {last}" for n in behind]

        await operator.until(f"what {name} acknowledged is on its replicas", caught_up)
        await operator.fault("sentinel-failover", "sentinels")

        def promoted(view: View) -> list[str]:
            return [] if primary(view) not in (None, name) else [f"the Sentinels still name {primary(view)}"]

        heir = primary(await operator.until(f"another primary than {name}", promoted))
        assert heir is not None, "promoted() said so"
        await operator.call(name, "REPLICAOF", ANNOUNCED_HOST, operator.plan.node(heir).port)
        await operator.call(name, "CONFIG", "REWRITE")  # as Sentinel does; otherwise a restart makes it primary again
    finally:
        await operator.call(name, "CLIENT", "UNPAUSE")


async def planned_failover(operator: Operator, target: str, params: Mapping[str, Scalar]) -> str:
    """The one primary of the target hands over to a replica of its own."""
    view = await operator.view()
    names = [n for n in await operator.targets(target) if view.node(n).role is Role.PRIMARY]
    if len(names) != 1 or not (found := heirs(view, names[0])):
        raise LabError(f"'{target}' is not one primary with a replica that is linked.", "labctl status")
    await hand_over(operator, names[0], found, orderly=params["orderly"] == "yes")
    now = await operator.view()
    return f"{names[0]} handed over to {now.node(names[0]).follows}"


def heirs(view: View, name: str) -> list[str]:
    """Replicas of a primary that could take over: those that are linked."""
    return [node.name for node in view.data_nodes if node.follows == name and node.link_up]


BY = Param(
    "by", "shutdown: the command; term: SIGTERM; kill: SIGKILL", "shutdown", choices=("shutdown", "term", "kill")
)
_PAUSE_MS = 60_000
"""Longer than any failover here takes: the pause is ended by hand."""

KINDS = (
    ActionKind(
        "restart-node",
        "Restart nodes one after another, and wait until all is well again after each",
        "primary",
        restart_node,
        (BY, Param("wait", "yes: wait until the lab is healthy after each", "yes", choices=("yes", "no"))),
    ),
    ActionKind(
        "rolling-restart",
        "Restart nodes one after another, replicas first; a primary hands over before its turn",
        "all",
        rolling_restart,
        (BY,),
    ),
    ActionKind(
        "hand-over",
        "A planned failover: a replica becomes primary instead of the target",
        "primary",
        planned_failover,
        (
            Param(
                "orderly",
                "yes: with Sentinels, the old primary takes no writes until it follows the new one; "
                "no: SENTINEL FAILOVER and nothing else",
                "yes",
                choices=("yes", "no"),
            ),
        ),
        kinds=(Kind.REPLICA, Kind.SENTINEL, Kind.CLUSTER),
    ),
)
