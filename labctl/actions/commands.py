"""Any command at a node, and settings that are changed for good."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from labctl.actions.kind import ActionKind, Param
from labctl.actions.servers import keep_roles
from labctl.errors import LabError
from labctl.model.plan import ANNOUNCED_HOST
from labctl.model.topology import Kind, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labctl.actions.operator import Operator
    from labctl.model.fault import Scalar
    from labctl.model.plan import LabPlan
    from labctl.model.topology import Topology
    from labctl.observe.access import Reply

_SHOWN, _SHOWN_OF_COMMAND = 200, 60
"""Characters of a reply and of a command that the timeline has."""
_PORT_OF = "port-of:"


async def command(operator: Operator, target: str, params: Mapping[str, Scalar]) -> str:
    """Send it to each node of the target; what they answer is in the timeline."""
    words = [_filled_in(operator.plan, word) for word in shlex.split(str(params["send"]))]
    names = await operator.targets(target)
    answers = []
    for name in names:
        try:
            reply = shown(await operator.call(name, *words))
        except LabError as error:
            if params["expect"] == "ok":
                raise
            reply = error.message
        else:
            if params["expect"] == "error":
                raise LabError(f"{name} was to refuse {' '.join(words)}, and answered {reply}.")
        answers.append(f"{name}: {reply}")
    return f"{shown(' '.join(words), _SHOWN_OF_COMMAND)}: {'; '.join(answers)}"


async def config(operator: Operator, target: str, params: Mapping[str, Scalar]) -> str:
    """CONFIG SET all parameters at once on each node of the target; they stay."""
    names = await operator.targets(target)
    pairs = [part for name, value in params.items() if name not in _OWN for part in (name, _value(value))]
    for name in names:
        await operator.call(name, "CONFIG", "SET", *pairs)
        if params["rewrite"] == "yes":
            await operator.call(name, "CONFIG", "REWRITE")
    return f"CONFIG SET {' '.join(pairs)} on {', '.join(names)}"


async def promote(operator: Operator, target: str, params: Mapping[str, Scalar]) -> str:
    """REPLICAOF NO ONE on one node; with `follow` the others are told to follow it, the old primary too."""
    replicas = [n for n in await operator.data_targets(target) if n.role is Role.REPLICA]
    if not replicas:
        raise LabError(f"None of '{target}' is a replica.", "labctl status shows the roles.")
    chosen = max(replicas, key=lambda node: (node.offset, node.name)).name
    await operator.call(chosen, "REPLICAOF", "NO", "ONE")
    others = [n.name for n in (await operator.view()).data_nodes if n.name != chosen]
    if params["follow"] == "yes":
        plan = operator.plan.node(chosen)
        for name in others:
            await operator.call(name, "REPLICAOF", ANNOUNCED_HOST, plan.port)
    if params["rewrite"] == "yes":
        await keep_roles(operator, [chosen, *(others if params["follow"] == "yes" else [])])
    followed = f"; {', '.join(others)} follow it" if params["follow"] == "yes" and others else ""
    return f"{chosen} was promoted by hand{followed}"


async def follow(operator: Operator, target: str, params: Mapping[str, Scalar]) -> str:
    """REPLICAOF another node, on each node of the target."""
    (source,) = await operator.targets(str(params["source"]))
    names = [name for name in await operator.targets(target) if name != source]
    for name in names:
        await operator.call(name, "REPLICAOF", ANNOUNCED_HOST, operator.plan.node(source).port)
    if params["rewrite"] == "yes":
        await keep_roles(operator, names)
    return f"{', '.join(names)} told to follow {source}"


def _filled_in(plan: LabPlan, word: str) -> str:
    """A port is known only once the lab is planned, so a command names the node. Raises LabError for one there is not."""
    if not word.startswith(_PORT_OF):
        return word
    name = word.removeprefix(_PORT_OF)
    ports = {node.name: node.port for node in plan.nodes}
    if name not in ports:
        raise LabError(f"{word}: the lab has no node '{name}'.", f"Nodes: {', '.join(ports)}.")
    return str(ports[name])


def shown(reply: Reply, most: int = _SHOWN) -> str:
    """A reply in a line."""
    text = "nil" if reply is None else " ".join(str(reply).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _value(value: Scalar) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _refuse_command(params: Mapping[str, Scalar], _: Topology) -> str | None:
    try:
        words = shlex.split(str(params["send"]))
    except ValueError as error:
        return f"`send` cannot be read: {error}"
    return None if words else "`command` needs what to send: `with: {send: BGREWRITEAOF}`"


def _refuse_config(params: Mapping[str, Scalar], _: Topology) -> str | None:
    return None if set(params) - set(_OWN) else "`config` needs what to set: `with: {maxmemory: 10mb}`"


_OWN = ("rewrite",)
_REWRITE = Param(
    "rewrite", "yes: CONFIG REWRITE, so that a restart finds the roles as they are then", "yes", choices=("yes", "no")
)
_UNGOVERNED = (Kind.REPLICA, Kind.SENTINEL)

KINDS = (
    ActionKind(
        "command",
        "Send a command to each node of the target",
        "primary",
        command,
        (
            Param("send", "the command with its arguments, quoted as in a shell; port-of:NODE is that node's port", ""),
            Param("expect", "ok, error, or any: what the answer has to be", "ok", choices=("ok", "error", "any")),
        ),
        refuse=_refuse_command,
    ),
    ActionKind(
        "config",
        "CONFIG SET parameters for good; the fault `config-drift` is the one that is undone",
        "primary",
        config,
        (Param("rewrite", "yes: CONFIG REWRITE as well", "no", choices=("yes", "no")),),
        any_param=True,
        refuse=_refuse_config,
    ),
    ActionKind(
        "promote",
        "Promote a replica by hand: REPLICAOF NO ONE on the one of the target that is furthest",
        "replicas",
        promote,
        (Param("follow", "yes: all others are told to follow it", "yes", choices=("yes", "no")), _REWRITE),
        kinds=_UNGOVERNED,
    ),
    ActionKind(
        "replicaof",
        "REPLICAOF: make nodes follow another one",
        "replicas",
        follow,
        (Param("source", "the node to follow, a target that means one", "primary"), _REWRITE),
        kinds=_UNGOVERNED,
    ),
)
