"""`python -m labctl.agent FOLDER [--take-over]`: the lab's daemon. `--early LABS`: it is told on standard input which.

One at a time: the first takes a lock that it shares with its children, and a second one leaves at once.
Two processes: a guard, which does nothing but wait, and the agent. When the agent is killed or crashes, the guard starts
another, however often, which takes over and reverts what its predecessor left behind; so faults end at their deadline
even then. An agent that ends in its own order, or with a reason that it could state, is not started again.
Standard output is a pipe to whoever waits for the lab to come up: one JSON object a line, then end of file.

An early agent imports what it needs while the command still finds out what lab it is for. When the command
ends without saying so, both leave.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from labctl.agent.restarts import Restarts

CRASHED = 1
"""Exit code of an agent that met an error which it cannot state: Python's own for an exception that nobody caught."""


def main() -> NoReturn:
    """Guard an agent until it leaves by itself."""
    os.umask(0o077)  # servers inherit it: a rewritten configuration holds secrets, and Redis writes it with the umask
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))  # the command may have held them back
    if sys.argv[1] == "--early":
        _leave_the_command()
        early = _Early()
        folder, resume = early.folder(), False
    else:
        early = None
        folder, resume = Path(sys.argv[1]), "--take-over" in sys.argv[2:]
    os.chdir("/")
    try:
        lock = os.open(folder / "agent.lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(0)  # somebody else has the lab, or it is gone
    if early is None:
        _leave_the_command()
    restarts = Restarts()
    while True:
        if early is not None:
            pid, early = early.begin(folder, lock), None
        elif not (pid := os.fork()):
            os.setsid()  # a session of its own marks it as a process that labctl started, not a child of one
            sys.exit(_run(folder, resume=resume))
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if (code >= 0 and code != CRASHED) or not (folder / "formed").exists():
            sys.exit(max(code, 0))
        resume = True
        time.sleep(restarts.wait_s(time.monotonic()))


def _leave_the_command() -> None:
    """Whoever started this does not have to wait for the guard."""
    if os.fork():
        os._exit(0)
    os.setsid()


class _Early:
    """The first agent of a guard, forked before the lab is known."""

    def __init__(self) -> None:
        self._mine, its = socket.socketpair()
        self._pid = os.fork()
        if self._pid:
            its.close()
            return
        os.setsid()
        self._mine.close()
        _import()
        told, fds, _, _ = socket.recv_fds(its, 65_536, 1)
        if not fds:
            os._exit(0)  # the guard has left
        for fd in fds:
            os.set_inheritable(fd, False)
        its.close()
        folder = Path(os.fsdecode(told))
        _settle(folder)
        sys.exit(_run(folder, resume=False))

    def folder(self) -> Path:
        """The lab's, as the command says; where it says nothing both leave."""
        told = sys.stdin.buffer.readline()
        if not told.endswith(b"\n"):
            os.kill(self._pid, signal.SIGKILL)
            os._exit(0)
        folder = Path(os.fsdecode(told[:-1]))
        _settle(folder)
        return folder

    def begin(self, folder: Path, lock: int) -> int:
        """Let it begin, with a share in the lock; its pid."""
        with suppress(OSError):  # it was killed, as the guard is about to see
            socket.send_fds(self._mine, [os.fsencode(folder)], [lock])
        self._mine.close()
        return self._pid


def _settle(folder: Path) -> None:
    """Be where the lab's agent is: its log for errors, no standard input, no folder that anybody may want to remove."""
    os.chdir("/")
    with suppress(OSError):  # the lab was taken down; the lock says so
        for path, flags, fd in ((os.devnull, os.O_RDONLY, 0), (folder / "agent.log", os.O_WRONLY | os.O_APPEND, 2)):
            opened = os.open(path, flags)
            os.dup2(opened, fd)
            os.close(opened)


def _import() -> None:
    """What an agent of local processes needs."""
    import uvloop  # noqa: F401, PLC0415

    from labctl.agent import agent, process_site, run  # noqa: F401, PLC0415


def _run(folder: Path, *, resume: bool) -> int:
    from labctl.agent.privileges import gain  # noqa: PLC0415 - after the fork: the guard stays small

    if (refused := gain(folder)) is not None:
        say(refused)
        return int(str(refused["exit"]))
    import uvloop  # noqa: PLC0415

    from labctl.agent.run import run  # noqa: PLC0415

    return uvloop.run(run(folder, say, resume=resume))


def say(entry: dict[str, object]) -> None:
    """One line to whoever waits, if somebody still does."""
    with suppress(OSError):
        os.write(1, json.dumps(entry).encode() + b"\n")


if __name__ == "__main__":
    main()
