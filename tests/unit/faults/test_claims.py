"""What claims come to: any order of making and dropping gives the same lab."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.agent.journal import Journal, Record
from labctl.faults import claims
from labctl.model.fault import (
    Action,
    CutLink,
    Damage,
    Ending,
    Fault,
    HoldCrashing,
    HoldDamaged,
    HoldDown,
    HoldFull,
    HoldKnob,
    HoldLimit,
    HoldPackets,
    HoldPaused,
    HoldSetting,
    HoldToxic,
    HoldTraffic,
    Knob,
    Link,
    LinkState,
    Packets,
    Resource,
    ServerState,
    Trigger,
)

_NODES = st.sampled_from(["redis-1", "redis-2", "redis-3"])
_LINKS = st.builds(Link, _NODES, _NODES)
ACTIONS: st.SearchStrategy[Action] = st.one_of(
    st.builds(CutLink, _LINKS, st.sampled_from([LinkState.REFUSED, LinkState.BLACKHOLE])),
    st.builds(
        HoldToxic,
        _LINKS,
        st.just("latency"),
        st.sampled_from(["upstream", "downstream"]),
        st.just((("latency", 5), ("jitter", 0))),
    ),
    st.builds(HoldDown, _NODES, st.sampled_from(Ending)),
    st.builds(HoldPaused, _NODES),
    st.builds(HoldCrashing, _NODES, st.integers(1, 9)),
    st.builds(HoldSetting, _NODES, st.just("hz"), st.sampled_from("123"), st.just("10")),
    st.builds(HoldTraffic, _NODES, st.just("storm"), st.just((("connections", 0),))),
    st.builds(HoldLimit, _NODES, st.sampled_from(Resource), st.integers(1, 99)),
    st.builds(HoldKnob, _NODES, st.sampled_from(Knob), st.integers(1, 99)),
    st.builds(HoldFull, _NODES, st.integers(0, 99)),
    st.builds(HoldPackets, _NODES, st.sampled_from(Packets), st.integers(1, 100).map(float)),
    st.builds(HoldDamaged, _NODES, st.sampled_from(["aof", "rdb"]), st.sampled_from(Damage), st.integers(1, 9)),
    st.builds(Trigger, _NODES, st.just(("FAILOVER",))),
)
FAULTS = st.lists(st.lists(ACTIONS, min_size=1, max_size=4), max_size=5)


def _lab(actions: Iterable[Action]) -> tuple[object, ...]:
    """Everything about a lab that does not depend on which of two equal claims is younger."""
    standing = tuple(actions)
    return (
        claims.link_states(standing),
        {link: frozenset(toxics) for link, toxics in claims.link_toxics(standing).items()},
        claims.server_states(standing),
        claims.limits(standing),
        claims.knobs(standing),
        claims.full_disks(standing),
        claims.packets(standing),
        {key: claim.before for key, claim in claims.settings(standing).items()},
    )


@settings(deadline=None, max_examples=50)
@given(FAULTS, st.randoms())
def test_the_order_of_claims_does_not_matter(faults: list[list[Action]], rng: Random) -> None:
    in_order = [action for fault in faults for action in fault]
    mixed = list(in_order)
    rng.shuffle(mixed)
    assert _lab(mixed) == _lab(in_order)


@settings(deadline=None, max_examples=50)
@given(FAULTS)
def test_what_nothing_claims_is_free(faults: list[list[Action]]) -> None:
    standing = [action for fault in faults for action in fault]
    held = {action.subject for action in standing}
    assert {link.name for link in claims.link_states(standing)} <= held
    assert set(claims.server_states(standing)) <= held
    assert _lab([]) == ({}, {}, {}, {}, {}, {}, {}, {})


@settings(deadline=None, max_examples=50)
@given(FAULTS)
def test_the_worse_claim_holds(faults: list[list[Action]]) -> None:
    standing = [action for fault in faults for action in fault]
    for action in standing:
        match action:
            case CutLink(link=link, state=LinkState.REFUSED):
                assert claims.link_states(standing)[link] is LinkState.REFUSED
            case HoldDown(node=node):
                assert claims.server_states(standing)[node] is ServerState.GONE
            case HoldLimit(node=node, resource=resource, amount=amount):
                assert claims.limits(standing)[node, resource] <= amount
            case HoldFull(node=node, left=left):
                assert claims.full_disks(standing)[node] <= left
            case HoldPackets(node=node, what=what, percent=percent):
                assert claims.packets(standing)[node][what] >= percent
            case _:
                pass


@settings(deadline=None, max_examples=50)
@given(faults=st.lists(st.lists(ACTIONS, min_size=1, max_size=4), min_size=1, max_size=5), data=st.data())
def test_a_journal_gives_back_what_was_begun_and_not_ended(
    tmp_path_factory: pytest.TempPathFactory, faults: list[list[Action]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal = Journal(path)
    records = [
        Record(number, Fault("kill", "primary", 3.0, {"a": 1, "b": "c"}), tuple(actions), number, None)
        for number, actions in enumerate(faults, start=1)
    ]
    for record in records:
        journal.begin(record)
    ended = data.draw(st.sets(st.sampled_from([record.fault_id for record in records])))
    for number in ended:
        journal.end(number)
    journal.close()
    cut = data.draw(st.integers(0, 20))
    path.write_bytes(path.read_bytes() + b'{"begin": {"fault_id": 99, "fau'[:cut])
    again = Journal(path)
    assert again.open_records == tuple(record for record in records if record.fault_id not in ended)
    assert again.last_id == len(records)
    again.close()
