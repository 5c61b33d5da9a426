"""How readers say what they heard, and that they have heard enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from labctl.model.message import Topic

Say = Callable[[Topic, str], None]
"""Tells of a message: what it is about, and its text."""


class New(Protocol):
    """Whether a speaker says another thing about a subject than before; `usual` stands for what it did not say yet."""

    def __call__(self, subject: str, state: object, usual: object = None, *, to_anybody: bool = False) -> bool:
        """`to_anybody`: telling the same to another listener is nothing new."""
        ...


class EndOfInterest(Exception):  # noqa: N818 - no error: the rest of the stream is not listened to
    """Nothing that follows in this direction of the connection matters."""
