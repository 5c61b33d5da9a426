"""The command line as its users have it: a process of its own, with a state folder of its own."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

import psutil

T = TypeVar("T")
PATIENCE_S = 60.0
"""How long a test waits for what must come: far longer than it takes, for the machine may be busy with other tests."""
COMMAND_S = 150.0
"""How long a command may take: a whole drill may be among them."""
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
FIRST_PORT = int(os.environ.get("LABCTL_FIRST_PORT", "7001")) + (2000 + 1000 * WORKER if WORKER else 0)
"""Each worker has ports of its own, for tests that kill a lab's guard too: then its ports are anybody's.

None has those between 8001 and 10000, where the web view, Toxiproxy's API, Prometheus and metrics are.
"""
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    args: tuple[str, ...]
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"labctl {' '.join(self.args)} → {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"

    @property
    def data(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Running:
    """A command that was started. What it says goes to files, so that nothing is lost when it is killed."""

    args: tuple[str, ...]
    process: subprocess.Popen[bytes]
    out_file: IO[str]
    err_file: IO[str]

    @property
    def out(self) -> str:
        """Standard output so far."""
        return _so_far(self.out_file)

    @property
    def err(self) -> str:
        """Standard error so far."""
        return _so_far(self.err_file)

    def said(self, lines: int) -> None:
        """Wait until it said so many lines on standard error, or has ended."""
        until(lambda: self.err.count("\n") >= lines or self.process.poll() is not None, f"line {lines} of {self.args}")

    def send(self, number: signal.Signals) -> None:
        """Signal it."""
        self.process.send_signal(number)

    def finish(self, code: int | None = None, *, began: bool = True) -> Done:
        """Wait until it has ended, with the exit code `code` if given, and never with a traceback.

        One that was interrupted before it began shows what Python says then.
        """
        self.process.wait(PATIENCE_S)
        done = Done(self.args, self.process.returncode, self.out, self.err)
        self.out_file.close()
        self.err_file.close()
        trace = "Traceback" if began else "labctl/cli"
        assert trace not in done.err + done.out, str(done)
        assert code is None or done.code == code, str(done)
        return done


def _so_far(file: IO[str]) -> str:
    """What it holds. The position in it is the command's as well, which writes there: it is not to be moved."""
    number = file.fileno()
    return os.pread(number, os.fstat(number).st_size, 0).decode(errors="replace")


@dataclass(frozen=True)
class Labctl:
    """`labctl` with one state folder. Every process that it starts carries the folder's path in its environment.

    Attributes:
        home: The state folder.
        program: What comes before the verb.
        cwd: Where it runs.
        env: Variables that differ from the test's own.
    """

    home: Path
    program: tuple[str, ...] = (sys.executable, "-m", "labctl")
    cwd: Path = REPOSITORY
    env: dict[str, str] = field(default_factory=dict)

    def run(self, *args: str, code: int | None = 0, text: str | None = None) -> Done:
        """Run a verb to its end, which must be the exit code `code` (any, if None), and never a traceback."""
        ended = subprocess.run(
            [*self.program, *args],
            cwd=self.cwd,
            env=self._environment(),
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        done = Done(args, ended.returncode, ended.stdout, ended.stderr)
        assert "Traceback" not in done.err + done.out, str(done)
        assert code is None or done.code == code, str(done)
        return done

    def json(self, *args: str, code: int = 0) -> Any:
        """Run a verb with `-o json`; its answer."""
        return self.run(*args, "-o", "json", code=code).data

    def start(self, *args: str) -> Running:
        """Start a verb and do not wait for it."""
        out, err = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by Running
        process = subprocess.Popen(
            [*self.program, *args],
            cwd=self.cwd,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        return Running(args, process, out, err)

    def on_a_terminal(self, *args: str) -> str:
        """Run a verb to its end on a pseudo-terminal; everything that it showed."""
        ours, theirs = pty.openpty()
        try:
            process = subprocess.Popen(
                [*self.program, *args],
                cwd=self.cwd,
                env={**self._environment(), "TERM": "xterm-256color"},
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
            )
        finally:
            os.close(theirs)
        with os.fdopen(ours, "rb", buffering=0) as screen:
            shown = b""
            with suppress(OSError):  # the end of a terminal that nobody holds any more
                while data := screen.read(4096):
                    shown += data
        assert process.wait(PATIENCE_S) == 0, shown.decode()
        return shown.decode()

    def _environment(self) -> dict[str, str]:
        ours = {"LABCTL_HOME": str(self.home), "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}
        ours["LABCTL_FIRST_PORT"] = str(FIRST_PORT)
        return {**{k: v for k, v in os.environ.items() if not k.startswith("LABCTL_")}, **ours, **self.env}

    def well(self, *options: str) -> Any:
        """Wait until nothing is wrong with a lab in anybody's view, as after its formation or a fault; its status then."""

        def status() -> Any:
            seen.append(self.json("status", *options))
            return seen[-1] if not seen[-1]["unhealthy"] else None

        seen: list[Any] = []
        try:
            return until(status, "a healthy lab")
        except AssertionError as error:
            raise AssertionError(f"{error}: {seen[-1]['unhealthy']}") from error

    # What there is of it in the system.

    def lab_folder(self, lab: str) -> Path:
        return self.home / "labs" / lab

    def plan(self, lab: str) -> Any:
        """The lab's plan as stored."""
        return json.loads((self.lab_folder(lab) / "plan.json").read_bytes())

    def processes(self) -> list[psutil.Process]:
        """Live processes that were started, directly or not, by a command with this state folder."""
        mark = f"LABCTL_HOME={self.home}\0".encode()
        found = []
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with suppress(OSError, psutil.Error):
                    if mark in Path(entry.path, "environ").read_bytes():
                        found.append(psutil.Process(int(entry.name)))
        return found

    def agents(self, lab: str = "") -> tuple[psutil.Process, psutil.Process]:
        """Guard and agent of a lab, the only one if it is not named; waits until both are there."""

        def pair() -> list[psutil.Process]:
            every = self.of(lab) if lab else self.processes()
            ours = [p for p in every if environment(p).get("LABCTL_NODE") == "@agent"]
            pids = {p.pid for p in ours}
            with suppress(psutil.Error):
                return sorted(ours, key=lambda p: p.ppid() in pids) if len(ours) == 2 else []
            return []

        guard, agent = until(pair, "a guard and an agent")
        return guard, agent

    def servers(self) -> dict[str, psutil.Process]:
        """Servers by node name, without the children that they fork to save."""
        found = {}
        for process in self.processes():
            node = environment(process).get("LABCTL_NODE", "@")
            with suppress(ProcessLookupError):
                if not node.startswith("@") and os.getsid(process.pid) == process.pid:
                    found[node] = process
        return found

    def of(self, lab: str) -> list[psutil.Process]:
        """Processes of one lab."""
        return [process for process in self.processes() if self.lab_of(process) == lab]

    def lab_of(self, process: psutil.Process) -> str:
        """The name of the lab that a process belongs to, by the files of the labs; empty for one of no lab."""
        wanted = environment(process).get("LABCTL_LAB")
        for request in self.home.glob("labs/*/request.json"):
            with suppress(OSError, ValueError):
                if json.loads(request.read_bytes())["lab_id"] == wanted:
                    return request.parent.name
        return ""

    def listeners(self) -> set[tuple[str, int]]:
        """Every TCP address that a process of this state folder listens on."""
        found = set()
        for process in self.processes():
            with suppress(psutil.Error):
                for connection in process.net_connections("inet"):
                    if connection.status == psutil.CONN_LISTEN:
                        found.add((connection.laddr.ip, connection.laddr.port))
        return found

    def files(self) -> list[Path]:
        """Everything in the state folder except runs."""
        if not self.home.exists():
            return []
        return sorted(p for p in self.home.rglob("*") if (self.home / "runs") not in (p, *p.parents))

    def assert_nothing_left(self) -> None:
        """No process, hence no port, and no file but runs."""
        left = self.processes()
        assert not left, [(p.pid, command_line(p), environment(p).get("LABCTL_NODE")) for p in left]
        files = self.files()
        assert files == [], [str(file.relative_to(self.home)) for file in files]

    def end_all(self) -> None:
        """What a failed test leaves behind."""
        for _ in range(5):
            for process in self.processes():
                with suppress(psutil.Error):
                    process.kill()


def environment(process: psutil.Process) -> dict[str, str]:
    """The environment that a process was started with; empty when it is gone or a stranger's."""
    with suppress(psutil.Error, OSError):
        found: dict[str, str] = process.environ()
        return found
    return {}


def command_line(process: psutil.Process) -> list[str]:
    """Its words; none when it is gone."""
    with suppress(psutil.NoSuchProcess):
        found: list[str] = process.cmdline()
        return found
    return []


def kernel_state(process: psutil.Process) -> str | None:
    """What the kernel says of it; None when it is gone, though its parent may not have noticed yet."""
    with suppress(psutil.NoSuchProcess):
        state: str = process.status()
        return state if process.is_running() and state != psutil.STATUS_ZOMBIE else None
    return None


def control_groups(name: str) -> list[Path]:
    """Those of this name; groups come and go meanwhile, which `Path.rglob` of Python 3.11 does not stand."""
    return [Path(folder, name) for folder, inside, _ in os.walk("/sys/fs/cgroup") if name in inside]


def until(look: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """Look again and again until there is something; return it.

    A look that takes long, as a command does, is followed by a longer pause: what is waited for wants the processor, too.
    """
    deadline = time.monotonic() + patience_s
    looked = time.monotonic()
    while not (found := look()):
        now = time.monotonic()
        if now > deadline:
            raise AssertionError(f"there never was {what}; at last: {found!r}")
        time.sleep(max(0.05, 2 * (now - looked)))
        looked = time.monotonic()
    return found


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Signal each; one that is gone already is none."""
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


@contextmanager
def labctl_at(home: Path) -> Iterator[Labctl]:
    """A `labctl` that must have left nothing behind in the end."""
    command = Labctl(home)
    try:
        yield command
        command.assert_nothing_left()
    finally:
        command.end_all()
