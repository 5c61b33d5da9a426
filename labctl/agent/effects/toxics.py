"""HoldToxic: a link carries on badly."""

from __future__ import annotations

import asyncio
from functools import partial

from labctl.agent.effects.base import Effect, Felt, eventually, only
from labctl.agent.proof import TLS_PING
from labctl.errors import CapabilityError, InjectionError, RevertError, UsageError
from labctl.faults.claims import link_toxics
from labctl.links.resp.matching import Match
from labctl.links.tally import Tally
from labctl.links.toxics import TYPES
from labctl.model.fault import Action, HoldToxic, Link
from labctl.runtime.base import Answer, CountedToxics, ToxicLinks

_PROBED = 16
"""Links whose toxics are measured; each costs a connection and the time that the toxic takes."""
_PATIENCE_S = 0.3
"""On top of what a toxic delays: a PING over loopback takes a millisecond, on a machine under load some more."""
_NOTICE_S = 0.3
_NOTHING = "nothing has passed it yet"
_SILENCING = ("timeout", "reset_peer")
_PIECES = 4
_LONGEST_QUESTION = 200_000


class Toxics(Effect):
    """Read back from the link server, asked through, and counted: a toxic notes each time that it acted.

    One that nothing has met yet, a delay of GET while nobody sends GET, is in force all the same; `felt` tells the two
    apart for as long as it lasts.
    """

    async def prepare(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> tuple[Action, ...]:  # noqa: ARG002
        """See `Effect`."""
        for action in only(HoldToxic, actions):
            if action.toxic not in self._links().toxic_types:
                raise CapabilityError(
                    f"The links of this lab have no toxic {action.toxic}: {', '.join(self._links().toxic_types)}.",
                    "labctl up --links labctl has links that know RESP.",
                )
            try:
                TYPES[action.toxic](**dict(action.attributes))
            except ValueError as error:
                raise UsageError(f"This is no {action.toxic}: {error}") from error
            if self.bench.plan.topology.tls and action.toxic.startswith("resp_"):
                raise CapabilityError(
                    "The links of a lab with TLS carry nothing that could be read as commands.",
                    "Take a topology without TLS, or a fault of whole links: latency, bandwidth, timeout …",
                )
        return actions

    async def apply(self, touched: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        wanted = link_toxics(standing)
        links = {action.link for action in only(HoldToxic, touched)}
        if links:
            await self._links().set_toxics({link: wanted.get(link, ()) for link in links})

    async def prove(self, actions: tuple[Action, ...]) -> list[str]:
        """See `Effect`."""
        toxics = list(only(HoldToxic, actions))
        if not toxics:
            return []
        present = await self._links().toxics([action.link for action in toxics])
        missing = [action.link.name for action in toxics if action not in present[action.link]]
        if missing:
            raise InjectionError(f"These links have no such toxic: {', '.join(missing[:8])}.")
        by_link: dict[Link, list[HoldToxic]] = {}
        for action in toxics:
            by_link.setdefault(action.link, []).append(action)
        words = [f"{toxics[0].toxic} on {len(by_link)} links"]
        askable = [link for link in by_link if await self.bench.runs(link.target)]
        step = max(1, -(-len(askable) // _PROBED))
        answers = await asyncio.gather(*(self._measure(link, by_link[link]) for link in askable[::step]))
        asked = [answer for answer in answers if answer is not None]
        if asked:
            await eventually(partial(self._acted, actions), _NOTICE_S)  # a server hangs up a moment after its client
        return words + _summary(toxics[0], asked)

    async def _acted(self, actions: tuple[Action, ...]) -> bool:
        felt = await self.felt(actions)
        return felt is None or felt.times > 0

    async def prove_gone(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        wanted = link_toxics(standing)
        links = {action.link for action in only(HoldToxic, actions)}
        if not links:
            return
        present = await self._links().toxics(links)
        left = [link.name for link in links if set(present[link]) != set(wanted.get(link, ()))]
        if left:
            raise RevertError(f"These links have toxics that nothing holds: {', '.join(sorted(left)[:8])}.")

    async def felt(self, actions: tuple[Action, ...]) -> Felt | None:
        """See `Effect`."""
        toxics = list(only(HoldToxic, actions))
        if not toxics or not isinstance(self.bench.links, CountedToxics):
            return None
        told = await self.bench.links.tallies({action.link for action in toxics})
        every = sum((told[action.link].get(action, Tally()) for action in toxics), Tally())
        name = toxics[0].toxic
        unmet = f"{every.passed} bytes came and none of them is what it is meant for" if every.passed else _NOTHING
        return Felt(every.acted, f"{name} acted {{}} times", f"in place, {unmet}")

    def _links(self) -> ToxicLinks:
        if not isinstance(self.bench.links, ToxicLinks):
            raise CapabilityError(
                f"The links of the {self.bench.plan.runtime} runtime can be cut, and nothing else.",
                "labctl up --runtime process, or docker, has links that carry on badly.",
            )
        return self.bench.links

    async def _measure(self, link: Link, toxics: list[HoldToxic]) -> Answer | None:
        """Ask through the link what the toxic would meet. None where only the lab's own traffic can meet it."""
        first = toxics[0]
        question = _question(first)
        if question == _ping(0) and self.bench.plan.topology.tls:
            question = TLS_PING
        if question is None:
            return None
        total_ms = sum(_sure_delay_ms(toxic) for toxic in toxics)
        answer = await self._links().ask(link, question, total_ms / 1000 + _PATIENCE_S)
        if first.toxicity < 1:
            return answer
        if first.toxic == "latency":
            if answer.came and answer.took_s * 1000 < total_ms:
                raise InjectionError(f"{link.name} answers after {answer.took_s * 1000:.0f} ms, not {total_ms:.0f} ms.")
        elif first.toxic in _SILENCING and answer.came and first.stream == "upstream":
            raise InjectionError(f"{link.name} has the toxic {first.toxic} and answers.")
        return answer


def _question(toxic: HoldToxic) -> bytes | None:
    """What a toxic that does its work will not let through as it is; None where asking it would take too much."""
    values = dict(toxic.attributes)
    match toxic.toxic:
        case "slicer":
            pieces = _PIECES * (int(values["average_size"]) + int(values["size_variation"]))
            return _ping(pieces) if pieces <= _LONGEST_QUESTION else None
        case "limit_data":
            limit = int(values["bytes"])
            return _ping(limit + 1) if limit < _LONGEST_QUESTION else None
        case "resp_delay" | "resp_error" | "resp_drop" | "resp_truncate":
            return _ping(0) if Match(str(values["command"]), str(values["key"])).meets([b"PING"]) else None
        case _:
            return _ping(0)


def _ping(size: int) -> bytes:
    """A PING that is answered with at least so many bytes."""
    return b"*2\r\n$4\r\nPING\r\n$%d\r\n%s\r\n" % (size, b"x" * size) if size else b"*1\r\n$4\r\nPING\r\n"


def _sure_delay_ms(toxic: HoldToxic) -> float:
    """By how much it delays a PING at the least."""
    if toxic.toxic != "latency":
        return 0
    values = dict(toxic.attributes)
    return max(0.0, float(values["latency"]) - float(values["jitter"]))


def _summary(toxic: HoldToxic, answers: list[Answer]) -> list[str]:
    times = sorted(answer.took_s * 1000 for answer in answers if answer.came)
    words = []
    if len(times) < len(answers):
        words.append(f"{len(answers) - len(times)} of {len(answers)} links asked gave no answer")
    if toxic.toxic == "latency" and times:
        words.append(f"{len(times)} links asked answer after {times[0]:.0f} to {times[-1]:.0f} ms")
    return words
