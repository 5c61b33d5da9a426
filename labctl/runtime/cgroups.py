"""Control groups of the kernel, version 1 or 2: less processor or memory for one server.

A group is called `labctl-` and the lab's id, and is removed when it is empty again. Nothing outside it is changed.

With version 1 it is made below the one in which the lab's agent runs. Version 2 lets a group with processes of its own have no
controllers for its children (docs.kernel.org, Control Group v2, "No Internal Process Constraint"), so there it is made below
the nearest group above the agent's that hands the controller down and that this user may write to: a slice, as a rule.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import CapabilityError
from labctl.model.fault import Resource

_ROOT = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000
_LIMIT_FILES = {
    1: {Resource.CPU: "cpu.cfs_quota_us", Resource.MEMORY: "memory.limit_in_bytes"},
    2: {Resource.CPU: "cpu.max", Resource.MEMORY: "memory.max"},
}
_EVENT_FILES = {
    1: {Resource.CPU: ("cpu.stat", "nr_throttled"), Resource.MEMORY: ("memory.oom_control", "oom_kill")},
    2: {Resource.CPU: ("cpu.stat", "nr_throttled"), Resource.MEMORY: ("memory.events", "oom_kill")},
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where groups for a resource are made.

    Attributes:
        version: Of control groups.
        base: Below which group.
        home: The group that the agent is in, and its servers are unless they are limited.
    """

    version: int
    base: Path
    home: Path


def place(resource: Resource, memberships: str, root: Path = _ROOT) -> Place:
    """Where groups for `resource` are made.

    Args:
        resource: What is to be limited.
        memberships: Of this process, as /proc/self/cgroup has them.
        root: Where control groups are mounted.

    Raises:
        CapabilityError: No controller for it is mounted, or none is handed down to where this user may write.
    """
    unified: Path | None = None
    for line in memberships.splitlines():
        _, controllers, path = line.split(":", 2)
        if resource.value in controllers.split(","):
            mounted = root / resource.value
            found = mounted / path.lstrip("/")
            home = found if found.is_dir() else mounted
            return Place(1, home, home)
        if not controllers:
            unified = root / path.lstrip("/")
    if unified is not None:
        for base in unified.parents:
            if not base.is_relative_to(root):
                break
            if resource.value in _words(base / "cgroup.subtree_control") and os.access(base / "cgroup.procs", os.W_OK):
                return Place(2, base, unified)
    raise CapabilityError(
        f"This machine has no control group that could limit {resource}.",
        f"The kernel's {resource.value} controller must be mounted below {root}, and handed down to a group that this user "
        "may write to: root's, or a delegated one (systemd-run --user --scope -p Delegate=yes …).",
    )


@dataclass(frozen=True, slots=True)
class Group:
    """The group of one server for one resource.

    Attributes:
        lab_id: Of the lab.
        node: The server.
        resource: What it limits.
    """

    lab_id: str
    node: str
    resource: Resource

    def hold(self, pid: int, amount: int) -> None:
        """Limit a process, its threads and what it starts from now on.

        Raises:
            CapabilityError: The kernel or its administrator does not allow it; says what is missing.
        """
        where = self._place()
        path = self._path(where)
        try:
            path.parent.mkdir(exist_ok=True)
            if where.version == 2:
                (path.parent / "cgroup.subtree_control").write_text(f"+{self.resource.value}")
            path.mkdir(exist_ok=True)
            (path / _LIMIT_FILES[where.version][self.resource]).write_text(self._limit(amount, where.version))
            self._forbid_swap(path)
            (path / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            self.let_go()
            raise CapabilityError(
                f"No control group can limit {self.resource} here: {error.strerror}: {error.filename or path}",
                "It takes root, or a delegated group with this controller (systemd-run --user --scope -p Delegate=yes …).",
            ) from error

    def let_go(self) -> None:
        """Move what is left in the group back to the agent's own and remove it. Without a group there is nothing to do."""
        with suppress(CapabilityError):
            where = self._place()
            path = self._path(where)
            for pid in self.members():
                with suppress(OSError):
                    (where.home / "cgroup.procs").write_text(str(pid))
            for folder in (path, path.parent):
                with suppress(OSError):
                    folder.rmdir()

    def exists(self) -> bool:
        """Whether the kernel still has it."""
        try:
            return self._path(self._place()).exists()
        except CapabilityError:
            return False

    def members(self) -> list[int]:
        """Processes in it."""
        try:
            return [int(line) for line in (self._path(self._place()) / "cgroup.procs").read_text().split()]
        except (OSError, CapabilityError):
            return []

    def events(self) -> int:
        """How often the limit was met: periods throttled, processes killed."""
        where = self._place()
        file, name = _EVENT_FILES[where.version][self.resource]
        return _number(self._path(where) / file, name)

    def refusals(self) -> int:
        """How often the limit was met, whether or not room was found in time; for MEMORY. 0 where there is no group."""
        try:
            where = self._place()
            if where.version == 1:
                return int((self._path(where) / "memory.failcnt").read_text())
            return _number(self._path(where) / "memory.events", "max")
        except (OSError, CapabilityError):
            return 0

    def _limit(self, amount: int, version: int) -> str:
        if self.resource is not Resource.CPU:
            return str(amount)
        quota = f"{amount * _PERIOD_US // 100}"
        return f"{quota} {_PERIOD_US}" if version == 2 else quota

    def _forbid_swap(self, path: Path) -> None:
        """Version 2 counts swap apart: without this a server would be swapped out instead of meeting its limit."""
        if self.resource is Resource.MEMORY:
            with suppress(OSError):  # a kernel without swap, or version 1
                (path / "memory.swap.max").write_text("0")

    def _path(self, where: Place) -> Path:
        return where.base / f"labctl-{self.lab_id}" / f"{self.node}-{self.resource.value}"

    def _place(self) -> Place:
        return place(self.resource, Path("/proc/self/cgroup").read_text())


def _number(file: Path, name: str) -> int:
    """A value of a file of `name value` lines; 0 where it is not among them."""
    lines = (line.split()[:2] for line in file.read_text().splitlines())
    return next((int(value) for key, value in lines if key == name), 0)


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
