"""Lanes, numbers and the fate of lost writes, from small histories."""

from __future__ import annotations

import pytest

from labctl.model.history import ALERT, CLIENTS, ROLE, Event, History, Op
from labctl.report.buckets import ended
from labctl.report.lanes import Lane, lanes
from labctl.report.losses import tell_losses
from labctl.report.moments import Moment, notable
from labctl.report.numbers import numbers
from tests.support.runs import EVENTS, LOST, MS, VIEWS, operations, summary

HISTORY = History.of(operations(), EVENTS)
LANES = {lane.name: lane for lane in lanes(HISTORY, ended(HISTORY), VIEWS)}


def spans(lane: Lane) -> list[tuple[float, float, str | None, str]]:
    return [(round(s.from_s, 2), round(s.to_s, 2), s.primary, s.state) for s in lane.spans]


def test_who_answered_the_clients() -> None:
    assert spans(LANES["clients"]) == [
        (0.0, 0.99, "redis-1", "answered"),
        (1.5, 3.99, "redis-2", "answered"),
    ]


def test_the_roles_of_nodes() -> None:
    assert spans(LANES["redis-1"]) == [
        (0.0, 1.01, "redis-1", "primary"),
        (1.01, 3.0, None, "down"),
        (3.0, 3.2, "redis-1", "primary"),
        (3.2, 3.4, "redis-2", "detached"),
        (3.4, 4.2, "redis-2", "replica"),
    ]
    assert spans(LANES["redis-2"]) == [(0.0, 1.5, "redis-1", "replica"), (1.5, 4.2, "redis-2", "primary")]


def test_what_a_sentinel_believes() -> None:
    assert spans(LANES["sentinel-1"]) == [
        (0.0, 1.3, "redis-1", "sure"),
        (1.3, 1.35, "redis-1", "suspects"),
        (1.35, 1.6, "redis-1", "agreed"),
        (1.6, 4.2, "redis-2", "sure"),
    ]


def test_answers_of_many_nodes_in_turn_are_one_span() -> None:
    ops = [Op(0, "add", "k", n, n * MS, (n + 1) * MS, node=f"redis-{n % 3}") for n in range(1000)]
    history = History.of(ops, [Event(CLIENTS, 0, None, {"group": "clients", "processes": [0]})])
    (clients,) = lanes(history, ended(history), ())
    assert [(span.primary, span.state) for span in clients.spans] == [(None, "answered")]


def test_the_state_of_a_cluster() -> None:
    events = [
        Event("cluster", 1000 * MS, "redis-1", {"state": "fail", "text": ""}),
        Event("cluster", 2000 * MS, "redis-1", {"state": "ok", "text": ""}),
    ]
    history = History.of([Op(0, "add", "k", 1, 0, 3000 * MS)], events)
    (cluster,) = lanes(history, ended(history), ())
    assert spans(cluster) == [(0.0, 1.0, None, "ok"), (1.0, 2.0, None, "fail"), (2.0, 3.0, None, "ok")]


def test_an_alert_has_a_lane_for_as_long_as_it_fires_for_anybody() -> None:
    def alert(at_ms: int, state: str, node: str) -> Event:
        return Event(ALERT, at_ms * MS, node, {"state": state, "alert": "RedisDown", "labels": {"node": node}})

    changes = ((1000, "firing", "a"), (1500, "firing", "b"), (2000, "cleared", "a"), (2500, "cleared", "b"))
    events = [Event(ALERT, 0, None, {"state": "watched"}), *(alert(*change) for change in changes)]
    history = History.of([Op(0, "add", "k", 1, 0, 3000 * MS)], events)
    (lane,) = lanes(history, ended(history), ())
    assert (lane.name, lane.kind) == ("RedisDown", "alert")
    assert {span.state for span in lane.spans} == {"firing"}
    assert (lane.spans[0].from_s, lane.spans[-1].to_s) == (1.0, 2.5)
    assert "for a, b" in lane.spans[1].text


def test_the_longest_silence_is_that_of_one_group() -> None:
    """One side of a partition is served while the other waits; together they look fine."""
    ops = [Op(0, "add", "a", n, n * 10 * MS, (n * 10 + 1) * MS) for n in range(300)]
    ops += [Op(1, "add", "b", n, n * 10 * MS, (n * 10 + 1) * MS) for n in range(300) if not 100 <= n < 200]
    groups = [Event(CLIENTS, 0, None, {"group": f"clients-{n}", "processes": [p]}) for p, n in enumerate("ab")]
    history = History.of(ops, groups)
    found = numbers(history, ended(history))
    assert (found.silence_ms, found.silence_at_s, found.silent) == (1010.0, pytest.approx(0.991), "clients-b")
    together = History.of(ops)
    assert numbers(together, ended(together)).silence_ms == 10.0


def test_what_a_page_leaves_out_is_chatter_first() -> None:
    told = [Moment(n, kind, None, "") for n, kind in enumerate(["application-line", "sentinel", "link"] * 4)]
    told.append(Moment(99, "role", None, "", "strong"))
    assert [moment.at_s for moment in notable(told, 4)] == [1, 4, 7, 99]
    assert notable(told, 99) == tuple(told)


def test_numbers_of_nothing() -> None:
    empty = History.of()
    assert numbers(empty, ended(empty)).sentence() == "Clients sent nothing."


def test_lost_writes_and_what_dropped_them() -> None:
    (phase,) = summary().phases
    (group,) = phase.losses.groups
    assert (group.node, group.count, phase.losses.total) == ("redis-1", LOST, LOST)
    assert group.dropped_s == pytest.approx(3.2)
    assert "redis-2 became primary at 1.50 s" in group.story
    assert [round(write.acked_s, 3) for write in phase.losses.writes] == [0.952, 0.962, 0.972, 0.982, 0.992]
    assert all(int(counts.sum()) == LOST for counts in phase.lost), "every level counts all of them"


def test_the_offset_of_a_lost_write_lies_between_two_polls() -> None:
    """A poll that had begun but may not have ended when the write was sent says nothing about before."""
    (phase,) = summary().phases
    assert {(write.after, write.before) for write in phase.losses.writes[:-1]} == {(5000, 9900)}
    last = phase.losses.writes[-1]
    assert (last.after, last.before) == (9000, 20000) or (last.after, last.before) == (5000, 20000)


def test_a_server_that_came_back_without_its_data() -> None:
    events = [
        Event(ROLE, 0, "redis-1", {"role": "primary", "text": ""}),
        Event("down", 50 * MS, "redis-1", {"text": ""}),
        Event("up", 90 * MS, "redis-1", {"text": ""}),
    ]
    history = History.of([Op(0, "add", "k", 1, 10 * MS, 12 * MS, node="redis-1")], events)
    (group,) = tell_losses(history, [0], (), 1).groups
    assert group.story == (
        "redis-1 went down at 0.05 s, and at 0.09 s it answered again, without it: "
        "what it loaded from disk did not hold the write."
    )


def test_a_loss_that_nothing_explains_is_not_explained() -> None:
    history = History.of([Op(0, "add", "k", 1, 10 * MS, 12 * MS, node="redis-1")])
    (group,) = tell_losses(history, [0], (), 1).groups
    assert group.story.startswith("Nothing that was observed afterwards explains")


def test_of_many_losses_some_are_told_and_all_are_counted() -> None:
    history = History.of([Op(0, "add", "k", n, n * MS, (n + 1) * MS, node="redis-1") for n in range(1000)])
    losses = tell_losses(history, range(1000), (), 1000, told=100)
    assert losses.total == len(losses.acked_ns) == 1000
    assert 90 <= len(losses.writes) <= 100
    assert [losses.writes[i].value for i in (0, 1, -1)] == ["0", "1", "999"]
    assert losses.groups[0].count == 1000
