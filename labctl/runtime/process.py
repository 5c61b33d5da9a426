"""The embedded runtime: each node is a server process with a loopback address of its own. No root, no container."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from labctl.errors import InjectionError, StartError
from labctl.model.fault import ServerState
from labctl.model.plan import LabPlan, NodePlan, Secrets, TlsFiles
from labctl.plan.config import DATA_FOLDER, config_name, node_files
from labctl.runtime import shim
from labctl.runtime.marker import Marked, marked_environment, marked_processes, send_signal
from labctl.store.folders import LabFolder, write_private

STOP_DEADLINE_S = 10.0
"""How long a signal that the kernel itself carries out may take to show."""
TERM_DEADLINE_S = 25.0
"""A server that is told to end waits up to 10 s for its replicas (`shutdown-timeout`) and may have to write its dump."""
ASK_AGAIN_S = 1.0
_POLL_S = 0.002

Child = subprocess.Popen[bytes]
Inside = Callable[[str, Callable[[], Child]], Child]
"""(node, start) → what `start` returned, called where the node's processes belong."""


class ProcessRuntime:
    """Servers as child processes of the agent, in sessions of their own, so that nothing but a signal of ours ends them.

    Args:
        plan: The lab.
        folder: Its files; a node's configuration and data are in `nodes/NAME/`, its log is `nodes/NAME/server.log`.
        on_exit: Called with the node's name when its server ended, whoever ended it.
        inside: Starts a process where a node's processes belong: in its network namespace, if it has one.
    """

    def __init__(
        self,
        plan: LabPlan,
        folder: LabFolder,
        on_exit: Callable[[str], None] = lambda _: None,
        inside: Inside = lambda _, start: start(),
    ) -> None:
        self._plan = plan
        self._inside = inside
        self._folder = folder
        self._on_exit = on_exit
        self._servers: dict[str, Marked] = {}
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._watched: dict[str, int] = {}

    async def place(self, secrets: Secrets | None, tls: TlsFiles | None) -> None:
        """Write each node's files into its folder, mode 0600."""
        for node in self._plan.nodes:
            path = self._folder.node(node.name)
            (path / DATA_FOLDER).mkdir(parents=True, mode=0o700)
            for name, text in node_files(self._plan, node, str(path), secrets, tls).items():
                write_private(path / name, text)

    async def start(self, node: NodePlan, arguments: Sequence[str] = ()) -> None:
        """Start the server of `node` on its configuration file."""
        if self._state(node) is not ServerState.GONE:
            return
        folder = self._folder.node(node.name)
        command = [self._engine(node), str(folder / config_name(node)), *_mode(node), *arguments]
        with (folder / "server.log").open("ab") as log:
            try:
                child = self._inside(
                    node.name,
                    lambda: subprocess.Popen(  # a fork takes a millisecond
                        command,
                        cwd=folder,
                        env=marked_environment(self._plan.lab_id, node.name)
                        | shim.environment(self._folder.path, folder),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    ),
                )
            except OSError as error:
                raise StartError(
                    f"{node.name} cannot be started: {error.strerror}: {command[0]}", "labctl doctor lists the engines."
                ) from error
        self._children[child.pid] = child
        await _until_marked(child)
        self._watch(Marked(child.pid, self._plan.lab_id, node.name, leader=True))

    def _engine(self, node: NodePlan) -> str:
        """The server binary: the lab's, or the one that maintenance gave this node (`agent.upkeep`)."""
        try:
            return (self._folder.node(node.name) / "engine").read_text()
        except FileNotFoundError:
            return self._plan.engine

    async def kill(self, node: NodePlan) -> None:
        """SIGKILL."""
        await self._end(node, signal.SIGKILL)

    async def stop(self, node: NodePlan) -> None:
        """SIGTERM; a frozen server is let go first, or it would never see the signal."""
        if self._state(node) is ServerState.PAUSED:
            await self.resume(node)
        asking = asyncio.create_task(self._ask_again(node))
        try:
            await self._end(node, signal.SIGTERM, TERM_DEADLINE_S)
        except InjectionError:
            await self.kill(node)  # or it would end later, when nobody expects it
            raise
        finally:
            asking.cancel()

    async def pause(self, node: NodePlan) -> None:
        """SIGSTOP."""
        self._signal(node, signal.SIGSTOP)
        await self._until(node, ServerState.PAUSED, "did not freeze")

    async def resume(self, node: NodePlan) -> None:
        """SIGCONT."""
        if self._state(node) is ServerState.PAUSED:
            self._signal(node, signal.SIGCONT)
            await self._until(node, ServerState.RUNNING, "did not go on")

    async def state(self, node: NodePlan) -> ServerState:
        """Read from the kernel at each call."""
        return self._state(node)

    def process_id(self, node: NodePlan) -> int | None:
        """The server's process; None when it is gone."""
        return None if self._state(node) is ServerState.GONE else self._servers[node.name].pid

    def _state(self, node: NodePlan) -> ServerState:
        server = self._servers.get(node.name)
        if server is None:
            return ServerState.GONE
        self._reap(server.pid)
        match _kernel_state(server.pid):
            case "" | "Z" | "X":
                return ServerState.GONE
            case "T" | "t":
                return ServerState.PAUSED
            case _:
                return ServerState.RUNNING

    def last_words(self, node: NodePlan, lines: int = 12) -> str:
        """The end of its log."""
        return tail(self._folder.node(node.name) / "server.log", lines)

    async def adopt(self) -> None:
        """Take over the servers that an earlier agent of this lab started."""
        names = {node.name for node in self._plan.nodes}
        for process in marked_processes(self._plan.lab_id):
            if process.leader and process.node in names:
                self._watch(process)

    async def destroy(self) -> None:
        """Kill all at once, then wait for all: two hundred servers end as fast as one."""
        for server in self._servers.values():
            self._deliver(server, signal.SIGKILL)
        for node in self._plan.nodes:
            await self._until(node, ServerState.GONE, "did not end after SIGKILL")

    def _watch(self, server: Marked) -> None:
        self._unwatch(server.node)
        self._servers[server.node] = server
        try:
            handle = os.pidfd_open(server.pid)
        except ProcessLookupError:  # it was ended, and reaped, before anybody looked
            asyncio.get_running_loop().call_soon(self._exited, server)
            return
        self._watched[server.node] = handle
        asyncio.get_running_loop().add_reader(handle, self._exited, server)

    def _unwatch(self, name: str) -> None:
        handle = self._watched.pop(name, None)
        if handle is not None:
            asyncio.get_running_loop().remove_reader(handle)
            os.close(handle)

    def _exited(self, server: Marked) -> None:
        self._reap(server.pid)
        if self._servers.get(server.node) == server:  # not when another was started meanwhile
            self._unwatch(server.node)
            del self._servers[server.node]
        self._on_exit(server.node)

    def _reap(self, pid: int) -> None:
        child = self._children.get(pid)
        if child is not None and child.poll() is not None:
            del self._children[pid]

    def _signal(self, node: NodePlan, number: signal.Signals) -> None:
        server = self._servers.get(node.name)
        if server is None or not self._deliver(server, number):
            raise InjectionError(f"{node.name} is not running, so it cannot get {number.name}.", "labctl status")

    def _deliver(self, server: Marked, number: signal.Signals) -> bool:
        """Signal a server; False when it is gone. The pid of a child that was not reaped yet cannot be anybody else's."""
        child = self._children.get(server.pid)
        if child is None:
            return send_signal(server, number)
        child.send_signal(number)
        return child.returncode is None

    async def _end(self, node: NodePlan, number: signal.Signals, within_s: float = STOP_DEADLINE_S) -> None:
        server = self._servers.get(node.name)
        if server is not None:
            self._deliver(server, number)
            await self._until(node, ServerState.GONE, f"did not end after {number.name}", within_s)

    async def _ask_again(self, node: NodePlan) -> None:
        """Redis refuses SIGTERM while it writes the first AOF after a full resync ("can't exit"), and forgets it."""
        while True:
            await asyncio.sleep(ASK_AGAIN_S)
            server = self._servers.get(node.name)
            if server is not None:
                self._deliver(server, signal.SIGTERM)

    async def _until(
        self, node: NodePlan, wanted: ServerState, complaint: str, within_s: float = STOP_DEADLINE_S
    ) -> None:
        try:
            async with asyncio.timeout(within_s):
                while self._state(node) is not wanted:  # noqa: ASYNC110 - the kernel has no event for a stopped stranger
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise InjectionError(
                f"{node.name} {complaint} within {within_s:g} s; it is {self._state(node)}.",
                f"Its last words:\n{self.last_words(node)}",
            ) from None


async def _until_marked(child: subprocess.Popen[bytes]) -> None:
    """Wait until the kernel shows the environment of a process that was just started, or it has ended.

    While its image is being replaced there is none for an instant, and a signal sent then would find nobody of ours.
    """
    while child.poll() is None and not _environment(child.pid):  # noqa: ASYNC110 - the kernel has no event for it
        await asyncio.sleep(0)


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _mode(node: NodePlan) -> Iterable[str]:
    return ("--sentinel",) if node.role == "sentinel" else ()


def _kernel_state(pid: int) -> str:
    """The state letter of proc(5), empty when there is no such process.

    A killed server's first thread may be a zombie while others still end and hold its ports and files; then the letter
    is `R`, for a successor could not start yet.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        state = stat[stat.rindex(")") + 2]
        ending = state in "ZX" and len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except OSError:
        return ""
    return "R" if ending else state


def tail(path: Path, lines: int) -> str:
    """The last `lines` lines of a file, however long it is; empty when it is not there."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 400 * lines))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
