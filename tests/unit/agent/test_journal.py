"""The undo journal: whatever a crash leaves of it, what was begun and not ended is what is to be undone."""

from __future__ import annotations

import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.agent import journal as module
from labctl.agent.journal import Journal, Record
from labctl.model.fault import CutLink, Fault, HoldDown, HoldPaused, Link, LinkState


def record(number: int) -> Record:
    actions = (
        HoldDown("redis-1"),
        HoldPaused("redis-2"),
        CutLink(Link("clients", "redis-1"), LinkState.BLACKHOLE),
        CutLink(Link("redis-1", "redis-2"), LinkState.REFUSED),
    )
    fault = Fault("kill", "primary", 2.5 if number % 2 else None, {"how": "drop", "n": 3})
    return Record(number, fault, actions[: 1 + number % 4], number * 1000, number * 2000 if number % 2 else None)


def written(path: Path, *steps: Record | int) -> None:
    journal = Journal(path)
    for step in steps:
        journal.begin(step) if isinstance(step, Record) else journal.end(step)
    journal.close()


def read(path: Path) -> list[Record]:
    journal = Journal(path)
    journal.close()
    return list(journal.open_records)


def test_what_was_begun_and_not_ended_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path, record(1), record(2), 1, record(3))
    journal = Journal(path)
    assert journal.open_records == (record(2), record(3))
    assert journal.last_id == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_numbers_go_on_after_everything_ended(tmp_path: Path) -> None:
    written(tmp_path / "journal", record(1), 1, record(2), 2)
    journal = Journal(tmp_path / "journal")
    assert journal.open_records == ()
    assert journal.last_id == 2


def test_a_new_one_is_empty(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert journal.open_records == ()
    assert journal.last_id == 0


def test_a_crash_at_every_byte_of_a_write(tmp_path: Path) -> None:
    """A line that was cut short never started; the next line is not glued to it."""
    path = tmp_path / "journal"
    written(path, record(1), record(2))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole) + 1):
        path.write_bytes(whole[:cut])
        known = [record(1), record(2)] if cut >= len(whole) - 1 else [record(1)]
        assert read(path) == known
        written(path, record(7), 1)
        assert read(path) == [*known[1:], record(7)]


def test_an_end_that_was_cut_short_is_undone_once_more(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path, record(12), 12)
    whole = path.read_bytes()
    begun = whole.index(b"\n") + 1
    for cut in range(begun, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert read(path) == [record(12)]


def test_the_record_is_on_disk_when_begin_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    path = tmp_path / "journal"
    monkeypatch.setattr(module.os, "fsync", lambda _: synced.append(path.read_bytes()))
    journal = Journal(path)
    journal.begin(record(1))
    journal.end(1)
    assert [data.count(b"\n") for data in synced] == [1, 2]


@given(st.lists(st.integers(0, 5), max_size=12), st.data())
def test_any_history_and_any_crash(choices: list[int], data: st.DataObject) -> None:
    """Begins and ends in any order, cut anywhere: the open records are those of the whole lines that are left."""
    number, live, steps = 0, list[int](), list[Record | int]()
    for choice in choices:
        if choice and live:
            steps.append(live.pop(choice % len(live)))
        else:
            number += 1
            live.append(number)
            steps.append(record(number))
    with TemporaryDirectory() as folder:
        path = Path(folder, "journal")
        written(path, *steps)
        whole = path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        expected: dict[int, Record] = {}
        for line, step in zip(whole[:cut].splitlines(), steps, strict=False):
            if line in whole.splitlines():
                expected.update({step.fault_id: step}) if isinstance(step, Record) else expected.pop(step)
        assert read(path) == list(expected.values())
