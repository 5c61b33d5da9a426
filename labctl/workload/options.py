"""Reading the free-form options of a declared workload, with every problem at once."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

from labctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from labctl.model.fault import Scalar

_T = TypeVar("_T")


class Options:
    """A workload's options by name. What is read here is known; what was never asked for is a problem.

    A reader returns its default where the value is unusable, and goes on: `finish` raises for all problems together.
    """

    def __init__(self, owner: str, given: Mapping[str, Scalar]) -> None:
        self._owner = owner
        self._given = dict(given)
        self._known: set[str] = set()
        self._problems: list[str] = []

    def whole(self, name: str, default: int, *, least: int = 0, most: int | None = None) -> int:
        """A whole number between `least` and `most`, both included."""
        value = self._value(name, default)
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or value < least
            or (most is not None and value > most)
        ):
            upper = "or more" if most is None else f"to {most}"
            return self._refused(name, value, f"a whole number, {least} {upper}", default)
        return value

    def number(self, name: str, default: float, *, above: float | None = None, most: float | None = None) -> float:
        """A number of 0 or more, greater than `above` where that is given, at most `most`."""
        value = self._value(name, default)
        low = -1.0 if above is None else above
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low < value <= (most or 1e12)
            or value < 0
        ):
            wanted = "0 or more" if above is None else f"above {above:g}"
            return self._refused(
                name, value, f"a number {wanted}" + (f" and at most {most:g}" if most else ""), default
            )
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self._value(name, default)
        return value if isinstance(value, bool) else self._refused(name, value, "true or false", default)

    def choice(self, name: str, default: str, choices: Sequence[str]) -> str:
        """One of a few words."""
        value = self._value(name, default)
        if value not in choices:
            return self._refused(name, value, f"one of {', '.join(choices)}", default)
        return str(value)

    def problem(self, sentence: str) -> None:
        """Note what is wrong with options that don't go together."""
        self._problems.append(f"{self._owner}: {sentence}")

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, options that nobody asked for included."""
        unknown = [
            f"{self._owner}: there is no option {name!r}{_near(name, self._known)}"
            for name in self._given
            if name not in self._known
        ]
        return [*self._problems, *unknown]

    def finish(self) -> None:
        """Raise UsageError unless all is well."""
        if self.problems:
            raise UsageError("\n".join(self.problems), f"{self._owner} knows: {', '.join(sorted(self._known))}.")

    def _value(self, name: str, default: Scalar) -> Scalar:
        self._known.add(name)
        return self._given.get(name, default)

    def _refused(self, name: str, value: object, wanted: str, default: _T) -> _T:
        self.problem(f"{name} is {value!r}, and has to be {wanted}")
        return default


def _near(name: str, known: set[str]) -> str:
    close = get_close_matches(name, sorted(known), n=2)
    return f"; do you mean {' or '.join(close)}?" if close else ""
