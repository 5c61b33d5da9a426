"""A change of a proxy's toxics as a value that fits through a pipe, for link servers in other processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labctl.links.toxics import TYPES
from labctl.links.toxics.collection import Stream, ToxicSpec

if TYPE_CHECKING:
    from labctl.links.server import LinkServer


@dataclass(frozen=True, slots=True)
class ToxicFields:
    """A toxic as JSON states it, see `ToxicSpec`; always one that is held."""

    name: str
    stream: Stream
    type: str
    attributes: Mapping[str, Any]
    toxicity: float

    def spec(self) -> ToxicSpec:
        """The toxic itself."""
        return ToxicSpec(self.name, self.stream, TYPES[self.type](**self.attributes), self.toxicity, held=True)


@dataclass(frozen=True, slots=True)
class ToxicChange:
    """Toxics that go, by name, and toxics that come."""

    remove: tuple[str, ...]
    add: tuple[ToxicFields, ...]

    def to_fields(self) -> list[Any]:
        """As JSON values."""
        return [list(self.remove), [[t.name, t.stream, t.type, dict(t.attributes), t.toxicity] for t in self.add]]

    @classmethod
    def from_fields(cls, fields: list[Any]) -> ToxicChange:
        """The reverse of `to_fields`."""
        remove, add = fields
        return cls(tuple(remove), tuple(ToxicFields(*each) for each in add))

    def make(self, server: LinkServer, proxy: str) -> None:
        """Change a proxy's toxics; in force when this returns. A change of which a part was made already is completed."""
        toxics = server.toxics(proxy)
        present = {spec.name for spec in toxics.specs()}
        for name in {*self.remove, *(each.name for each in self.add)} & present:
            toxics.remove(name)
        for each in self.add:
            toxics.add(each.spec())
