"""What each link server is told: real Toxiproxy, and labctl's own, which speaks the same API and says more.

REFUSED is a disabled proxy with both. A black hole is a state of labctl's own link server. Toxiproxy has none: there it is a
`timeout` toxic without end on both streams, which drops data, and behind it a `slow_close` without end, which keeps to
itself that a side hung up. docs/docker.md compares the alternatives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol

from labctl.model.fault import HELD_PREFIX, HoldToxic, LinkState
from labctl.model.plan import LinksBy
from labctl.runtime.docker.toxiproxy import Request

_FOR_EVER_MS = 1_000_000_000
_STREAMS = ("upstream", "downstream")
_SILENCING = {f"{toxic}_{stream}" for toxic in ("slow_close", "timeout") for stream in _STREAMS}
_SIGNIFICANT = 16


class Dialect(Protocol):
    """How one program is told what a proxy should do."""

    @property
    def toxics(self) -> Collection[str]:
        """The types of toxics that it has."""
        ...

    def change(self, proxy: str, left: Iterable[LinkState], entered: LinkState) -> Iterator[Request]:
        """Requests that bring a proxy from one of the states in `left` to `entered`."""
        ...

    def state(self, said: Mapping[str, Any]) -> LinkState:
        """The state of a proxy, from what the API says of it."""
        ...


class ToxiproxyDialect:
    """Toxiproxy 2.12."""

    toxics = ("latency", "bandwidth", "slow_close", "timeout", "reset_peer", "slicer", "limit_data")

    def change(self, proxy: str, left: Iterable[LinkState], entered: LinkState) -> Iterator[Request]:
        """See `Dialect`."""
        leaving = [state for state in left if state is not entered]
        match entered:
            case LinkState.REFUSED:
                yield Request("POST", f"/proxies/{proxy}", {"enabled": False})
            case LinkState.BLACKHOLE:
                yield from _silence(proxy)
            case LinkState.OPEN:
                pass
        if LinkState.BLACKHOLE in leaving:
            for toxic in sorted(_SILENCING):  # what keeps hanging up to itself goes first
                yield remove_toxic(proxy, toxic)
        if LinkState.REFUSED in leaving:
            yield Request("POST", f"/proxies/{proxy}", {"enabled": True})

    def state(self, said: Mapping[str, Any]) -> LinkState:
        """See `Dialect`."""
        if not said["enabled"]:
            return LinkState.REFUSED
        return LinkState.BLACKHOLE if {toxic["name"] for toxic in said["toxics"]} >= _SILENCING else LinkState.OPEN


class LabctlDialect:
    """labctl's own link server."""

    @property
    def toxics(self) -> Collection[str]:
        """See `Dialect`."""
        from labctl.links.toxics import TYPES  # noqa: PLC0415 - a link server, wanted for this alone

        return TYPES

    def change(self, proxy: str, left: Iterable[LinkState], entered: LinkState) -> Iterator[Request]:
        """See `Dialect`."""
        if entered is not LinkState.OPEN or any(state is not LinkState.OPEN for state in left):
            yield Request("POST", f"/proxies/{proxy}", {"state": entered.value})

    def state(self, said: Mapping[str, Any]) -> LinkState:
        """See `Dialect`."""
        return LinkState(said["state"])


def dialect(by: LinksBy) -> Dialect:
    """The one that `by` understands."""
    return ToxiproxyDialect() if by is LinksBy.TOXIPROXY else LabctlDialect()


def toxic_name(toxic: HoldToxic) -> str:
    """A name that says all of it, so that the same toxic has the same name whoever asks, a restarted agent too."""
    text = repr((toxic.toxic, toxic.stream, sorted(toxic.attributes), toxic.toxicity))
    return f"{HELD_PREFIX}{hashlib.sha256(text.encode()).hexdigest()[:_SIGNIFICANT]}"


def is_meddled(dialect: Dialect, said: Mapping[str, Any]) -> bool:
    """Whether a proxy that nothing holds is not plainly open."""
    return dialect.state(said) is not LinkState.OPEN or bool(said["toxics"])


def of_faults(said: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The toxics of faults that a proxy has, by name, from what the API says of it."""
    return {toxic["name"]: toxic for toxic in said["toxics"] if toxic["name"].startswith(HELD_PREFIX)}


def is_it(toxic: HoldToxic, said: Mapping[str, Any]) -> bool:
    """Whether what the API says of a toxic is this one."""
    return (said["type"], said["stream"], said["toxicity"]) == (toxic.toxic, toxic.stream, toxic.toxicity) and all(
        said["attributes"].get(name) == value for name, value in toxic.attributes
    )


def has_all(said: Mapping[str, Any], toxics: Iterable[HoldToxic]) -> bool:
    """Whether a proxy has these toxics of faults."""
    found = of_faults(said)
    return all((name := toxic_name(toxic)) in found and is_it(toxic, found[name]) for toxic in toxics)


def add_toxic(proxy: str, toxic: HoldToxic) -> Request:
    """Put it on a proxy; no error where it is already."""
    body = {
        "name": toxic_name(toxic),
        "type": toxic.toxic,
        "stream": toxic.stream,
        "toxicity": toxic.toxicity,
        "attributes": dict(toxic.attributes),
    }
    return Request("POST", f"/proxies/{proxy}/toxics", body, accept=(200, 409))


def remove_toxic(proxy: str, name: str) -> Request:
    """Take it off a proxy; no error where it is gone already."""
    return Request("DELETE", f"/proxies/{proxy}/toxics/{name}", accept=(204, 404))


def _silence(proxy: str) -> Iterator[Request]:
    """Toxics act in the order in which they were added: first data is dropped, then hanging up is held back."""
    for toxic, attributes in (("timeout", {"timeout": 0}), ("slow_close", {"delay": _FOR_EVER_MS})):
        for stream in _STREAMS:
            body = {"type": toxic, "stream": stream, "attributes": attributes}
            yield Request("POST", f"/proxies/{proxy}/toxics", body, accept=(200, 409))
