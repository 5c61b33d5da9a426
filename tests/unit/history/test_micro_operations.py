"""Values of transactions as columns: whatever goes in comes out, by way of memory and by way of a file."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.check.transactions import pack
from labctl.errors import HistoryError
from labctl.model import micro_encoder
from labctl.model.history import History, Op, OpOutcome
from labctl.model.micro_encoder import MicroEncoder
from labctl.model.micro_operations import MicroOperations
from labctl.store.history import HistoryWriter, read_history
from labctl.store.history_format import BLOCK, BLOCK_MAGIC, MAGIC, TRANSACTIONS, checksum

small = st.integers(-(2**62) + 1, 2**62 - 1)
contents = st.one_of(st.none(), small, st.lists(st.integers(0, 3), max_size=4))
odd = st.one_of(
    st.none(), st.text(max_size=2), st.booleans(), st.just(2**62), st.just(-(2**62)), st.just(2**70), st.just(1.5),
    st.just({"a": 1}), st.just([[1]]), st.just(["x"]), st.just([2**63]), st.just([True]), st.just([-(2**62)]),
)  # fmt: skip
names = st.sampled_from(["append", "w", "write", "r", "read"])
keys = st.sampled_from(["x", "y", 1, "1"])
micros = st.tuples(names, keys, contents).map(list)
odd_micros = st.tuples(names | st.just("swap"), keys | st.just(True), contents | odd).map(list)
values = st.lists(micros | odd_micros | odd, max_size=4) | st.lists(micros, max_size=4)


def same(one: object, other: object) -> bool:
    """Equal, and True is not 1."""
    return repr(one) == repr(other)


@given(st.lists(st.lists(values, max_size=6), max_size=4))
def test_what_is_encoded_comes_back_and_the_rest_is_named(given: list[list[object]]) -> None:
    encoder = MicroEncoder()
    batches, back, plain = [], [], []
    for some in given:
        done, others = encoder.encode(some)
        batches += done
        plain += [value for i, value in enumerate(some) if i not in others]
    columns = MicroOperations.of(batches, encoder.new_keys)
    back = [columns[i] for i in range(len(columns))]
    assert same(back, plain)
    assert not columns.problem()


@given(st.lists(st.lists(micros, min_size=1, max_size=4), min_size=1, max_size=6))
def test_plain_values_are_plain(given: list[list[object]]) -> None:
    """Appends of None or of lists are none, for they are mistakes that have to be shown."""
    sound = [[m for m in value if m[0] in {"r", "read"} or isinstance(m[2], int)] for value in given]
    sound = [value for value in sound if value]
    batches, others = MicroEncoder().encode(sound)
    assert not others
    assert sum(len(batch.size) for batch in batches) == len(sound)


@given(st.lists(st.lists(st.lists(micros, min_size=1, max_size=3), max_size=4), max_size=4))
def test_several_encoders_are_joined(given: list[list[object]]) -> None:
    parts, expected = [], []
    for some in given:
        encoder = MicroEncoder()
        batches, others = encoder.encode(some)
        parts.append(MicroOperations.of(batches, encoder.new_keys))
        expected += [value for i, value in enumerate(some) if i not in others]
    joined = MicroOperations.concatenate(parts)
    assert [joined[i] for i in range(len(joined))] == expected
    assert not joined.problem()


def test_a_list_that_grows_is_kept_once() -> None:
    grown = [[["r", "k", list(range(length))]] for length in (3, 10, 7, 100, 0, 100)]
    columns = MicroOperations.of(MicroEncoder().encode(grown)[0], ["k"])
    assert len(columns.elements) == 100
    assert [columns[i] for i in range(len(columns))] == grown


def test_an_encoder_forgets_lists_before_they_take_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro_encoder, "_REMEMBERED", 50)
    monkeypatch.setattr(micro_encoder, "_TOGETHER", 3)
    grown = [[["r", f"k{length % 3}", list(range(length))]] for length in range(60)]
    encoder = MicroEncoder()
    columns = MicroOperations.of(encoder.encode(grown)[0], encoder.new_keys)
    assert [columns[i] for i in range(len(columns))] == grown
    assert 60 < len(columns.elements) < sum(range(60))


@given(st.lists(st.tuples(values, values), max_size=6), st.integers(1, 3))
def test_a_recorded_history_reads_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, given: list[tuple[object, object]], segments: int
) -> None:
    folder = tmp_path_factory.mktemp("history")
    paths, expected = [folder / str(i) for i in range(segments)], []
    clock = itertools.count().__next__
    for number, path in enumerate(paths):
        with HistoryWriter(path, clock=clock, flush_bytes=200) as writer:
            for asked, answered in given[number::segments]:
                done = writer.invoke(number, "txn", "g", asked)
                left = writer.invoke(number, "txn", "h", asked)
                writer.complete(done, OpOutcome.OK, answered)
                writer.complete(left, OpOutcome.UNKNOWN)
                expected += [answered, asked]
    read = read_history(paths)
    assert same([op.value for op in read], expected)


HISTORY = [
    Op(0, "txn", "g", [["append", "x", 1], ["r", "x", [1]]], 0, 1),
    Op(0, "txn", "g", [["append", "x", "b"], ["r", 7, None]], 2, 3),
    Op(0, "txn", "g", [["append", "x", 2**62], ["r", "x", [1, "b", 2**62]], ["append", 7, 4]], 4, 5),
    Op(0, "txn", "g", [["w", "z", 3], ["r", "x", [1, "b"]]], 6, 7),
    Op(0, "final-read", "x", [1, "b", 2**62], 8, 9),
    Op(0, "final-read", "7", [4], 10, 11),
    Op(0, "final-read", "of another workload", [4], 12, 13),
]


def test_transactions_are_the_same_from_a_file_and_from_values(tmp_path: Path) -> None:
    history = History.of(HISTORY)
    with HistoryWriter(tmp_path / "h", clock=iter(range(100)).__next__) as writer:
        for op in HISTORY:
            writer.complete(writer.invoke(op.process, op.function, op.key, op.value), OpOutcome.OK)
    recorded = read_history(tmp_path / "h")
    assert len(recorded.micro_operations) > 0, "nothing was kept as columns, so that this shows nothing"
    one, other = pack(history), pack(recorded)
    texts = [[columns.text(i) for i in range(len(columns))] for columns in (one, other)]
    assert texts[0] == texts[1]
    assert texts[0] == [
        "append x 1, read x [1]",
        "append x 'b', read 7 []",
        "append x 4611686018427387904, read x [1 'b' 4611686018427387904], append 7 4",
        "write z 3, read x [1 'b']",
        "read x [1 'b' 4611686018427387904]",
        "read 7 [4]",
    ]
    assert np.array_equal(one.position, other.position)


def transactions_block(tmp_path: Path) -> tuple[Path, bytes, int]:
    """A history with one block of transactions: its file, its bytes, and where the block begins."""
    path = tmp_path / "h"
    with HistoryWriter(path) as writer:
        writer.complete(writer.invoke(0, "txn", "g", [["append", "x", 1], ["r", "x", [1, 2]]]), OpOutcome.OK)
    data, at = path.read_bytes(), len(MAGIC)
    while BLOCK.unpack_from(data, at)[1] != TRANSACTIONS:
        at += BLOCK.size + BLOCK.unpack_from(data, at)[4]
    return path, data, at


@pytest.mark.parametrize(
    ("offset", "says"),
    [
        (0, "not what a recorder writes"),  # the number of values
        (16, "not numbered in order"),  # the value's number
        (24, "function that does not exist"),  # the first function
        (26, "key that the file does not define"),  # the first key
        (42, "more was read of a list than the file has"),  # the second content, which is a list's length
    ],
)
def test_what_no_recorder_writes_is_refused_even_with_a_right_checksum(tmp_path: Path, offset: int, says: str) -> None:
    path, data, at = transactions_block(tmp_path)
    magic, kind, number, count, size, _ = BLOCK.unpack_from(data, at)
    payload = bytearray(data[at + BLOCK.size : at + BLOCK.size + size])
    payload[offset] += 9
    assert magic == BLOCK_MAGIC
    head = BLOCK.pack(magic, kind, number, count, size, checksum(kind, count, bytes(payload)))
    path.write_bytes(data[:at] + head + payload + data[at + BLOCK.size + size :])
    with pytest.raises(HistoryError, match=says):
        read_history(path)


def test_a_file_cut_within_its_transactions_is_readable_up_to_there(tmp_path: Path) -> None:
    path, data, at = transactions_block(tmp_path)
    for end in range(at, at + 40):
        path.write_bytes(data[:end])
        history = read_history(path)
        assert len(history) == 0
        assert history.events[-1].kind == "history-cut"
