"""Whose process is it? Every process of a lab carries the lab's random id in its environment.

A pid in a file lies after a crash: the process may be gone and the number taken by a stranger. The environment a process
was started with cannot be mistaken, needs no file, and finds a server even if labctl was killed between starting it and
noting that it had. `set-proc-title no` keeps Redis from writing over it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LAB_VARIABLE = "LABCTL_LAB"
NODE_VARIABLE = "LABCTL_NODE"
AGENT_NODE = "@agent"
"""Marker of the agent's own processes; no node can be called so."""
AGENT_MODULE = "labctl.agent"
"""What they run: `python -m labctl.agent FOLDER`."""


def marked_environment(lab_id: str, node: str) -> dict[str, str]:
    """This process's environment with the marker of `node` in the lab `lab_id`."""
    return {**os.environ, LAB_VARIABLE: lab_id, NODE_VARIABLE: node}


@dataclass(frozen=True, slots=True)
class Marked:
    """A process that carries a marker."""

    pid: int
    lab_id: str
    node: str
    leader: bool
    """True for the process that labctl started; False for one that it forked, such as a BGSAVE child."""


def _read(pid: int) -> Marked | None:
    with suppress(OSError):
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        if f"{LAB_VARIABLE}=".encode() not in environment:
            return None
        values = dict(entry.split(b"=", 1) for entry in environment.split(b"\0") if b"=" in entry)
        lab = values.get(LAB_VARIABLE.encode(), b"").decode(errors="replace")
        node = values.get(NODE_VARIABLE.encode(), b"").decode(errors="replace")
        if lab:
            return Marked(pid, lab, node, os.getsid(pid) == pid)
    return None


def marked_processes(lab_id: str | None = None) -> Iterator[Marked]:
    """Live processes that carry the marker of `lab_id`, or of any lab. A zombie has no environment and is not listed."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (found := _read(int(entry.name))) and lab_id in (None, found.lab_id):
            yield found


def send_signal(process: Marked, number: signal.Signals) -> bool:
    """Signal exactly this process: through a pidfd, after reading the marker again, so a reused pid is never hit.

    Returns:
        False when the process is gone.
    """
    try:
        handle = os.pidfd_open(process.pid)
    except (ProcessLookupError, OSError):
        return False
    try:
        if _read(process.pid) != process:
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True
