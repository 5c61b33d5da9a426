from __future__ import annotations

from labctl.check.refusals import check as refusals
from labctl.check.topology import one_primary_per_epoch, replicas_attached, sentinels_agree, slots_covered
from labctl.model.history import REFUSAL, Event, History
from labctl.model.topology import Role
from labctl.model.verdict import Outcome
from labctl.model.view import AttachedReplica, ClusterEntry, ClusterView, NodeView, SentinelView, View

S = 1_000_000_000


def sentinel(name: str, primary: str, epoch: int) -> NodeView:
    believes = SentinelView("id", primary, ("master",), epoch, "none", 2, True, "", (), (), tilt=False)
    return NodeView(name, up=True, role=Role.SENTINEL, sentinel=believes)


def data(
    name: str, follows: str | None = None, *, lists: tuple[str, ...] = (), link_up: bool | None = None
) -> NodeView:
    attached = tuple(AttachedReplica(replica, "online", 0, 0) for replica in lists)
    role = Role.REPLICA if follows else Role.PRIMARY
    return NodeView(name, up=True, role=role, follows=follows, link_up=link_up, replicas=attached)


def owner(name: str, epoch: int, slots: dict[str, tuple[tuple[int, int], ...]], *, ok: bool = True) -> NodeView:
    table = tuple(ClusterEntry(each, each, Role.PRIMARY, None, epoch, ranges) for each, ranges in slots.items())
    assigned = sum(last - first + 1 for ranges in slots.values() for first, last in ranges)
    return NodeView(
        name, up=True, role=Role.PRIMARY, cluster=ClusterView(name, ok, 9, epoch, assigned, assigned, table)
    )


HALVES = {"a": ((0, 8191),), "b": ((8192, 16383),)}


def test_an_epoch_that_two_sentinels_give_to_two_primaries_is_caught_even_at_different_times() -> None:
    fine = [View(0, (sentinel("s1", "a", 1),)), View(S, (sentinel("s1", "b", 2), sentinel("s2", "a", 1)))]
    assert one_primary_per_epoch(fine).outcome is Outcome.VALID
    finding = one_primary_per_epoch([*fine, View(2 * S, (sentinel("s2", "c", 2),))])
    assert finding.outcome is Outcome.INVALID
    assert "epoch 2" in finding.explanation


def test_equal_config_epochs_are_wrong_in_the_end_and_only_counted_before() -> None:
    unequal = View(2 * S, (owner("a", 1, HALVES), owner("b", 2, HALVES)))
    equal = View(S, (owner("a", 1, HALVES), owner("b", 1, HALVES)))
    resolved = one_primary_per_epoch([View(0, unequal.nodes), equal, unequal])
    assert resolved.outcome is Outcome.VALID
    assert resolved.stats["conflict_ms"] == 1000.0
    assert one_primary_per_epoch([View(0, unequal.nodes), equal]).outcome is Outcome.INVALID


def test_slots_have_one_owner_that_all_nodes_name() -> None:
    good = View(S, (owner("a", 1, HALVES), owner("b", 2, HALVES)))
    assert slots_covered([View(0, (owner("a", 1, HALVES, ok=False),)), good]).stats["failed_ms"] == 1000.0
    assert slots_covered([good]).outcome is Outcome.VALID
    gap = {"a": ((0, 8190),), "b": ((8192, 16383),)}
    assert slots_covered([View(0, (owner("a", 1, gap),))]).outcome is Outcome.INVALID
    swapped = {"b": ((0, 8191),), "a": ((8192, 16383),)}
    assert slots_covered([View(0, (owner("a", 1, HALVES), owner("b", 2, swapped)))]).outcome is Outcome.INVALID


def test_sentinels_have_to_agree_in_the_end_and_on_a_primary() -> None:
    split = View(0, (data("a"), data("b", "a"), sentinel("s1", "a", 1), sentinel("s2", "b", 2)))
    agreed = View(S, (data("b"), data("a", "b"), sentinel("s1", "b", 2), sentinel("s2", "b", 2)))
    assert sentinels_agree([split]).outcome is Outcome.INVALID
    assert sentinels_agree([split, agreed]).outcome is Outcome.VALID
    assert sentinels_agree([split, agreed]).stats["disagreed_ms"] == 1000.0
    wrong = View(2 * S, (data("a"), data("b", "a"), sentinel("s1", "b", 2)))
    assert sentinels_agree([wrong]).outcome is Outcome.INVALID


def test_replicas_are_attached_when_both_ends_say_so() -> None:
    assert (
        replicas_attached([View(0, (data("a", lists=("b",)), data("b", "a", link_up=True)))]).outcome is Outcome.VALID
    )
    assert replicas_attached([View(0, (data("a"), data("b", "a", link_up=True)))]).outcome is Outcome.INVALID
    assert (
        replicas_attached([View(0, (data("a", lists=("b",)), data("b", "a", link_up=False)))]).outcome
        is Outcome.INVALID
    )


def test_replicas_without_a_link_are_counted_at_their_worst_and_timed() -> None:
    def view(at_ms: int, b_up: bool, c_up: bool) -> View:
        nodes = (data("a", lists=("b", "c")), data("b", "a", link_up=b_up), data("c", "a", link_up=c_up))
        return View(at_ms * 1_000_000, nodes)

    ups = [(True, True), (False, True), (False, False), (True, False), (True, True)]
    finding = replicas_attached([view(100 * i, *up) for i, up in enumerate(ups)])
    assert finding.outcome is Outcome.VALID
    assert finding.stats["most_detached"] == 2
    assert finding.stats["detached_ms"] == 300
    assert "2 at once" in finding.summary
    whole = replicas_attached([view(0, b_up=True, c_up=True)])
    assert whole.stats["most_detached"] == 0
    assert "at once" not in whole.summary


def test_views_without_what_is_judged_are_unknown() -> None:
    for check in (one_primary_per_epoch, slots_covered, sentinels_agree, replicas_attached):
        assert check([]).outcome is Outcome.UNKNOWN
    assert replicas_attached([View(0, (data("a"),))]).outcome is Outcome.UNKNOWN


def test_one_attempt_that_was_let_through_is_enough() -> None:
    refused = Event(REFUSAL, 0, "a", {"what": "plaintext", "refused": True, "how": "closed"})
    through = Event(REFUSAL, 1, "b", {"what": "no password", "refused": False, "how": "answered 'PONG'"})
    assert refusals(History.of([], [refused])).outcome is Outcome.VALID
    finding = refusals(History.of([], [refused, through]))
    assert finding.outcome is Outcome.INVALID
    assert "b did not refuse no password" in finding.explanation
    assert refusals(History.of([], [])).outcome is Outcome.UNKNOWN
