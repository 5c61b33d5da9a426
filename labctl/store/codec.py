"""Frozen types to JSON and back, by pydantic's adapters: no second description of any type."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from labctl.store.folders import write_private

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # noqa: PLC0415 - not every verb needs it

    return TypeAdapter(kind)


def _kind(value: object) -> Any:
    return type(value)


def to_json(value: object) -> str:
    """`value`, a frozen dataclass, as JSON."""
    return str(_adapter(_kind(value)).dump_json(value, indent=1).decode())


def to_line(value: object) -> str:
    """`value`, a frozen dataclass, as JSON without a line break."""
    return str(_adapter(_kind(value)).dump_json(value).decode())


def to_data(value: object) -> Any:
    """`value`, a frozen dataclass, as JSON values."""
    return _adapter(_kind(value)).dump_python(value, mode="json")


def from_json(kind: Callable[..., T], text: str | bytes) -> T:
    """The reverse of `to_json`. Raises ValueError for text that does not describe a `kind`."""
    value: T = _adapter(kind).validate_json(text)
    return value


def from_data(kind: Callable[..., T], data: object) -> T:
    """The reverse of `to_data`."""
    value: T = _adapter(kind).validate_python(data)
    return value


def save(path: Path, value: object) -> None:
    """Write `value` as JSON, mode 0600, atomically."""
    write_private(path, to_json(value))


def load(kind: Callable[..., T], path: Path) -> T:
    """Read what `save` wrote."""
    return from_json(kind, path.read_bytes())
