"""Why an edge of a cycle holds, looked up again in the history and said in plain words.

The graph of a million transactions does not remember where its edges came from; the few that end up in a cycle are
explained from the same version orders that they were inferred from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.check.prose import duration
from labctl.check.transactions.columns import Function
from labctl.check.transactions.graph import Kind, Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labctl.check.transactions.columns import Transactions
    from labctl.check.transactions.cycles import Step
    from labctl.check.transactions.lists import Lists
    from labctl.check.transactions.program import Program
    from labctl.check.transactions.registers import Registers
    from labctl.model.history import Mask


UNEXPLAINED: Final = "its reads and writes say so"
"""Stands where a reason cannot be found again. That would be a bug, but no ground to withhold a verdict."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one transaction comes before another.

    Attributes:
        key: The key that shows it; empty for process and time edges.
        because: A clause that names the two.
    """

    key: str
    because: str


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Everything that edges were inferred from."""

    transactions: Transactions
    program: Program
    lists: Lists
    registers: Registers
    committed: Mask

    def of(self, step: Step, first: str, second: str) -> Reason:
        """Why this edge holds.

        Args:
            step: The edge.
            first: What the transaction that comes first is called.
            second: What the other one is called.
        """
        t = self.transactions
        if step.kind is Kind.PROCESS:
            process = t.process[step.source]
            return Reason("", f"process {process} ran {first} and then {second}")
        if step.kind is Kind.TIME:
            gap = int(t.invoke_ns[step.target] - t.complete_ns[step.source])
            return Reason("", f"{first} had completed {duration(gap)} before {second} was invoked")
        return next(self._reasons(step, first, second), Reason("", UNEXPLAINED))

    def _reasons(self, step: Step, first: str, second: str) -> Iterator[Reason]:
        if step.kind is Kind.WR:
            yield from self._list_wr(step, first, second)
            yield from self._register_wr(step, first, second)
        elif step.kind is Kind.RW:
            yield from self._list_rw(step, first, second)
            yield from self._register_rw(step, first, second)
        else:
            yield from self._list_ww(step, first, second)
            yield from self._register_ww(step, first, second)

    def _micros(self, transaction: int, *functions: Function) -> list[int]:
        t = self.transactions
        span = range(int(t.start[transaction]), int(t.start[transaction + 1]))
        return [micro for micro in span if t.function[micro] in functions]

    def _value(self, micro: int) -> str:
        return self.transactions.value_text(int(self.transactions.value[micro]))

    def _key(self, micro: int) -> str:
        name: str = self.transactions.keys[self.transactions.key[micro]]
        return name

    def _next_version(self, place: int, key: int) -> int | None:
        """The appending micro-operation of the first element of the version order at or behind a place."""
        end = int(self.lists.order_start[key + 1])
        for candidate in range(place, end):
            micro = int(self.lists.order_micro[candidate])
            if micro >= 0 and self.lists.place[micro] == candidate and self.committed[self.lists.owner[micro]]:
                return micro
        return None

    def _list_ww(self, step: Step, first: str, second: str) -> Iterator[Reason]:
        lists, t = self.lists, self.transactions
        later = self._micros(step.target, Function.APPEND)
        for micro in self._micros(step.source, Function.APPEND):
            key, place = int(t.key[micro]), int(lists.place[micro])
            if place < 0:
                continue
            following = self._next_version(place + 1, key)
            if following in later:
                yield Reason(
                    t.keys[key],
                    f"{second} appended {self._value(following)} to {t.keys[key]} after {first} had appended "
                    f"{self._value(micro)}",
                )
            for other in later:
                if following is None and t.key[other] == key and lists.place[other] < 0:
                    yield Reason(
                        t.keys[key],
                        f"{second}'s append of {self._value(other)} to {t.keys[key]} is in no read, not even in the "
                        f"longest, which ends with {first}'s {self._value(micro)}; so it can only come after it",
                    )

    def _list_wr(self, step: Step, first: str, second: str) -> Iterator[Reason]:
        t, lists = self.transactions, self.lists
        for read in self._micros(step.target, Function.READ_LIST):
            shown = set(t.read_elements(read).tolist())
            text = t.list_text(t.read_elements(read).tolist())
            for micro in reversed(self._micros(step.source, Function.APPEND)):
                if t.key[micro] == t.key[read] and int(t.value[micro]) in shown:
                    yield Reason(
                        lists.transactions.keys[t.key[read]],
                        f"{second} read {self._key(read)} as {text}, where {first} had appended {self._value(micro)}",
                    )

    def _list_rw(self, step: Step, first: str, second: str) -> Iterator[Reason]:
        t, lists = self.transactions, self.lists
        later = self._micros(step.target, Function.APPEND)
        for read in self._micros(step.source, Function.READ_LIST):
            key, elements = int(t.key[read]), t.read_elements(read)
            if lists.divergent[np.searchsorted(lists.read, read)]:
                continue
            following = self._next_version(int(lists.order_start[key]) + len(elements), key)
            text = t.list_text(elements.tolist())
            for micro in later:
                if micro == following or (following is None and t.key[micro] == key and lists.place[micro] < 0):
                    yield Reason(
                        t.keys[key],
                        f"{first} read {t.keys[key]} as {text}, without the {self._value(micro)} that {second} appended",
                    )

    def _register_reads(self, transaction: int) -> dict[int, list[int]]:
        """Key → what the transaction's reads of it saw, as in `Registers.seen`."""
        reads = self._micros(transaction, Function.READ)
        found: dict[int, list[int]] = {}
        for read in reads:
            place = int(np.searchsorted(self.registers.read, read))
            if place < len(self.registers.read) and self.registers.read[place] == read:
                found.setdefault(int(self.transactions.key[read]), []).append(int(self.registers.seen[place]))
        return found

    def _register_wr(self, step: Step, first: str, second: str) -> Iterator[Reason]:
        mine = self._micros(step.source, Function.WRITE)
        for seen in self._register_reads(step.target).values():
            for micro in seen:
                if micro in mine:
                    yield Reason(
                        self._key(micro),
                        f"{second} read {self._key(micro)} = {self._value(micro)}, which {first} had written",
                    )

    def _register_rw(self, step: Step, first: str, second: str) -> Iterator[Reason]:
        written = {int(self.transactions.key[m]): m for m in self._micros(step.target, Function.WRITE)}
        for key, seen in self._register_reads(step.source).items():
            for micro in seen:
                if key in written and (micro == -1 or micro >= 0):
                    old = "no value" if micro == -1 else self._value(micro)
                    why = self._version_order(micro, written[key], step.level)
                    if why:
                        yield Reason(
                            self.transactions.keys[key],
                            f"{first} read {self.transactions.keys[key]} = {old}, which {second}'s "
                            f"{self._value(written[key])} replaced: {why}",
                        )

    def _register_ww(self, step: Step, first: str, second: str) -> Iterator[Reason]:
        written = {int(self.transactions.key[m]): m for m in self._micros(step.target, Function.WRITE)}
        for micro in reversed(self._micros(step.source, Function.WRITE)):
            key = int(self.transactions.key[micro])
            why = self._version_order(micro, written[key], step.level) if key in written else ""
            if why:
                yield Reason(
                    self.transactions.keys[key],
                    f"{second}'s {self._value(written[key])} replaced {first}'s {self._value(micro)} in "
                    f"{self.transactions.keys[key]}: {why}",
                )

    def _version_order(self, before: int, after: int, level: Level) -> str:
        """Why one version of a register is older than another, at this level; empty if that is not known.

        `before` and `after` are the writes that made them; -1 for the initial version.
        """
        if before == -1:
            return "nobody wrote before the first value was there" if level is Level.PLAIN else ""
        t, owner = self.transactions, self.registers.owner
        if level is Level.PLAIN:
            saw = self._register_reads(int(owner[after])).get(int(t.key[after]), [])
            return f"its transaction had read {self._value(before)}" if before in saw else ""
        first, second = self._met(before), self._met(after)
        for earlier in first:
            for later in second:
                ordered = t.ok[earlier] and (
                    t.process[earlier] == t.process[later] and earlier < later
                    if level is Level.SESSION
                    else t.complete_ns[earlier] < t.invoke_ns[later]
                )
                if earlier != later and ordered:
                    when = "later in the same process" if level is Level.SESSION else "invoked after that completed"
                    return (
                        f"{t.describe(earlier)} met {self._value(before)}, and {t.describe(later)}, {when}, met "
                        f"{self._value(after)}"
                    )
        return ""

    def _met(self, write: int) -> list[int]:
        """Transactions that read the version that a write made, and its writer."""
        reads = self.registers.read[self.registers.seen == write]
        return sorted({int(self.registers.owner[write]), *self.registers.owner[reads].tolist()})
