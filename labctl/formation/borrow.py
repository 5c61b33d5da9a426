"""Settings of a running server that are changed for a while, and given back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from labctl.errors import LabError
from labctl.observe.access import Reply

Call = Callable[..., Awaitable[list[Reply]]]
"""Sends commands to one server in one round trip, a reply each; raises LabError when one is an error."""


@dataclass(frozen=True, slots=True)
class Borrowed:
    """Settings of one server, read before they are taken, so that they can be given back whatever comes of the taking.

    Attributes:
        node: Its name.
        call: Speaks to it.
        read: The command that tells its settings, names and values in turn.
        write: The command that sets those that follow it.
        own: Its own values of what is borrowed.
        wanted: What they are to be meanwhile.
    """

    node: str
    call: Call
    read: Sequence[str]
    write: Sequence[str]
    own: Mapping[str, str]
    wanted: Mapping[str, str]

    async def take(self) -> None:
        """Set what is wanted."""
        await self.call((*self.write, *flat(self.wanted)))

    async def give_back(self) -> None:
        """Set its own and read them back. Raises LabError when they read otherwise."""
        _, reply = await self.call((*self.write, *flat(self.own)), self.read)
        now = _among(self.own, reply)
        if now != self.own:
            raise LabError(f"{self.node} did not take its own settings back: wanted {dict(self.own)}, reads {now}")


async def periods(node: str, call: Call, wanted: Mapping[str, str]) -> Borrowed:
    """Periods at which a Sentinel looks and tells, in milliseconds."""
    return await _of(node, call, ("SENTINEL", "DEBUG"), ("SENTINEL", "DEBUG"), wanted)


async def settings(node: str, call: Call, wanted: Mapping[str, str]) -> Borrowed:
    """Directives of a data node."""
    return await _of(node, call, ("CONFIG", "GET", *wanted), ("CONFIG", "SET"), wanted)


async def _of(node: str, call: Call, read: Sequence[str], write: Sequence[str], wanted: Mapping[str, str]) -> Borrowed:
    (own,) = await call(read)
    return Borrowed(node, call, read, write, _among(wanted, own), wanted)


def pairs(reply: Sequence[str]) -> dict[str, str]:
    """A RESP2 map: keys and values in turn."""
    return dict(zip(reply[::2], reply[1::2], strict=True))


def flat(names: Mapping[str, str]) -> list[str]:
    """Names and values in turn, as commands take them."""
    return [part for pair in names.items() for part in pair]


def _among(names: Mapping[str, str], reply: Sequence[str]) -> dict[str, str]:
    """These settings among all that a server told."""
    return {name.lower(): value for name, value in pairs(reply).items() if name.lower() in names}
