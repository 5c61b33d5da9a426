"""Faults of the machine below a server: less processor or memory, a full or failing disk, a wrong clock, no fork."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from labctl.errors import CapabilityError
from labctl.faults.kind import Context, FaultKind, Param
from labctl.faults.servers import servers
from labctl.model.fault import Action, Damage, Fault, HoldDamaged, HoldFull, HoldKnob, HoldLimit, Knob, Resource
from labctl.model.plan import RuntimeName

if TYPE_CHECKING:
    from collections.abc import Callable

    from labctl.model.fault import Scalar

_MB = 1_000_000
_GROUPS = "containers, or a control group of the kernel for local processes (root, or a delegated one)"
_LOCAL = "servers as local processes"


def _knob(
    knob: Knob, value: Callable[[dict[str, Scalar]], int], *, data: bool = True
) -> Callable[[Fault, Context], tuple[Action, ...]]:
    def plan(fault: Fault, context: Context) -> tuple[Action, ...]:
        return tuple(HoldKnob(node, knob, value(dict(fault.params))) for node in servers(fault, context, data=data))

    return plan


def _limit(
    resource: Resource, amount: Callable[[dict[str, Scalar]], int], *, deadly: bool = False
) -> Callable[[Fault, Context], tuple[Action, ...]]:
    def plan(fault: Fault, context: Context) -> tuple[Action, ...]:
        return tuple(
            HoldLimit(node, resource, amount(dict(fault.params)), deadly) for node in servers(fault, context, data=True)
        )

    return plan


def _disk_full(fault: Fault, context: Context) -> tuple[Action, ...]:
    """A file that takes what is free on a container's volume; for a local process, the shim."""
    left, containers = int(fault.params["bytes"]), context.plan.containers
    names = servers(fault, context, data=True)
    if containers is None:
        return tuple(HoldKnob(node, Knob.WRITE_BUDGET, left + 1) for node in names)
    if not containers.disk:
        raise CapabilityError(
            "The servers' volumes are as large as the engine's disk, which labctl does not fill.",
            "labctl up … --runtime docker --limit disk=64m",
        )
    return tuple(HoldFull(node, left) for node in names)


def _corrupt(fault: Fault, context: Context) -> tuple[Action, ...]:
    file = str(fault.params["file"])
    assert file in ("aof", "rdb")
    return tuple(
        HoldDamaged(
            node,
            "rdb" if file == "rdb" else "aof",
            Damage(str(fault.params["how"])),
            int(fault.params["bytes"]),
            float(fault.params["at"]),
        )
        for node in servers(fault, context, data=True)
    )


def _shim_kind(
    name: str,
    summary: str,
    plan: Callable[[Fault, Context], tuple[Action, ...]],
    params: tuple[Param, ...],
    proof: str,
    *,
    needs: str = f"{_LOCAL}, a C compiler",
    runtimes: tuple[RuntimeName, ...] = (RuntimeName.PROCESS,),
) -> FaultKind:
    return FaultKind(name, summary, "primary", plan, params, proof=proof, needs=needs, shim=True, runtimes=runtimes)


KINDS = (
    FaultKind(
        "cpu-throttle",
        "Give a server a share of one processor only",
        "primary",
        _limit(Resource.CPU, lambda p: int(p["percent"])),
        (Param("percent", "percent of one processor", 10, low=1, high=99),),
        proof="the kernel counts it as throttled while it runs a loop",
        needs=_GROUPS,
    ),
    FaultKind(
        "memory-limit",
        "Let a server take no more than so much memory on top of now; beyond it the kernel kills it",
        "primary",
        _limit(Resource.MEMORY, lambda p: int(p["mb"]) * _MB),
        (Param("mb", "megabytes more than now", 64, low=8, high=1_000_000),),
        proof="it is in a control group with that limit; the kernel counts how often it is met",
        needs=_GROUPS,
    ),
    FaultKind(
        "oom-kill",
        "Let the kernel kill a server for its memory; it is started again afterwards",
        "primary",
        _limit(Resource.MEMORY, lambda _: 16 * _MB, deadly=True),
        proof="it is gone, and the kernel counts an OOM kill",
        needs=_GROUPS,
    ),
    FaultKind(
        "no-fork",
        "fork fails: no BGSAVE, no AOF rewrite, no full resync from disk",
        "primary",
        _knob(Knob.FORK_ERRNO, lambda _: errno.EAGAIN),
        proof="BGSAVE runs into it",
        needs=f"{_LOCAL}, a C compiler",
        shim=True,
        runtimes=(RuntimeName.PROCESS,),
    ),
    _shim_kind(
        "slow-fsync",
        "Every fsync takes longer",
        _knob(Knob.FSYNC_DELAY_MS, lambda p: int(p["ms"])),
        (Param("ms", "milliseconds more", 1000, low=1, high=600_000),),
        "CONFIG REWRITE, which fsyncs, takes as long",
    ),
    _shim_kind(
        "failing-fsync",
        "Every fsync fails (EIO)",
        _knob(Knob.FSYNC_ERRNO, lambda _: errno.EIO),
        (),
        "CONFIG REWRITE, which fsyncs, runs into it",
    ),
    _shim_kind(
        "disk-full",
        "Files cannot grow any more (ENOSPC)",
        _disk_full,
        (Param("bytes", "bytes that may be written before", 0),),
        "CONFIG REWRITE runs into it; while bytes are left, writes that found no room are counted",
        needs=f"{_LOCAL} and a C compiler, or containers with --limit disk=SIZE and `labctl images build`",
        runtimes=(),
    ),
    _shim_kind(
        "read-only-folder",
        "Files cannot be made or renamed (EACCES); those that are open stay so",
        _knob(Knob.READ_ONLY, lambda _: 1),
        (),
        "CONFIG REWRITE runs into it",
    ),
    _shim_kind(
        "clock-skew",
        "A server's wall clock jumps and stays off",
        _knob(Knob.CLOCK_OFFSET_MS, lambda p: int(p["ms"]), data=False),
        (Param("ms", "milliseconds ahead; negative: behind", 60_000, low=-(10**12), high=10**12),),
        "TIME of a data node; how often a Sentinel was told that time",
    ),
    _shim_kind(
        "clock-drift",
        "A server's wall clock runs fast or slow; it jumps back when this ends",
        _knob(Knob.CLOCK_DRIFT_PPM, lambda p: round(float(p["percent"]) * 10_000), data=False),
        (Param("percent", "percent fast; negative: slow", 10.0, low=-99, high=10_000),),
        "TIME of a data node, twice; how often a Sentinel was told that time",
    ),
    FaultKind(
        "corrupt-file",
        "Kill a server, damage its AOF or RDB file, and start it on that",
        "primary",
        _corrupt,
        (
            Param("file", "aof: the newest incremental file; rdb: the dump", "aof", choices=("aof", "rdb")),
            Param("how", "truncate: cut the end off; flip: bits", "truncate", choices=("truncate", "flip")),
            Param("bytes", "how many bytes", 10, low=1),
            Param("at", "for flip, where: 0 the beginning, 1 the end", 0.5, high=1),
        ),
        proof="what the server did when it met the file",
        needs=f"{_LOCAL}, persistence",
        runtimes=(RuntimeName.PROCESS,),
    ),
)
