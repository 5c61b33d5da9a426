"""What only a server that is a process of this machine offers: its process, its files, its page of the shim."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from labctl.agent.effects.base import PROOF_DEADLINE_S, eventually
from labctl.errors import CapabilityError, InjectionError
from labctl.plan.config import DATA_FOLDER
from labctl.runtime import shim
from labctl.runtime.base import LocalProcesses
from labctl.runtime.marker import marked_processes, send_signal

if TYPE_CHECKING:
    from pathlib import Path

    from labctl.agent.effects.base import Bench


def process_id(bench: Bench, name: str) -> int:
    """The server's process.

    Raises:
        CapabilityError: Servers of this runtime are not processes of this machine.
        InjectionError: It is gone.
    """
    if not isinstance(bench.runtime, LocalProcesses):
        raise CapabilityError(
            f"This fault needs servers that are processes of this machine; the lab runs on {bench.plan.runtime}.",
            "labctl up --runtime process",
        )
    pid = bench.runtime.process_id(bench.node(name))
    if pid is None:
        raise InjectionError(f"{name} is not running.", "labctl status; labctl chaos ls")
    return pid


async def end_children(bench: Bench, name: str) -> None:
    """End what a server that was killed has forked: a child that saves goes on, and puts its dump in place in the end.

    Raises:
        InjectionError: It does not end.
    """

    async def ended() -> bool:
        children = [process for process in marked_processes(bench.plan.lab_id) if process.node == name]
        for child in children:
            send_signal(child, signal.SIGKILL)
        return not children

    if not await eventually(ended, PROOF_DEADLINE_S):
        raise InjectionError(f"A child of {name} does not end.")


def data_folder(bench: Bench, name: str) -> Path:
    """The server's `dir`."""
    return bench.folder.node(name) / DATA_FOLDER


def require_shim(bench: Bench, name: str) -> None:
    """Raise CapabilityError where the server did not load the shim."""
    if not shim.loaded(process_id(bench, name), bench.folder.node(name)):
        raise CapabilityError(
            f"{name} was started without the shim that this fault needs; servers load it when they start.",
            "labctl down, then labctl up … --with disk-faults (needs a C compiler). Drills do so by themselves.",
        )


def page(bench: Bench, name: str) -> shim.Page:
    """The server's page of the shim; there is one in a lab with the shim, whether or not the server runs."""
    return shim.Page(bench.folder.node(name))
