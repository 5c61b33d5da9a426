"""What a scenario may require, and which engines that allows."""

import pytest

from labctl.declare.needs import FACILITIES, engine_ranges, problem
from labctl.engines.doctor import REQUIREMENTS
from labctl.model.engine import Engine, Flavour


def engine(flavour: str, *version: int) -> Engine:
    major, minor, patch = (*version, 0, 0, 0)[:3]
    return Engine("/x", Flavour(flavour), (major, minor, patch), (), "PATH")


@pytest.mark.parametrize(
    ("need", "fits", "fails"),
    [
        ("redis >= 7.2", [engine("redis", 7, 2), engine("redis", 8)], [engine("redis", 7, 0, 15), engine("valkey", 9)]),
        ("redis < 7.3", [engine("redis", 7, 2, 9)], [engine("redis", 7, 3)]),
        ("valkey == 9", [engine("valkey", 9, 1)], [engine("valkey", 8), engine("redis", 9)]),
        ("redis>=8 or valkey", [engine("redis", 8), engine("valkey", 7)], [engine("redis", 7)]),
    ],
)
def test_engines(need: str, fits: list[Engine], fails: list[Engine]) -> None:
    ranges = engine_ranges(need)
    assert ranges is not None
    assert all(any(each.holds(one) for each in ranges) for one in fits)
    assert not any(each.holds(one) for each in ranges for one in fails)


@pytest.mark.parametrize("need", ["tls", "runtime docker", "compiler", "root", "valkey", "redis == 7"])
def test_needs(need: str) -> None:
    assert problem(need) is None


@pytest.mark.parametrize("need", ["", "mysql", "redis => 7", "redis >= seven", "runtime vm", "redis >= 7 and valkey"])
def test_what_nobody_can_require(need: str) -> None:
    assert "is nothing that can be required" in (problem(need) or "")


def test_the_doctor_can_look_for_all_of_them() -> None:
    assert set(REQUIREMENTS) == set(FACILITIES)
