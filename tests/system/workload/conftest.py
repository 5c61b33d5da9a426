"""Topologies for the tests of workloads; each is started once for the modules that leave it as it was."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from typing import TYPE_CHECKING

import servers as real  # tests have no package; this folder was just put on the path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

BUILDERS: dict[str, Callable[..., AbstractContextManager[real.Servers]]] = {
    "standalone": real.standalone,
    "replica": real.replicated,
    "sentinel": real.sentinel,
    "cluster": real.cluster,
}


@pytest.fixture(scope="session", autouse=True)
def _server_binary() -> None:
    if not real.SERVER:
        pytest.skip("redis-server is not on PATH: install Debian's package redis-server")


@pytest.fixture(scope="session")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], real.Servers]]:
    """Topologies by name, started when first asked for."""
    running: dict[str, real.Servers] = {}
    managers: list[AbstractContextManager[real.Servers]] = []

    def get(name: str) -> real.Servers:
        if name not in running:
            manager = BUILDERS[name](tmp_path_factory.mktemp(name))
            running[name] = manager.__enter__()
            managers.append(manager)
        return running[name]

    yield get
    for manager in managers:
        manager.__exit__(None, None, None)
