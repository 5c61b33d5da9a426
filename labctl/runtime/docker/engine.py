"""The Docker engine as labctl talks to it: asynchronously, with errors that say what to do."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from labctl.engines.remedies import as_root, install
from labctl.errors import CapabilityError, LabError

P = ParamSpec("P")
T = TypeVar("T")

_CALLS_AT_ONCE = 24
"""Most of a call is the daemon's work; a lab's containers start side by side."""
_TIMEOUT_S = 120
_DEFAULT_HOST = "unix:///var/run/docker.sock"


class EngineGoneError(LabError):
    """The daemon stopped answering in the middle of something."""


class RefusedError(LabError):
    """The daemon refused a request.

    Attributes:
        status: HTTP status of its answer; 404 for what is not there, 409 for what is in the wrong state.
    """

    def __init__(self, doing: str, status: int, reason: str) -> None:
        super().__init__(f"Docker could not {doing}: {reason}", "`docker info` shows the engine's own view.")
        self.status = status
        self.reason = reason

    @property
    def name_taken(self) -> bool:
        """Whether there is a container of that name already: 409 with Docker, 500 with Podman."""
        return "already in use" in self.reason


class Engine:
    """One connection pool to one engine.

    Attributes:
        api: The SDK's low-level client; its methods are the engine's API, one for one.
        address: Where the engine is, for messages.
    """

    def __init__(self, api: Any, address: str) -> None:
        self.api = api
        self.address = address
        self._podman: bool | None = None
        self._pool = ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix="docker")

    def now(self, doing: str, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call one of `api`'s methods; `doing` completes "Docker could not …".

        Raises:
            RefusedError: The engine refused.
            EngineGoneError: It does not answer.
        """
        from docker.errors import APIError, DockerException  # noqa: PLC0415
        from requests.exceptions import RequestException  # noqa: PLC0415

        try:
            return method(*args, **kwargs)
        except APIError as error:
            raise RefusedError(doing, error.status_code or 0, str(error.explanation or error)) from error
        except (DockerException, RequestException, OSError) as error:
            raise EngineGoneError(
                f"The Docker engine at {self.address} stopped answering while labctl wanted to {doing}.",
                "Start it again, then `labctl down` removes what is left of the lab.",
            ) from error

    async def call(self, doing: str, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`now`, without holding up the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: self.now(doing, method, *args, **kwargs))

    def is_podman(self) -> bool:
        """Whether it is Podman, which differs here and there behind the same API."""
        if self._podman is None:
            parts = self.now("say which version it is", self.api.version).get("Components") or ()
            self._podman = any(part.get("Name") == "Podman Engine" for part in parts)
        return self._podman

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.shutdown(wait=False)
        self.api.close()


def connect() -> Engine:
    """The engine that `DOCKER_HOST` names, else the current context of the docker command, else the usual socket.

    Raises:
        CapabilityError: There is no SDK, no engine, or no permission; the hint is what mends it.
    """
    try:
        import docker  # noqa: PLC0415 - a heavy client, for those who use it
    except ImportError:
        raise CapabilityError(
            "The Docker runtime needs the Docker SDK for Python.", "pip install 'labctl[docker]'"
        ) from None
    address = engine_address()
    try:
        _knock(address)
        tls = docker.tls.TLSConfig(verify=True) if os.environ.get("DOCKER_TLS_VERIFY") else False
        client = docker.APIClient(
            address, version="auto", timeout=_TIMEOUT_S, max_pool_size=_CALLS_AT_ONCE * 2, tls=tls, use_ssh_client=True
        )
    except (docker.errors.DockerException, OSError) as error:
        raise _unreachable(address, error) from error
    return Engine(client, address)


def _knock(address: str) -> None:
    """See whether anybody listens on a local socket: where nobody does, the SDK leaves its own to the garbage collector."""
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as engine:
            engine.settimeout(_TIMEOUT_S)
            engine.connect(address.removeprefix("unix://"))


def in_use_here() -> bool:
    """Whether there may be an engine to ask at all, without asking: the SDK is here, and something to connect to."""
    if find_spec("docker") is None:
        return False
    if "DOCKER_HOST" in os.environ:
        return True
    return any(Path(path).expanduser().exists() for path in ("/var/run/docker.sock", "~/.docker/config.json"))


def engine_address() -> str:
    """Where the engine is, as an URL."""
    if stated := os.environ.get("DOCKER_HOST"):
        return stated
    from docker.context import ContextAPI  # noqa: PLC0415

    context = ContextAPI.get_current_context()
    return str(getattr(context, "Host", None) or _DEFAULT_HOST)


def _unreachable(address: str, error: BaseException) -> CapabilityError:
    causes = list(_causes(error))
    if any(isinstance(cause, PermissionError) for cause in causes):
        return CapabilityError(
            f"No permission to use the Docker engine at {address}.",
            f"{as_root('usermod -aG docker $USER')}, then log in again; or use rootless Docker.",
        )
    if any(isinstance(cause, FileNotFoundError | ConnectionRefusedError) for cause in causes):
        return CapabilityError(
            f"There is no Docker engine at {address}.",
            f"Install it ({install('docker')}) or start it ({as_root('service docker start')}); "
            "DOCKER_HOST names one elsewhere.",
        )
    return CapabilityError(f"The Docker engine at {address} cannot be used: {error}", "Does `docker info` work?")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and what is packed in its arguments."""
    pending: list[BaseException] = [error]
    seen: set[int] = set()
    while pending:
        cause = pending.pop()
        if id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            packed = (cause.__cause__, cause.__context__, *cause.args)
            pending += [each for each in packed if isinstance(each, BaseException)]
