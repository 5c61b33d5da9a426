"""How `ToxiproxyClient` reaches a server: through toxiproxy-python, or over plain HTTP.

toxiproxy-python 0.1.1 keeps host and port as class attributes, so that a process talks to one server; it has no
timeouts, cannot update a toxic, and raises nothing on 403, 405, 500 and 503. Its `Proxy` and `Toxic` classes go to
that class directly and cannot be mended from outside. What can be is the class itself, `APIConsumer`: a subclass per
server has its own host and port, and its methods hand a timeout on to `requests`. That is what is used here.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
from typing import Any, Protocol

from labctl.errors import CapabilityError, LabError


class ServerUnreachableError(LabError):
    """Nothing answers, or not in time."""


class Transport(Protocol):
    """One HTTP request to one server."""

    def request(self, method: str, path: str, body: object | None = None) -> tuple[int, bytes]:
        """Return the status and the body of the answer, whatever the status.

        Args:
            method: GET, POST or DELETE.
            path: Quoted already.
            body: JSON to send.

        Raises:
            ServerUnreachableError: There was no answer.
        """


class HttpTransport:
    """The standard library's HTTP client; a connection per request, for the server may restart between two."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self._host, self._port, self._timeout_s = host, port, timeout_s

    def request(self, method: str, path: str, body: object | None = None) -> tuple[int, bytes]:
        """See `Transport`."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"Content-Type": "application/json", "User-Agent": "labctl"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(self._host, self._port, self._timeout_s, error) from error
        finally:
            connection.close()


class LibraryTransport:
    """toxiproxy-python, mended. See the module's text.

    Raises:
        CapabilityError: It is not installed.
    """

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        if not is_library_here():
            raise CapabilityError("toxiproxy-python is not installed", "pip install 'labctl[toxiproxy]'")
        from toxiproxy.api import APIConsumer  # noqa: PLC0415 - optional
        from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists  # noqa: PLC0415 - optional

        self._host, self._port, self._timeout_s = host, port, timeout_s
        self._consumer: Any = type("Consumer", (APIConsumer,), {"host": host, "port": port})
        self._statuses: dict[type[Exception], int] = {InvalidToxic: 400, NotFound: 404, ProxyExists: 409}

    def request(self, method: str, path: str, body: object | None = None) -> tuple[int, bytes]:
        """See `Transport`."""
        import requests  # noqa: PLC0415 - comes with the library

        call = {"GET": self._consumer.get, "POST": self._consumer.post, "DELETE": self._consumer.delete}[method]
        options: dict[str, Any] = {"timeout": self._timeout_s}
        if body is not None:
            options["json"] = body
        try:
            answer = call(path, **options)
        except requests.RequestException as error:
            raise _unreachable(self._host, self._port, self._timeout_s, error) from error
        except tuple(self._statuses) as error:
            content = error.args[0] if error.args else b""
            return self._statuses[type(error)], content if isinstance(content, bytes) else str(content).encode()
        return answer.status_code, answer.content


def is_library_here() -> bool:
    """Whether toxiproxy-python is installed."""
    return importlib.util.find_spec("toxiproxy") is not None


def _unreachable(host: str, port: int, timeout_s: float, error: Exception) -> ServerUnreachableError:
    slow = isinstance(error, TimeoutError) or "timed out" in str(error).lower()
    what = f"did not answer within {timeout_s:g} s" if slow else f"cannot be reached: {error}"
    return ServerUnreachableError(
        f"the Toxiproxy API at {host}:{port} {what}",
        "Is the lab's agent, `labctl link-server` or `toxiproxy-server` running there?",
    )
