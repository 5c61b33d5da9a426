"""How a command starts a lab's agent, and hears from it until it answers for its lab."""

from __future__ import annotations

import json
import os
import secrets as random_secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Any, Self

from labctl.errors import Exit, LabError, NotHealthyError, StartError, UsageError
from labctl.interrupts import uninterrupted
from labctl.runtime.marker import AGENT_MODULE, AGENT_NODE, marked_environment
from labctl.store.folders import LabFolder, labs

Progress = Callable[[str], None]


class EarlyAgent:
    """An agent of local processes that imports what it needs while its command still reads what lab it is for.

    Leaving the context without a lab ends it.

    Attributes:
        lab_id: Of the lab that it will be for.
    """

    def __init__(self) -> None:
        self.lab_id = random_secrets.token_hex(16)
        self._process = _daemon(["--early", str(labs())], self.lab_id, subprocess.PIPE, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        stdin, stdout = self._pipes
        with uninterrupted():
            self._process.wait()  # it has left long ago
            if not stdin.closed:
                stdin.close()
                stdout.read()  # ends with the last process that holds it
            stdout.close()

    def begin(self, folder: LabFolder) -> IO[bytes]:
        """Tell it its lab; the end of its pipe."""
        folder.agent_log.touch(mode=0o600)
        stdin, stdout = self._pipes
        with suppress(BrokenPipeError), stdin:  # it was killed, and its pipe says so
            stdin.write(os.fsencode(folder.path) + b"\n")
        return stdout

    @property
    def has_a_lab(self) -> bool:
        """Whether it was told, and so can be told no other."""
        return self._pipes[0].closed

    @property
    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


@contextmanager
def early_agent(wanted: bool) -> Iterator[EarlyAgent | None]:
    """An agent that is started early, where one is wanted. No interrupt falls between its start and its being known."""
    if not wanted:
        yield None
        return
    with ExitStack() as stack:
        with uninterrupted():
            early = stack.enter_context(EarlyAgent())
        yield early


def spawn(folder: LabFolder, lab_id: str, *, take_over: bool) -> IO[bytes]:
    """Start the daemon; return the end of its pipe."""
    with folder.agent_log.open("ab") as log:
        folder.agent_log.chmod(0o600)
        words = [str(folder.path), *(["--take-over"] if take_over else [])]
        process = _daemon(words, lab_id, subprocess.DEVNULL, log)
    assert process.stdout is not None
    return process.stdout


def _daemon(words: Sequence[str], lab_id: str, stdin: int, stderr: IO[bytes] | None) -> subprocess.Popen[bytes]:
    """What is started here leaves at once, its child stays."""
    process = subprocess.Popen(
        [sys.executable, "-m", AGENT_MODULE, *words],
        env=marked_environment(lab_id, AGENT_NODE),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,  # a Ctrl-C at the terminal is for the command, which then ends what it started
    )
    if stdin == subprocess.DEVNULL:
        process.wait()
    return process


def await_agent(pipe: IO[bytes], progress: Progress = lambda _: None) -> float | None:
    """Read what a new agent says until it answers for its lab or leaves.

    Returns:
        Seconds from the first fork to a healthy lab; None when it left without a reason or did not bring a lab up.

    Raises:
        LabError: The reason that it gave.
    """
    healthy_s = None
    for entry in map(json.loads, pipe):
        if "error" in entry:
            raise _start_error(entry)
        if "step" in entry:
            progress(str(entry["step"]))
        healthy_s = entry.get("healthy_s", healthy_s)
        if "up" in entry:
            return None if healthy_s is None else float(healthy_s)
    return None


def _start_error(entry: dict[str, Any]) -> LabError:
    """The error that an agent stated as JSON before it left."""
    message, hint = str(entry["error"]), str(entry.get("hint", ""))
    if "view" in entry:
        return NotHealthyError(message, hint, entry["reasons"], entry["view"])
    return UsageError(message, hint) if entry.get("exit") == Exit.USAGE else StartError(message, hint)
