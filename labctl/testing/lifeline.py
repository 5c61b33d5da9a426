"""Labs that end with the process that brought them up, even when that is killed.

A process that uses labs has one child that holds the other end of a pipe. It is told of each lab that comes up and goes
down. When the pipe closes, which the kernel does for a process that was killed, it takes down those that are left.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

_ADD, _REMOVE = "+", "-"


class Lifeline:
    """The child, started when the first lab is added. A forked process starts one of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pipe: int | None = None
        self._owner = 0

    def add(self, folder: Path) -> None:
        """The lab in this folder ends with this process from now on."""
        self._tell(_ADD, folder)

    def remove(self, folder: Path) -> None:
        """It went down, or is meant to stay."""
        self._tell(_REMOVE, folder)

    def close(self) -> None:
        """Let the child end, which takes down the labs that are left."""
        with self._lock:
            if self._pipe is not None and self._owner == os.getpid():
                os.close(self._pipe)
            self._pipe = None

    def _tell(self, what: str, folder: Path) -> None:
        with self._lock:
            if self._pipe is None or self._owner != os.getpid():
                self._pipe, self._owner = _start(), os.getpid()
            with suppress(OSError):  # the child was killed; nothing but this process's own end is left then
                os.write(self._pipe, f"{what}{folder}\n".encode())


LIFELINE = Lifeline()


def _start() -> int:
    """The descriptor to write to. It stays open for as long as this process lives, and no program that it runs has it."""
    theirs, ours = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "labctl.testing.lifeline"],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C at the terminal is not for it
    )
    child.returncode = 0  # nobody waits for it, and that is no mistake: it outlives this process
    os.close(theirs)
    return ours


def main() -> None:
    """Listen until the pipe closes; then take down what is left."""
    from labctl.errors import LabError  # noqa: PLC0415 - the child of a test run stays as small as it can
    from labctl.store.folders import LabFolder, SameFolder  # noqa: PLC0415
    from labctl.teardown import take_down  # noqa: PLC0415

    labs: dict[str, SameFolder] = {}
    for line in sys.stdin:
        what, path = line[0], line[1:].rstrip("\n")
        if same := labs.pop(path, None):
            same.close()
        if what == _ADD:
            with suppress(OSError):
                labs[path] = SameFolder(Path(path))
    for path, same in labs.items():
        with suppress(LabError, OSError):
            take_down(LabFolder(Path(path)), same)


if __name__ == "__main__":
    main()
