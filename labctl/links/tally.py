"""What a toxic has done so far: how it is known that it took effect, or that nothing has come its way yet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Of one toxic on one proxy, since it was put there.

    Attributes:
        connections: How many it was drawn for, those that have ended since included.
        acted: How often it did what it is for: held a chunk or an end back, cut one into pieces, swallowed one, closed or
            reset a connection, met a command.
        passed: Bytes that came to the link in its direction, whether or not it was drawn for their connection.
    """

    connections: int = 0
    acted: int = 0
    passed: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.connections + other.connections, self.acted + other.acted, self.passed + other.passed)


NOBODYS = Tally()
"""Where stages count that belong to no toxic."""
