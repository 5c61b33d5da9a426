"""Workloads side by side in one history: each checker judges its own objects, as if the others were not there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labctl.check import registry
from labctl.check.objects import Sort, shown_to
from labctl.model.history import FINAL_READ, History, Op
from labctl.model.verdict import Outcome


def ops(key: str, *done: tuple[str, object], who: int = 0) -> list[Op]:
    return [Op(who, function, key, value, 10 * i, 10 * i + 5) for i, (function, value) in enumerate(done)]


SOUND: dict[str, list[Op]] = {
    "register": [*ops("{w:register0:1}", ("write", 1), ("read", 1), (FINAL_READ, 1)),
                 *ops("{w:register0:2}", ("read", None), who=5)],
    "cas": ops("{w:cas1:1}", ("write", 1), ("cas", [1, 2]), ("read", 2), (FINAL_READ, 2)),
    "set": ops("{w:set2:1}", ("add", 1), ("read", [1]), (FINAL_READ, [1])) + ops("{w:set2:7}", ("read", []), who=5),
    "append": ops("w:append3", ("txn", [["append", "{w:append3}:0", 1]])) + ops("{w:append3}:0", (FINAL_READ, [1]), who=5),
    "counter": ops("{w:counter4:1}", ("incr", [2, 2]), ("read", 2), (FINAL_READ, 2)),
    "ids": ops("w:unique-ids5", ("generate", 1), ("generate", 2)),
    "bank": ops("w:bank6", ("init", {"a": 5}), ("transfer", {}), ("read", {"a": 4, "b": 1})),
    "queue": ops("w:queue7", ("enqueue", 1), ("dequeue", 1), ("ack", 1), ("requeue", None), (FINAL_READ, [])),
    "stream": ops("w:stream8", ("add", 1), ("deliver", [1]), ("ack", 1), (FINAL_READ, [1]), ("final-pending", [])),
    "pubsub": ops("w:pubsub9", ("subscribe", None), ("publish", 1), ("receive", 1), ("unsubscribe", None)),
    "lock": ops("w:lock10", ("acquire", [1, None]), ("guarded", [1, None]), ("release", [1, None])),
    "limit": ops("w:rate11", ("init", {"limit": 1, "window_ms": 10}), ("hit", 1)),
    "cache": ops("w:cache12:1", ("write", 1), ("invalidate", 1), ("read", 1), ("load", 1)),
    "expiry": [*ops("w:expiry13:1", ("init", {"ttl_ms": 50}), ("write", 1), ("read", 1)),
               *ops("w:expiry13:2", ("read", None), who=5)],
}  # fmt: skip
WRONG: dict[str, tuple[str, list[Op], dict[str, object]]] = {
    "register": ("register", ops("{w:register0:1}", ("write", 1), ("write", 2), ("read", 1)), {}),
    "acked-writes": ("register", ops("{w:register0:1}", ("write", 1), (FINAL_READ, None)), {}),
    "read-your-writes": ("register", ops("{w:register0:1}", ("write", 1), ("write", 2), ("read", 1)), {}),
    "monotonic-reads": ("register", ops("{w:register0:1}", ("write", 1), ("write", 2), ("read", 2), ("read", 1)), {}),
    "linearizable": ("cas", ops("{w:cas1:1}", ("write", 1), ("cas", [2, 3]), ("cas", [1, 3])), {}),
    "set-full": ("set", ops("{w:set2:1}", ("add", 1), ("read", [1]), (FINAL_READ, [])), {}),
    "transactions": ("append", ops("w:append3", ("txn", [["append", "x", 1]]), ("txn", [["r", "x", None]])), {}),
    "counter-bounds": ("counter", ops("{w:counter4:1}", ("incr", [2, 2]), ("read", 7)), {}),
    "unique-ids": ("ids", ops("w:unique-ids5", ("generate", 1), ("generate", 1)), {}),
    "bank": ("bank", ops("w:bank6", ("init", {"a": 5}), ("transfer", {}), ("read", {"a": 4})), {}),
    "total-queue": ("queue", ops("w:queue7", ("enqueue", 1), ("dequeue", 2), (FINAL_READ, [])), {}),
    "stream": ("stream", ops("w:stream8", ("add", 1), ("deliver", [1]), ("ack", 1), ("deliver", [1])), {}),
    "pubsub": ("pubsub", ops("w:pubsub9", ("subscribe", None), ("publish", 1), ("receive", 2), ("unsubscribe", None)), {}),
    "mutex": ("lock", [Op(0, "acquire", "w:lock10", [1, None], 0, 1), Op(1, "acquire", "w:lock10", [2, None], 2, 3),
                       Op(0, "release", "w:lock10", [1, None], 4, 5), Op(1, "release", "w:lock10", [2, None], 6, 7)], {}),
    "rate-limit": ("limit", ops("w:rate11", ("init", {"limit": 1, "window_ms": 10}), ("hit", 1), ("hit", 1)), {}),
    "cache": ("cache", ops("w:cache12:1", ("write", 1), ("invalidate", 1), ("read", 3), ("load", 3)), {}),
    "expiry": ("expiry", [*ops("w:expiry13:1", ("init", {"ttl_ms": 1})), Op(0, "write", "w:expiry13:1", 1, 6, 7),
                          Op(0, "read", "w:expiry13:1", 1, 10**9, 10**9 + 1)], {}),
}  # fmt: skip


def together(*some: list[Op]) -> History:
    """Histories side by side; process 0 of one is no process of another."""
    return History.of(replace(op, process=op.process + 10 * i) for i, part in enumerate(some) for op in part)


@pytest.mark.parametrize("name", list(WRONG))
def test_a_checker_judges_its_own_objects_among_others(name: str) -> None:
    own, wrong, parameters = WRONG[name]
    alone = registry.run(name, History.of(SOUND[own]), parameters=parameters)
    mixed = {key: part for key, part in SOUND.items() if name != "acked-writes" or key != "set"}  # it judges both
    among = registry.run(name, together(*mixed.values()), parameters=parameters)
    assert alone.outcome is Outcome.VALID, alone.summary
    assert (among.outcome, among.summary) == (alone.outcome, alone.summary)
    others = [part for key, part in mixed.items() if key != own]
    caught = registry.run(name, together(wrong, *others), parameters=parameters)
    assert caught.outcome is Outcome.INVALID
    assert caught.summary == registry.run(name, History.of(wrong), parameters=parameters).summary


@pytest.mark.parametrize("name", ["register", "bank", "total-queue", "stream", "mutex", "pubsub", "rate-limit"])
def test_without_an_object_of_its_own_a_checker_has_nothing_to_judge(name: str) -> None:
    others = [part for key, part in SOUND.items() if key != WRONG[name][0] and (name != "register" or key != "cache")]
    assert registry.run(name, together(*others)).outcome is Outcome.UNKNOWN


def test_positions_stay_and_a_witness_names_the_operation_of_the_whole_history() -> None:
    _, wrong, _ = WRONG["unique-ids"]
    history = together(SOUND["cas"], wrong)
    finding = registry.run("unique-ids", history)
    assert [history[position].value for position in finding.witness] == [1, 1]
    shown = shown_to(history, (frozenset({Sort.IDENTIFIERS}),))
    assert [op.function for op in shown if op.key == "w:unique-ids5"] == ["generate", "generate"]
    assert {op.function for op in shown if op.key != "w:unique-ids5"} == {""}


def test_a_user_who_names_functions_sees_everything() -> None:
    history = together(SOUND["cas"], ops("x", ("put", 1), ("get", 7)))
    finding = registry.run("register", history, parameters={"writes": ["put"], "reads": ["get"]})
    assert finding.outcome is Outcome.INVALID


def test_unknown_functions_are_shown_to_everyone() -> None:
    history = together(ops("x", ("put", 1)))
    assert shown_to(history, (frozenset({Sort.BANK}),)) is history
