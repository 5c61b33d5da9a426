"""Histories of Jepsen, as EDN and as JSON, to and from labctl's own.

Jepsen writes one map for an invocation and one for its completion, with `type` (invoke, ok, fail, info), `f`, `value`,
`process`, `time` (ns) and `index`; `history.edn` has a map a line, JSON histories an array of maps or a map a line. An
`info` completion is our *unknown*. Operations of the process `nemesis` are our events: `start-NAME` and `stop-NAME` are
the begin and end of a fault, anything else a mark of that kind.

Jepsen has no key; its `independent` workloads put `[key value]` where the value belongs. `independent=True` takes that
apart. Our export adds `key`, `node`, `error` and `due` to a map where it has them, which Jepsen, Knossos and Elle
ignore and which our import reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.errors import HistoryError, UsageError
from labctl.model.history import FAULT_END, FAULT_START, NEVER, Event, History, HistoryBuilder, Op, OpOutcome, validate
from labctl.store import edn
from labctl.store.history import read_history, write_history

if TYPE_CHECKING:
    from pathlib import Path

Record = Mapping[str, object]
NEMESIS: Final = "nemesis"
_OUTCOMES: Final = {"ok": OpOutcome.OK, "fail": OpOutcome.FAIL, "info": OpOutcome.UNKNOWN}
_TYPES: Final = {outcome: name for name, outcome in _OUTCOMES.items()}


def read_edn(path: Path, *, independent: bool = False) -> History:
    """A Jepsen history in EDN: one map after another, or one vector of maps.

    Raises:
        UsageError: The file cannot be read.
        HistoryError: It is no history; names file, line and what is wrong.
    """
    return _history(str(path), _flatten(edn.loads(_text(path), str(path))), independent=independent)


def read_json(path: Path, *, independent: bool = False) -> History:
    """A Jepsen history in JSON: an array of maps, or a map a line.

    Raises:
        UsageError, HistoryError: As `read_edn`.
    """
    return _history(str(path), _flatten(_json_forms(path, _text(path))), independent=independent)


def write_edn(history: History, path: Path) -> None:
    """Write a history as Jepsen's EDN, one map a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{_edn_record(record)}\n" for record in records(history))


def write_json(history: History, path: Path) -> None:
    """Write a history as JSON, one map a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records(history))


def read_any(path: Path, *, independent: bool = False) -> History:
    """Read a history in the format that its name says, as for `convert`.

    Raises:
        UsageError, HistoryError: As `read_edn`.
    """
    if path.suffix == ".edn":
        return read_edn(path, independent=independent)
    if path.suffix in {".json", ".jsonl"}:
        return read_json(path, independent=independent)
    return read_history(path)


def convert(source: Path, target: Path, *, independent: bool = False) -> History:
    """Convert between formats by the files' names: `.edn`, `.json` or `.jsonl`, anything else is labctl's own.

    Raises:
        UsageError, HistoryError: As `read_edn`.
        LabError: The target exists.
    """
    if target.exists():
        raise UsageError(f"{target} exists", "Choose another name; nothing is overwritten.")
    history = read_any(source, independent=independent)
    validate(history)
    if target.suffix == ".edn":
        write_edn(history, target)
    elif target.suffix in {".json", ".jsonl"}:
        write_json(history, target)
    else:
        write_history(history, target)
    return history


def records(history: History) -> Iterator[dict[str, object]]:
    """The history as Jepsen's records in order of time; at one moment completions come first."""
    answered = np.flatnonzero(history.complete_ns != NEVER)
    moments: list[tuple[int, int, int, int]] = [(int(t), 1, p, 0) for p, t in enumerate(history.invoke_ns)]
    for position in answered.tolist():
        at = int(history.complete_ns[position])
        moments.append((at, int(at == history.invoke_ns[position]), position, 1))
    moments += [(event.at_ns, 2, number, 2) for number, event in enumerate(history.events)]
    for index, (time, _, number, sort) in enumerate(sorted(moments)):
        if sort == 2:
            event = history.events[number]
            value: object = dict(event.detail)
            record = {"type": "info", "f": event.kind, "value": value, "process": NEMESIS, "node": event.node}
        else:
            record = _op_record(history[number], completion=sort == 1)
        yield {**record, "time": time, "index": index}


def _op_record(op: Op, *, completion: bool) -> dict[str, object]:
    record: dict[str, object] = {
        "type": _TYPES[op.outcome] if completion else "invoke",
        "f": op.function,
        "value": op.value if completion or op.function not in {"read", "final-read"} else None,
        "process": op.process,
    }
    if op.key:
        record["key"] = op.key
    if not completion and op.due_ns is not None:
        record["due"] = op.due_ns
    if completion and op.node is not None:
        record["node"] = op.node
    if completion and op.error is not None:
        record["error"] = op.error
    return record


def _edn_record(record: Record) -> str:
    fields = {name: edn.dumps(value) for name, value in record.items()}
    for name in ("type", "f"):
        fields[name] = edn.keyword(str(record[name]))
    if record["process"] == NEMESIS:
        fields["process"] = f":{NEMESIS}"
    if record["f"] == "txn" and isinstance(record["value"], list | tuple):
        fields["value"] = "[" + " ".join(_edn_step(step) for step in record["value"]) + "]"
    return edn.record(fields)


def _edn_step(step: object) -> str:
    """A step of a transaction: Elle wants its function as a keyword."""
    if not isinstance(step, list | tuple) or not step or not isinstance(step[0], str):
        return edn.dumps(step)
    return "[" + " ".join([edn.keyword(step[0]), *map(edn.dumps, step[1:])]) + "]"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot read the history: {error}", "Check the path.") from error


def _json_forms(path: Path, text: str) -> Iterator[tuple[int, object]]:
    decoder, at, line = json.JSONDecoder(), 0, 1
    while rest := text[at : at + 1]:
        if rest.isspace():
            line += rest == "\n"
            at += 1
            continue
        try:
            form, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise HistoryError([f"{path}:{error.lineno}:{error.colno}: {error.msg}"]) from error
        yield line, form
        line += text.count("\n", at, end)
        at = end


def _flatten(forms: Iterable[tuple[int, object]]) -> Iterator[tuple[int, object]]:
    for line, form in forms:
        if isinstance(form, list):
            yield from ((line, item) for item in form)
        else:
            yield line, form


@dataclass(slots=True)
class _Import:
    """Joins invocations with completions while records come by."""

    name: str
    independent: bool
    builder: HistoryBuilder = field(default_factory=HistoryBuilder)
    open: dict[object, tuple[int, Record, int]] = field(default_factory=dict)
    nemesis: set[object] = field(default_factory=set)
    processes: dict[object, int] = field(default_factory=dict)
    last_ns: int = 0

    def take(self, number: int, line: int, record: object) -> None:
        where = f"{self.name}:{line}: record {number}"
        if not isinstance(record, dict) or "type" not in record or "process" not in record:
            raise HistoryError([f"{where}: not an operation; it needs :type, :f, :value and :process"])
        at_ns = record.get("time", number)
        if not isinstance(at_ns, int) or at_ns < self.last_ns:
            raise HistoryError([f"{where}: time {at_ns} after {self.last_ns}: the clock went backwards"])
        self.last_ns = at_ns
        process, sort = record["process"], record["type"]
        if process == NEMESIS:
            self._event(record, at_ns)
        elif sort == "invoke":
            if process in self.open:
                raise HistoryError([f"{where}: process {process} invokes while its operation is not complete"])
            self.open[process] = (number, record, at_ns)
        elif sort not in _OUTCOMES:
            raise HistoryError([f"{where}: type {sort!r} is none of invoke, ok, fail, info"])
        elif process not in self.open:
            raise HistoryError([f"{where}: process {process} completes an operation that it did not invoke"])
        else:
            _, invocation, invoke_ns = self.open.pop(process)
            if invocation.get("f") != record.get("f"):
                raise HistoryError([f"{where}: completes {record.get('f')}, but {invocation.get('f')} was invoked"])
            self._op(invocation, record, invoke_ns, at_ns)

    def finish(self) -> History:
        for _, invocation, invoke_ns in self.open.values():
            self._op(invocation, {**invocation, "type": "info"}, invoke_ns, None)
        return self.builder.build()

    def _op(self, invocation: Record, completion: Record, invoke_ns: int, complete_ns: int | None) -> None:
        outcome = _OUTCOMES[str(completion["type"])]
        answered = outcome is OpOutcome.OK or completion.get("value") is not None
        source = completion if answered else invocation
        key, value = source.get("key", invocation.get("key", "")), source.get("value")
        if self.independent and isinstance(value, list) and len(value) == 2:
            key, value = value
        node, error = completion.get("node"), completion.get("error")
        process, due_ns = invocation["process"], invocation.get("due")
        number = (
            process if isinstance(process, int) else self.processes.setdefault(process, 10**6 + len(self.processes))
        )
        self.builder.add(
            Op(
                process=number,
                function=str(invocation.get("f")),
                key=str(key),
                value=value,
                invoke_ns=invoke_ns,
                complete_ns=complete_ns,
                outcome=outcome,
                node=None if node is None else str(node),
                error=None if error is None else _error_class(error),
                due_ns=due_ns if isinstance(due_ns, int) else None,
            )
        )

    def _event(self, record: Record, at_ns: int) -> None:
        """The nemesis writes its operations twice: when it begins and when it is done."""
        kind, node, value = str(record.get("f")), record.get("node"), record.get("value")
        detail = value if isinstance(value, dict) else {} if value is None else {"value": value}
        where = None if node is None else str(node)
        if not kind.startswith(("start-", "stop-")):
            self.builder.events.append(Event(kind, at_ns, where, detail))
            return
        verb, _, fault = kind.partition("-")
        done = kind in self.nemesis
        self.nemesis ^= {kind}
        # A fault may act from the moment it begins to be injected until it is wholly undone.
        if done == (verb == "stop"):
            sort = FAULT_END if done else FAULT_START
            self.builder.events.append(Event(sort, at_ns, where, {"fault": fault, "id": fault, **detail}))


def _error_class(error: object) -> str:
    """Jepsen's errors are keywords, strings, or vectors that begin with a keyword."""
    while isinstance(error, list) and error:
        error = error[0]
    return str(error)


def _history(name: str, forms: Iterable[tuple[int, object]], *, independent: bool) -> History:
    take = _Import(name, independent)
    for number, (line, record) in enumerate(forms):
        take.take(number, line, record)
    return take.finish()
