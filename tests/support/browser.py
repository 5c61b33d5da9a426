"""A real headless Chromium, spoken to over a pipe in the Chrome DevTools Protocol: no driver, no port, no profile left."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.command import PATIENCE_S

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def program() -> str | None:
    """The browser on PATH; None without one."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@dataclass
class Browser:
    """One page.

    Attributes:
        complaints: What its console said at the levels of warning and error, and exceptions that nobody caught.
        requests: Every address that it asked for.
    """

    process: subprocess.Popen[bytes]
    to: int
    answers: int
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _session: str = ""
    _last: int = 0
    _buffer: bytes = b""
    _messages: deque[dict[str, Any]] = field(default_factory=deque)

    def call(self, method: str, **params: object) -> Any:
        """One command of the protocol; its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            answer = self._next()
            if answer.get("id") == self._last:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
        raise AssertionError(f"{method} was not answered")

    def attach(self) -> None:
        """Take the first page that the browser opened."""
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def open(self, url: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=url)

    def resize(self, width: int, height: int, *, scale: float = 1, mobile: bool = False) -> None:
        """The size of the page in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
        )

    def prefer(self, scheme: str) -> None:
        """`dark` or `light`, as the system would say."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def value(self, expression: str) -> Any:
        """What an expression comes to, promises awaited, as JSON values."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str, patience_s: float = PATIENCE_S) -> Any:
        """Wait until an expression is true; its value."""
        end = time.monotonic() + patience_s
        while not (found := self.value(expression)):
            assert time.monotonic() < end, f"{expression} did not become true: {self.value('document.body.innerText')}"
            time.sleep(0.05)
        return found

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """The page as a PNG; `whole` with what is below the edge."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self.answers, 65536)
            assert data, "the browser has gone"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(f"console: {[a.get('value', a.get('description')) for a in params['args']]}")
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.complaints.append(str(details.get("exception", {}).get("description", details["text"])))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case _:
                pass


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with one empty page; gone afterwards, its profile too."""
    path = program()
    assert path is not None
    to_browser, ours = os.pipe()
    answers, from_browser = os.pipe()
    with tempfile.TemporaryDirectory(prefix="labctl-browser-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            _command(path, profile),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": profile},
            start_new_session=True,
            close_fds=False,
            preexec_fn=lambda: _as_3_and_4(to_browser, from_browser),  # noqa: PLW1509 - what the pipe protocol asks for
        )
        os.close(to_browser)
        os.close(from_browser)
        page = Browser(process, ours, answers)
        try:
            page.attach()
            yield page
        finally:
            with suppress(OSError, AssertionError):
                page._session = ""
                page.call("Browser.close")
            os.close(ours)
            os.close(answers)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


def _as_3_and_4(read: int, write: int) -> None:
    """The browser reads commands from descriptor 3 and writes answers to 4."""
    high = os.dup(read), os.dup(write)
    os.dup2(high[0], 3)
    os.dup2(high[1], 4)


def _command(path: str, profile: str) -> list[str]:
    return [
        path,
        "--headless=new",
        "--remote-debugging-pipe",
        f"--user-data-dir={profile}",
        "--no-first-run",
        "--no-default-browser-check",
        "--disable-gpu",
        "--disable-extensions",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),  # Chromium's own sandbox refuses to run as root
        "about:blank",
    ]
