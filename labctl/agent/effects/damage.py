"""HoldDamaged: a server has to start from a file that is not as it left it."""

from __future__ import annotations

import os
import random
import shutil
from typing import TYPE_CHECKING

from labctl.agent.effects.base import BACK_DEADLINE_S, Effect, eventually, only
from labctl.agent.effects.local import data_folder, end_children, process_id
from labctl.errors import InjectionError, RevertError
from labctl.faults.claims import server_states
from labctl.model.fault import Action, Damage, HoldDamaged, ServerState

if TYPE_CHECKING:
    from pathlib import Path

_KEPT = "kept"


class Damaged(Effect):
    """The file as it was is kept in the node's folder until the claim is dropped.

    On the way back it replaces the damaged one only where the server refused that: a server that accepted it has gone on
    from what it loaded. So it is also right after a crash of the agent at any point: a server that is gone gets its file
    back if one is kept, and is started.
    """

    async def prepare(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> tuple[Action, ...]:
        """See `Effect`."""
        held = {(claim.node, claim.file) for claim in only(HoldDamaged, standing)}
        for claim in only(HoldDamaged, actions):
            process_id(self.bench, claim.node)
            if (claim.node, claim.file) in held:
                raise InjectionError(f"The {claim.file} of {claim.node} is damaged already.", "labctl chaos ls")
            if claim.file == "rdb" and "yes" in str(await self.bench.ask(claim.node, "CONFIG", "GET", "appendonly")):
                raise InjectionError(
                    f"{claim.node} has an append-only file and loads no dump when it starts.", "--set file=aof"
                )
            found = self._file(claim)
            if found is None or not found.stat().st_size:
                raise InjectionError(
                    f"{claim.node} has no {claim.file} file with anything in it.",
                    "A topology with `persistence` has; an RDB file exists after SAVE or BGSAVE.",
                )
        return actions

    async def apply(self, touched: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`. A claim is carried out once; applied again it has nothing to do."""
        standing_claims = set(only(HoldDamaged, standing))
        for claim in dict.fromkeys(only(HoldDamaged, touched)):
            if claim not in standing_claims:
                await self._give_back(claim, standing)
            elif not self._kept(claim).exists():
                await self._damage(claim, standing)

    async def prove(self, actions: tuple[Action, ...]) -> list[str]:
        """See `Effect`."""
        return [await self._met(claim) for claim in only(HoldDamaged, actions)]

    async def prove_gone(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        held = server_states(standing)
        for claim in only(HoldDamaged, actions):
            if claim.node not in held:
                await self.bench.answers(claim.node)

    async def _damage(self, claim: HoldDamaged, standing: tuple[Action, ...]) -> None:
        node = self.bench.node(claim.node)
        await self.bench.runtime.kill(node)
        await end_children(self.bench, claim.node)
        path = self._file(claim)
        if path is None:
            raise InjectionError(f"The {claim.file} file of {claim.node} is gone.")
        kept = self._kept(claim)
        kept.parent.mkdir(mode=0o700, exist_ok=True)
        partial = kept.with_suffix(".new")
        shutil.copyfile(path, partial)
        with partial.open("rb") as copy:
            os.fsync(copy.fileno())
        partial.rename(kept)
        _harm(path, claim)
        if claim.node not in server_states(standing):
            await self.bench.runtime.start(node)

    async def _give_back(self, claim: HoldDamaged, standing: tuple[Action, ...]) -> None:
        node, kept, path = self.bench.node(claim.node), self._kept(claim), self._file(claim)
        if kept.exists() and not await self._has_met(claim):
            raise RevertError(f"{claim.node} neither answers nor ends on its damaged {claim.file}.")
        if await self.bench.state(claim.node) is ServerState.GONE:
            if kept.exists() and path is not None:
                shutil.copyfile(kept, path)
            if claim.node not in server_states(standing):
                await self.bench.runtime.start(node)
        kept.unlink(missing_ok=True)

    async def _met(self, claim: HoldDamaged) -> str:
        """What the server did when it met the file: ended, or answered."""
        if not await self._has_met(claim):
            raise InjectionError(f"{claim.node} neither answers nor ends on its damaged {claim.file}.")
        if await self.bench.state(claim.node) is ServerState.GONE:
            words = self.bench.runtime.last_words(self.bench.node(claim.node), 1).strip()
            return f"{claim.node} refuses to start: {words}"
        view = await self.bench.view(claim.node)
        return f"{claim.node} started all the same, with {view.keys} keys"

    async def _has_met(self, claim: HoldDamaged) -> bool:
        """Whether it has ended, is frozen or has loaded what it found; waits for that."""

        async def settled() -> bool:
            if await self.bench.state(claim.node) is not ServerState.RUNNING:
                return True
            view = await self.bench.view(claim.node)
            return view.up and not view.loading

        return await eventually(settled, BACK_DEADLINE_S)

    def _file(self, claim: HoldDamaged) -> Path | None:
        data = data_folder(self.bench, claim.node)
        if claim.file == "rdb":
            dump = data / "dump.rdb"
            return dump if dump.exists() else None
        parts = sorted(data.glob("appendonlydir/*.incr.aof"), key=lambda part: int(part.name.split(".")[-3]))
        return parts[-1] if parts else None

    def _kept(self, claim: HoldDamaged) -> Path:
        return self.bench.folder.node(claim.node) / _KEPT / claim.file


def _harm(path: Path, claim: HoldDamaged) -> None:
    size = path.stat().st_size
    amount = min(claim.amount, size)
    if claim.how is Damage.TRUNCATE:
        os.truncate(path, size - amount)
        return
    rng = random.Random(f"{claim.node} {claim.file} {size}")
    first = min(int(claim.at * size), size - amount)
    with path.open("r+b") as file:
        file.seek(first)
        found = file.read(amount)
        file.seek(first)
        file.write(bytes(byte ^ rng.randrange(1, 256) for byte in found))
