"""A state folder for each test, which must be empty again in the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import FIRST_PORT, Labctl, labctl_at

if "PYTEST_XDIST_WORKER" in os.environ:  # labs inside a test's own process, too, keep to their worker's ports
    os.environ["LABCTL_FIRST_PORT"] = str(FIRST_PORT)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a lab of their module go to one worker: otherwise each worker brings one up."""
    for item in items:
        fixtures = getattr(item, "_fixtureinfo", None)
        if fixtures is None or item.get_closest_marker("xdist_group") or "tests/system" not in item.nodeid:
            continue
        shared = (
            definition.scope in ("module", "session") and definition.baseid == item.nodeid.partition("::")[0]
            for definitions in fixtures.name2fixturedefs.values()
            for definition in definitions
        )
        if any(shared):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


@pytest.fixture
def labctl(tmp_path: Path) -> Iterator[Labctl]:
    """`labctl` with a state folder of its own; at the end no process and no file may be left of it."""
    with labctl_at(tmp_path / "home") as command:
        yield command
