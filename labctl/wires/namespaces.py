"""The network namespaces of one lab, and doing something inside one of them.

A socket belongs to the namespace in which it was made, whoever uses it, and a process to the one of the thread that started
it. So one thread of the agent goes from namespace to namespace, makes what is asked for and hands it over; the others never
leave the machine's own.

A process without a name of its own, `sleep`, holds all namespaces open. They outlive the agent with it, its successor finds
them there, and `labctl down` ends it like every other process of the lab.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from labctl.errors import CapabilityError, StartError
from labctl.runtime.marker import marked_environment, marked_processes, send_signal

T = TypeVar("T")

HOLDER_NODE = "@wires"
"""Marker of the process that holds the namespaces; no node can be called so."""
_VARIABLE = "LABCTL_NAMESPACES"
_CLONE_NEWNET = 0x40000000
_FOR_EVER_S = "2147483647"


class Namespaces:
    """Namespaces by name.

    Args:
        lab_id: Of the lab.
        opened: Descriptors by name.
    """

    def __init__(self, lab_id: str, opened: dict[str, int]) -> None:
        self._lab_id = lab_id
        self._opened = opened
        self._requests: queue.SimpleQueue[tuple[int, Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="namespaces", daemon=True)
        self._thread.start()

    @classmethod
    def create(cls, lab_id: str, names: Sequence[str]) -> Self:
        """New ones, with nothing in them but a loopback interface that is down.

        Raises:
            CapabilityError: This process may not make any; says what would help.
        """
        made: dict[str, int] = {}

        def make() -> None:
            for name in names:
                _call(lambda: _libc().unshare(_CLONE_NEWNET))
                made[name] = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

        try:
            _in_a_thread(make)
            namespaces = cls(lab_id, made)
            namespaces._hold()
        except OSError as error:
            for opened in made.values():
                os.close(opened)
            raise CapabilityError(
                f"No network namespace can be made here: {error.strerror}.",
                "It takes root, or a kernel that lets users make user namespaces (labctl doctor). Without --net netns a lab "
                "needs neither.",
            ) from error
        return namespaces

    @classmethod
    def adopt(cls, lab_id: str, names: Sequence[str]) -> Self:
        """Those that an earlier agent of the lab made.

        Raises:
            StartError: They are gone.
        """
        for process in marked_processes(lab_id):
            if process.node == HOLDER_NODE:
                with suppress(OSError, KeyError):
                    held = _held_by(process.pid)
                    return cls(lab_id, {n: os.open(held[n], os.O_RDONLY | os.O_CLOEXEC) for n in names})
        raise StartError(
            "The lab's network namespaces are gone: the process that held them was killed.",
            "labctl down, and up again.",
        )

    def run(self, name: str, work: Callable[[], T]) -> T:
        """Do something in a namespace and return what it returned. Short things only: the caller waits."""
        done: Future[T] = Future()
        self._requests.put((self._opened[name], work, done))
        return done.result()

    def socket(self, name: str, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A new socket of a namespace."""
        return self.run(name, lambda: socket.socket(family, kind))

    def path(self, name: str) -> str:
        """Where other programs find a namespace for as long as this process lives."""
        return f"/proc/{os.getpid()}/fd/{self._opened[name]}"

    def close(self) -> None:
        """Let go of them; the holder still has them."""
        self._requests.put(None)
        self._thread.join()
        for opened in self._opened.values():
            os.close(opened)
        self._opened.clear()

    def destroy(self) -> None:
        """End the holder. The kernel takes the namespaces away once the servers in them are gone too."""
        for process in marked_processes(self._lab_id):
            if process.node == HOLDER_NODE:
                send_signal(process, signal.SIGKILL)

    def _hold(self) -> None:
        environment = marked_environment(self._lab_id, HOLDER_NODE)
        environment[_VARIABLE] = ",".join(f"{name}={number}" for name, number in self._opened.items())
        subprocess.Popen(
            ["sleep", _FOR_EVER_S],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=tuple(self._opened.values()),
            start_new_session=True,
        )

    def _serve(self) -> None:
        inside = -1
        while (request := self._requests.get()) is not None:
            namespace, work, done = request
            try:
                if namespace != inside:
                    _call(lambda wanted=namespace: _libc().setns(wanted, _CLONE_NEWNET))  # type: ignore[misc]
                    inside = namespace
                done.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                done.set_exception(error)


def _held_by(pid: int) -> dict[str, str]:
    """Name → path of each namespace that a holder holds."""
    environment = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    stated = next(entry for entry in environment if entry.startswith(f"{_VARIABLE}=")).partition("=")[2]
    return {name: f"/proc/{pid}/fd/{number}" for name, _, number in (e.partition("=") for e in stated.split(","))}


def _in_a_thread(work: Callable[[], None]) -> None:
    """A thread that changes its namespace can be no other thread's again; this one ends."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)

    thread = threading.Thread(target=run, name="new namespaces")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(call: Callable[[], int]) -> None:
    """A system call of libc's that Python 3.11 does not have. Raises OSError."""
    if call() != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
