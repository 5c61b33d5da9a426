"""The one record of a run: every operation, fault and role change on one monotonic clock.

An *operation* has an invocation and, mostly, a completion. Its outcome is `ok` (applied, and answered), `fail`
(certainly not applied) or `unknown` (timed out, connection lost after sending, or never answered: it may have been
applied, at any moment after its invocation, even after the client gave up). Checkers are sound only because nothing is
called `fail` that could have been applied.

A `History` keeps operations as NumPy columns, sorted by invocation, so that a million of them are tens of megabytes and
a checker is a few array operations. `Op` is the view of one row for people and tests. A *position* is a row number.

Values are one int64 column. An integer between -2**62 and 2**62 stands for itself; anything else is `NIL - i`, where
`i` is its place in `History.values` and `values[0]` is None. Equal scalars have equal codes, so that comparing values
is comparing integers; a structured value (list or mapping) has a code of its own each time. Codes beyond the end of
`values` go on in `History.micro_operations`, which holds the values of transactions as columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from labctl.errors import HistoryError
from labctl.model.micro_operations import MicroOperations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

NEVER: Final = 2**63 - 1
"""`complete_ns` of an operation that was never answered."""

NIL: Final = -(2**62)
"""The code of None; codes below it are other values that are not small integers."""

NO_VALUE: Final = -(2**63)
"""The code of a value that the history does not know; no operation has it."""

FAULT_START: Final = "fault-start"
FAULT_END: Final = "fault-end"
ROLE: Final = "role"
CLIENTS: Final = "clients"
SETTLED: Final = "settled"
REFUSAL: Final = "refusal"
ALERT: Final = "alert"
SENTINEL: Final = "sentinel"
ACTION_START: Final = "action-start"
ACTION_END: Final = "action-end"
WAITED: Final = "waited"
APPLICATION: Final = "application"
APPLICATION_LINE: Final = "application-line"
NOT_JUDGED: Final = "not-judged"

FINAL_READ: Final = "final-read"
"""The function of a read made after the faults are healed and the writers have stopped: what the system kept."""

_SHOWN = 5  # problems of one sort that validation spells out

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class OpOutcome(IntEnum):
    """How an operation ended, as its client could tell. The numbers are those of the column and of the file."""

    OK = 0
    FAIL = 1
    UNKNOWN = 2

    @property
    def label(self) -> str:
        """`ok`, `fail` or `unknown`."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Op:
    """One operation.

    Attributes:
        process: The sequential client that did it; a process has one operation at a time.
        function: What was asked: `write`, `read`, `cas`, `add`, `append`, `txn`, `incr`, …
        key: The object that it works on; independent objects have different keys.
        value: Its argument, or its result once there is one (a read's value). JSON only.
        invoke_ns: Just before it was sent, monotonic nanoseconds.
        complete_ns: When its client knew the outcome; None when it never did.
        outcome: See `OpOutcome`; an operation without completion is UNKNOWN.
        node: The server that answered, if known.
        error: The class of the error that ended it (`ConnectionError`, `READONLY`), None when there was none.
        due_ns: When an open-loop generator meant to send it, so that waiting in the client counts as latency;
            None for `invoke_ns`.
    """

    process: int
    function: str
    key: str
    value: object = None
    invoke_ns: int = 0
    complete_ns: int | None = None
    outcome: OpOutcome = OpOutcome.OK
    node: str | None = None
    error: str | None = None
    due_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the system, on the same clock as the operations.

    Attributes:
        kind: `FAULT_START`, `FAULT_END`, `ROLE`, `CLIENTS`, `SETTLED`, `REFUSAL`, `ALERT`, `SENTINEL`,
            `APPLICATION`, `APPLICATION_LINE`, `NOT_JUDGED`, or any mark of one's own.
        at_ns: Monotonic nanoseconds.
        node: The server concerned, or None.
        detail: JSON only. Faults: `fault` (its kind) and `id`, equal at start and end. Roles: `role` (`primary`, …)
            and `epoch` where the system has epochs. Clients: `group`, and its `processes` as a list. Settled, after
            the faults: `reasons` why the nodes do not agree (empty when they do), `waited_ms`, data `nodes` seen, `hastened`.
            Refusal: `what` was tried that should be refused, whether it was `refused`, and `how`. Alert: its `state`
            (`watched` when Prometheus was asked first, `blind` when it stopped answering, `standing` for what fired at first,
            `firing`, `cleared`), name and `labels`.
            Sentinel: the `primary` that it sends clients to from now on, and the `epoch`. Actions (maintenance): `id`,
            equal at start and end, `action`, `target`, and at the end whether it was `ok`. Waited: `what` a step waited
            for and saw, and `waited_ms`. `text`, where there is one, is the event in words.
            Application, the user's own program: `what` is `started`, or `ended` with its `exit_code` or the `signal` that
            ended it, whether it was `told` to, `ran_ms`, `grace_s`, how many `lines` and `stderr_lines`, and the
            `last_lines`. Its lines: `stream`. Not judged: `checks`, the names of those left out. All three have a `text`.
    """

    kind: str
    at_ns: int
    node: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """A fault from its start to its end; `end_ns` is None while it lasts to the end of the history."""

    name: str
    node: str | None
    start_ns: int
    end_ns: int | None


class Outcomes:
    """What has a column of outcomes.

    Attributes:
        outcome: int8, `OpOutcome`.
    """

    __slots__ = ()
    outcome: Int8

    @property
    def ok(self) -> Mask:
        """Which were acknowledged: certainly applied, and what they read counts."""
        return np.equal(self.outcome, OpOutcome.OK)

    @property
    def failed(self) -> Mask:
        """Which were certainly not applied."""
        return np.equal(self.outcome, OpOutcome.FAIL)

    @property
    def unknown(self) -> Mask:
        """Which may or may not have been applied."""
        return np.equal(self.outcome, OpOutcome.UNKNOWN)


@dataclass(frozen=True, slots=True, eq=False)
class History(Outcomes):
    """Operations as columns, sorted by `invoke_ns`, with the tables that their codes point into, and the events.

    Attributes:
        process: int32.
        function: int32 codes into `functions`.
        key: int32 codes into `keys`.
        value: int64 codes; see the module's first lines and `value_at`.
        invoke_ns: int64, never decreasing.
        complete_ns: int64; `NEVER` without a completion. For an unknown operation it says when the client gave up.
        due_ns: int64; `invoke_ns` for a closed loop.
        outcome: int8, `OpOutcome`.
        node: int32 codes into `nodes`, -1 for none.
        error: int32 codes into `errors`, -1 for none.
        events: Sorted by time.
        values: Values by code that are no small integers, but for those of `micro_operations`.
        micro_operations: Values of transactions: value i has the code `NIL - len(values) - i`. Whether a transaction's
            value is here or among `values` makes no difference but in speed.
    """

    process: Int32
    function: Int32
    key: Int32
    value: Int64
    invoke_ns: Int64
    complete_ns: Int64
    due_ns: Int64
    outcome: Int8
    node: Int32
    error: Int32
    functions: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    values: Sequence[object] = (None,)
    nodes: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    micro_operations: MicroOperations = field(default_factory=MicroOperations.of)

    @classmethod
    def of(cls, ops: Iterable[Op] = (), events: Iterable[Event] = ()) -> History:
        """The history of these operations and events, in any order. Not validated: tests want broken ones too."""
        builder = HistoryBuilder()
        for op in ops:
            builder.add(op)
        builder.events.extend(events)
        return builder.build()

    def __len__(self) -> int:
        return len(self.invoke_ns)

    def __getitem__(self, position: int) -> Op:
        complete, due, invoke = (int(c[position]) for c in (self.complete_ns, self.due_ns, self.invoke_ns))
        node, error = int(self.node[position]), int(self.error[position])
        return Op(
            process=int(self.process[position]),
            function=self.functions[self.function[position]],
            key=self.keys[self.key[position]],
            value=self.value_at(position),
            invoke_ns=invoke,
            complete_ns=None if complete == NEVER else complete,
            outcome=OpOutcome(int(self.outcome[position])),
            node=None if node < 0 else self.nodes[node],
            error=None if error < 0 else self.errors[error],
            due_ns=None if due == invoke else due,
        )

    def __iter__(self) -> Iterator[Op]:
        return (self[position] for position in range(len(self)))

    @property
    def latest_ns(self) -> Int64:
        """The last moment at which each operation can have taken effect: `NEVER` unless it was answered."""
        return np.where(self.unknown, NEVER, self.complete_ns)

    @property
    def start_ns(self) -> int:
        """The first invocation or event; 0 for an empty history. Reports count from here."""
        firsts = [int(self.invoke_ns[0])] if len(self) else []
        firsts += [self.events[0].at_ns] if self.events else []
        return min(firsts, default=0)

    @property
    def end_ns(self) -> int:
        """The last invocation, completion or event; 0 for an empty history."""
        answered = self.complete_ns[self.complete_ns != NEVER]
        lasts = [int(self.invoke_ns[-1])] if len(self) else []
        lasts += [int(answered.max())] if len(answered) else []
        lasts += [self.events[-1].at_ns] if self.events else []
        return max(lasts, default=0)

    def where(self, *functions: str) -> Mask:
        """Which operations have one of these functions."""
        return np.isin(self.function, [i for i, name in enumerate(self.functions) if name in functions])

    def value_at(self, position: int) -> object:
        """The value of one operation."""
        return self.decode(int(self.value[position]))

    def decode(self, code: int) -> object:
        """The value that a code of the `value` column stands for."""
        if code > NIL:
            return code
        number = NIL - code
        return self.values[number] if number < len(self.values) else self.micro_operations[number - len(self.values)]

    def tell(self, code: int) -> object:
        """The same for people, who may be told of a value that no operation has: it is among the elements of a list."""
        known = code > NIL - len(self.values) - len(self.micro_operations)
        return self.decode(code) if known else "(a value nobody wrote)"

    def code_of(self, value: object) -> int | None:
        """The code of a scalar as this history writes it; None when no operation has that value. O(len(values))."""
        if type(value) is int and NIL < value < -NIL:
            return value
        wanted = _identity(value)
        return next((NIL - i for i, other in enumerate(self.values) if _identity(other) == wanted), None)

    def codes_of(self, values: Sequence[object]) -> Int64:
        """The codes of many scalars, such as the elements of a list; `NO_VALUE` for those that no operation has."""
        known = {_identity(other): NIL - i for i, other in enumerate(self.values)}
        return np.fromiter(
            (v if type(v) is int and NIL < v < -NIL else known.get(_identity(v), NO_VALUE) for v in values),
            np.int64,
            len(values),
        )

    def by_key(self, mask: Mask | None = None) -> Iterator[tuple[str, Int64]]:
        """Each key with the positions of its operations in order of invocation, keys in order of code."""
        positions = np.arange(len(self)) if mask is None else np.flatnonzero(mask)
        codes = self.key[positions]
        order = np.argsort(codes, kind="stable")
        starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
        for group in np.split(positions[order], starts[1:]) if len(order) else ():
            yield self.keys[self.key[group[0]]], group

    def faults(self) -> tuple[FaultWindow, ...]:
        """Faults paired from their start and end events, in order of start."""
        ends: dict[object, int] = {}
        windows: list[FaultWindow] = []
        for event in reversed(self.events):
            identity = event.detail.get("id", (event.detail.get("fault"), event.node))
            if event.kind == FAULT_END:
                ends[identity] = event.at_ns
            elif event.kind == FAULT_START:
                name = str(event.detail.get("fault", "fault"))
                windows.append(FaultWindow(name, event.node, event.at_ns, ends.pop(identity, None)))
        return tuple(reversed(windows))

    def with_events(self, events: Iterable[Event]) -> History:
        """The same operations with these events added."""
        merged = sorted([*self.events, *events], key=lambda event: event.at_ns)
        return replace(self, events=tuple(merged))

    def select(self, positions: Int64) -> History:
        """Some of the operations, all of the events. `positions` ascend, so that the order stays one of invocation."""
        columns = ((each.name, getattr(self, each.name)) for each in fields(self))
        chosen: dict[str, Any] = {name: column[positions] for name, column in columns if isinstance(column, np.ndarray)}
        return replace(self, **chosen)


class Interner:
    """Numbers for names, in order of first appearance."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def code(self, name: str | None) -> int:
        """The number of a name; -1 for None."""
        return -1 if name is None else self._codes.setdefault(name, len(self._codes))

    @property
    def table(self) -> tuple[str, ...]:
        """The names by number."""
        return tuple(self._codes)


class ValueTable:
    """Codes for values, as the `value` column has them."""

    def __init__(self) -> None:
        self.values: list[object] = [None]
        self._codes: dict[object, int] = {_identity(None): NIL}

    def code(self, value: object) -> int:
        """The code of a value; equal scalars have equal codes."""
        if type(value) is int and NIL < value < -NIL:
            return value
        if isinstance(value, list | tuple | dict):
            self.values.append(value)
            return NIL - (len(self.values) - 1)
        code = self._codes.setdefault(_identity(value), NIL - len(self.values))
        if NIL - code == len(self.values):
            self.values.append(value)
        return code


def _identity(value: object) -> object:
    """A scalar with its type, for True, 1 and 1.0 are equal to Python and three values to JSON."""
    return (type(value), value) if not isinstance(value, list | tuple | dict) else id(value)


class HistoryBuilder:
    """Collects operations one by one into a `History`."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._functions, self._keys, self._nodes, self._errors = Interner(), Interner(), Interner(), Interner()
        self._values = ValueTable()
        self._rows: list[tuple[int, ...]] = []

    def add(self, op: Op) -> None:
        """Add one operation."""
        self._rows.append(
            (
                op.process,
                self._functions.code(op.function),
                self._keys.code(op.key),
                self._values.code(op.value),
                op.invoke_ns,
                NEVER if op.complete_ns is None else op.complete_ns,
                op.invoke_ns if op.due_ns is None else op.due_ns,
                op.outcome,
                self._nodes.code(op.node),
                self._errors.code(op.error),
            )
        )

    def build(self) -> History:
        """The history so far, sorted by invocation (operations invoked at the same moment keep their order)."""
        rows = np.array(self._rows, dtype=np.int64).reshape(len(self._rows), 10)
        rows = rows[np.argsort(rows[:, 4], kind="stable")]
        process, function, key, value, invoke, complete, due, outcome, node, error = rows.T.copy()
        return History(
            process=process.astype(np.int32),
            function=function.astype(np.int32),
            key=key.astype(np.int32),
            value=value,
            invoke_ns=invoke,
            complete_ns=complete,
            due_ns=due,
            outcome=outcome.astype(np.int8),
            node=node.astype(np.int32),
            error=error.astype(np.int32),
            functions=self._functions.table,
            keys=self._keys.table,
            values=self._values.values,
            nodes=self._nodes.table,
            errors=self._errors.table,
            events=tuple(sorted(self.events, key=lambda event: event.at_ns)),
        )


def validate(history: History, unique: Sequence[str] = ()) -> None:
    """Refuse a history that no correct recorder can have written.

    Args:
        history: What to look at.
        unique: Functions whose values must be unique per key (`write` of a unique-value register, `add` of a set).

    Raises:
        HistoryError: Names each offending operation by its position.
    """
    problems = find_problems(history, unique)
    if problems:
        raise HistoryError(problems)


def find_problems(history: History, unique: Sequence[str] = ()) -> list[str]:
    """What `validate` would refuse, as sentences."""
    invoke, complete = history.invoke_ns, history.complete_ns
    sentences: list[str] = []

    def report(positions: Int64, say: str) -> None:
        sentences.extend(f"{describe(history, int(p))}: {say}" for p in positions[:_SHOWN])
        if len(positions) > _SHOWN:
            sentences.append(f"… and {len(positions) - _SHOWN} more operations: {say}")

    backwards = np.flatnonzero(np.diff(invoke) < 0) + 1
    report(backwards, "invoked before the operation recorded ahead of it; the clock went backwards")
    report(np.flatnonzero(complete < invoke), "completed before it was invoked")
    report(np.flatnonzero((complete == NEVER) & ~history.unknown), "has an outcome but no completion")
    report(np.flatnonzero(history.due_ns > invoke), "was sent before it was due")
    for earlier, later in zip(*_overlaps(history), strict=True):
        sentences.append(
            f"{describe(history, int(later))}: invoked while {describe(history, int(earlier))} "
            f"of the same process was not complete; a process has one operation at a time"
        )
    for first, second in duplicates(history, history.where(*unique)) if unique else ():
        sentences.append(
            f"{describe(history, second)}: repeats the value of {describe(history, first)}; values must be unique"
        )
    return sentences


def _overlaps(history: History) -> tuple[Int64, Int64]:
    """Pairs (earlier, later) of one process where the later was invoked before the earlier completed."""
    order = np.lexsort((history.complete_ns, history.invoke_ns, history.process))
    earlier, later = order[:-1], order[1:]
    overlap = (history.process[earlier] == history.process[later]) & (
        history.complete_ns[earlier] > history.invoke_ns[later]
    )
    return earlier[overlap][:_SHOWN], later[overlap][:_SHOWN]


def duplicates(history: History, mask: Mask, limit: int = _SHOWN) -> list[tuple[int, int]]:
    """Up to `limit` pairs of positions, among those of `mask`, with the same key and the same value."""
    positions = np.flatnonzero(mask)
    order = positions[np.lexsort((positions, history.value[positions], history.key[positions]))]
    same = (np.diff(history.key[order]) == 0) & (np.diff(history.value[order]) == 0)
    return [(int(order[i]), int(order[i + 1])) for i in np.flatnonzero(same)[:limit]]


def describe(history: History, position: int) -> str:
    """An operation in a few words: `operation 7 (process 2, write x = 41)`."""
    op = history[position]
    return f"operation {position} (process {op.process}, {op.function} {op.key} = {op.value!r})"
