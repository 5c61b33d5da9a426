"""Faults on single packets: lost, twice, out of order, damaged, late; the cable pulled.

In a lab with wires they are about the packets that one party sends to another. In containers they are about all packets of a
server's pod, in both directions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.errors import CapabilityError, UsageError
from labctl.faults.kind import Context, FaultKind, Param
from labctl.faults.servers import servers
from labctl.faults.targets import SHAPES, resolve, shape
from labctl.model.fault import Action, Fault, HoldImpaired, HoldPackets, Impairment, Link, Packets
from labctl.model.plan import Net, RuntimeName
from labctl.plan.links import links

if TYPE_CHECKING:
    from collections.abc import Callable

_WIRES = "a lab with wires (`labctl up --net netns`)"
_POD = "a network of the server's own (--runtime docker), and the image that `labctl images build` makes"
_NETEM = f"{_POD}, and netem in the engine's kernel (module sch_netem)"
_DAY_MS = 86_400_000
_SEEDS = 2**32
_REORDERED_MS = 10.0
"""How late a packet is that others are to overtake; the same as in containers."""


def chosen_pairs(fault: Fault, context: Context) -> tuple[Link, ...]:
    """Senders and receivers that a fault means: both ways between the target and all who talk to it, or one way.

    Raises:
        CapabilityError: The lab has no wires.
        UsageError: The target means nothing here, or nobody talks to it.
    """
    plan = context.plan
    if plan.net is not Net.NETNS:
        raise CapabilityError(
            f"The fault '{fault.kind}' needs wires between servers; those of this lab talk over loopback.",
            "labctl down, then labctl up … --net netns. Drills do so by themselves.",
        )
    pairs = {pair for link in links(plan) for pair in (link, Link(link.target, link.source))}
    if fault.target in SHAPES:
        if fault.origin:
            raise UsageError(f"'{fault.target}' is a shape and has no direction.", "Leave --from out.")
        cut = shape(fault.target, plan, context.rng)
        return tuple(sorted({pair for link in cut for pair in (link, Link(link.target, link.source))}))
    side = resolve(fault.target, plan, context.view, context.rng)
    if fault.origin:
        origin = resolve(fault.origin, plan, context.view, context.rng)
        found = {pair for pair in pairs if pair.source in origin and pair.target in side}
    else:
        found = {pair for pair in pairs if (pair.source in side) != (pair.target in side)}
    if not found:
        raise UsageError(f"'{fault.target}' leaves nobody on the other side, so there are no packets to fault.")
    return tuple(sorted(found))


def _on_wires(what: Impairment, late_ms: float = 0.0) -> Callable[[Fault, Context], tuple[Action, ...]]:
    def plan(fault: Fault, context: Context) -> tuple[Action, ...]:
        values = fault.params
        share = float(values.get("percent", 100)) / 100
        ms, jitter = float(values.get("ms", late_ms)), float(values.get("jitter", 0))
        seed = context.rng.randrange(_SEEDS)
        return tuple(HoldImpaired(pair, what, share, ms, jitter, seed) for pair in chosen_pairs(fault, context))

    return plan


def _in_pods(what: Packets) -> Callable[[Fault, Context], tuple[Action, ...]]:
    def plan(fault: Fault, context: Context) -> tuple[Action, ...]:
        if fault.origin:
            raise UsageError(
                "In containers a fault on packets is about all packets of a server, so --from means nothing.",
                "--net netns has packets from one to another.",
            )
        percent = float(fault.params.get("percent", 100.0))
        return tuple(HoldPackets(node, what, percent) for node in servers(fault, context))

    return plan


def _wherever(what: Impairment, pods: Packets, late_ms: float = 0.0) -> Callable[[Fault, Context], tuple[Action, ...]]:
    def plan(fault: Fault, context: Context) -> tuple[Action, ...]:
        in_containers = context.plan.runtime is RuntimeName.DOCKER
        return (_in_pods(pods) if in_containers else _on_wires(what, late_ms))(fault, context)

    return plan


def _percent(default: float) -> Param:
    return Param("percent", "percent of packets", default, low=0.1, high=100)


def _datagrams(what: str, in_containers: str) -> str:
    proof = f"datagrams between sockets of the two, of which {what}; gone by the kernel's routes and by more of them"
    return f"{proof}. In containers: {in_containers}" if in_containers else proof


_READ_BACK = "read back from the kernel"

KINDS = (
    FaultKind(
        "packet-drop",
        "Drop every packet: not even a SYN or a keep-alive gets through",
        "primary",
        _on_wires(Impairment.LOSS),
        proof=_datagrams("none arrives", ""),
        one_way=True,
        needs=_WIRES,
        runtimes=(RuntimeName.PROCESS,),
        wires=True,
    ),
    FaultKind(
        "packet-loss",
        "Lose packets at random; TCP sends them again",
        "primary",
        _wherever(Impairment.LOSS, Packets.LOST),
        (_percent(10.0),),
        proof=_datagrams("some are missing", "datagrams are sent from inside the pod, and about as many are lost"),
        one_way=True,
        needs=f"{_WIRES}, or {_POD}",
        wires=True,
    ),
    FaultKind(
        "packet-duplicate",
        "Deliver packets twice",
        "primary",
        _wherever(Impairment.DUPLICATE, Packets.DUPLICATED),
        (_percent(10.0),),
        proof=_datagrams("some come twice", _READ_BACK),
        one_way=True,
        needs=f"{_WIRES}, or {_NETEM}",
        wires=True,
    ),
    FaultKind(
        "packet-corrupt",
        "Flip a bit of packets; the receiving kernel notices by the checksum and drops them",
        "primary",
        _wherever(Impairment.CORRUPT, Packets.CORRUPTED),
        (_percent(1.0),),
        proof=_datagrams("some are refused for their checksum", _READ_BACK),
        one_way=True,
        needs=f"{_WIRES}, or {_NETEM}",
        wires=True,
    ),
    FaultKind(
        "packet-reorder",
        "Deliver packets out of order, up to 10 ms late",
        "primary",
        _wherever(Impairment.REORDER, Packets.REORDERED, _REORDERED_MS),
        (_percent(10.0),),
        proof=_datagrams("some are overtaken", _READ_BACK),
        one_way=True,
        needs=f"{_WIRES}, or {_NETEM}",
        wires=True,
    ),
    FaultKind(
        "packet-delay",
        "Delay packets, in order: connecting and acknowledging too, unlike `latency`",
        "primary",
        _on_wires(Impairment.DELAY),
        (
            Param("ms", "milliseconds each way", 50, high=_DAY_MS),
            Param("jitter", "up to so many milliseconds more or less", 0, high=_DAY_MS),
        ),
        proof=_datagrams("the quickest takes as long", ""),
        one_way=True,
        needs=_WIRES,
        runtimes=(RuntimeName.PROCESS,),
        wires=True,
    ),
    FaultKind(
        "disconnect",
        "Take a pod off the network: its interface is down, and the lab itself cannot see it either",
        "primary",
        _in_pods(Packets.DISCONNECTED),
        proof=_READ_BACK,
        needs=_POD,
        runtimes=(RuntimeName.DOCKER,),
    ),
)
