from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.workload.keys import Keys, Values
from labctl.workload.options import Options


def keys(**given) -> Keys:
    options = Options("w", given)
    made = Keys("k", options, default=10)
    assert options.problems == []
    return made


def drawn(chooser: Keys, count: int = 20_000) -> Counter[str]:
    rng = random.Random(7)
    return Counter(chooser.choose(rng) for _ in range(count))


def test_uniform_keys_come_about_equally_often() -> None:
    counts = drawn(keys())
    assert set(counts) == {f"k:{n}" for n in range(10)}
    assert max(counts.values()) < 1.2 * min(counts.values())


def test_zipfian_keys_follow_their_ranks() -> None:
    counts = drawn(keys(distribution="zipfian", theta=1.0))
    assert counts["k:0"] / counts["k:1"] == pytest.approx(2, rel=0.1)
    assert counts["k:0"] / counts["k:9"] == pytest.approx(10, rel=0.2)


def test_a_hot_key_has_its_share_and_the_others_the_rest() -> None:
    counts = drawn(keys(distribution="hot", hot_share=0.8))
    assert counts["k:0"] / counts.total() == pytest.approx(0.8, abs=0.02)
    rest = [counts[f"k:{n}"] for n in range(1, 10)]
    assert max(rest) < 1.4 * min(rest)


@given(st.integers(1, 50), st.sampled_from(["uniform", "zipfian", "hot"]), st.floats(0, 1), st.integers(0, 2**32))
def test_every_choice_is_a_key_and_a_seed_repeats_it(count, distribution, share, seed) -> None:
    chooser = keys(keys=count, distribution=distribution, hot_share=share)
    first, second = random.Random(seed), random.Random(seed)
    choices = [chooser.choose(first) for _ in range(20)]
    assert set(choices) <= set(chooser.all)
    assert choices == [chooser.choose(second) for _ in range(20)]


@given(st.integers(0, 2**53), st.integers(0, 100))
def test_a_padded_value_is_as_long_as_wanted_and_comes_back(value, size) -> None:
    values = Values(Options("w", {"value_bytes": size}))
    sent = str(values.encode(value))
    assert len(sent) == max(size, len(str(value)))
    assert values.decode(sent) == value


def test_a_missing_value_is_none() -> None:
    assert Values.decode(None) is None
