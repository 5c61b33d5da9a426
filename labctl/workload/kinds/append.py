"""`append`: transactions that append to lists and read them, after Elle."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from labctl.workload.keys import Keys
from labctl.workload.kind import WorkloadKind

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from labctl.workload.client import Arg
    from labctl.workload.options import Options
    from labctl.workload.process import Process

_Micro = list[object]  # [function, key, value], as the history has it


class Append(WorkloadKind):
    """Transactions of RPUSH and LRANGE in MULTI, over lists of unique integers.

    A transaction stays within one group of lists, which share a hash slot. A list that has got its share of appends is
    retired and another takes its place, so that reads stay short however long the run is.

    History: `txn` (key: the group; value: micro-operations `["append", k, v]` and `["r", k, list or None]`), and a
    `final-read` of each list (value: its integers, None where it does not exist). For `transactions`.

    Options:
        keys, distribution, theta, hot_share: Groups, see `Keys`; 4 by default.
        lists: Lists in use at a time in each group.
        appends: Appends to a list before it is retired.
        longest: Micro-operations of a transaction at most.
        reads: Share of reads among micro-operations.
    """

    name = "append"
    summary = "RPUSH and LRANGE in MULTI, for transactional checking"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:  # noqa: ARG002
        self._groups = Keys(prefix, options, default=4)
        self._appends = options.whole("appends", 100, least=1)
        self._longest = options.whole("longest", 4, least=1, most=100)
        self._reads = options.number("reads", 0.5, most=1)
        lists = options.whole("lists", 3, least=1)
        self._active = {group: list(range(lists)) for group in self._groups.all}
        self._made = dict.fromkeys(self._groups.all, lists)
        self._appended: dict[str, int] = {}

    async def step(self, process: Process) -> None:
        """One transaction."""
        group = self._groups.choose(process.rng)
        micros = [self._micro(group, process) for _ in range(process.rng.randint(1, self._longest))]
        await process.op("txn", group, micros, self._run(process, group, micros), partial(_with_reads, micros))

    async def final_reads(self, process: Process) -> None:
        """LRANGE every list that was ever appended to."""
        for key in list(self._appended):
            await process.final_read(key, partial(process.client.read, "LRANGE", key, 0, -1, key=key), _integers)

    def _micro(self, group: str, process: Process) -> _Micro:
        key = self._list(group, process.rng)
        if process.rng.random() < self._reads:
            return ["r", key, None]
        self._appended[key] = appended = self._appended.get(key, 0) + 1
        if appended == self._appends:
            active = self._active[group]
            active[next(i for i, number in enumerate(active) if _key(group, number) == key)] = self._made[group]
            self._made[group] += 1
        return ["append", key, process.unique()]

    def _list(self, group: str, rng: random.Random) -> str:
        return _key(group, rng.choice(self._active[group]))

    async def _run(self, process: Process, group: str, micros: Sequence[_Micro]) -> list[object] | None:
        async with process.client.pinned(f"{{{group}}}") as pinned:
            return await pinned.transaction(*[_command(micro) for micro in micros])


def _key(group: str, number: int) -> str:
    return f"{{{group}}}:{number}"


def _command(micro: _Micro) -> tuple[Arg, ...]:
    function, key, value = micro
    if function == "r":
        return ("LRANGE", str(key), 0, -1)
    assert isinstance(value, int)
    return ("RPUSH", str(key), value)


def _with_reads(micros: Sequence[_Micro], replies: object) -> list[_Micro]:
    """The micro-operations with what their reads returned."""
    assert isinstance(replies, list)
    return [
        [function, key, _integers(reply) if function == "r" else value]
        for (function, key, value), reply in zip(micros, replies, strict=True)
    ]


def _integers(reply: object) -> list[int] | None:
    """A list's content; Redis has no empty lists, so an empty reply is a key that does not exist."""
    assert isinstance(reply, list)
    return [int(element) for element in reply] or None
