"""`bank`: transfers between accounts, whose total never changes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from redis import WatchError

from labctl.workload.errors import DeclinedError
from labctl.workload.kind import WorkloadKind

if TYPE_CHECKING:
    from labctl.workload.options import Options
    from labctl.workload.process import Process

_SCRIPT = """
if tonumber(redis.call('GET', KEYS[1])) < tonumber(ARGV[1]) then return 0 end
redis.call('DECRBY', KEYS[1], ARGV[1])
redis.call('INCRBY', KEYS[2], ARGV[1])
return 1
"""


class Bank(WorkloadKind):
    """Accounts of one hash slot, with transfers that are atomic.

    History: `init` (value: account → balance, once), `transfer` (value: {from, to, amount}, `fail` with `Declined`
    for insufficient funds and `WatchError` where somebody was faster), `read` and `final-read` (value: account →
    balance), all of one key, the bank. For `bank`.

    Options:
        accounts: How many.
        balance: What each has in the beginning.
        most: Largest transfer.
        by: `watch` (WATCH, GET, MULTI, EXEC) or `lua` (one EVAL).
        reads: Share of reads of all accounts at once.
    """

    name = "bank"
    summary = "transfers in MULTI or in Lua; the total stays"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:  # noqa: ARG002
        self._bank = prefix
        self._accounts = [f"{{{prefix}}}:{n}" for n in range(options.whole("accounts", 8, least=2, most=1000))]
        self._balance = options.whole("balance", 100)
        self._most = options.whole("most", 5, least=1)
        self._by_script = options.choice("by", "watch", ("watch", "lua")) == "lua"
        self._reads = options.number("reads", 0.2, most=1)

    async def setup(self, process: Process) -> None:
        """Open the accounts."""
        opened = dict.fromkeys(self._accounts, self._balance)
        pairs = [part for pair in opened.items() for part in pair]
        answer = await process.op(
            "init", self._bank, opened, process.client.write("MSET", *pairs, key=self._accounts[0])
        )
        if not answer.ok:
            raise ConnectionError("the accounts could not be opened")

    async def step(self, process: Process) -> None:
        """Transfer, or read all balances."""
        if process.rng.random() < self._reads:
            await process.op("read", self._bank, None, self._read(process), self._balances)
            return
        source, target = process.rng.sample(self._accounts, 2)
        amount = process.rng.randint(1, self._most)
        value = {"from": source, "to": target, "amount": amount}
        move = self._move_in_script if self._by_script else self._move_watched
        request = move(process, source, target, amount)
        await process.op("transfer", self._bank, value, request, scripted=self._by_script)

    async def final_reads(self, process: Process) -> None:
        """MGET all accounts."""
        await process.final_read(self._bank, partial(self._read, process), self._balances)

    async def _read(self, process: Process) -> object:
        return await process.client.read("MGET", *self._accounts, key=self._accounts[0])

    def _balances(self, reply: object) -> dict[str, int | None]:
        assert isinstance(reply, list)
        amounts = [None if text is None else int(text) for text in reply]
        return dict(zip(self._accounts, amounts, strict=True))

    async def _move_in_script(self, process: Process, source: str, target: str, amount: int) -> None:
        if not await process.client.write("EVAL", _SCRIPT, 2, source, target, amount, key=source):
            raise DeclinedError("insufficient funds")

    async def _move_watched(self, process: Process, source: str, target: str, amount: int) -> None:
        async with process.client.pinned(source) as pinned:
            await pinned.call("WATCH", source, target)
            if int(str(await pinned.call("GET", source) or 0)) < amount:
                raise DeclinedError("insufficient funds")
            if await pinned.transaction(("DECRBY", source, amount), ("INCRBY", target, amount)) is None:
                raise WatchError("an account changed")
