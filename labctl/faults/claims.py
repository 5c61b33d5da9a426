"""What the lab should be, as a function of the claims that stand on it.

Every fault in force is a set of claims. Nobody remembers a previous state to go back to: when a fault ends its claims
are dropped and these functions are asked again, so overlapping faults cannot undo each other, whatever the order. Where
claims of one sort meet on one thing, the worse one holds, or the younger where neither is worse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.model.fault import (
    CutLink,
    HoldDown,
    HoldFull,
    HoldImpaired,
    HoldKnob,
    HoldLimit,
    HoldPackets,
    HoldPaused,
    HoldSetting,
    HoldToxic,
    Knob,
    LinkState,
    Packets,
    ServerState,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from labctl.model.fault import Action, Link, Resource

_ADDING = (Knob.CLOCK_OFFSET_MS, Knob.CLOCK_DRIFT_PPM)


def link_states(actions: Iterable[Action]) -> dict[Link, LinkState]:
    """The state of every link that a claim stands on; all other links are open."""
    states: dict[Link, LinkState] = {}
    for action in actions:
        if isinstance(action, CutLink):
            standing = states.get(action.link, LinkState.OPEN)
            states[action.link] = max(standing, action.state, key=_severity)
    return states


def _severity(state: LinkState) -> int:
    return state.severity


def link_toxics(actions: Iterable[Action]) -> dict[Link, tuple[HoldToxic, ...]]:
    """The toxics of every link that has any, oldest first. Two delays add up; two that are the same in all are one."""
    toxics: dict[Link, tuple[HoldToxic, ...]] = {}
    for action in actions:
        if isinstance(action, HoldToxic):
            present = toxics.get(action.link, ())
            toxics[action.link] = present if action in present else (*present, action)
    return toxics


def impairments(actions: Iterable[Action]) -> dict[Link, tuple[HoldImpaired, ...]]:
    """What packets from one party to another meet, oldest first; two claims that are the same in all are one."""
    held: dict[Link, tuple[HoldImpaired, ...]] = {}
    for action in actions:
        if isinstance(action, HoldImpaired):
            present = held.get(action.link, ())
            held[action.link] = present if action in present else (*present, action)
    return held


def server_states(actions: Iterable[Action]) -> dict[str, ServerState]:
    """The state of every server that a claim stands on. A server that is held down cannot be frozen as well."""
    states: dict[str, ServerState] = {}
    for action in actions:
        match action:
            case HoldDown(node=node):
                states[node] = ServerState.GONE
            case HoldPaused(node=node):
                states.setdefault(node, ServerState.PAUSED)
            case _:
                pass
    return states


def settings(actions: Iterable[Action]) -> dict[tuple[str, str], HoldSetting]:
    """Per node and parameter the youngest claim, with `before` of the oldest: that is where it all began."""
    held: dict[tuple[str, str], HoldSetting] = {}
    for action in actions:
        if isinstance(action, HoldSetting):
            key = action.node, action.name
            before = held[key].before if key in held else action.before
            held[key] = HoldSetting(action.node, action.name, action.value, before)
    return held


def limits(actions: Iterable[Action]) -> dict[tuple[str, Resource], int]:
    """Per node and resource the tightest limit."""
    held: dict[tuple[str, Resource], int] = {}
    for action in actions:
        if isinstance(action, HoldLimit):
            key = action.node, action.resource
            held[key] = min(action.amount, held.get(key, action.amount))
    return held


def knobs(actions: Iterable[Action]) -> dict[tuple[str, Knob], int]:
    """Per node and knob its position: clock offsets and drifts add up, a budget is the smallest, others the highest."""
    held: dict[tuple[str, Knob], int] = {}
    for action in actions:
        if not isinstance(action, HoldKnob):
            continue
        key = action.node, action.knob
        if key not in held:
            held[key] = action.value
        elif action.knob in _ADDING:
            held[key] += action.value
        elif action.knob is Knob.WRITE_BUDGET:
            held[key] = min(held[key], action.value)
        else:
            held[key] = max(held[key], action.value)
    return held


def full_disks(actions: Iterable[Action]) -> dict[str, int]:
    """Per node whose disk is held full, the fewest bytes left."""
    held: dict[str, int] = {}
    for action in actions:
        if isinstance(action, HoldFull):
            held[action.node] = min(action.left, held.get(action.node, action.left))
    return held


def packets(actions: Iterable[Action]) -> dict[str, dict[Packets, float]]:
    """Per node what happens to its packets, each to the highest percentage held."""
    held: dict[str, dict[Packets, float]] = {}
    for action in actions:
        if isinstance(action, HoldPackets):
            own = held.setdefault(action.node, {})
            own[action.what] = max(action.percent, own.get(action.what, 0.0))
    return held
