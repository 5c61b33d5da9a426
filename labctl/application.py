"""Drilling one's own application: it runs while the faults happen, and its end and its words are events of the history.

The program is a child of `application_guard`, in a session of its own. It carries the lab's marker (`runtime.marker`), as
servers do: what it starts and leaves behind is found by that and ended with it, and `labctl down` ends it too.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from labctl.check import application as application_check
from labctl.check.registry import CHECKERS
from labctl.errors import LabError, UsageError
from labctl.lab import Lab
from labctl.model.application import Application
from labctl.model.history import APPLICATION, APPLICATION_LINE, NOT_JUDGED, Event
from labctl.model.scenario import Check, Phase, Scenario
from labctl.report.environment import environment
from labctl.runtime.marker import marked_environment, marked_processes, send_signal
from labctl.store.history import HistoryWriter

NODE = "@application"
"""Its marker; no node can be called so."""
LINES_AS_EVENTS = 1000
"""Lines of a phase that stand on the timeline; the file has more of them."""
LOG_BYTES = 10_000_000
"""Bytes of a phase's log file; what comes after that is counted and dropped."""
_LINE = 2000
_CHUNK = 65_536
_LAST_LINES = 5
_GUARD = Path(__file__).with_name("application_guard.py")
_LATE_S = 5.0
_READY_S = 60.0
_LAST_WORDS_S = 1.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
_PROMISE = (
    "The application gets over what happens to Redis: it runs until it is told to end, or ends by itself, in either case "
    "with the exit code that it should have (stated with --exec; nothing that Redis promises)."
)
_WHY_NOT_JUDGED = "the application replaces the workloads, whose operations these checks are about"


def parse_command(text: str) -> tuple[str, ...]:
    """The words of a command line as a shell would split them; nothing is expanded.

    Raises:
        UsageError: There is no command, a quote is not closed, or there is no such program.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"--exec {text!r} cannot be split into words: {error}.", "Close every quote.") from None
    if not words:
        raise UsageError("--exec names no program.", "--exec 'PROGRAM ARGUMENTS'; for a pipeline: --exec \"sh -c '…'\"")
    if shutil.which(words[0]) is None:
        raise UsageError(f"There is no program '{words[0]}'.", "Is it on PATH, and may it be executed?")
    return words


def prepare(scenario: Scenario, application: Application) -> tuple[Scenario, Application]:
    """`scenario` as it is run with `application`: its check in every phase.

    An application that is alone takes the place of the workloads. The checks that judge what those did are left out, and
    noted in what is returned.
    """
    phases = tuple(_phase_with(phase, application) for phase in scenario.phases)
    left_out = {
        phase.name: tuple(check.name for check in phase.checks if CHECKERS[check.name].of_operations)
        for phase in scenario.phases
        if application.alone
    }
    return replace(scenario, phases=phases), replace(application, not_judged=left_out)


def _phase_with(phase: Phase, application: Application) -> Phase:
    if application.alone:
        kept = tuple(check for check in phase.checks if not CHECKERS[check.name].of_operations)
        phase = replace(phase, workloads=(), checks=kept)
    if any(check.name == application_check.NAME for check in phase.checks):
        return phase
    check = Check(application_check.NAME, _PROMISE, options={"exit_code": application.exit_code})
    return replace(phase, checks=(*phase.checks, check))


@dataclass(slots=True)
class _Output:
    """Where the program's lines go: all into a file as long as there is room, the first ones into the history too."""

    history: HistoryWriter
    file: IO[str]
    started_ns: int
    ready_words: str
    lines: int = 0
    written: int = 0
    dropped: int = 0
    errors: int = 0
    last: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, stream: str, raw: bytes) -> None:
        """One line of `stdout` or `stderr`, whenever it came."""
        at_ns = time.monotonic_ns()
        line = _ESCAPES.sub("", raw.decode(errors="replace")).rstrip()
        self.lines += 1
        self.last.append(line)
        if self.ready_words in line:
            self.ready.set()
        self.errors += stream == "stderr"
        entry = f"{(at_ns - self.started_ns) / 1e9:10.3f} s  {stream}  {line}\n"
        if self.written + len(entry) <= LOG_BYTES:
            self.written += len(entry)
            self.file.write(entry)
        else:
            self.dropped += 1
        if self.lines <= LINES_AS_EVENTS:
            detail = {"stream": stream, "text": f"application: {line}"}
            self.history.event(Event(APPLICATION_LINE, at_ns, None, detail))

    def close(self) -> None:
        """Say in the file what it lacks."""
        if self.dropped:
            self.file.write(f"… {self.dropped} more lines\n")


@dataclass(slots=True)
class _Program:
    """The application's guard, and whether it was told to end it before it had ended."""

    guard: asyncio.subprocess.Process
    told: bool = False

    def tell_to_end(self) -> None:
        """SIGTERM by way of the guard, and SIGKILL later. Nothing, once it has ended."""
        assert self.guard.stdin is not None
        self.told = self.told or self.guard.returncode is None
        self.guard.stdin.close()


@asynccontextmanager
async def running(
    application: Application | None,
    phase: str,
    lab: Lab,
    history: HistoryWriter,
    log: Path,
    say: Callable[[str], None],
) -> AsyncIterator[None]:
    """The application, for as long as the context lasts; leaving ends it. Without one, nothing.

    Args:
        application: What to run; None for nothing.
        phase: In which.
        lab: What its environment leads to.
        history: Where its start, its lines and its end are noted.
        log: File of its lines.
        say: Told of its start and its end.
    """
    if application is None:
        yield
        return
    if names := application.not_judged.get(phase):
        text = f"not judged: {', '.join(names)}; {_WHY_NOT_JUDGED}"
        history.event(Event(NOT_JUDGED, time.monotonic_ns(), None, {"checks": list(names), "text": text}))
    lab_id = lab.plan().lab_id
    with log.open("w") as file:
        program = _Program(await _start(application, lab, lab_id))
        output = _Output(history, file, time.monotonic_ns(), application.ready)
        _note(history, say, f"the application was started: {shlex.join(application.command)}", {"what": "started"})
        watch = asyncio.create_task(_watch(program, application, output, say))
        try:
            await _until_ready(application, output, watch)
            yield
        except asyncio.CancelledError:  # whoever cancels does not want to wait
            program.tell_to_end()
            _sweep(lab_id)
            raise
        finally:
            program.tell_to_end()
            await asyncio.wait({asyncio.ensure_future(program.guard.wait())}, timeout=application.grace_s + _LATE_S)
            _sweep(lab_id)
            await asyncio.shield(watch)
            output.close()


async def _until_ready(application: Application, output: _Output, watch: asyncio.Task[None]) -> None:
    """Wait for its words, where some were stated. One that ended meanwhile is judged by its end."""
    if not application.ready:
        return
    said = asyncio.create_task(output.ready.wait())
    await asyncio.wait({said, watch}, timeout=_READY_S, return_when=asyncio.FIRST_COMPLETED)
    said.cancel()
    if not output.ready.is_set() and not watch.done():
        words = " / ".join(output.last) or "nothing"
        raise LabError(f"The application did not say '{application.ready}' within {_READY_S:g} s.", f"It said: {words}")


async def _start(application: Application, lab: Lab, lab_id: str) -> asyncio.subprocess.Process:
    variables = {
        "PYTHONUNBUFFERED": "1",  # a line is on the timeline when it was written, not when a buffer was full
        **marked_environment(lab_id, NODE),
        **environment(lab.endpoints(application.group)),
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(_GUARD), str(application.grace_s), *application.command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=variables,
        start_new_session=True,
    )


async def _watch(program: _Program, application: Application, output: _Output, say: Callable[[str], None]) -> None:
    """Take its lines and note its end."""
    guard = program.guard
    assert guard.stdout is not None
    assert guard.stderr is not None
    reading = asyncio.gather(_read(guard.stdout, "stdout", output), _read(guard.stderr, "stderr", output))
    code = await guard.wait()
    told, ended_ns = program.told, time.monotonic_ns()
    await asyncio.wait({reading}, timeout=_LAST_WORDS_S)  # what it left behind may hold on to its output
    name = _signal_name(-code) if code < 0 else None
    detail: dict[str, object] = {
        "what": "ended",
        "exit_code": None if name else code,
        "signal": name,
        "told": told,
        "ran_ms": (ended_ns - output.started_ns) / 1e6,
        "grace_s": application.grace_s,
        "lines": output.lines,
        "stderr_lines": output.errors,
        "last_lines": list(output.last),
    }
    when = "when it was told to" if told else "by itself"
    how = f"killed by {name}" if name else f"exit code {code}"
    _note(output.history, say, f"the application ended {when}: {how}", detail, ended_ns)
    await reading


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


async def _read(reader: asyncio.StreamReader, stream: str, output: _Output) -> None:
    """Lines as they come, each cut off where it is too long. One that is too long to wait for its end is taken before it."""
    rest, taken = b"", False
    while data := await reader.read(_CHUNK):
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            if not taken:
                output.take(stream, line[:_LINE])
            taken = False
        if taken:
            rest = b""  # more of what was cut off
        elif len(rest) > _CHUNK:
            output.take(stream, rest[:_LINE])
            rest, taken = b"", True
    if rest:
        output.take(stream, rest[:_LINE])


def _note(
    history: HistoryWriter, say: Callable[[str], None], text: str, detail: dict[str, object], at_ns: int | None = None
) -> None:
    history.event(Event(APPLICATION, at_ns or time.monotonic_ns(), None, {**detail, "text": text}))
    say(text)


def _sweep(lab_id: str) -> None:
    """SIGKILL what carries its marker and is still there: after its end, whatever went into a session of its own.

    What does not even end of that is left to `Lab.down`, which names it.
    """
    until = time.monotonic() + _LATE_S
    while (left := [p for p in marked_processes(lab_id) if p.node == NODE]) and time.monotonic() < until:
        for process in left:
            send_signal(process, signal.SIGKILL)
        time.sleep(0.002)
