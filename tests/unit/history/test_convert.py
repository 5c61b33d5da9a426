"""Jepsen's histories: what Jepsen writes is understood, what we export comes back, and errors name the line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.errors import HistoryError, UsageError
from labctl.model.history import FAULT_END, FAULT_START, ROLE, Event, History, Op, OpOutcome
from labctl.store import edn
from labctl.store.convert import convert, read_edn, read_json, write_edn, write_json
from labctl.store.history import read_history, write_history

JEPSEN = """\
{:process 0, :type :invoke, :f :write, :value 3, :index 0, :time 10}
{:process :nemesis, :type :info, :f :start-partition, :value :primaries, :index 1, :time 11}
#jepsen.history.Op{:index 2, :time 12, :type :invoke, :process 1, :f :cas, :value [3 4]} ; a comment
{:process 0, :type :ok, :f :write, :value 3, :index 3, :time 20}
{:process :nemesis, :type :info, :f :start-partition, :value [:isolated #{"n1" "n2"}], :index 4, :time 21}
{:process 1, :type :info, :f :cas, :value [3 4], :index 5, :time 30, :error [:timeout "n1"]}
{:process 2, :type :invoke, :f :txn, :value [[:append :x 1] [:r :y nil]], :index 6, :time 31}
{:process 2, :type :ok, :f :txn, :value [[:append :x 1] [:r :y [5 6N]]], :index 7, :time 33}
{:process :nemesis, :type :info, :f :stop-partition, :value nil, :index 8, :time 40}
{:process :nemesis, :type :info, :f :stop-partition, :value nil, :index 9, :time 41}
{:process 3, :type :invoke, :f :read, :value nil, :index 10, :time 50}
"""


def test_a_jepsen_history_is_understood(tmp_path: Path) -> None:
    (tmp_path / "history.edn").write_text(JEPSEN)
    history = read_edn(tmp_path / "history.edn")
    assert list(history) == [
        Op(0, "write", "", 3, 10, 20),
        Op(1, "cas", "", [3, 4], 12, 30, OpOutcome.UNKNOWN, error="timeout"),
        Op(2, "txn", "", [["append", "x", 1], ["r", "y", [5, 6]]], 31, 33),
        Op(3, "read", "", None, 50, None, OpOutcome.UNKNOWN),
    ]
    assert [(e.kind, e.at_ns) for e in history.events] == [(FAULT_START, 11), (FAULT_END, 41)]
    assert history.faults()[0].name == "partition"


def test_independent_keys_are_taken_apart(tmp_path: Path) -> None:
    (tmp_path / "h.json").write_text(
        '[{"type":"invoke","f":"read","value":["x",null],"process":0},\n'
        ' {"type":"ok","f":"read","value":["x",7],"process":0}]'
    )
    (op,) = read_json(tmp_path / "h.json", independent=True)
    assert (op.key, op.value, op.invoke_ns, op.complete_ns) == ("x", 7, 0, 1)


if TYPE_CHECKING:
    from pathlib import Path

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))


@given(st.lists(VALUES, max_size=5))
def test_any_value_survives_edn(values: list[object]) -> None:
    text = "\n".join(edn.dumps(value) for value in values)
    assert [form for _, form in edn.loads(text)] == values


@st.composite
def histories(draw: st.DrawFn) -> History:
    ops: list[Op] = []
    for process in range(draw(st.integers(1, 3))):
        now = draw(st.integers(0, 5))
        for _ in range(draw(st.integers(0, 4))):
            invoke, now = now, now + draw(st.integers(0, 5))
            function = draw(st.sampled_from(["write", "txn", "odd name"]))
            value = [["append", "x", 1], ["r", "y", [2]]] if function == "txn" else draw(st.integers())
            ops.append(
                Op(
                    process, function, draw(st.sampled_from(["", "k"])), value, invoke, now,
                    draw(st.sampled_from(OpOutcome)), draw(st.sampled_from([None, "n1"])),
                    draw(st.sampled_from([None, "E"])), draw(st.sampled_from([None, invoke - 1])),
                )
            )  # fmt: skip
        if draw(st.booleans()):
            ops.append(Op(process, "read", "k", None, now, None, OpOutcome.UNKNOWN))
    return History.of(ops, [Event(ROLE, 3, "n1", {"role": "primary", "epoch": 2}), Event("mark", 9)])


@given(histories())
@pytest.mark.parametrize("suffix", ["edn", "json", "jsonl"])
def test_what_we_export_comes_back(tmp_path_factory: pytest.TempPathFactory, suffix: str, history: History) -> None:
    folder = tmp_path_factory.mktemp("convert")
    write_history(history, folder / "own")
    convert(folder / "own", folder / f"h.{suffix}")
    convert(folder / f"h.{suffix}", folder / "again")
    again = read_history(folder / "again")
    assert sorted(map(repr, again)) == sorted(map(repr, history))
    assert again.events == history.events


def test_transactions_are_exported_as_elle_wants_them(tmp_path: Path) -> None:
    write_edn(History.of([Op(0, "txn", "", [["append", "x", 1], ["r", "y", None]], 0, 1)]), tmp_path / "h.edn")
    lines = (tmp_path / "h.edn").read_text().splitlines()
    assert lines[1] == ('{:type :ok, :f :txn, :value [[:append "x" 1] [:r "y" nil]], :process 0, :time 1, :index 1}')


def test_a_read_is_exported_without_its_result_in_the_invocation(tmp_path: Path) -> None:
    write_json(History.of([Op(0, "read", "x", 7, 0, 1)]), tmp_path / "h.json")
    first, second = (tmp_path / "h.json").read_text().splitlines()
    assert '"value": null' in first
    assert '"value": 7' in second


INVOKED = "{:type :invoke, :f :read, :process 0, :time 5}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{:type :invoke", "h.edn:1:1: '{' is never closed"),
        (INVOKED + "[1 2}", "h.edn:2:5: '}' closes '['"),
        (INVOKED + "{:type}", "h.edn:2:1: a map with a key and no value"),
        (INVOKED + ")", "h.edn:2:1: unexpected ')'"),
        ("42", "h.edn:1: record 0: not an operation"),
        (INVOKED + "{:type :ok, :f :read, :process 0, :time 4}", "h.edn:2: record 1: time 4 after 5: the clock went"),
        (INVOKED + INVOKED, "h.edn:2: record 1: process 0 invokes while"),
        (INVOKED + "{:type :ok, :f :read, :process 1, :time 6}", "record 1: process 1 completes an operation that"),
        (INVOKED + "{:type :ok, :f :write, :process 0, :time 6}", "record 1: completes write, but read was invoked"),
        (INVOKED + "{:type :done, :f :read, :process 0, :time 6}", "type 'done' is none of"),
    ],
)
def test_errors_name_the_record(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "h.edn").write_text(text)
    with pytest.raises(HistoryError, match=re.escape(says)):
        read_edn(tmp_path / "h.edn")


def test_broken_json_names_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "h.json").write_text('{"type": "invoke", "process": 0}\n{"type": oops}')
    with pytest.raises(HistoryError, match=r"h.json:2:10: Expecting value"):
        read_json(tmp_path / "h.json")


def test_files_that_are_missing_or_in_the_way_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        convert(tmp_path / "absent.edn", tmp_path / "h.json")
    (tmp_path / "h.json").touch()
    with pytest.raises(UsageError, match="exists"):
        convert(tmp_path / "absent.edn", tmp_path / "h.json")
