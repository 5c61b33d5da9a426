"""Producers and consumers among the clients of one workload."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labctl.workload.process import Process

_IDLE_S = 0.005


class Roles:
    """Which processes consume: the last of them, in the order in which they are first asked about.

    Args:
        clients: How many processes there are.
        share: Of them that consume; at least one of each where there are two.
    """

    def __init__(self, clients: int, share: float) -> None:
        wanted = round(clients * share)
        self._producers = clients - (min(max(wanted, 1), clients - 1) if clients > 1 else 0)
        self._order: dict[int, int] = {}

    def consumes(self, process: Process) -> bool:
        """Whether this process is a consumer. With a single client nobody is."""
        place = self._order.setdefault(process.number, len(self._order))
        return place >= self._producers

    @property
    def consumers(self) -> list[int]:
        """Numbers of the consuming processes."""
        return [number for number, place in self._order.items() if place >= self._producers]

    @staticmethod
    async def idle() -> None:
        """What a consumer does when there is nothing to take."""
        await asyncio.sleep(_IDLE_S)
