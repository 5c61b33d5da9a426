"""Writes without end to one key of labctl's own: the replication stream runs on, the data set does not grow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from redis.exceptions import ResponseError

from labctl.agent.effects.base import Felt, eventually
from labctl.agent.traffic.base import Pattern
from labctl.errors import InjectionError
from labctl.model.fault import Link, LinkState
from labctl.observe.parse import info

if TYPE_CHECKING:
    from labctl.model.fault import Parameters

_VALUE = "x" * 65_536
_BACK_S = 15.0
"""A replica tries to connect each second; while its data is on the way its link counts as down."""


class Flood(Pattern):
    """Parameters: `key`; `behind`, names of replicas, comma-separated, that the backlog is to leave behind."""

    name: ClassVar[str] = "flood"

    async def run(self) -> None:
        """See `Pattern`. Once the replicas are left behind nothing more is written: their link is not there."""
        session = self.session()
        behind = [name for name in str(self.parameters["behind"]).split(",") if name]
        while not await self._left_behind(behind):
            (reply,) = await session.call(("SET", str(self.parameters["key"]), _VALUE))
            if isinstance(reply, ResponseError):
                raise InjectionError(f"the stream cannot be moved on: {reply}")
        await asyncio.Event().wait()

    async def note(self) -> Parameters:
        """How many full resyncs the server has served so far, and since when it counts."""
        run_id, full = await self._full_syncs()
        return (("run_id", run_id), ("full_syncs", full))

    async def aftermath(self) -> Felt | None:
        """Wait until every replica that was left behind is back, and count the full resyncs that it took."""
        held = self.bench.links.held()
        names = [name for name in str(self.parameters["behind"]).split(",") if name]
        behind = [name for name in names if held.get(Link(name, self.node)) is LinkState.OPEN]

        async def back() -> bool:
            view = await self.bench.observer.poll()
            return all(view.node(n).link_up and view.node(n).follows == self.node for n in behind if view.node(n).up)

        await eventually(back, _BACK_S)
        run_id, full = await self._full_syncs()
        same = run_id == self.parameters.get("run_id")
        return Felt(
            max(0, full - self.number("full_syncs")) if same else 0,
            f"{{}} full resyncs from {self.node} came of it (sync_full is {full})",
            f"no full resync from {self.node} came of it" + ("" if same else ", for it was restarted meanwhile"),
        )

    async def _full_syncs(self) -> tuple[str, int]:
        fields = info(str(await self.bench.ask(self.node, "INFO")))
        return fields["run_id"], int(fields["sync_full"])

    async def _left_behind(self, names: list[str]) -> bool:
        view = await self.bench.observer.poll()
        fields = info(str(await self.bench.ask(self.node, "INFO", "replication")))
        first = int(fields["repl_backlog_first_byte_offset"])
        offsets = {name: view.node(name).offset for name in names}
        if not all(view.node(name).up for name in names) or not all(o < first - 1 for o in offsets.values()):
            return False
        where = ", ".join(f"{name} is at {offset}" for name, offset in offsets.items())
        self.bite(f"the backlog begins at offset {first}; {where}, so only a full resync can follow")
        return True

    async def clean(self) -> None:
        """See `Pattern`."""
        await self.unlink_everywhere(str(self.parameters["key"]))
        await super().clean()
