"""Every error that a user can meet, and every exit code, in one place.

A `LabError` is a sentence that says what happened and where, and a hint that says what to do. The command line prints
both and exits with the class's code; it never shows a traceback for one of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of `labctl`, the same for every verb."""

    HELD = 0
    VIOLATED = 1
    USAGE = 2
    INCONCLUSIVE = 3
    LAB_FAILED = 4
    REVERT_FAILED = 5
    ABORTED = 130


class LabError(Exception):
    """A lab could not do what was asked (exit 4).

    Args:
        message: What happened, and where.
        hint: What the user can do about it; empty when there is nothing to add.
    """

    exit_code: Exit = Exit.LAB_FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(LabError):
    """The command, a name or a file is wrong; nothing was started (exit 2)."""

    exit_code = Exit.USAGE


class DeclarationError(UsageError):
    """A YAML file is wrong. Carries every problem at once, each as `file:line:col: message`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems), "Fix the lines above; nothing was started.")
        self.problems = problems


class CapabilityError(UsageError):
    """This machine or engine cannot do what was asked; the hint names the command that adds it."""


class StartError(LabError):
    """A server did not start or the lab did not become healthy; the message ends with the evidence."""


class NotHealthyError(StartError):
    """Every server runs, and still the lab did not become healthy in time.

    Args:
        message: As for any error; ends with the first reasons.
        hint: As for any error.
        reasons: All reasons of the last view.
        view: That view, as JSON values.
    """

    def __init__(self, message: str, hint: str, reasons: list[str], view: Mapping[str, object]) -> None:
        super().__init__(message, hint)
        self.reasons = reasons
        self.view = view


class InjectionError(LabError):
    """A fault could not be injected, or was injected and did not take effect."""


class RevertError(LabError):
    """An undo failed; the message names what remains (exit 5)."""

    exit_code = Exit.REVERT_FAILED


class InconclusiveError(LabError):
    """A drill could not be judged (exit 3)."""

    exit_code = Exit.INCONCLUSIVE


class HistoryError(InconclusiveError):
    """A history is damaged or contradicts itself, and was refused instead of judged. Carries every problem found."""

    def __init__(self, problems: list[str], hint: str = "The history was not judged.") -> None:
        super().__init__("\n".join(problems), hint)
        self.problems = problems


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The beginning of a hint about a wrong name: the near ones as a question, or nothing.

    >>> did_you_mean("redis-11", ["redis-1", "sentinel-1"])
    'Did you mean redis-1? '
    """
    from difflib import get_close_matches  # noqa: PLC0415 - only for whoever mistyped

    near = get_close_matches(word, list(known), n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}? " if near else ""
