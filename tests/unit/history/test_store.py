"""Segment files: what was recorded is read back; a crash costs the tail only; damage is refused by record and byte."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.errors import HistoryError, LabError, UsageError
from labctl.model.history import ROLE, Event, History, Op, OpOutcome, find_problems
from labctl.store.history import HistoryWriter, read_header, read_history, write_history
from labctl.store.history_format import BLOCK, COMPLETE, INVOKE, RECORD, RECORDS
from labctl.store.history_reader import CUT

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False).map(lambda x: x + 0.0) | st.text(max_size=5)
)  # no -0.0: equal to 0.0


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Sequential processes with every outcome, value type and optional field."""
    ops: list[Op] = []
    for process in range(draw(st.integers(1, 3))):
        now = draw(st.integers(0, 5))
        for _ in range(draw(st.integers(0, 4))):
            invoke, now = now, now + draw(st.integers(0, 5))
            ops.append(
                Op(
                    process,
                    draw(st.sampled_from(["read", "write"])),
                    draw(st.sampled_from(["x", "ключ"])),
                    draw(SCALARS | st.lists(SCALARS, max_size=3)),
                    invoke,
                    now,
                    draw(st.sampled_from(OpOutcome)),
                    draw(st.sampled_from([None, "n1"])),
                    draw(st.sampled_from([None, "TimeoutError"])),
                    draw(st.sampled_from([None, invoke - 3])),
                )
            )
        if draw(st.booleans()):
            ops.append(Op(process, "write", "x", None, now, None, OpOutcome.UNKNOWN))
    marks = draw(st.lists(st.integers(0, 30), max_size=2))
    return History.of(ops, [Event(ROLE, at, "n1", {"role": "primary", "epoch": at}) for at in marks])


def rows(history: History) -> list[str]:
    """Operations as text, in an order that does not depend on ties of the clock."""
    return sorted(repr(op) for op in history)


@given(histories())
def test_what_was_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, history: History) -> None:
    path = tmp_path_factory.mktemp("segment") / "h"
    write_history(history, path)
    again = read_history(path)
    assert rows(again) == rows(history)
    assert again.events == history.events
    assert find_problems(again) == find_problems(history) == []


def record(path: Path, operations: int, *, process: int = 0, start: int = 0, flush_bytes: int = 480) -> None:
    """A closed segment of unique writes, ten records a block."""
    clock = count(start)
    with HistoryWriter(path, clock=lambda: next(clock), flush_bytes=flush_bytes, flush_interval_s=1e9) as writer:
        for value in range(operations):
            writer.complete(writer.invoke(process, "write", "x", value), OpOutcome.OK, node="n1")


def test_a_completion_may_change_the_value_and_say_who_answered(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "h", header={"worker": 3}) as writer:
        read = writer.invoke(1, "read", "x")
        write = writer.invoke(2, "write", "x", "seven")
        writer.complete(write, OpOutcome.UNKNOWN, error="TimeoutError")
        writer.complete(read, OpOutcome.OK, [1, "seven"], node="n2")
    first, second = read_history(tmp_path / "h")
    assert (first.value, first.node, first.outcome) == ([1, "seven"], "n2", OpOutcome.OK)
    assert (second.value, second.node, second.error, second.outcome) == (
        "seven", None, "TimeoutError", OpOutcome.UNKNOWN,
    )  # fmt: skip
    assert first.invoke_ns <= second.invoke_ns <= second.complete_ns <= first.complete_ns
    assert read_header(tmp_path / "h")["worker"] == 3


def test_segments_of_several_workers_are_merged_by_time(tmp_path: Path) -> None:
    record(tmp_path / "a", 20, process=1, start=0)
    record(tmp_path / "b", 20, process=2, start=7)
    history = read_history([tmp_path / "a", tmp_path / "b"])
    assert len(history) == 40
    assert find_problems(history) == []
    assert {op.process for op in list(history)[4:12]} == {1, 2}


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    record(tmp_path / "h", 1)
    with pytest.raises(LabError, match="cannot create"):
        HistoryWriter(tmp_path / "h")


def test_forgotten_names_are_written_again_and_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labctl.store.history._INTERNED", 2)
    with HistoryWriter(tmp_path / "h") as writer:
        for i in range(12):
            writer.complete(writer.invoke(0, "write", f"k{i % 4}", f"v{i % 3}"), OpOutcome.OK)
    history = read_history(tmp_path / "h")
    assert [(op.key, op.value) for op in history] == [(f"k{i % 4}", f"v{i % 3}") for i in range(12)]
    assert len(history.keys) == 4
    assert len(np.unique(history.value)) == 3


RECORDER = """
import sys
from pathlib import Path
from labctl.model.history import OpOutcome
from labctl.store.history import HistoryWriter
writer = HistoryWriter(Path(sys.argv[1]), flush_interval_s=float(sys.argv[2]))
for value in range(1000):
    writer.complete(writer.invoke(0, "write", "x", value), OpOutcome.OK)
writer.invoke(0, "write", "x", 1000)
print("recorded", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("interval", "at_least"), [("0", 1001), ("1e9", 0)])
def test_sigkill_of_the_recorder_costs_only_what_was_not_flushed(tmp_path: Path, interval: str, at_least: int) -> None:
    path = tmp_path / "h"
    child = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(path), interval],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "recorded\n"
        os.kill(child.pid, signal.SIGKILL)
    history = read_history(path)
    assert len(history) >= at_least
    assert [op.value for op in history] == list(range(len(history)))
    assert history.events[-1].kind == CUT
    if at_least:
        assert history[1000].outcome is OpOutcome.UNKNOWN


def test_a_file_cut_anywhere_is_readable_up_to_its_last_complete_record(tmp_path: Path) -> None:
    record(tmp_path / "h", 30)
    data = (tmp_path / "h").read_bytes()
    lengths = []
    for size in range(8, len(data)):
        cut = tmp_path / "cut"
        cut.write_bytes(data[:size])
        history = read_history(cut)
        assert [op.value for op in history] == list(range(len(history)))
        assert history.events[-1].kind == CUT
        lengths.append(len(history))
    assert lengths == sorted(lengths)
    assert set(lengths) == set(range(31))
    assert read_history(tmp_path / "h").events == ()


def test_a_torn_block_is_taken_only_as_far_as_its_records_are_as_they_were_written(tmp_path: Path) -> None:
    """Power loss, or a hand: bytes are missing from the middle of the last block, or are others."""
    record(tmp_path / "h", 40, flush_bytes=24 * 200)
    data = (tmp_path / "h").read_bytes()
    whole = [op.value for op in read_history(tmp_path / "h")]
    _, start, end = [block for block in blocks(data) if block[0] == RECORDS][-1]
    for at in range(start + BLOCK.size, end - 24, 7):
        for torn in (data[:at] + data[at + 24 : end], data[:at] + bytes([data[at] ^ 4]) + data[at + 1 : end - 1]):
            (tmp_path / "torn").write_bytes(torn)
            history = read_history(tmp_path / "torn")
            assert [op.value for op in history] == whole[: len(history)]
            assert history.unknown.any() or len(history) < len(whole)


@pytest.mark.parametrize("place", range(4, 24))
def test_a_block_head_that_was_changed_is_never_read_as_another_history(tmp_path: Path, place: int) -> None:
    record(tmp_path / "h", 40)
    data = bytearray((tmp_path / "h").read_bytes())
    _, start, _ = [block for block in blocks(bytes(data)) if block[0] == RECORDS][1]
    whole = [op.value for op in read_history(tmp_path / "h")]
    data[start + place] ^= 1
    (tmp_path / "changed").write_bytes(data)
    try:
        history = read_history(tmp_path / "changed")
    except HistoryError:
        return
    assert history.events[-1].kind == "history-cut"
    assert [op.value for op in history] == whole[: len(history)]


def test_zeros_after_the_last_block_are_a_tail_that_power_loss_left(tmp_path: Path) -> None:
    record(tmp_path / "h", 30)
    data = (tmp_path / "h").read_bytes()[: -BLOCK.size]
    (tmp_path / "h").write_bytes(data + bytes(100))
    assert len(read_history(tmp_path / "h")) == 30


def blocks(data: bytes) -> list[tuple[int, int, int]]:
    """(kind, start, end) of each block."""
    found, at = [], 8
    while at < len(data):
        _, kind, _, _, size, _ = BLOCK.unpack_from(data, at)
        found.append((kind, at, at + BLOCK.size + size))
        at += BLOCK.size + size
    return found


def test_a_changed_byte_is_refused_with_the_records_of_its_block(tmp_path: Path) -> None:
    record(tmp_path / "h", 30)
    data = bytearray((tmp_path / "h").read_bytes())
    second = [block for block in blocks(bytes(data)) if block[0] == RECORDS][1]
    data[second[1] + BLOCK.size + 50] ^= 1
    (tmp_path / "h").write_bytes(data)
    with pytest.raises(HistoryError, match=f"record 19, byte offset {second[1]}: checksum mismatch.*records 19 to 37"):
        read_history(tmp_path / "h")


def test_a_removed_block_is_refused(tmp_path: Path) -> None:
    record(tmp_path / "h", 30)
    data = (tmp_path / "h").read_bytes()
    _, start, end = [block for block in blocks(data) if block[0] == RECORDS][1]
    (tmp_path / "h").write_bytes(data[:start] + data[end:])
    with pytest.raises(HistoryError, match=rf"record 19, byte offset {start}: block \d where block \d belongs"):
        read_history(tmp_path / "h")


@pytest.mark.parametrize("data", [b"", b"{}\n"])
def test_another_sort_of_file_is_a_usage_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "h").write_bytes(data)
    if data:
        with pytest.raises(UsageError, match="not a labctl history"):
            read_history(tmp_path / "h")
    else:  # the recorder died before its first write
        assert len(read_history(tmp_path / "h")) == 0
    with pytest.raises(UsageError, match="cannot read"):
        read_history(tmp_path / "absent")


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ((COMPLETE, 0, 0, 5, 0, 11), "completes an operation that was not invoked"),
        ((COMPLETE, 7, 0, 1, 0, 11), "has an outcome that does not exist"),
        ((COMPLETE, 0, 3, 1, 0, 11), "names an answer that the file does not define"),
        ((COMPLETE, 0, 0, 1, -(2**62) - 9, 11), "has a value that the file does not define"),
        ((INVOKE, 0, 0, 9, 0, 11), "names a key that the file does not define"),
        ((INVOKE, 9, 0, 0, 0, 11), "names a function that the file does not define"),
        ((INVOKE, 0, 9, 0, 0, 11), "names a process that the file does not define"),
        ((INVOKE, 0, 0, 0, 0, -5), "the clock went backwards"),
        ((9, 0, 0, 0, 0, 11), "neither an invocation nor a completion"),
    ],
)
def test_a_record_that_no_recorder_writes_is_refused_even_with_a_right_checksum(
    tmp_path: Path, second: tuple[int, ...], says: str
) -> None:
    path, clock = tmp_path / "h", count()
    writer = HistoryWriter(path, clock=lambda: next(clock), flush_interval_s=1e9)
    writer.complete(writer.invoke(0, "write", "x", 1), OpOutcome.OK)
    writer.invoke(0, "write", "x", 2)
    RECORD.pack_into(writer._buffer, writer._used, *second)
    writer._used += RECORD.size
    writer.close()
    offset = path.stat().st_size - BLOCK.size - RECORD.size
    with pytest.raises(HistoryError, match=f"record 3, byte offset {offset}: {says}"):
        read_history(path)


def test_a_second_completion_is_refused(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "h") as writer:
        handle = writer.invoke(0, "write", "x", 1)
        writer.complete(handle, OpOutcome.OK)
        writer.complete(handle, OpOutcome.OK)
    with pytest.raises(HistoryError, match=r"record 2, .*for the second time"):
        read_history(tmp_path / "h")


LIMITED = """
import resource, sys
from pathlib import Path
from labctl.errors import LabError
from labctl.model.history import OpOutcome
from labctl.store.history import HistoryWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
writer = HistoryWriter(Path(sys.argv[1]), flush_bytes=480)
try:
    for value in range(1000):
        writer.complete(writer.invoke(0, "write", "x", value), OpOutcome.OK)
except LabError as error:
    print(error)
"""


def test_a_disk_that_takes_no_more_is_an_error_and_keeps_whole_blocks(tmp_path: Path) -> None:
    path = tmp_path / "h"
    child = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert "the history could not be written: File too large" in child.stdout
    history = read_history(path)
    assert len(history) > 20
    assert [op.value for op in history] == list(range(len(history)))
    assert [end for _, _, end in blocks(path.read_bytes())][-1] == path.stat().st_size
