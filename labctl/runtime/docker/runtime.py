"""Servers as containers in their pods."""

from __future__ import annotations

import asyncio
import io
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labctl.errors import InjectionError, LabError
from labctl.model.fault import Packets, Resource, ServerState
from labctl.model.plan import LabPlan, NodePlan, Secrets, TlsFiles
from labctl.model.topology import Role
from labctl.plan.config import DATA_FOLDER, config_name, node_files
from labctl.runtime.docker.engine import Engine, RefusedError
from labctl.runtime.docker.helpers import Helpers, judged
from labctl.runtime.docker.limits import ContainerLimits, limits
from labctl.runtime.docker.names import ID, NODE, PART, Names, Part
from labctl.runtime.docker.pods import FILES, SERVER_USER, hardened, not_startable
from labctl.runtime.docker.remove import remove_lab
from labctl.runtime.process import ASK_AGAIN_S, STOP_DEADLINE_S, TERM_DEADLINE_S, tail
from labctl.store.folders import LabFolder

NODE_FOLDER = f"{FILES}/node"
"""A node's folder inside its volume, whose root belongs to root."""

_POLL_S = 0.02
_HEALTH_INTERVAL_S = 10
_GONE_ALREADY = (404, 409)


class DockerRuntime:
    """See `runtime.base.Runtime`.

    Args:
        engine: Where the containers are.
        plan: The lab; `plan.engine` is the servers' image.
        folder: Its files; what a server prints is kept in `nodes/NAME/server.log`.
        on_exit: Called with the node's name when its server ended, whoever ended it.
    """

    def __init__(
        self, engine: Engine, plan: LabPlan, folder: LabFolder, on_exit: Callable[[str], None] = lambda _: None
    ) -> None:
        self._engine = engine
        self._plan = plan
        self._folder = folder
        assert plan.containers is not None
        self._containers = plan.containers
        self._names = Names(plan.lab, plan.lab_id)
        self._program = f"{plan.engine_name.partition(' ')[0]}-server"
        self._limits = ContainerLimits(engine, self._names, plan.containers)
        self._helpers = Helpers(engine, self._names, NODE_FOLDER)
        self._logs: dict[str, _Log] = {}
        self._exits = _Exits(engine, plan.lab_id, lambda name: self._exited(name, on_exit))

    def watch(self) -> None:
        """From now on, tell of servers that end."""
        self._exits.start(asyncio.get_running_loop())

    async def place(self, secrets: Secrets | None, tls: TlsFiles | None) -> None:
        """Write every node's files into its volume, mode 0600, for the user that its server runs as."""
        certificates = _certificates(tls)
        inside = None if tls is None else TlsFiles(*(f"{NODE_FOLDER}/{name}" for name in certificates))
        folders = {}
        for node in self._plan.nodes:
            self._folder.node(node.name).mkdir(parents=True, mode=0o700)
            files = {**node_files(self._plan, node, NODE_FOLDER, secrets, inside), **certificates}
            folders[node.name] = files
        if await asyncio.to_thread(self._engine.is_podman):
            await asyncio.gather(*(self._place_one(name, files) for name, files in folders.items()))
        else:
            await self._place_together(folders)

    async def _place_one(self, name: str, files: Mapping[str, str]) -> None:
        """Through the pod's container of links. Podman unpacks into a single volume, and of a running container only."""
        content = archive({Path(NODE_FOLDER).name: files})
        container = self._names.links(name)
        await self._engine.call(f"write the files of {name}", self._engine.api.put_archive, container, FILES, content)

    async def _place_together(self, folders: Mapping[str, Mapping[str, str]]) -> None:
        """In one go, through a container that has all the volumes, is never started, and is gone afterwards.

        Unpacking costs Docker the same for one file and for all.
        """
        api, container = self._engine.api, self._names.files
        volumes = {self._names.volume(name): {"bind": f"{FILES}/{name}", "mode": "rw"} for name in folders}
        await self._engine.call(
            f"make the container {container}",
            api.create_container,
            self._plan.engine,
            [],
            name=container,
            entrypoint=[self._program],
            user=SERVER_USER,
            labels=self._names.labels(Part.FILES),
            host_config=api.create_host_config(network_mode="none", binds=volumes, **hardened(read_only=False)),
        )
        content = archive({f"{name}/{Path(NODE_FOLDER).name}": files for name, files in folders.items()})
        await self._engine.call("write the servers' files", api.put_archive, container, FILES, content)
        await self._engine.call(f"remove {container}", api.remove_container, container)

    async def start(self, node: NodePlan, arguments: Sequence[str] = ()) -> None:
        """Start a new container on its pod's namespace and its node's files."""
        api, container = self._engine.api, self._names.server(node.name)
        try:
            await self._create(node, arguments)
        except RefusedError as error:
            if not error.name_taken:
                raise
            if await self.state(node) is not ServerState.GONE:
                return
            await self._engine.call(f"remove {container}", api.remove_container, container)
            await self._create(node, arguments)
        try:
            await self._engine.call(f"start {container}", api.start, container)
        except RefusedError as error:
            raise not_startable(self._plan.engine, self._program, error) from error
        self._logs[node.name] = _Log(self._engine, container, self._log_path(node.name))

    async def _create(self, node: NodePlan, arguments: Sequence[str]) -> None:
        api, container = self._engine.api, self._names.server(node.name)
        mode = ("--sentinel",) if node.role is Role.SENTINEL else ()
        host = api.create_host_config(
            network_mode=f"container:{self._names.links(node.name)}",
            binds={self._names.volume(node.name): {"bind": FILES, "mode": "rw"}},
            **limits(self._containers),
            **hardened(),
        )
        await self._engine.call(
            f"make the container {container}",
            api.create_container,
            self._plan.engine,
            [f"{NODE_FOLDER}/{config_name(node)}", *mode, *arguments],
            name=container,
            entrypoint=[self._program],
            user=SERVER_USER,
            labels=self._names.labels(Part.SERVER, node.name),
            host_config=host,
            healthcheck=self._health_check(node),
        )

    def _health_check(self, node: NodePlan) -> dict[str, Any]:
        """For people who look with `docker ps`: any answer of the server will do, be it that a password is wanted.

        The agent looks at every node ten times a second over a connection of its own; here each look is a process that the
        engine has to start.
        """
        flavour = self._plan.engine_name.partition(" ")[0]
        tls = ["--tls", "--insecure"] if self._plan.topology.tls else []
        return {
            "test": ["CMD", f"{flavour}-cli", *tls, "-p", str(node.port), "ping"],
            "interval": max(_HEALTH_INTERVAL_S, len(self._plan.nodes)) * 10**9,
            "timeout": 5 * 10**9,
            "retries": 3,
        }

    async def kill(self, node: NodePlan) -> None:
        """SIGKILL. A frozen server is let go in the same breath; an engine refuses to kill it."""
        await self._signal(node, "SIGKILL")
        await self._until(node, ServerState.GONE, "did not end after SIGKILL")

    async def stop(self, node: NodePlan) -> None:
        """SIGTERM, as often as it takes: Redis refuses it while it writes the first AOF after a full resync, and forgets it."""
        await self._signal(node, "SIGTERM")
        ended = asyncio.Event()
        asking = asyncio.create_task(self._ask_again(node, ended))
        try:
            await self._until(node, ServerState.GONE, "did not end after SIGTERM", TERM_DEADLINE_S)
        except InjectionError:
            await self.kill(node)  # or it would end later, when nobody expects it
            raise
        finally:
            ended.set()
            await asking  # a signal on its way must not meet the next server

    async def _ask_again(self, node: NodePlan, ended: asyncio.Event) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(ASK_AGAIN_S):
                    await ended.wait()
            if ended.is_set():
                return
            with suppress(LabError):
                await self._signal(node, "SIGTERM")

    async def pause(self, node: NodePlan) -> None:
        """Freeze the container's control group."""
        try:
            await self._engine.call(f"pause {node.name}", self._engine.api.pause, self._names.server(node.name))
        except RefusedError as error:
            raise InjectionError(
                f"{node.name} cannot be frozen: {error.reason}",
                "Freezing takes control groups; rootless engines need cgroup v2.",
            ) from error
        await self._until(node, ServerState.PAUSED, "did not freeze")

    async def resume(self, node: NodePlan) -> None:
        """Let it go on."""
        if await self.state(node) is ServerState.PAUSED:
            await self._engine.call(f"unpause {node.name}", self._engine.api.unpause, self._names.server(node.name))
            await self._until(node, ServerState.RUNNING, "did not go on")

    async def require_limit(self) -> None:
        """See `runtime.base.LimitedServers`."""
        await self._limits.require_limit()

    async def limit(self, node: NodePlan, resource: Resource, amount: int | None) -> None:
        """See `runtime.base.LimitedServers`."""
        await self._limits.limit(node, resource, amount)

    async def is_limited(self, node: NodePlan, resource: Resource) -> bool:
        """See `runtime.base.LimitedServers`."""
        return await self._limits.is_limited(node, resource)

    async def times_limited(self, node: NodePlan, resource: Resource) -> int:
        """See `runtime.base.LimitedServers`."""
        return await self._limits.times_limited(node, resource)

    async def require_disk(self) -> None:
        """See `runtime.base.SizedDisks`."""
        await self._helpers.require()

    async def fill_disk(self, node: NodePlan, left: int | None) -> int:
        """See `runtime.base.SizedDisks`; the file is taken by the user that the server runs as."""
        found = await self._helpers.fill(node.name, left)
        return int(found["taken"])

    async def require_packets(self, what: Packets) -> None:
        """See `runtime.base.OwnNetworks`."""
        await self._helpers.require(what)

    async def shape(self, node: NodePlan, packets: Mapping[Packets, float]) -> str:
        """See `runtime.base.OwnNetworks`."""
        network = await self._engine.call("look at its network", self._engine.api.inspect_network, self._names.network)
        gateway = next(config["Gateway"] for config in network["IPAM"]["Config"])
        addresses = {each["Name"]: each["IPv4Address"] for each in network["Containers"].values()}
        peer = addresses[self._names.gateway].partition("/")[0]
        return judged(packets, await self._helpers.shape(node.name, packets, gateway.partition("/")[0], peer))

    async def state(self, node: NodePlan) -> ServerState:
        """As the engine says."""
        try:
            found = await self._engine.call(
                f"look at {node.name}", self._engine.api.inspect_container, self._names.server(node.name)
            )
        except RefusedError as error:
            if error.status in _GONE_ALREADY:
                return ServerState.GONE
            raise
        state = found["State"]
        if state["Paused"]:
            return ServerState.PAUSED
        return ServerState.RUNNING if state["Running"] else ServerState.GONE

    def last_words(self, node: NodePlan, lines: int = 12) -> str:
        """The end of its log."""
        return tail(self._log_path(node.name), lines)

    async def adopt(self) -> None:
        """Go on keeping the logs of servers that run."""
        for node in self._plan.nodes:
            if await self.state(node) is not ServerState.GONE:
                path = self._log_path(node.name)
                since = int(path.stat().st_mtime) if path.exists() else 0
                self._logs[node.name] = _Log(self._engine, self._names.server(node.name), path, since)

    async def destroy(self) -> None:
        """Remove every container, volume and network of the lab."""
        self._exits.close()
        await asyncio.to_thread(remove_lab, self._engine, self._plan.lab_id)
        self._engine.close()

    def _log_path(self, name: str) -> Path:
        return self._folder.node(name) / "server.log"

    def _exited(self, name: str, on_exit: Callable[[str], None]) -> None:
        log = self._logs.get(name)
        if log is not None:
            log.join()
        with suppress(RuntimeError):  # the loop has gone
            self._exits.loop.call_soon_threadsafe(on_exit, name)

    async def _signal(self, node: NodePlan, signal: str) -> None:
        container = self._names.server(node.name)
        if await self.state(node) is ServerState.PAUSED:
            await self._engine.call(f"unpause {node.name}", self._engine.api.unpause, container)
        try:
            await self._engine.call(f"signal {node.name}", self._engine.api.kill, container, signal)
        except RefusedError as error:
            if error.status not in _GONE_ALREADY:
                raise

    async def _until(
        self, node: NodePlan, wanted: ServerState, complaint: str, within_s: float = STOP_DEADLINE_S
    ) -> None:
        try:
            async with asyncio.timeout(within_s):
                while await self.state(node) is not wanted:  # noqa: ASYNC110 - the engine has an event for some only
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise InjectionError(
                f"{node.name} {complaint} within {within_s:g} s.", f"Its last words:\n{self.last_words(node)}"
            ) from None


def _certificates(tls: TlsFiles | None) -> dict[str, str]:
    """Name → text of authority, certificate and key, in this order; empty without TLS."""
    paths = () if tls is None else (Path(tls.ca), Path(tls.cert), Path(tls.key))
    return {path.name: path.read_text() for path in paths}


def archive(folders: Mapping[str, Mapping[str, str]]) -> bytes:
    """Folders of nodes, by path, as a tar, owned by the servers' user: folders 0700, files 0600."""
    user, group = map(int, SERVER_USER.split(":"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:

        def add(name: str, content: bytes | None) -> None:
            item = tarfile.TarInfo(name)
            item.uid, item.gid = user, group
            item.type, item.mode = (tarfile.DIRTYPE, 0o700) if content is None else (tarfile.REGTYPE, 0o600)
            item.size = len(content or b"")
            tar.addfile(item, io.BytesIO(content or b""))

        for folder, files in folders.items():
            add(folder, None)
            add(f"{folder}/{DATA_FOLDER}", None)
            for name, text in files.items():
                add(f"{folder}/{name}", text.encode())
    return buffer.getvalue()


class _Log(threading.Thread):
    """Keeps what a container prints in a file, until the container ends."""

    def __init__(self, engine: Engine, container: str, path: Path, since: int = 0) -> None:
        super().__init__(name=f"log {container}", daemon=True)
        self._engine = engine
        self._container = container
        self._path = path
        self._since = since
        self.start()

    def run(self) -> None:
        with suppress(Exception), self._path.open("ab", buffering=0) as file:
            self._path.chmod(0o600)
            for chunk in self._engine.api.logs(self._container, stream=True, follow=True, since=self._since or None):
                file.write(chunk)

    def join(self, timeout: float | None = 2.0) -> None:
        """Wait until everything that it printed is kept."""
        super().join(timeout)


@dataclass(slots=True)
class _Exits:
    """Follows the engine's events in a thread and tells the name of every server of the lab that ends."""

    engine: Engine
    lab_id: str
    tell: Callable[[str], None]
    loop: asyncio.AbstractEventLoop = field(init=False)
    _events: Any = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on."""
        self.loop = loop
        filters = {"label": [f"{ID}={self.lab_id}", f"{PART}={Part.SERVER.value}"], "event": ["die"]}
        self._events = self.engine.now("follow its events", self.engine.api.events, decode=True, filters=filters)
        threading.Thread(target=self._follow, args=(iter(self._events),), name="docker events", daemon=True).start()

    def close(self) -> None:
        """Stop following."""
        if self._events is not None:
            with suppress(Exception):
                self._events.close()

    def _follow(self, events: Iterator[dict[str, Any]]) -> None:
        with suppress(Exception):  # the engine went away, or close() was called: whoever asks next is told
            for event in events:
                self.tell(event["Actor"]["Attributes"][NODE])
