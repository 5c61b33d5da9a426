"""Talking to a lab's agent. Standard library only: every verb pays for what is imported here."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from labctl.errors import Exit, LabError, RevertError, UsageError


class AgentGoneError(LabError):
    """Nobody answers at the lab's control socket."""


class _Connection(http.client.HTTPConnection):
    """HTTP over the Unix socket at `path`."""

    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__("agent", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect by way of the folder; see `agent.api.control_socket`."""
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(f"/proc/self/fd/{folder}/{self._path.name}")
        finally:
            os.close(folder)


class AgentClient:
    """One lab's agent, a connection a call.

    Args:
        path: Its control socket.
        timeout_s: Longest wait for an answer; injecting and healing wait until the effect was measured.
    """

    def __init__(self, path: Path, timeout_s: float = 120.0) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def alive(self) -> bool:
        """Whether somebody accepts at the socket."""
        connection = _Connection(self._path, 2.0)
        try:
            connection.connect()
        except OSError:
            return False
        finally:
            connection.close()
        return True

    def call(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """One request; its answer's JSON.

        Raises:
            AgentGoneError: Nobody answers.
            LabError: What the agent refused, of the class that its exit code names.
        """
        connection = _Connection(self._path, self._timeout_s)
        try:
            answer = self._ask(connection, method, path, body, query)
            data = json.loads(_whole(answer) or b"null")
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise _error(data)
        return data

    def follow(self, after: int = 0) -> EventStream:
        """Events with a number above `after`, then new ones as they come, until the agent leaves or it is closed."""
        connection = _Connection(self._path, None)
        return EventStream(connection, self._ask(connection, "GET", "/events", None, {"after": after, "follow": 1}))

    def live(self, after: int = 0) -> EventStream:
        """What the live view shows (`agent.feed`): objects with one key, `hello`, `frame` or `event`."""
        connection = _Connection(self._path, None)
        return EventStream(connection, self._ask(connection, "GET", "/live", None, {"after": after}))

    def _ask(
        self, connection: _Connection, method: str, path: str, body: object, query: dict[str, object]
    ) -> http.client.HTTPResponse:
        target = f"{path}?{urlencode(query, doseq=True)}" if query else path
        try:
            connection.request(
                method,
                target,
                None if body is None else json.dumps(body),
                {"Content-Type": "application/json"},
            )
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise _gone(error) from error


def _whole(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise _gone(error) from error


def _gone(error: Exception) -> AgentGoneError:
    return AgentGoneError(f"The lab's agent does not answer ({error}).", "labctl status starts it again.")


class EventStream:
    """An iterator over events that another thread may end."""

    def __init__(self, connection: _Connection, answer: http.client.HTTPResponse) -> None:
        self._socket = connection.sock  # the response owns it from here on
        self._answer = answer

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            with suppress(OSError, http.client.HTTPException, ValueError):
                while line := self._answer.readline():
                    yield json.loads(line)
        finally:
            self._answer.close()
            self._socket.close()

    def close(self) -> None:
        """End the iteration, wherever it waits."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def _error(data: Any) -> LabError:
    if not isinstance(data, dict) or "error" not in data:
        return LabError(f"The lab's agent failed: {data}", "agent.log in the lab's folder has the reason.")
    kind = {Exit.USAGE: UsageError, Exit.REVERT_FAILED: RevertError}.get(Exit(data.get("exit", 4)), LabError)
    return kind(str(data["error"]), str(data.get("hint", "")))
