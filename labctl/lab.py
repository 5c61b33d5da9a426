"""A lab as its users hold it: up, found by name, talked to, down. The command line and the drill both stand on this."""

from __future__ import annotations

import json
import secrets as random_secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from labctl.agent import lock as agent_lock
from labctl.agent.client import AgentClient, AgentGoneError
from labctl.agent.launch import EarlyAgent, Progress, await_agent, spawn
from labctl.errors import CapabilityError, LabError, StartError, UsageError, did_you_mean
from labctl.interrupts import uninterrupted
from labctl.store.folders import LabFolder, SameFolder, claim_lab, discard_empty_home, lab_folder, lab_names
from labctl.teardown import take_down

if TYPE_CHECKING:
    from pathlib import Path

    from labctl.agent.bringup import Keys
    from labctl.agent.request import Request
    from labctl.model.endpoints import Endpoints
    from labctl.model.plan import Containers, Formation, LabPlan, Net, RuntimeName
    from labctl.model.topology import Topology

T = TypeVar("T")
TAKE_OVER_DEADLINE_S = 60.0
"""How long a new agent may take to answer: it reverts first, and a server may have a large file to load."""
_PAUSE_S = 0.01
_REPEATABLE = ("GET", "DELETE")


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that has a folder, running or not."""

    name: str
    folder: LabFolder

    def plan(self) -> LabPlan:
        """Its plan.

        Raises:
            LabError: It is not up, or its files are damaged.
        """
        from labctl.model.plan import LabPlan  # noqa: PLC0415 - pydantic, which not every verb needs

        return self._load(LabPlan, self.folder.plan)

    def keys(self) -> Keys:
        """Its secrets and certificates. Raises as `plan` does."""
        from labctl.agent.bringup import Keys  # noqa: PLC0415

        return self._load(Keys, self.folder.secrets)

    def endpoints(self, group: str = "clients") -> Endpoints:
        """How clients of `group` reach it. Raises as `plan` does, and UsageError for a group that it does not have."""
        from labctl.plan.endpoints import endpoints  # noqa: PLC0415

        keys, plan = self.keys(), self.plan()
        groups = [name for name, _ in plan.client_hosts]
        if group not in groups:
            raise UsageError(
                f"Lab {self.name} has no client group '{group}'.",
                f"Groups: {', '.join(groups)}. Groups of their own need an address each, which Linux has.",
            )
        return endpoints(plan, keys.secrets, keys.tls, group)

    def agent(self) -> AgentClient:
        """Its agent; started again when it is gone, in which case it has reverted all faults before it answers.

        Raises:
            LabError: It cannot be started, or the lab is not up.
        """
        client = AgentClient(self.folder.socket)
        until = time.monotonic() + TAKE_OVER_DEADLINE_S
        while not client.alive():
            self._refuse_if_not_up()
            with agent_lock.held(self.folder) as nobody_has_it:
                pass
            if nobody_has_it:  # otherwise its guard, or another command, has started one that is not ready yet
                with spawn(self.folder, self._lab_id(), take_over=True) as pipe:
                    await_agent(pipe)
            if time.monotonic() > until:
                raise LabError(
                    f"The agent of lab {self.name} does not come back.\n{_log_tail(self.folder)}",
                    f"labctl down {self.name} ends the lab.",
                )
            time.sleep(_PAUSE_S)
        return client

    def call(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """Ask its agent. What can be asked twice is, when the agent was killed before it answered.

        Raises:
            LabError: What the agent refused, or there is none.
        """
        try:
            return self.agent().call(method, path, body, **query)
        except AgentGoneError:
            if method not in _REPEATABLE:
                raise
        return self.agent().call(method, path, body, **query)

    def down(self) -> None:
        """End every process and container and remove every file of the lab. Also ends one that is half up or half down.

        Raises:
            LabError: Something does not end; it is named.
        """
        take_down(self.folder)

    def _lab_id(self) -> str:
        return str(self._state(lambda: json.loads(self.folder.request.read_bytes())["lab_id"]))

    def _load(self, kind: Callable[..., T], path: Path) -> T:
        from labctl.store import codec  # noqa: PLC0415

        self._refuse_if_not_up()
        return self._state(lambda: codec.load(kind, path))

    def _state(self, read: Callable[[], T]) -> T:
        """What `read` reads of the lab's files. Raises LabError when they are not there, or are not what they were."""
        try:
            return read()
        except FileNotFoundError:
            raise LabError(f"Lab {self.name} was taken down.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise LabError(
                f"A state file of lab {self.name} is damaged: {error}", f"labctl down {self.name} ends the lab."
            ) from None

    def _refuse_if_not_up(self) -> None:
        if not self.folder.path.exists():
            raise LabError(f"Lab {self.name} was taken down.")
        if self.folder.ending.exists():
            raise LabError(f"Lab {self.name} is being taken down.", f"labctl down {self.name} takes down the rest.")
        if not self.folder.formed.exists():
            raise LabError(
                f"Lab {self.name} is still coming up, or its start was interrupted.",
                f"labctl down {self.name} removes it.",
            )


def up(
    topology: Topology,
    *,
    name: str,
    engine: str | None = None,
    formation: Formation | None = None,
    runtime: RuntimeName | None = None,
    shim: bool = False,
    net: Net | None = None,
    containers: Containers | None = None,
    progress: Progress = lambda _: None,
    early: EarlyAgent | None = None,
    on_up: Callable[[], None] = lambda: None,
    on_failure: Callable[[LabFolder, BaseException], None] = lambda _, __: None,
) -> tuple[Lab, float]:
    """Bring up a lab; return it, and the seconds from the first fork until it was observed healthy.

    Interrupted, it leaves nothing behind. An `early` agent may be there already; only local processes can use one. `on_up`
    is called at the last moment at which an interrupt still takes the lab down; `on_failure` where it did not come up,
    before its files are removed.

    Raises:
        UsageError: The name is taken, or no engine here can serve the topology.
        LabError: It did not come up; nothing is left of it.
    """
    from labctl.agent.request import Request  # noqa: PLC0415
    from labctl.model.plan import Containers, Formation, Net, RuntimeName  # noqa: PLC0415
    from labctl.store import codec  # noqa: PLC0415

    runtime = runtime or RuntimeName.PROCESS
    if net is Net.NETNS and runtime is not RuntimeName.PROCESS:
        raise CapabilityError(
            f"--net netns is for local processes, not for the {runtime} runtime.", "Leave one of them out."
        )
    if runtime is RuntimeName.PROCESS:
        from labctl.engines.select import select_engine  # noqa: PLC0415

        chosen = select_engine(engine, topology)
        path, engine_name = chosen.path, chosen.name
    else:  # the agent, which has a connection to the engine, chooses an image
        path, engine_name = engine or "", ""
    request = Request(
        name,
        random_secrets.token_hex(16) if early is None else early.lab_id,
        topology,
        path,
        engine_name,
        formation or Formation.SEEDED,
        runtime,
        shim,
        net or Net.LOOPBACK,
        containers or Containers(),
    )
    claim: tuple[LabFolder, SameFolder] | None = None
    try:
        with uninterrupted():
            folder = claim_lab(name)
            try:
                claim = folder, SameFolder(folder.path)
            except FileNotFoundError:
                raise LabError(f"Lab {name} was taken down while it came up.") from None
        codec.save(folder.request, request)
        healthy_s = _wait_until_up(request, folder, progress, early)
        on_up()
        return Lab(name, folder), healthy_s
    except BaseException as error:
        if claim is None:
            raise
        with uninterrupted():
            taken_down = _is_taken_down(*claim, error)
            on_failure(folder, error)
            try:
                take_down(*claim)
            except LabError as left:
                if not isinstance(error, LabError):
                    raise
                raise LabError(f"{error.message}\n{left.message}", left.hint) from error
        if taken_down:
            raise LabError(f"Lab {name} was taken down while it came up.") from error
        raise
    finally:
        if claim is not None:
            claim[1].close()


def _is_taken_down(folder: LabFolder, same: SameFolder, error: BaseException) -> bool:
    """Whether a start failed because somebody takes the lab down. The request is what goes first."""
    started = isinstance(error, LabError)  # and so the request was there once
    return isinstance(error, Exception) and (
        not same or folder.ending.exists() or (started and not folder.request.exists())
    )


def remove_strays() -> None:
    """Remove containers, volumes and networks of labs of this state folder whose own files are gone.

    The state folder too, where a command that was killed at its last step left it empty.
    """
    from labctl.runtime.docker.engine import connect, in_use_here  # noqa: PLC0415
    from labctl.runtime.docker.remove import remove_all_of_this_home  # noqa: PLC0415

    if in_use_here():
        remove_all_of_this_home(connect())
    discard_empty_home()


def _wait_until_up(request: Request, folder: LabFolder, progress: Progress, early: EarlyAgent | None) -> float:
    with spawn(folder, request.lab_id, take_over=False) if early is None else early.begin(folder) as pipe:
        healthy_s = await_agent(pipe, progress)
    if healthy_s is None:
        raise StartError(
            f"The agent of lab {request.lab} ended before the lab was healthy.\n{_log_tail(folder)}",
            "Nothing of the lab is left running.",
        )
    return healthy_s


def find(name: str | None) -> Lab:
    """The lab called `name`, or without one the only lab there is.

    Raises:
        UsageError: There is none, or there are several; the hint lists them.
    """
    names = lab_names()
    if name is not None:
        folder = lab_folder(name)
        if folder.path.is_dir():
            return Lab(name, folder)
        raise UsageError(
            f"There is no lab '{name}'.",
            f"{did_you_mean(name, names)}Labs: {', '.join(names)}." if names else "labctl up TOPOLOGY makes one.",
        )
    if len(names) == 1:
        return Lab(names[0], lab_folder(names[0]))
    if not names:
        raise UsageError("No lab is up.", "labctl up TOPOLOGY makes one; labctl topologies lists them.")
    raise UsageError(f"There are several labs: {', '.join(names)}.", "Name one with --lab.")


def _log_tail(folder: LabFolder) -> str:
    from labctl.runtime.process import tail  # noqa: PLC0415

    return tail(folder.agent_log, 12)
