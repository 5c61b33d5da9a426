"""Ending a lab: every process, every port, every file; also of one that is half up, half down or has no agent.

Processes are found by the lab's random id in their environment (`runtime.marker`), so no list of pids has to be right.
Whoever wants to end a lab takes the lock that its guard holds. While it is held nobody can start an agent, and what is
not running then never will be.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.agent import lock as agent_lock
from labctl.errors import CapabilityError, LabError
from labctl.interrupts import uninterrupted
from labctl.runtime.marker import AGENT_NODE, marked_processes, send_signal
from labctl.store.folders import LabFolder, SameFolder, discard_empty_home, same_folder

if TYPE_CHECKING:
    from labctl.runtime.docker.engine import Engine

_DEADLINE_S = 15.0
_LATE_CONTAINERS_S = 2.0
"""The engine finishes a request whose sender was killed: where an agent did not remove all by itself, something may still
appear."""
_AGENT_REMOVES_S = 30.0
_PAUSE_S = 0.002
_EMPTY_LOOKS = 2
"""A process that is just replacing its image shows no environment for an instant; nobody is overlooked twice."""


def take_down(folder: LabFolder, only: SameFolder | None = None) -> None:
    """End every process and remove every file of the lab in `folder`; nothing to do is no error.

    Args:
        folder: The lab's.
        only: Leave what is there if it is not this folder any more.

    Raises:
        LabError: Something does not end; it is named.
    """
    with suppress(FileNotFoundError), same_folder(folder.path) as same:
        if only is not None and not only:
            return
        until = time.monotonic() + _DEADLINE_S
        while same:
            folder.ending.touch(mode=0o600)
            _end_processes_of(folder)
            with agent_lock.held(folder) as locked:
                if locked:
                    _end_processes_of(folder)  # those that the last agent started before it ended
                    _remove(folder)
                else:
                    time.sleep(_PAUSE_S)
            if same and time.monotonic() > until:
                raise LabError(f"{folder.path} cannot be removed.", "See whose files are in it, and who holds them.")
    discard_empty_home()


def _remove(folder: LabFolder) -> None:
    """As one step: who is interrupted half way through it finds no lab any more that he could take down again."""
    with uninterrupted():
        folder.request.unlink(missing_ok=True)  # an agent that finds none leaves, whatever else is there
        shutil.rmtree(folder.path, ignore_errors=True)
        discard_empty_home()


def end_processes(lab_id: str) -> None:
    """SIGKILL every process of a lab, its guard and agent first, until none is left.

    Raises:
        LabError: One does not end; it is named.
    """
    until = time.monotonic() + _DEADLINE_S
    looks = 0
    while looks < _EMPTY_LOOKS:
        found = sorted(marked_processes(lab_id), key=lambda p: (p.node != AGENT_NODE, p.pid))
        looks = 0 if found else looks + 1
        for process in found:
            send_signal(process, signal.SIGKILL)
        if found and time.monotonic() > until:
            raise LabError(
                f"These processes do not end: {', '.join(f'{p.pid} ({p.node})' for p in found)}.",
                "A process in uninterruptible sleep waits for its disk.",
            )
        time.sleep(_PAUSE_S if found else 0)


def _end_processes_of(folder: LabFolder) -> None:
    """Those of the lab whose request is there, containers too; without a request nothing was ever started."""
    with suppress(FileNotFoundError, ValueError, KeyError):
        request = json.loads(folder.request.read_bytes())
        lab_id = str(request["lab_id"])
        in_docker = request.get("runtime") == "docker" and request["containers"]["links_image"]
        if in_docker and folder.formed.exists() and not folder.emptied.exists():
            _let_agent_remove(folder, lab_id)
        end_processes(lab_id)
        if in_docker and not folder.emptied.exists():
            _remove_containers(lab_id)


def _let_agent_remove(folder: LabFolder, lab_id: str) -> None:
    """Have the agent, which has a connection to the engine and its client loaded, remove containers; wait until it has.

    Whatever comes of it, what is left is removed afterwards.
    """
    found = {process.pid: process for process in marked_processes(lab_id) if process.node == AGENT_NODE}
    for pid, process in found.items():
        with suppress(OSError, ValueError, IndexError):
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if parent in found and send_signal(process, signal.SIGTERM):  # the other is its guard
                _until_emptied(folder, pid)


def _until_emptied(folder: LabFolder, pid: int) -> None:
    handle = os.pidfd_open(pid)
    until = time.monotonic() + _AGENT_REMOVES_S
    try:
        while not folder.emptied.exists() and time.monotonic() < until:
            if select.select([handle], [], [], _PAUSE_S)[0]:
                return
    finally:
        os.close(handle)


def _remove_containers(lab_id: str) -> None:
    from labctl.runtime.docker.remove import remove_lab  # noqa: PLC0415 - a heavy client

    try:
        remove_lab(_engine(), lab_id, quiet_s=_LATE_CONTAINERS_S)
    except CapabilityError as error:
        raise LabError(
            f"What the lab has in Docker cannot be removed: {error.message}", "labctl down again, once the engine runs."
        ) from error


@cache
def _engine() -> Engine:
    """One connection for every look."""
    from labctl.runtime.docker.engine import connect  # noqa: PLC0415

    return connect()
