"""A fault in force, as a test holds it: a context manager whose end is the fault's end."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self, TypedDict

from labctl.errors import RevertError, UsageError

Call = Callable[..., Any]
"""`Lab.call`: method, path, body, query."""


class Options(TypedDict, total=False):
    """What every fault can be told.

    Attributes:
        for_s: Seconds until the lab reverts it by itself; until it is healed, when left out.
        seed: Of random targets.
    """

    for_s: float | None
    seed: int | None


class LinkOptions(Options, total=False):
    """What a fault on links can be told besides.

    Attributes:
        from_: One way only: connections of these towards the target.
    """

    from_: str


class Injected:
    """A fault that was injected and measured to have taken effect.

    Leaving its block heals it and returns when that was measured. Without a block it lasts until `heal`, its deadline or
    the end of the lab.

    Attributes:
        number: As `labctl chaos ls` counts.
        kind: Its registry name.
        target: Its target, as resolved by the kind.
        touches: Nodes and links that it holds.
        evidence: What was measured to say that it took effect.
    """

    def __init__(self, call: Call, data: dict[str, Any]) -> None:
        self._call = call
        self.number = int(data["id"])
        self.kind = str(data["kind"])
        self.target = str(data["target"])
        self.touches: tuple[str, ...] = tuple(data["touches"])
        self.evidence = str(data["evidence"])
        self._over = bool(data["ended"])

    @property
    def in_force(self) -> bool:
        """Whether it still stands, also when its revert is being tried again."""
        return not self._over and any(fault["id"] == self.number for fault in self._call("GET", "/faults"))

    def heal(self) -> None:
        """Revert it and return when that was measured. One that is over already is no error.

        Raises:
            RevertError: It could not be reverted; it is tried again.
        """
        if self._over:
            return
        try:
            self._call("DELETE", "/faults", id=self.number)
        except RevertError:
            raise
        except UsageError:  # its deadline came first
            pass
        self._over = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self.heal()
        return False

    def __repr__(self) -> str:
        return f"<fault {self.number}: {self.kind} {self.target}: {self.evidence}>"
