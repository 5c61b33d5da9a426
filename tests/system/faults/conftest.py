"""Labs that many faults go through, one after the other: each has to leave them as it found them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.command import Labctl, labctl_at
from tests.support.needs import require_facility
from tests.support.wires import require_wires
from tests.system.faults.trial import Trial

_TOPOLOGIES = {
    "sentinel": "kind: sentinel\nreplicas: 2\npersistence: {aof: everysec}\n",
    "plain": "kind: replica\nreplicas: 2\npersistence: {aof: everysec}\n",
    "handover": "kind: replica\nreplicas: 1\n",
    "replica": "kind: replica\nreplicas: 1\npersistence: {rdb: default}\n",
    "cluster": "kind: cluster\n",
    "wires": "kind: replica\nreplicas: 2\npersistence: {aof: everysec}\n",
}
_OPTIONS = {"wires": ("--net", "netns")}


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labctl]:
    """`labctl` with a state folder for the module; in the end nothing may be left of it."""
    with labctl_at(tmp_path_factory.mktemp("faults") / "home") as labctl:
        yield labctl


@pytest.fixture(scope="module")
def trial(command: Labctl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Trial]]:
    """Labs by the name of their topology, brought up when first asked for."""
    folder: Path = tmp_path_factory.mktemp("topologies")
    up: dict[str, Trial] = {}

    def lab(name: str) -> Trial:
        if name not in up:
            path = folder / f"{name}.yaml"
            path.write_text(_TOPOLOGIES[name])
            if name == "wires":
                require_wires()
            else:
                require_facility("C compiler")
            command.run("up", str(path), *_OPTIONS.get(name, ("--with", "disk-faults")))
            up[name] = Trial(command, name)
        return up[name]

    yield lab
    for each in up:
        command.run("down", each)
