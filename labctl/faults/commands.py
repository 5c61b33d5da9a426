"""Faults that any client with the right to can cause: slow commands, too many connections, drifted settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.errors import UsageError
from labctl.faults.kind import Context, FaultKind, Param
from labctl.faults.servers import servers
from labctl.model.conditions import slot_owner
from labctl.model.fault import Action, CutLink, Fault, HoldSetting, HoldTraffic, Link, LinkState
from labctl.model.slots import key_slot
from labctl.model.topology import Kind, Role

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_MS = 20_000
"""A block cannot be ended early, so an undo may have to wait for that long; it gives up after 30 s."""
_OUTPUT_LIMIT = "client-output-buffer-limit"


def _traffic(
    pattern: str, names: tuple[str, ...] = (), fixed: tuple[tuple[str, str], ...] = ()
) -> Callable[[Fault, Context], tuple[Action, ...]]:
    """A planner of one pattern on each server, with these parameters of the fault and these fixed ones."""

    def plan(fault: Fault, context: Context) -> tuple[Action, ...]:
        values = tuple((name, fault.params[name]) for name in names) + fixed
        return tuple(HoldTraffic(node, pattern, values) for node in servers(fault, context, data=True))

    return plan


def _key(prefix: str, node: str, context: Context) -> str:
    """A key of labctl's own that the node may hold: in a Cluster one whose slot is the node's."""
    if context.plan.topology.kind is not Kind.CLUSTER:
        return prefix
    for number in range(100_000):
        key = f"{prefix}:{number}"
        if slot_owner(context.view, key_slot(key)) == node:
            return key
    raise UsageError(f"{node} owns no hash slot, so it cannot hold a key.", "labctl status shows who does.")


def _primaries_only(fault: Fault, context: Context) -> tuple[str, ...]:
    names = servers(fault, context, data=True)
    found = tuple(name for name in names if context.view.node(name).role is Role.PRIMARY)
    if not found:
        raise UsageError(f"'{fault.kind}' writes, and there is no primary among {', '.join(names)}.", "labctl status")
    return found


def _big_key(fault: Fault, context: Context) -> tuple[Action, ...]:
    values = tuple((name, fault.params[name]) for name in ("members", "pause"))
    return tuple(
        HoldTraffic(node, "big-key", (("key", _key("labctl:big-key", node, context)), *values))
        for node in _primaries_only(fault, context)
    )


def _output_buffer(fault: Fault, context: Context) -> tuple[Action, ...]:
    limit = f"pubsub {int(fault.params['limit'])} 0 0"
    pause = (("pause", fault.params["pause"]),)
    actions: list[Action] = []
    for node in servers(fault, context, data=True):
        actions += [HoldSetting(node, _OUTPUT_LIMIT, limit), HoldTraffic(node, "deaf-subscriber", pause)]
    return tuple(actions)


def _config(fault: Fault, context: Context) -> tuple[Action, ...]:
    name = str(fault.params["name"]).lower()
    if not name:
        raise UsageError("Which parameter is to drift?", "--set name=maxmemory --set value=1mb, for example.")
    value = str(fault.params["value"])
    return tuple(HoldSetting(node, name, value) for node in servers(fault, context, data=True))


def _backlog_overrun(fault: Fault, context: Context) -> tuple[Action, ...]:
    """The replicas' links are cut, their primary's backlog is made small, and its stream runs past it."""
    behind: dict[str, list[str]] = {}
    for name in servers(fault, context, data=True):
        node = context.view.node(name)
        if node.role is not Role.REPLICA or not node.follows or not node.link_up:
            raise UsageError(f"{name} follows nobody at the moment.", "labctl status; target replicas.")
        behind.setdefault(node.follows, []).append(name)
    actions: list[Action] = []
    for primary, replicas in behind.items():
        actions += [CutLink(Link(replica, primary), LinkState.REFUSED) for replica in replicas]
        key = _key("labctl:flood", primary, context)
        actions += [
            HoldSetting(primary, "repl-backlog-size", str(fault.params["backlog"])),
            HoldTraffic(primary, "flood", (("key", key), ("behind", ",".join(replicas)))),
        ]
    return tuple(actions)


_PAUSE = Param("pause", "milliseconds between two", 100, high=3_600_000)

KINDS = (
    FaultKind(
        "block",
        "Keep a server's one thread busy: it serves nobody, replicas and Sentinels included",
        "primary",
        _traffic("block", ("ms", "pause"), (("by", "auto"),)),
        (
            Param("ms", "milliseconds of each block; it cannot be ended early", 2000, low=10, high=_MOST_MS),
            Param("pause", "milliseconds between two blocks", 0, high=3_600_000),
        ),
        proof="a PING on another connection waits for at least half a block",
    ),
    FaultKind(
        "slow-lua",
        "Run a slow Lua script again and again",
        "primary",
        _traffic("block", ("ms", "pause"), (("by", "lua"),)),
        (
            Param("ms", "milliseconds of processor time of each run", 200, low=10, high=_MOST_MS),
            Param("pause", "milliseconds between two runs", 300, high=3_600_000),
        ),
        proof="a PING on another connection waits for at least half a run",
    ),
    FaultKind(
        "big-key",
        "Fill a set with very many members and sort all of them again and again",
        "primary",
        _big_key,
        (Param("members", "members of the set", 200_000, low=1000, high=50_000_000), _PAUSE),
        proof="SORT of the set is timed",
    ),
    FaultKind(
        "client-pause",
        "CLIENT PAUSE: commands are accepted and not run",
        "primary",
        _traffic("client-pause", ("mode",)),
        (
            Param(
                "mode",
                "write: commands that write; all: every command, which get through in a bunch each second",
                "write",
                choices=("write", "all"),
            ),
        ),
        proof="a command of the paused sort waits",
    ),
    FaultKind(
        "connection-storm",
        "Open connections until maxclients is reached: newcomers are turned away",
        "primary",
        _traffic("storm", ("connections",)),
        (Param("connections", "how many; 0 for as many as the server takes", 0, high=1_000_000),),
        proof="a newcomer is turned away, or the server's own count has risen by as many",
    ),
    FaultKind(
        "output-buffer",
        "A subscriber that does not read: its buffer grows until the server drops it",
        "primary",
        _output_buffer,
        (
            Param(
                "limit", "bytes that the server may buffer for it (client-output-buffer-limit pubsub)", 8_388_608, low=1
            ),
            Param("pause", "milliseconds until the next such subscriber", 1000, high=3_600_000),
        ),
        proof="PUBLISH reaches nobody any more",
    ),
    FaultKind(
        "config-drift",
        "CONFIG SET a parameter; it goes back to what it was, in the rewritten file too",
        "primary",
        _config,
        (Param("name", "the parameter, as in redis.conf", ""), Param("value", "its value meanwhile", "")),
        proof="CONFIG GET differs from before",
    ),
    FaultKind(
        "backlog-overrun",
        "Cut replicas off and let the stream run past the backlog: only a full resync can follow",
        "replicas",
        _backlog_overrun,
        (Param("backlog", "bytes of the backlog meanwhile (repl-backlog-size)", 16_384, low=16_384),),
        proof="the backlog begins behind every replica's offset; when it has ended, the primary's sync_full has risen",
    ),
)
