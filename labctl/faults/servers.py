"""Faults that end or freeze servers: kill, stop, shutdown, power-loss, pause, restart, crash-loop."""

from __future__ import annotations

from labctl.errors import UsageError
from labctl.faults.kind import Context, FaultKind, Param
from labctl.faults.targets import resolve
from labctl.model.fault import Action, Ending, Fault, HoldCrashing, HoldDown, HoldPaused
from labctl.model.plan import RuntimeName
from labctl.model.topology import Role


def servers(fault: Fault, context: Context, *, data: bool = False) -> tuple[str, ...]:
    """The servers that a fault means.

    Args:
        fault: With a target.
        context: What it is resolved against.
        data: Only servers that hold data will do.

    Raises:
        UsageError: Something else is among the targets.
    """
    targets = resolve(fault.target, context.plan, context.view, context.rng)
    groups = {group for group, _ in context.plan.client_hosts}
    if groups & set(targets):
        raise UsageError(
            f"'{fault.kind}' is about servers; '{fault.target}' names clients.", "labctl chaos partition cuts clients."
        )
    if data:
        sentinels = [name for name in targets if context.plan.node(name).role is Role.SENTINEL]
        if sentinels:
            raise UsageError(f"'{fault.kind}' is about servers that hold data; {sentinels[0]} is a Sentinel.")
    return targets


def _kill(fault: Fault, context: Context) -> tuple[Action, ...]:
    return tuple(HoldDown(node) for node in servers(fault, context))


def _stop(fault: Fault, context: Context) -> tuple[Action, ...]:
    return tuple(HoldDown(node, Ending.TERM) for node in servers(fault, context))


def _shutdown(fault: Fault, context: Context) -> tuple[Action, ...]:
    words = tuple(word.upper() for word in str(fault.params["options"]).replace("+", " ").split())
    unknown = set(words) - {"SAVE", "NOSAVE", "NOW", "FORCE"}
    if unknown:
        raise UsageError(f"SHUTDOWN knows no {', '.join(sorted(unknown))}.", "options=nosave+now+force, for example.")
    return tuple(HoldDown(node, Ending.SHUTDOWN, words) for node in servers(fault, context))


def _power_loss(fault: Fault, context: Context) -> tuple[Action, ...]:
    return tuple(HoldDown(node, Ending.POWER) for node in servers(fault, context, data=True))


def _pause(fault: Fault, context: Context) -> tuple[Action, ...]:
    return tuple(HoldPaused(node) for node in servers(fault, context))


def _restart(fault: Fault, context: Context) -> tuple[Action, ...]:
    by = Ending(str(fault.params["by"]))
    return tuple(HoldDown(node, by) for node in servers(fault, context))


def _crash_loop(fault: Fault, context: Context) -> tuple[Action, ...]:
    return tuple(HoldCrashing(node, int(fault.params["up"])) for node in servers(fault, context))


_GONE = "the kernel knows the process no more"

KINDS = (
    FaultKind("kill", "End a server at once (SIGKILL); it is started again afterwards", "primary", _kill, proof=_GONE),
    FaultKind(
        "stop", "End a server in its own order (SIGTERM); it is started again afterwards", "primary", _stop, proof=_GONE
    ),
    FaultKind(
        "shutdown",
        "End a server by the command SHUTDOWN; it is started again afterwards",
        "primary",
        _shutdown,
        (Param("options", "words behind SHUTDOWN, joined by +: save or nosave, now, force", ""),),
        proof=_GONE,
    ),
    FaultKind(
        "restart",
        "End a server and start it again at once",
        "primary",
        _restart,
        (Param("by", "SIGKILL, SIGTERM or SHUTDOWN", "kill", choices=("kill", "term", "shutdown")),),
        proof=f"{_GONE}; then the server answers",
        momentary=True,
    ),
    FaultKind(
        "crash-loop",
        "Kill a server each time that it has come up",
        "primary",
        _crash_loop,
        (Param("up", "milliseconds that it may run each time", 500, low=1, high=3_600_000),),
        proof="it was killed and started at least once",
    ),
    FaultKind(
        "pause",
        "Freeze a server (SIGSTOP): it holds its connections and says nothing",
        "primary",
        _pause,
        proof="the kernel reports the process as stopped",
    ),
    FaultKind(
        "power-loss",
        "Kill a server and lose what it wrote without fsync; it is started again afterwards",
        "primary",
        _power_loss,
        proof=f"{_GONE}; its files were cut back to what was fsynced",
        needs="servers as local processes, a C compiler",
        shim=True,
        runtimes=(RuntimeName.PROCESS,),
    ),
)
