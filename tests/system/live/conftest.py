"""A Sentinel lab that the tests of the live view share; each leaves it without a fault."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.command import Labctl, labctl_at


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labctl]:
    """Up while the module's tests run."""
    with labctl_at(tmp_path_factory.mktemp("live") / "home") as labctl:
        labctl.run("up", "sentinel")
        yield labctl
        labctl.run("down")


@pytest.fixture(autouse=True)
def _healed(lab: Labctl) -> Iterator[None]:
    yield
    lab.run("heal")
