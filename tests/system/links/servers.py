"""Servers of Toxiproxy's API as processes, and an upstream whose connections a test takes one by one."""

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port

INSTALL = (
    "toxiproxy-server not on PATH: go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0 "
    "and rename it to toxiproxy-server"
)
_LABCTL = "import sys; from labctl.links.standalone import serve; serve('127.0.0.1', int(sys.argv[1]), 42)"


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class ApiServer:
    """A running server of the API."""

    name: str
    port: int
    host: str = "127.0.0.1"

    def call(self, method: str, path: str, body: object = None, *, raw: str | None = None, agent: str = "t") -> Answer:
        """One request; `raw` is sent as it is, `body` as JSON."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        sent = raw if raw is not None else None if body is None else json.dumps(body)
        with contextlib.closing(connection):
            connection.request(method, path, sent, {"User-Agent": agent})
            answer = connection.getresponse()
            return Answer(answer.status, answer.read().decode())


@contextlib.contextmanager
def run_server(name: str) -> Iterator[ApiServer]:
    """Start one of the two servers, wait until it answers, and end it."""
    port = free_port()
    if name == "labctl":
        command = [sys.executable, "-c", _LABCTL, str(port)]
    else:
        binary = shutil.which("toxiproxy-server")
        if binary is None:
            pytest.skip(INSTALL)
        command = [binary, "-host", "127.0.0.1", "-port", str(port)]
    root = str(Path(__file__).parents[3])
    env = os.environ | {"LOG_LEVEL": "error", "PYTHONPATH": root}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    server = ApiServer(name, port)
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                if server.call("GET", "/version").status == 200:
                    break
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.01)
        yield server
        assert process.poll() is None, f"{name} died: {process.communicate()[1]}"
    finally:
        process.terminate()
        process.communicate(timeout=20)
        assert name != "labctl" or process.returncode == 0, f"SIGTERM ended it with {process.returncode}"


class Upstream:
    """A TCP server whose connections the test takes one by one."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(20)
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._taken: list[socket.socket] = []

    def accept(self) -> socket.socket:
        sock, _ = self._socket.accept()
        return self.keep(sock)

    def dial(self, address: str, source: str = "127.0.0.1") -> socket.socket:
        """A client of a proxy, closed with the upstream."""
        host, _, port = address.rpartition(":")
        host = "127.0.0.1" if host == "[::]" else host
        return self.keep(socket.create_connection((host, int(port)), timeout=20, source_address=(source, 0)))

    def keep(self, sock: socket.socket) -> socket.socket:
        sock.settimeout(20)
        self._taken.append(sock)
        return sock

    def close(self) -> None:
        for sock in (self._socket, *self._taken):
            sock.close()
