"""Anomalies that a read shows without any order of transactions: aborted, intermediate, unwritten and lost values.

What a read *saw* is a micro-operation: the one that wrote the register's value, or that appended the list's last
element. The definitions of G1a and G1b are Adya's (PhD thesis, 1999), that of lost update is of Berenson et al. (1995).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labctl.check.transactions.anomalies import EXAMPLES, Anomaly, Collected
from labctl.check.transactions.columns import Function

if TYPE_CHECKING:
    from labctl.check.transactions.columns import Transactions
    from labctl.check.transactions.lists import Lists
    from labctl.check.transactions.program import Program
    from labctl.check.transactions.registers import Registers
    from labctl.model.history import Int64, Mask


@dataclass(frozen=True, slots=True, eq=False)
class Reads:
    """Turns reads and writes into anomalies with their words.

    Attributes:
        transactions: What was read and written.
        owner: (m,) the transaction of each micro-operation.
        program: Program order.
        found: Where the anomalies go.
    """

    transactions: Transactions
    owner: Int64
    program: Program
    found: Collected

    def of_registers(self, registers: Registers) -> None:
        """Everything that register reads show."""
        read, seen = registers.read, registers.seen
        unwritten = np.flatnonzero(seen == -2)
        self._unwritten(read[unwritten], "a value that nobody wrote to it")
        wrote = seen >= 0
        read, seen = read[wrote], seen[wrote]
        self._future(read, seen)
        self._aborted(read, seen)
        self._intermediate(read, seen)
        known = registers.seen != -2
        initial = -1 - self.transactions.key[registers.read]
        version = np.where(registers.seen >= 0, registers.seen, initial)
        self._lost_updates(registers.read[known], version[known])
        self._aborted_overwritten(read, seen)

    def of_lists(self, lists: Lists, committed: Mask) -> None:
        """Everything that list reads show."""
        self._incompatible_orders(lists)
        self._strange_elements(lists)
        read, seen = lists.last_elements()
        self._intermediate(read, seen)
        self._aborted(*lists.aborted_elements())
        self._dirty_updates(*lists.appends_upon_aborted(committed))
        self._future(*lists.future_elements())
        self._reordered(lists)
        whole = np.flatnonzero(~lists.divergent)
        key = self.transactions.key[lists.read[whole]]
        self._lost_updates(lists.read[whole], lists.order_start[key] + key + lists.length[whole])

    def _key(self, micro: int) -> str:
        name: str = self.transactions.keys[self.transactions.key[micro]]
        return name

    def _value(self, micro: int) -> str:
        return self.transactions.value_text(int(self.transactions.value[micro]))

    def _wrote(self, micro: int) -> str:
        return "appended" if self.transactions.function[micro] == Function.APPEND else "wrote"

    def _read_text(self, micro: int) -> str:
        t = self.transactions
        if t.function[micro] == Function.READ_LIST:
            return t.list_text(t.read_elements(micro).tolist())
        return self._value(micro)

    def _anomaly(self, name: str, micros: tuple[int, ...], explanation: str) -> Anomaly:
        return Anomaly(name, self._key(micros[0]), tuple(int(self.owner[micro]) for micro in micros), explanation)

    def _unwritten(self, read: Int64, what: str) -> None:
        examples = (
            self._anomaly("unwritten-read", (r,), f"T1 read {self._key(r)} as {self._read_text(r)}: {what}.")
            for r in read.tolist()
        )
        self.found.add("unwritten-read", len(read), examples)

    def _future(self, read: Int64, seen: Int64) -> None:
        """Reads of what the same transaction writes only later."""
        future = np.flatnonzero(self.owner[read] == self.owner[seen])
        examples = (
            self._anomaly(
                "future-read",
                (r,),
                f"T1 read {self._key(r)} as {self._read_text(r)}, which shows the {self._value(s)} that it "
                f"{self._wrote(s)} only later.",
            )
            for r, s in zip(read[future].tolist(), seen[future].tolist(), strict=True)
        )
        self.found.add("future-read", len(future), examples)

    def _aborted(self, read: Int64, seen: Int64) -> None:
        aborted = np.flatnonzero(self.transactions.failed[self.owner[seen]])
        examples = (
            self._anomaly(
                "G1a",
                (r, s),
                f"T1 read {self._key(r)} as {self._read_text(r)}, but T2, which {self._wrote(s)} "
                f"{self._value(s)}, failed and was certainly not applied.",
            )
            for r, s in zip(read[aborted].tolist(), seen[aborted].tolist(), strict=True)
        )
        self.found.add("G1a", len(aborted), examples)

    def _intermediate(self, read: Int64, seen: Int64) -> None:
        owner = self.owner[seen]
        passing = ~self.program.is_last_write(seen) & (owner != self.owner[read]) & ~self.transactions.failed[owner]
        intermediate = np.flatnonzero(passing)
        examples = (
            self._anomaly(
                "G1b",
                (r, s),
                f"T1 read {self._key(r)} as {self._read_text(r)}, which is T2's work half done: after it "
                f"{self._wrote(s)} {self._value(s)} it {self._wrote(s)} {self._value(self._last_write(s))} to the same "
                f"key.",
            )
            for r, s in zip(read[intermediate].tolist(), seen[intermediate].tolist(), strict=True)
        )
        self.found.add("G1b", len(intermediate), examples)

    def _last_write(self, micro: int) -> int:
        return int(self.program.micro[self.program.last_write[self.program.place[micro]]])

    def _lost_updates(self, read: Int64, version: Int64) -> None:
        """Committed transactions that read the same version and then both wrote."""
        updates = np.flatnonzero(self.program.reads_first(read) & self.program.writes_later(read))
        read, version = read[updates], version[updates]
        order = np.lexsort((read, version))
        read, version = read[order], version[order]
        new = np.diff(self.owner[read], prepend=-1) != 0  # several reads of one transaction are one update
        read, version = read[new], version[new]
        again = np.flatnonzero(np.diff(version) == 0) + 1
        examples = (
            self._anomaly(
                "lost-update",
                (a, b),
                f"T1 and T2 both read {self._key(a)} as {self._read_text(a)} and then both "
                f"{self._wrote(self._last_write(a))} to it: whichever came second overlooked the first.",
            )
            for a, b in zip(read[again - 1].tolist(), read[again].tolist(), strict=True)
        )
        self.found.add("lost-update", len(again), examples)

    def _aborted_overwritten(self, read: Int64, seen: Int64) -> None:
        upon = np.flatnonzero(self.transactions.failed[self.owner[seen]] & self.program.writes_later(read))
        writes = self.program.micro[self.program.last_write[self.program.place[read[upon]]]]
        self._dirty_updates(writes, seen[upon])

    def _dirty_updates(self, write: Int64, aborted: Int64) -> None:
        examples = (
            self._anomaly(
                "dirty-update",
                (w, a),
                f"T1 {self._wrote(w)} {self._value(w)} to {self._key(w)} upon {self._value(a)}, but T2, which "
                f"{self._wrote(a)} that, failed and was certainly not applied.",
            )
            for w, a in zip(write.tolist(), aborted.tolist(), strict=True)
        )
        self.found.add("dirty-update", len(write), examples)

    def _incompatible_orders(self, lists: Lists) -> None:
        divergent = lists.read[lists.divergent]
        shortest = divergent[np.argsort(lists.length[lists.divergent], kind="stable")][:EXAMPLES]
        pairs = ((int(r), lists.longest_read(int(self.transactions.key[r]))) for r in shortest)
        examples = (
            self._anomaly(
                "incompatible-order",
                (r, longest),
                f"T1 read {self._key(r)} as {self._read_text(r)} and T2 read it as {self._read_text(longest)}; "
                f"neither is a prefix of the other, so no single order of appends explains both.",
            )
            for r, longest in pairs
        )
        self.found.add("incompatible-order", len(divergent), examples)

    def _reordered(self, lists: Lists) -> None:
        first, second = lists.reordered_appends()

        def example(a: int, b: int) -> Anomaly:
            longest = lists.longest_read(int(self.transactions.key[a]))
            return self._anomaly(
                "reordered-appends",
                (b, longest),
                f"T1 appended {self._value(a)} to {self._key(a)} and then {self._value(b)}, but T2 read it as "
                f"{self._read_text(longest)}.",
            )

        examples = (example(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True))
        self.found.add("reordered-appends", len(first), examples)

    def _strange_elements(self, lists: Lists) -> None:
        unwritten, repeated = lists.strange_reads()
        self._unwritten(unwritten, "there is an element in it that nobody appended")
        examples = (
            self._anomaly(
                "duplicate-elements",
                (r,),
                f"T1 read {self._key(r)} as {self._read_text(r)}: an element is in it more than once, although it "
                f"was appended once.",
            )
            for r in repeated.tolist()
        )
        self.found.add("duplicate-elements", len(repeated), examples)
