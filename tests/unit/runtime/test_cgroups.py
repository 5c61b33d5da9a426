"""Where a control group is made, by what a process is a member of. The kernel's own part is in the system tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl.errors import CapabilityError
from labctl.model.fault import Resource
from labctl.runtime.cgroups import Place, place

SCOPE = "user.slice/user-1000.slice/user@1000.service/app.slice/run-r1.scope"


def tree(root: Path, groups: dict[str, str]) -> Path:
    """Groups of version 2 with the controllers that each hands down."""
    for name, controllers in groups.items():
        group = root / name
        group.mkdir(parents=True, exist_ok=True)
        (group / "cgroup.subtree_control").write_text(controllers)
        (group / "cgroup.procs").touch()
    return root


def test_version_1_below_the_agents_own_group(tmp_path: Path) -> None:
    (tmp_path / "memory" / "box" / "7").mkdir(parents=True)
    memberships = "4:memory:/box/7\n1:cpu,cpuacct:/\n0::/\n"
    own = tmp_path / "memory" / "box" / "7"
    assert place(Resource.MEMORY, memberships, tmp_path) == Place(1, own, own)
    assert place(Resource.CPU, memberships, tmp_path).base == tmp_path / "cpu", "a path of outside the container"


def test_version_2_below_the_nearest_group_that_hands_the_controller_down(tmp_path: Path) -> None:
    app = SCOPE.rpartition("/")[0]
    root = tree(tmp_path, {".": "cpu memory pids", "user.slice": "cpu memory pids", app: "memory pids", SCOPE: ""})
    memberships = f"0::/{SCOPE}\n"
    assert place(Resource.MEMORY, memberships, root) == Place(2, root / app, root / SCOPE)
    assert place(Resource.CPU, memberships, root) == Place(2, root / "user.slice", root / SCOPE)


def test_version_2_never_in_the_agents_own_group_which_has_processes(tmp_path: Path) -> None:
    root = tree(tmp_path, {".": "memory", "box": "memory"})
    assert place(Resource.MEMORY, "0::/box\n", root).base == root


@pytest.mark.parametrize("memberships", ["0::/box\n", "0::/\n", "1:name=systemd:/\n", ""])
def test_without_a_controller_it_says_what_is_missing(tmp_path: Path, memberships: str) -> None:
    root = tree(tmp_path, {".": "pids", "box": "memory"})
    with pytest.raises(CapabilityError, match="no control group that could limit memory"):
        place(Resource.MEMORY, memberships, root)
