"""Holds a program for a labctl that may be killed: when the other end of standard input is gone, so is the program.

Run by its path (`python -I application_guard.py GRACE_S COMMAND…`), so that nothing of labctl is imported. Asking the
program to end and dying look the same to it: SIGTERM to the program's process group, SIGKILL after `GRACE_S` seconds. It
ends as the program ended: with its exit code, or by its signal. A command that cannot be run is 126 or 127, as in a shell.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress


def main() -> None:
    """Start the program, end it when told to, end like it."""
    grace_s, command = float(sys.argv[1]), sys.argv[2:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stay)  # what ends this process is the program's end, or SIGKILL
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"{command[0]} cannot be run: {error.strerror}", file=sys.stderr)
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)
    threading.Thread(target=_end_when_told, args=(child.pid, grace_s), daemon=True).start()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # not reaped yet, so the group's number is still its own
    _signal_group(child.pid, signal.SIGKILL)
    _end_like(child.wait())


def _stay(*_: object) -> None:
    """A handler, not SIG_IGN, which the program would inherit."""


def _end_when_told(group: int, grace_s: float) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    _signal_group(group, signal.SIGTERM)
    time.sleep(grace_s)  # the process ends meanwhile, and this thread with it
    _signal_group(group, signal.SIGKILL)


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _end_like(code: int) -> None:
    if code >= 0:
        sys.exit(code)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the program has left its core, if any
    with suppress(OSError, ValueError):
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)


if __name__ == "__main__":
    main()
