"""Servers that ended, for whoever wants to know: nobody before there is an agent."""

from __future__ import annotations

from collections.abc import Callable

from labctl.agent.events import Events


class Exits:
    """Called with a node's name when its server ended, whoever ended it.

    Attributes:
        events: Where it is noted.
        tell: Who is told.
    """

    def __init__(self) -> None:
        self.events: Events = Events()
        self.tell: Callable[[str], None] = lambda _: None

    def __call__(self, name: str) -> None:
        """Note and tell it."""
        self.events.add("exit", f"the server of {name} ended", name)
        self.tell(name)
