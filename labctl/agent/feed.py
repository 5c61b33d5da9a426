"""Frames of the live view: made while somebody looks, once for everybody who does, at a pace that costs next to nothing."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from labctl.errors import LabError
from labctl.faults.registry import FAULTS
from labctl.live.frame import KEPT_SAMPLES, NO_ANSWER, Frame, Ping, Standing
from labctl.live.picture import Seen, draw, vote, with_traffic
from labctl.model.conditions import healthy
from labctl.model.fault import Link, LinkAction, LinkState, ServerState
from labctl.model.topology import Role
from labctl.observe.pings import Pings
from labctl.runtime.base import MeasuredLinks
from labctl.store.codec import to_line

if TYPE_CHECKING:
    from labctl.agent.agent import Agent
    from labctl.agent.events import EventData
    from labctl.agent.keeper import Active
    from labctl.live.frame import Picture
    from labctl.model.plan import LabPlan
    from labctl.model.view import NodeView, View

PACE_S = 0.5
"""Between two frames: often enough for eyes, and 25 times less work than following every change."""
SLOWEST_S = 3.0
_SOONEST_S = 0.1
_SHARE = 0.03
"""Of the processor that making frames may take; handing them out comes on top. A large lab is shown at a slower pace."""
_REASONS = 6
_MOST_PINGS = 24
_KEPT_EVENTS = 80
_PING_S = 0.05
_MOST_COUNTED = 1000
"""Links whose bytes are counted; a lab with more of them is too large for labels on its lines."""
_CURVES_LAST_S = 10.0
"""A curve goes on for a viewer who comes back within this time, after a reload for example."""


class Message(NamedTuple):
    """What a viewer is sent: what it is, its JSON, and the number of the last event that the viewer knows then."""

    name: Literal["hello", "frame", "event"]
    data: str
    seq: int


class Feed:
    """Everybody who looks at one lab."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._pings = Pings(agent.plan, agent.keys.tls)
        self._before: dict[str, NodeView] = {}
        self._votes: dict[str, tuple[str, int]] = {}
        self._samples: deque[dict[str, float | None]] = deque(maxlen=KEPT_SAMPLES)
        self._sampled_at = 0.0
        self._carried: dict[Link, int] = {}
        self._carried_at = 0.0
        self._rates: dict[Link, float] = {}
        self._number = 0
        self._frame = ""
        self._bell = asyncio.Event()
        self._viewers = 0
        self._making: asyncio.Task[None] | None = None

    @property
    def viewers(self) -> int:
        """How many look now."""
        return self._viewers

    async def follow(self, after: int = 0) -> AsyncGenerator[Message, None]:
        """A hello with the curves so far, then frames and events as they come, until the viewer leaves.

        A slow viewer misses frames, never events.

        Args:
            after: Number of the last event that the viewer knows.
        """
        self._viewers += 1
        if self._making is None:
            self._making = asyncio.create_task(self._make(), name="live view")
            self._making.add_done_callback(lambda _: self._ring())
        shown = -1
        try:
            missed = self._agent.events.since(after)[-_KEPT_EVENTS:]
            seq = missed[-1]["seq"] if missed else after
            yield Message("hello", json.dumps(self._hello(missed)), seq)
            while not self._making.done():
                bell = self._bell
                for event in self._agent.events.since(seq):
                    seq = event["seq"]
                    yield Message("event", json.dumps(dated(event)), seq)
                if self._number != shown and self._frame:
                    shown = self._number
                    yield Message("frame", self._frame, seq)
                if bell is self._bell:
                    await bell.wait()
        finally:
            self._viewers -= 1
            if not self._viewers:
                self._rest()

    def _hello(self, missed: list[EventData]) -> dict[str, Any]:
        names = {name for sample in self._samples for name in sample}
        curves = {name: [sample.get(name) for sample in self._samples] for name in sorted(names)}
        return {"lab": self._agent.plan.lab, "curves": curves, "events": [dated(event) for event in missed]}

    def _rest(self) -> None:
        if self._making is not None:
            self._making.cancel()
            self._making = None
        self._pings.close()
        self._frame = ""

    def _ring(self) -> None:
        bell, self._bell = self._bell, asyncio.Event()
        bell.set()

    async def _make(self) -> None:
        """Frames for as long as this runs. Something that happens is shown at once, not at the next beat."""
        if time.monotonic() - self._sampled_at > _CURVES_LAST_S:
            self._samples.clear()
        pace_s = PACE_S
        while True:
            began, spent = time.monotonic(), time.thread_time()
            try:
                frame = await self._look(pace_s)
            except LabError as error:
                print(f"live view: {error}", file=sys.stderr)
            else:
                self._frame = to_line(frame)
                self._number += 1
                self._keep(frame)
            grown = self._agent.events.grown
            self._ring()
            pace_s = min(SLOWEST_S, max(PACE_S, (time.thread_time() - spent) / _SHARE))
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, began + pace_s - time.monotonic())):
                    await grown.wait()
                    self._ring()
                await asyncio.sleep(_SOONEST_S)

    def _keep(self, frame: Frame) -> None:
        """A sample for each beat, not for each frame: curves have an even time axis."""
        now = time.monotonic()
        if now - self._sampled_at >= PACE_S * 0.8:
            self._samples.append(dict(frame.samples))
            self._sampled_at = now

    async def _look(self, pace_s: float) -> Frame:
        agent = self._agent
        pairs = ping_pairs(agent.plan, agent.last_view)
        self._pings.send(pairs)
        await self._pings.settle(_PING_S)  # before the polls, which would be timed with them
        view = await agent.recent(PACE_S / 2)
        self._before.update((node.name, node) for node in view.nodes if node.up)
        self._votes.update((node.name, voted) for node in view.nodes if (voted := vote(node)))
        picture = draw(
            Seen(
                agent.plan,
                view,
                self._before,
                await self._servers(view),
                {link: state for link, state in agent.links.states().items() if state is not LinkState.OPEN},
                {a.record.fault_id: a.record.actions for a in agent.keeper.active if not a.reverting},
                self._votes,
            )
        )
        picture = with_traffic(picture, self._traffic())
        echoes = self._pings.read()
        pings = tuple(Ping(*pair, echoes[pair].ms, echoes[pair].error) for pair in pairs if pair in echoes)
        reasons = healthy(agent.plan, view)
        return Frame(
            number=self._number + 1,
            at_s=time.time(),
            lab=agent.plan.lab,
            topology=agent.plan.topology.name,
            kind=agent.plan.topology.kind,
            engine=agent.plan.engine_name,
            quorum=agent.plan.topology.sentinel.quorum if agent.plan.sentinels else 0,
            reasons=tuple(reasons[:_REASONS]),
            more_reasons=max(0, len(reasons) - _REASONS),
            picture=picture,
            faults=tuple(standing(active) for active in agent.keeper.active),
            pings=pings,
            samples=samples(picture, pings),
            pace_s=pace_s,
        )

    def _traffic(self) -> dict[Link, float]:
        """Bytes a second over each link since the last frame that was not just now."""
        links = self._agent.links
        if not isinstance(links, MeasuredLinks) or len(links.states()) > _MOST_COUNTED:
            return {}
        now = time.monotonic()
        if now - self._carried_at > PACE_S * 0.8:
            carried = {link: it.to_target + it.to_source for link, it in links.traffic().items()}
            seconds = now - self._carried_at
            recent = seconds < _CURVES_LAST_S
            self._rates = {
                link: (sent - self._carried[link]) / seconds
                for link, sent in carried.items()
                if recent and link in self._carried
            }
            self._carried, self._carried_at = carried, now
        return self._rates

    async def _servers(self, view: View) -> dict[str, ServerState]:
        """What the operating system says of the nodes that do not answer."""
        return {
            node.name: await self._agent.runtime.state(self._agent.plan.node(node.name))
            for node in view.nodes
            if not node.up
        }


def ping_pairs(plan: LabPlan, view: View | None) -> tuple[tuple[str, str], ...]:
    """Every client group with every primary; the first group alone where that would be too many."""
    names = [node.name for node in view.nodes if node.role is Role.PRIMARY] if view else []
    names = names or [node.name for node in plan.nodes if node.role is Role.PRIMARY and plan.topology.primaries == 1]
    groups = [group for group, _ in plan.client_hosts]
    if len(groups) * len(names) > _MOST_PINGS:
        groups = groups[:1]
    return tuple(islice(((group, name) for group in groups for name in names), _MOST_PINGS))


def samples(picture: Picture, pings: tuple[Ping, ...]) -> dict[str, float | None]:
    """One value for each curve; see `Frame.samples`."""
    nodes = [node for shard in picture.shards for node in shard.nodes]
    found: dict[str, float | None] = {"ops": float(sum(node.ops_per_s for node in nodes if node.leads))}
    found.update((f"ops:{node.name}", float(node.ops_per_s)) for node in nodes)
    found.update((f"lag:{node.name}", node.lag_bytes) for node in nodes if node.role is Role.REPLICA)
    found.update(
        (f"ms:{ping.group}:{ping.node}", NO_ANSWER if ping.ms is None else round(ping.ms, 3)) for ping in pings
    )
    return found


def standing(active: Active) -> Standing:
    """A fault as it is shown."""
    record = active.record
    left = None if record.ends_ns is None else max(0.0, (record.ends_ns - time.monotonic_ns()) / 1e9)
    defaults = FAULTS[record.fault.kind].defaults if record.fault.kind in FAULTS else {}
    links = {action.link for action in record.actions if isinstance(action, LinkAction)}
    return Standing(
        id=record.fault_id,
        kind=record.fault.kind,
        target=record.fault.target,
        params=tuple((name, value) for name, value in record.fault.params.items() if value != defaults.get(name)),
        lasts_s=record.fault.duration_s,
        ends_in_s=left,
        links=len(links),
        nodes=tuple(dict.fromkeys(a.node for a in record.actions if not isinstance(a, LinkAction))),
        reverting=active.reverting,
        trouble=active.trouble,
    )


def dated(event: EventData) -> dict[str, Any]:
    """An event with the wall clock, seconds since the epoch, beside the monotonic one."""
    return {**event, "at_s": time.time() - (time.monotonic_ns() - event["at_ns"]) / 1e9}
