"""What becomes of packets, without a packet."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.model.fault import HoldImpaired, Impairment, Link
from labctl.wires.impair import Impairments

LINK = Link("redis-1", "redis-2")
HEADER = bytes([0x45]) + bytes(19)
CLAIMS = st.builds(
    HoldImpaired,
    st.just(LINK),
    st.sampled_from(Impairment),
    st.floats(0.01, 1),
    st.floats(0, 1000),
    st.floats(0, 1000),
    st.integers(0, 2**32 - 1),
)


def packet(number: int) -> bytes:
    return HEADER + number.to_bytes(4, "big")


def claim(what: Impairment, share: float = 1.0, ms: float = 0.0, jitter: float = 0.0, seed: int = 0) -> HoldImpaired:
    return HoldImpaired(LINK, what, share, ms, jitter, seed)


def sent(impairments: Impairments, count: int, apart_s: float = 0.001) -> list[tuple[float, bytes]]:
    """What leaves, in the order in which it leaves."""
    found = [each for n in range(count) for each in impairments.take(packet(n), n * apart_s)]
    return sorted(found, key=lambda timed: timed[0])


@given(st.lists(CLAIMS, max_size=4), st.integers(1, 60))
def test_nothing_comes_out_that_did_not_go_in_and_all_is_counted(claims: list[HoldImpaired], count: int) -> None:
    impairments = Impairments(dict.fromkeys(claims))
    came = sent(impairments, count)
    kinds = {each.what for each in claims}
    if Impairment.CORRUPT not in kinds:
        numbers = Counter(data for _, data in came)
        assert set(numbers) <= {packet(n) for n in range(count)}
        if Impairment.DUPLICATE not in kinds:
            assert max(numbers.values(), default=1) == 1
        if Impairment.LOSS not in kinds:
            assert len(numbers) == count
    assert all(len(data) == len(packet(0)) for _, data in came)
    assert all(0 <= tally.acted <= tally.seen for tally in impairments.counts.values())
    if claims:
        assert impairments.counts[claims[0]].seen == count


@given(st.lists(CLAIMS, max_size=4), st.integers(1, 60))
def test_the_same_seed_has_the_same_consequences(claims: list[HoldImpaired], count: int) -> None:
    assert sent(Impairments(claims), count) == sent(Impairments(claims), count)


@given(st.lists(CLAIMS, max_size=4), st.integers(1, 60))
def test_nothing_leaves_before_it_came(claims: list[HoldImpaired], count: int) -> None:
    impairments = Impairments(claims)
    for number in range(count):
        assert all(at >= number * 0.001 for at, _ in impairments.take(packet(number), number * 0.001))


@given(st.floats(0, 1000), st.floats(0, 1000), st.integers(0, 99))
def test_a_delay_keeps_the_order_whatever_its_jitter(ms: float, jitter: float, seed: int) -> None:
    came = [
        each
        for n in range(50)
        for each in Impairments([claim(Impairment.DELAY, 1, ms, jitter, seed)]).take(packet(n), n * 0.001)
    ]
    one = Impairments([claim(Impairment.DELAY, 1, ms, jitter, seed)])
    times = [at for n in range(50) for at, _ in one.take(packet(n), n * 0.001)]
    assert times == sorted(times)
    assert len(came) == 50
    assert all(at - n * 0.001 >= max(0, ms - jitter) / 1000 - 1e-9 for n, at in enumerate(times))


def test_a_packet_that_is_reordered_is_overtaken() -> None:
    order = [
        int.from_bytes(data[20:], "big") for _, data in sent(Impairments([claim(Impairment.REORDER, 0.2, 20)]), 200)
    ]
    assert order != sorted(order)
    assert sorted(order) == list(range(200))


def test_damage_is_one_bit_behind_the_header() -> None:
    for number in range(100):
        ((_, data),) = Impairments([claim(Impairment.CORRUPT, seed=number)]).take(packet(number), 0.0)
        assert data[:20] == HEADER
        flipped = int.from_bytes(data, "big") ^ int.from_bytes(packet(number), "big")
        assert flipped.bit_count() == 1
    assert Impairments([claim(Impairment.CORRUPT)]).take(HEADER, 0.0) == [(0.0, HEADER)], "nothing behind it"


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_about_the_share_that_was_asked_for(share: float) -> None:
    impairments = Impairments([claim(Impairment.LOSS, share)])
    left = len(sent(impairments, 4000))
    (count,) = impairments.counts.values()
    assert (count.seen, count.acted) == (4000, 4000 - left)
    assert abs(count.acted / 4000 - share) < 0.05


def test_claims_that_stay_go_on_counting() -> None:
    loss, twice = claim(Impairment.LOSS, 0.5), claim(Impairment.DUPLICATE)
    first = Impairments([loss])
    sent(first, 10)
    second = Impairments([loss, twice], first)
    sent(second, 10)
    assert second.counts[loss].seen == 20
    assert second.counts[twice].seen <= 10
