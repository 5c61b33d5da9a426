"""The toxics of one proxy, and their stages on its connections."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from labctl.errors import UsageError
from labctl.links.resp.session import Session
from labctl.links.tally import Tally
from labctl.links.toxics.base import Attributes, Draw, ToxicChain
from labctl.links.toxics.resp import RespAttributes

if TYPE_CHECKING:
    from labctl.links.connection import Connection
    from labctl.links.proxy import Proxy

log = logging.getLogger(__name__)

Stream = Literal["upstream", "downstream"]
STREAMS: tuple[Stream, ...] = ("upstream", "downstream")


class ToxicExistsError(UsageError):
    """The proxy has a toxic of that name."""


class UnknownToxicError(UsageError):
    """The proxy has no toxic of that name."""


@dataclass(frozen=True, slots=True)
class ToxicSpec:
    """One toxic.

    Attributes:
        name: Unique on its proxy, over both streams.
        stream: The direction of the bytes that it acts on.
        attributes: What it does.
        toxicity: The share of connections that it applies to, drawn once for each connection: a change of toxicity is
            held against the same draw, so that raising it keeps the connections that were affected.
        ttl_ms: It is removed after that many milliseconds; None keeps it.
        seed: Of its draws, instead of the server's.
        held: It belongs to whoever runs the server, a lab's fault for example: users of the API see it and can neither
            change nor remove it.
    """

    name: str
    stream: Stream
    attributes: Attributes
    toxicity: float = 1.0
    ttl_ms: int | None = None
    seed: int | None = None
    held: bool = False


class Toxic:
    """A toxic in place. Compared by identity: a toxic that is removed and added again is another one."""

    __slots__ = ("expiry", "passed_before", "spec", "tally")

    def __init__(self, spec: ToxicSpec, passed_before: int) -> None:
        self.spec = spec
        self.tally = Tally()
        self.passed_before = passed_before
        self.expiry: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class ToxicCollection:
    """The toxics of `proxy`, in the order in which they were added.

    Args:
        proxy: Whose connections they act on.
        seed: The server's.
    """

    proxy: Proxy
    seed: int
    _toxics: dict[str, Toxic] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._toxics)

    def specs(self) -> list[ToxicSpec]:
        """All of them, the upstream chain first."""
        specs = [toxic.spec for toxic in self._toxics.values()]
        return [spec for stream in STREAMS for spec in specs if spec.stream == stream]

    def tallies(self) -> dict[str, Tally]:
        """What each has done so far, by name."""
        return {
            name: replace(toxic.tally, passed=self._passed(toxic.spec.stream) - toxic.passed_before)
            for name, toxic in self._toxics.items()
        }

    def get(self, name: str) -> ToxicSpec:
        """Return one.

        Raises:
            UnknownToxicError: There is none of that name.
        """
        return self._get(name).spec

    def add(self, spec: ToxicSpec) -> None:
        """Add a toxic, on live connections too; in force when this returns.

        Raises:
            ToxicExistsError: The name is taken.
        """
        if spec.name in self._toxics:
            raise ToxicExistsError(
                f"link {self.proxy.spec.name!r} has a toxic {spec.name!r} already", "Give it another name."
            )
        toxic = self._toxics[spec.name] = Toxic(spec, self._passed(spec.stream))
        if spec.ttl_ms is not None:
            toxic.expiry = asyncio.get_running_loop().call_later(spec.ttl_ms / 1000, self._expire, toxic)
        for connection in self.proxy.connections:
            if connection.established:
                self._apply(connection, toxic, live=True)

    def update(self, name: str, *, attributes: Attributes | None = None, toxicity: float | None = None) -> ToxicSpec:
        """Change a toxic; in force when this returns. What it already holds keeps its place.

        Raises:
            UnknownToxicError: There is none of that name.
        """
        toxic = self._get(name)
        toxic.spec = replace(
            toxic.spec,
            attributes=toxic.spec.attributes if attributes is None else attributes,
            toxicity=toxic.spec.toxicity if toxicity is None else toxicity,
        )
        for connection in self.proxy.connections:
            if connection.established:
                self._apply(connection, toxic, live=True)
        return toxic.spec

    def remove(self, name: str) -> None:
        """Remove a toxic; what it held goes on its way.

        Raises:
            UnknownToxicError: There is none of that name.
        """
        toxic = self._get(name)
        del self._toxics[name]
        if toxic.expiry is not None:
            toxic.expiry.cancel()
        for connection in self.proxy.connections:
            if connection.established:
                self._guard(connection, toxic, wanted=False, live=True)

    def clear(self) -> None:
        """Remove them all, except those that are held."""
        for name in [name for name, toxic in self._toxics.items() if not toxic.spec.held]:
            self.remove(name)

    def forget_timers(self) -> None:
        """The proxy is gone: nothing is to expire any more."""
        for toxic in self._toxics.values():
            if toxic.expiry is not None:
                toxic.expiry.cancel()

    def attach(self, connection: Connection) -> None:
        """Put the toxics on a new connection."""
        for toxic in self._toxics.values():
            self._apply(connection, toxic, live=False)

    def _get(self, name: str) -> Toxic:
        try:
            return self._toxics[name]
        except KeyError:
            raise UnknownToxicError(
                f"link {self.proxy.spec.name!r} has no toxic {name!r}",
                f"It has: {', '.join(self._toxics) or 'none'}.",
            ) from None

    def _passed(self, stream: Stream) -> int:
        stats = self.proxy.stats()
        return stats.upstream_received if stream == "upstream" else stats.downstream_received

    def _expire(self, toxic: Toxic) -> None:
        if self._toxics.get(toxic.spec.name) is toxic:
            self.remove(toxic.spec.name)

    def _draw(self, connection: Connection, spec: ToxicSpec) -> Draw:
        seed = self.seed if spec.seed is None else spec.seed
        return Draw(seed, self.proxy.spec.name, spec.stream, spec.name, connection.ordinal)

    def _apply(self, connection: Connection, toxic: Toxic, *, live: bool) -> None:
        spec = toxic.spec
        wanted = spec.toxicity >= 1.0 or self._draw(connection, spec).share() < spec.toxicity
        self._guard(connection, toxic, wanted=wanted, live=live)

    def _guard(self, connection: Connection, toxic: Toxic, *, wanted: bool, live: bool) -> None:
        """Change one connection; a bug there must not keep the toxic from the others."""
        try:
            if connection.closed:
                return
            if isinstance(toxic.spec.attributes, RespAttributes):
                self._change_rule(connection, toxic, toxic.spec.attributes, wanted=wanted)
            else:
                self._change_stage(connection, toxic, wanted=wanted, live=live)
        except Exception:
            log.exception("toxic %s failed on a connection of link %s", toxic.spec.name, self.proxy.spec.name)
            connection.close(reset=True)

    def _change_rule(self, connection: Connection, toxic: Toxic, attributes: RespAttributes, *, wanted: bool) -> None:
        """RESP toxics share one session, which spans both directions."""
        session = connection.resp
        if wanted:
            if session is None:
                session = connection.resp = Session(connection)
                session.install()
            toxic.tally.connections += toxic not in session.rules
            session.rules[toxic] = attributes.rule(toxic.spec.stream, self._draw(connection, toxic.spec), toxic.tally)
        elif session is not None and toxic in session.rules:
            session.remove(toxic)

    def _change_stage(self, connection: Connection, toxic: Toxic, *, wanted: bool, live: bool) -> None:
        pipe = connection.up if toxic.spec.stream == "upstream" else connection.down
        chain = pipe.chain
        stage = chain.stage_of(toxic) if chain is not None else None
        if stage is not None and wanted:
            stage.update(toxic.spec.attributes)
        elif stage is not None and chain is not None:
            chain.remove(toxic)
            if not chain:
                pipe.chain = None
        elif wanted and not pipe.delivered:
            chain = pipe.chain = chain or ToxicChain(pipe)
            stage = toxic.spec.attributes.stage(pipe, self._draw(connection, toxic.spec))
            stage.tally = toxic.tally
            toxic.tally.connections += 1
            chain.insert(self._position(chain.keys(), toxic, connection.resp), toxic, stage, live=live)
        if not connection.closed:
            pipe.balance()

    def _position(self, present: list[object], toxic: Toxic, session: Session | None) -> int:
        """Where in a chain `toxic` belongs: after those of its stream that were added before it.

        A RESP session is at the server's end: first downstream, last upstream.
        """
        before: set[object] = set()
        for known in self._toxics.values():
            if known is toxic:
                break
            before.add(known)
        if session is not None and toxic.spec.stream == "downstream":
            before.add(session)
        return sum(1 for key in present if key in before)
