"""Dependencies between transactions that append unique values to lists and read whole lists.

**Model.** Each key holds a list, at first empty. A version of a key is its list after some append; each append makes
the next version by adding one element at the end, and no element is appended twice. So a read of `[1 5 7]` shows not
only its version but the order of all versions before it: Kingsbury and Alvaro (Elle, VLDB 2020) call this
traceability. Transactions are atomic: the committed ones are all those that ended `ok`, and an unknown one once an
`ok` transaction has read one of its elements. A failed one was certainly not applied.

**Version order.** Take the longest list that an `ok` transaction read from k, and from it the elements that committed
transactions appended. Every other read has to be a prefix of it (or the reverse, were it longer); a read that is not
shows that no single order of versions exists, the anomaly *incompatible-order*. A committed append to k that the
longest read does not show makes a version after all of those it shows, since elements are never removed.

**Edges**, each of which holds in every execution that explains the reads:

- ww: of two consecutive elements of the version order, the appender of the first comes before that of the second; the
  appender of the last comes before the appender of each committed element not shown.
- wr: a reader comes after the appender of the last element it read. Appenders of earlier ones follow by ww.
- rw: a reader that saw a proper prefix comes before the appender of the element that is next; a reader of the whole
  order comes before the appender of each committed element not shown. The next version is by definition one that the
  reader's snapshot did not contain.

Keys with incompatible reads keep the edges of their longest read; the others contribute wr edges alone, and elements
not shown none at all, for the argument about them needs one order.

**Completeness.** Version orders are total up to the last element read, so edges are lost only behind it: two appends
that nobody read are not ordered with each other. An unknown transaction that nobody observed is assumed not to have
committed, which is always one of its possibilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.check.transactions.columns import Function
from labctl.check.transactions.graph import Kind, expand

if TYPE_CHECKING:
    from labctl.check.transactions.columns import Transactions
    from labctl.check.transactions.graph import Dependencies
    from labctl.check.transactions.program import Program, Writers
    from labctl.model.history import Int64, Mask

_CHUNK: Final = 1 << 18  # elements compared at a time: a few arrays that stay in the cache
_DIVERGENT_ELEMENTS: Final = 4_000_000  # elements of divergent reads that are looked up one by one


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """List reads of `ok` transactions (r of them) against the version order of each key.

    Attributes:
        transactions: What was read and written.
        owner: (m,) the transaction of each micro-operation.
        program: Program order.
        read: (r,) micro-operations that read lists.
        length: (r,) elements read.
        order_start: (keys+1,) the longest read of key k is `order_micro[order_start[k]:order_start[k+1]]`.
        order_micro: For each element of the longest reads the micro-operation that appended it, -1 where none did.
        divergent: (r,) reads that are no prefix of their key's longest read.
        divergent_micro: Appenders of the elements of divergent reads, -1 where there is none; see `divergent_read`.
        divergent_read: For each of those its place in `read`.
        place: (m,) place in `order_micro` of each append that the longest read of its key shows; -1 for all others.
    """

    transactions: Transactions
    owner: Int64
    program: Program
    read: Int64
    length: Int64
    order_start: Int64
    order_micro: Int64
    divergent: Mask
    divergent_micro: Int64
    divergent_read: Int64
    place: Int64

    @classmethod
    def of(cls, transactions: Transactions, owner: Int64, program: Program, writers: Writers) -> Lists:
        """Find the version orders, and the reads that contradict them."""
        t = transactions
        read = np.flatnonzero((t.function == Function.READ_LIST) & t.ok[owner])
        key, length = t.key[read], t.list_length[read]
        longest = np.zeros(len(t.keys), dtype=np.int64)
        np.maximum.at(longest, key, length)
        order_start = np.concatenate(([0], np.cumsum(longest)))
        example = np.full(len(t.keys), -1, dtype=np.int64)
        is_longest = (length == longest[key]) & (length > 0)
        example[key[is_longest]] = read[is_longest]
        shown = np.flatnonzero(example >= 0)
        example = example[shown]
        order = t.elements[expand(t.list_begin[example], t.list_begin[example] + longest[shown])]
        order_micro = writers.find(np.repeat(shown, longest[shown]), order)
        order_begin = np.zeros(len(t.keys), dtype=np.int64)
        order_begin[shown] = t.list_begin[example]
        elsewhere = np.flatnonzero(t.list_begin[read] != order_begin[key])  # the others share the longest one's stretch
        divergent = np.zeros(len(read), dtype=np.bool_)
        divergent[elsewhere] = _differ(t, read[elsewhere], order, order_start[key[elsewhere]])
        looked_up = np.flatnonzero(divergent)
        looked_up = looked_up[np.cumsum(length[looked_up]) <= _DIVERGENT_ELEMENTS]
        first = t.list_begin[read[looked_up]]
        place = np.full(len(owner), -1, dtype=np.int64)
        known = np.flatnonzero(order_micro >= 0)
        place[order_micro[known[::-1]]] = known[::-1]  # the first appearance of an element that appears twice
        return cls(
            transactions=t,
            owner=owner,
            program=program,
            read=read,
            length=length,
            order_start=order_start,
            order_micro=order_micro,
            divergent=divergent,
            divergent_micro=writers.find(
                np.repeat(key[looked_up], length[looked_up]),
                t.elements[expand(first, first + length[looked_up])],
            ),
            divergent_read=np.repeat(looked_up, length[looked_up]),
            place=place,
        )

    def observed(self) -> Mask:
        """(n,) the transactions of which an `ok` transaction has read an element."""
        observed = np.zeros(len(self.transactions), dtype=np.bool_)
        for micro in (self.order_micro, self.divergent_micro):
            observed[self.owner[micro[micro >= 0]]] = True
        return observed

    def committed_places(self, committed: Mask) -> Mask:
        """Which places of the longest reads make the version orders: appended by a committed transaction."""
        micro = self.order_micro
        counted = np.zeros(len(micro), dtype=np.bool_)
        known = np.flatnonzero(micro >= 0)
        first = known[self.place[micro[known]] == known]
        counted[first] = committed[self.owner[micro[first]]]
        return counted

    def add_edges(self, committed: Mask, dependencies: Dependencies) -> dict[str, int]:
        """Add the edges that the reads imply; returns numbers for the finding's stats."""
        counted = self.committed_places(committed)
        version = np.concatenate(([0], np.cumsum(counted)))  # committed elements before each place
        appender = self.owner[self.order_micro[counted]]
        first, end = version[self.order_start[:-1]], version[self.order_start[1:]]  # of each key
        key_of = np.repeat(np.arange(len(first)), end - first)
        same_key = np.diff(key_of) == 0
        dependencies.add(appender[:-1][same_key], appender[1:][same_key], Kind.WW)

        read = np.flatnonzero(~self.divergent)
        reader, key = self.owner[self.read[read]], self.transactions.key[self.read[read]]
        seen = version[self.order_start[key] + self.length[read]]
        saw_some, saw_less = seen > first[key], seen < end[key]
        dependencies.add(appender[seen[saw_some] - 1], reader[saw_some], Kind.WR)
        dependencies.add(reader[saw_less], appender[seen[saw_less]], Kind.RW)
        self._add_divergent_reads(committed, dependencies)

        unseen = self._unseen(committed)
        unseen_of, unseen_by = self.transactions.key[unseen], self.owner[unseen]
        dependencies.add_product((key[~saw_less], reader[~saw_less]), (unseen_of, unseen_by), Kind.RW)
        ordered = np.flatnonzero(end > first)
        dependencies.add_product((ordered, appender[end[ordered] - 1]), (unseen_of, unseen_by), Kind.WW)
        return {"list_versions_ordered": len(appender), "appends_never_read": len(unseen)}

    def _add_divergent_reads(self, committed: Mask, dependencies: Dependencies) -> None:
        last = np.flatnonzero(np.diff(self.divergent_read, append=-1) != 0)
        micro, reader = self.divergent_micro[last], self.owner[self.read[self.divergent_read[last]]]
        known = micro >= 0
        source, reader = self.owner[micro[known]], reader[known]
        dependencies.add(source[committed[source]], reader[committed[source]], Kind.WR)

    def _unseen(self, committed: Mask) -> Int64:
        """Committed appends that the longest read of their key does not show, of keys without divergent reads."""
        t = self.transactions
        whole = self._keys_without_divergent_reads()
        appends = np.flatnonzero((t.function == Function.APPEND) & committed[self.owner] & whole[t.key])
        return appends[self.place[appends] < 0]

    def _keys_without_divergent_reads(self) -> Mask:
        whole = np.ones(len(self.transactions.keys), dtype=np.bool_)
        whole[self.transactions.key[self.read[self.divergent]]] = False
        return whole

    def longest_read(self, key: int) -> int:
        """A micro-operation that read the whole longest list of a key."""
        candidates = np.flatnonzero((self.transactions.key[self.read] == key) & ~self.divergent)
        return int(self.read[candidates[np.argmax(self.length[candidates])]])

    def last_elements(self) -> tuple[Int64, Int64]:
        """Reads of lists that are not empty, and the micro-operations that appended their last elements."""
        whole = np.flatnonzero(~self.divergent & (self.length > 0))
        end = self.order_start[self.transactions.key[self.read[whole]]] + self.length[whole]
        last = np.flatnonzero(np.diff(self.divergent_read, append=-1) != 0)
        read = np.concatenate((whole, self.divergent_read[last]))
        micro = np.concatenate((self.order_micro[end - 1], self.divergent_micro[last]))
        return self.read[read[micro >= 0]], micro[micro >= 0]

    def aborted_elements(self) -> tuple[Int64, Int64]:
        """Reads that show an element of a failed transaction, each with the micro-operation that appended it."""
        failed = self.transactions.failed
        first = self._first_places(failed)
        key = self.transactions.key[self.read]
        end = np.where(self.divergent, 0, self.order_start[key] + self.length)
        shows = np.flatnonzero(end > first[key])
        elements = np.flatnonzero((self.divergent_micro >= 0) & failed[self.owner[self.divergent_micro]])
        read = np.concatenate((shows, self.divergent_read[elements]))
        return self.read[read], np.concatenate((self.order_micro[first[key[shows]]], self.divergent_micro[elements]))

    def _first_places(self, accused: Mask) -> Int64:
        """For each key the first place of its longest read with an element of an accused transaction, or past all."""
        places = np.flatnonzero((self.order_micro >= 0) & accused[self.owner[self.order_micro]])
        return self._first_of(places)

    def _first_of(self, places: Int64) -> Int64:
        first = np.full(len(self.transactions.keys), len(self.order_micro))
        np.minimum.at(first, np.searchsorted(self.order_start, places, side="right") - 1, places)
        return first

    def appends_upon_aborted(self, committed: Mask) -> tuple[Int64, Int64]:
        """Committed appends behind an element of a failed transaction: (append, the failed one's append)."""
        places = np.flatnonzero((self.order_micro >= 0) & self.transactions.failed[self.owner[self.order_micro]])
        versions = np.append(np.flatnonzero(self.committed_places(committed)), len(self.order_micro))
        follower = versions[np.searchsorted(versions, places)]
        key = np.searchsorted(self.order_start, places, side="right") - 1
        inside = follower < self.order_start[key + 1]
        return self.order_micro[follower[inside]], self.order_micro[places[inside]]

    def future_elements(self) -> tuple[Int64, Int64]:
        """Reads that show an element that their own transaction appends later: (read, append)."""
        program = self.program
        appends = np.flatnonzero((self.place >= 0) & self.transactions.ok[self.owner])
        read = program.read_before[program.place[appends]]
        appends, read = appends[read >= 0], program.micro[read[read >= 0]]
        number = np.searchsorted(self.read, read)
        end = self.order_start[self.transactions.key[read]] + self.length[number]
        shown = ~self.divergent[number] & (self.place[appends] < end)
        return read[shown], appends[shown]

    def reordered_appends(self) -> tuple[Int64, Int64]:
        """Pairs of appends of one transaction to one key of which a longest read shows the later one only, or first."""
        t, program = self.transactions, self.program
        places = np.flatnonzero(program.is_write & (t.function[program.micro] == Function.APPEND))
        earlier, later = places[:-1], places[1:]
        pair = program.begin[earlier] == program.begin[later]
        first, second = program.micro[earlier[pair]], program.micro[later[pair]]
        whole = self._keys_without_divergent_reads()[t.key[first]]
        missing = whole & (self.place[first] < 0)
        wrong = (self.place[second] >= 0) & (missing | (self.place[first] > self.place[second]))
        return first[wrong], second[wrong]

    def strange_reads(self) -> tuple[Int64, Int64]:
        """Reads with an element that nobody appended, and reads with an element more than once.

        Of the reads that are prefixes of their key's longest, those with the fewest elements come first.
        """
        known = np.flatnonzero(self.order_micro >= 0)
        repeated = known[self.place[self.order_micro[known]] != known]
        first_unwritten, first_repeated = self._first_of(np.flatnonzero(self.order_micro < 0)), self._first_of(repeated)
        key = self.transactions.key[self.read]
        end = np.where(self.divergent, 0, self.order_start[key] + self.length)
        by_length = np.argsort(self.length, kind="stable")
        codes = self.divergent_read * (len(self.owner) + 1) + self.divergent_micro
        codes, counts = np.unique(codes[self.divergent_micro >= 0], return_counts=True)
        unwritten = by_length[(end > first_unwritten[key])[by_length]], self.divergent_read[self.divergent_micro < 0]
        twice = by_length[(end > first_repeated[key])[by_length]], codes[counts > 1] // (len(self.owner) + 1)
        reads = [self.read[np.concatenate((whole, np.unique(others)))] for whole, others in (unwritten, twice)]
        return reads[0], reads[1]


def _differ(transactions: Transactions, read: Int64, order: Int64, order_start: Int64) -> Mask:
    """Which of these reads are no prefix of their key's longest read, which begins at `order_start` of `order`.

    Compares each element with the one at the same place of the longest read, some reads at a time.
    """
    begin, length = transactions.list_begin[read], transactions.list_length[read]
    ends = np.concatenate(([0], np.cumsum(length)))
    differ = np.zeros(len(read), dtype=np.bool_)
    first = 0
    while first < len(read):
        last = max(int(np.searchsorted(ends, ends[first] + _CHUNK, side="right")) - 1, first + 1)
        some = slice(first, last)
        different = np.flatnonzero(
            _stretches(transactions.elements, begin[some], length[some])
            != order[expand(order_start[some], order_start[some] + length[some])]
        )
        differ[np.searchsorted(ends, ends[first] + different, side="right") - 1] = True
        first = last
    return differ


def _stretches(elements: Int64, begin: Int64, length: Int64) -> Int64:
    """Elements of several lists, one after another; where they lie that way, as they mostly do, not even a copy."""
    total = int(length.sum())
    if begin[-1] + length[-1] - begin[0] == total and np.all(begin[1:] == begin[:-1] + length[:-1]):
        return elements[begin[0] : begin[0] + total]
    return elements[expand(begin, begin + length)]
