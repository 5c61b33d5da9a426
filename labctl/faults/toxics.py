"""Faults on links that carry on badly: late, slow, in pieces, cut short. Toxiproxy's toxics, one kind of fault each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from labctl.faults.kind import Context, FaultKind, Param
from labctl.faults.network import chosen_links
from labctl.model.fault import Action, Fault, HoldToxic

if TYPE_CHECKING:
    from collections.abc import Callable

_STREAMS: dict[str, tuple[Literal["upstream", "downstream"], ...]] = {
    "both": ("upstream", "downstream"),
    "up": ("upstream",),
    "down": ("downstream",),
}
_TOXICITY = Param("toxicity", "share of connections that it applies to", 1.0, high=1)


def _stream(default: str) -> Param:
    return Param(
        "stream", "up: from the link's source to its target; down: back; both", default, choices=tuple(_STREAMS)
    )


def _planner(toxic: str, attributes: dict[str, str]) -> Callable[[Fault, Context], tuple[Action, ...]]:
    """A planner that puts `toxic` on every link meant. `attributes`: parameter → the toxic's attribute."""

    def plan(fault: Fault, context: Context) -> tuple[Action, ...]:
        values = tuple((attribute, fault.params[name]) for name, attribute in attributes.items())
        return tuple(
            HoldToxic(link, toxic, stream, values, float(fault.params["toxicity"]))
            for link in chosen_links(fault, context)
            for stream in _STREAMS[str(fault.params["stream"])]
        )

    return plan


def _kind(
    name: str,
    toxic: str,
    summary: str,
    params: dict[str, Param],
    proof: str,
    *,
    stream: str = "both",
    resp: bool = False,
) -> FaultKind:
    """`params`: attribute of the toxic → parameter of the fault."""
    planner = _planner(toxic, {param.name: attribute for attribute, param in params.items()})
    return FaultKind(
        name,
        summary,
        "primary",
        planner,
        (*params.values(), _stream(stream), _TOXICITY),
        proof=proof,
        one_way=True,
        needs="links that know RESP: local processes, or --links labctl" if resp else "",
        resp=resp,
    )


_COUNTED = "up to 16 of the links are asked something that it must act on, and it notes each time that it acts"
_MATCHED = "it notes each command that it meets; a PING through up to 16 of the links where it would meet that"
_DAY_MS = 86_400_000
_MATCH = {
    "command": Param("command", "names of commands, globs, joined by commas", "*"),
    "key": Param("key", "a glob that one of its keys matches; empty: any", ""),
    "share": Param("share", "share of these commands that are met", 1.0, high=1),
}

KINDS = (
    _kind(
        "latency",
        "latency",
        "Delay what goes through links, in order; throughput stays",
        {
            "latency": Param(
                "ms", "milliseconds each way (stream=both: twice that for a round trip)", 100, high=_DAY_MS
            ),
            "jitter": Param("jitter", "up to so many milliseconds more or less", 0, high=_DAY_MS),
        },
        "a PING through up to 16 of the links takes at least as long as stated, and it notes each time that it acts",
    ),
    _kind(
        "bandwidth",
        "bandwidth",
        "Let through no more than so many kilobytes a second",
        {"rate": Param("rate", "kB/s, of 1,000 bytes; 0 blocks", 100)},
        _COUNTED,
    ),
    _kind(
        "slow-close",
        "slow_close",
        "Hold back the end of connections",
        {"delay": Param("ms", "milliseconds", 1000, high=_DAY_MS)},
        _COUNTED,
    ),
    _kind(
        "timeout",
        "timeout",
        "Swallow data, then close the connection",
        {"timeout": Param("ms", "milliseconds until the connection is closed; 0 never", 1000, high=_DAY_MS)},
        "a PING through up to 16 of the links gets no answer",
        stream="up",
    ),
    _kind(
        "reset",
        "reset_peer",
        "Reset connections (RST), those that exist too",
        {"timeout": Param("ms", "milliseconds after the connection was made", 0, high=_DAY_MS)},
        "a PING through up to 16 of the links is met by a reset",
        stream="up",
    ),
    _kind(
        "slice",
        "slicer",
        "Cut the stream into small packets with pauses between",
        {
            "average_size": Param("size", "bytes of a piece on average", 16, low=1),
            "size_variation": Param("variation", "up to so many bytes more or less; less than size", 8),
            "delay": Param("us", "microseconds between pieces", 1000, high=60_000_000),
        },
        _COUNTED,
    ),
    _kind(
        "limit-data",
        "limit_data",
        "Close each connection once so many bytes went through",
        {"bytes": Param("bytes", "bytes", 4096)},
        _COUNTED,
        stream="down",
    ),
    _kind(
        "command-delay",
        "resp_delay",
        "Delay single commands (or, stream=down, their replies)",
        {
            **_MATCH,
            "latency": Param("ms", "milliseconds", 100, high=_DAY_MS),
            "jitter": Param("jitter", "up to so many milliseconds more or less", 0, high=_DAY_MS),
        },
        _MATCHED,
        stream="up",
        resp=True,
    ),
    _kind(
        "command-error",
        "resp_error",
        "Answer single commands with an error; the server never sees them (stream=down: it has run them)",
        {
            **_MATCH,
            "error": Param(
                "error", "LOADING, OOM, READONLY, CLUSTERDOWN …, or the whole text; {slot} is the key's", "LOADING"
            ),
        },
        _MATCHED,
        stream="up",
        resp=True,
    ),
    _kind(
        "command-drop",
        "resp_drop",
        "Lose single commands (or, stream=down, their replies) and what follows on that connection",
        dict(_MATCH),
        _MATCHED,
        stream="up",
        resp=True,
    ),
    _kind(
        "command-truncate",
        "resp_truncate",
        "Cut replies off in the middle and close the connection (stream=up: requests)",
        {**_MATCH, "keep": Param("keep", "bytes of it that get through; -1: half of it", -1, low=-1)},
        _MATCHED,
        stream="down",
        resp=True,
    ),
)
