"""TLS on every port, users with random secrets, and secrets that stay where they belong."""

from __future__ import annotations

import json
import re
import signal
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from labctl.engines.find import find_engines
from tests.support.client import Client, ErrorReply
from tests.support.command import Labctl, command_line, labctl_at, until

pytestmark = pytest.mark.system

KINDS = ("standalone-tls-acl", "sentinel-tls-acl", "cluster-tls-acl")
SECRET_FILES = ("secrets.json", "users.acl", "redis.conf", "sentinel.conf", "server.key", "request.json", "plan.json")


@dataclass(frozen=True)
class Secured:
    """A lab with TLS and ACL."""

    labctl: Labctl
    name: str
    plan: Any
    keys: Any

    @property
    def folder(self) -> Path:
        return self.labctl.lab_folder(self.name)

    @property
    def secrets(self) -> list[str]:
        """Every password."""
        return [user["password"] for user in self.keys["secrets"].values()]

    def user(self, role: str) -> tuple[str, str]:
        user = self.keys["secrets"][role]
        return user["name"], user["password"]

    def clients(self, role: str = "app") -> list[Client]:
        """A client of each node, through the links."""
        ca = self.keys["tls"]["ca"]
        return [Client("127.0.0.1", n["port"], ca_file=ca, user=self.user(role)) for n in self.plan["nodes"]]

    def client(self, node: str, role: str) -> Client:
        port = next(n["port"] for n in self.plan["nodes"] if n["name"] == node)
        return next(c for c in self.clients(role) if c.port == port)


@pytest.fixture(scope="module", params=KINDS)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    if not any(engine.tls for engine in find_engines()):
        pytest.skip("no server here was built with TLS: install Debian package redis-server")
    with labctl_at(tmp_path_factory.mktemp("secured") / "home") as labctl:
        labctl.run("up", request.param)
        keys = json.loads((labctl.lab_folder(request.param) / "secrets.json").read_bytes())
        yield Secured(labctl, request.param, labctl.plan(request.param), keys)
        labctl.run("down")


def test_plaintext_is_refused_on_every_port_but_the_labs_own_apis(lab: Secured) -> None:
    until(lambda: lab.labctl.json("status")["links"]["api"], "the links' API, which comes when the lab is up already")
    status = lab.labctl.json("status")
    apis = {*status["links"]["api"], urlsplit(status["metrics"]).netloc}
    ports = {port for host, port in lab.labctl.listeners() if f"{host}:{port}" not in apis}
    assert ports >= {node["port"] for node in lab.plan["nodes"]}
    for port in ports:
        with pytest.raises((OSError, ErrorReply)):
            Client("127.0.0.1", port, timeout_s=1.0).ask("PING")


def test_a_stranger_has_no_password_and_a_wrong_one_does_not_help(lab: Secured) -> None:
    for client in lab.clients():
        with pytest.raises(ErrorReply, match="NOAUTH"):
            replace(client, user=None).ask("PING")
        with pytest.raises(ErrorReply, match="WRONGPASS"):
            replace(client, user=(lab.user("app")[0], "wrong")).ask("PING")
        with pytest.raises(ErrorReply, match="WRONGPASS"):
            replace(client, user=("default", "")).ask("PING")


def test_each_user_may_do_its_own_and_no_more(lab: Secured) -> None:
    for node in (n["name"] for n in lab.plan["nodes"] if n["role"] != "sentinel"):
        app, admin = lab.client(node, "app"), lab.client(node, "admin")
        assert app.ask("PING") == "PONG"
        for forbidden in (("CONFIG", "GET", "*"), ("KEYS", "*"), ("SHUTDOWN",), ("ACL", "LIST")):
            with pytest.raises(ErrorReply, match="NOPERM"):
                app.ask(*forbidden)
        with pytest.raises(ErrorReply, match="NOPERM"):
            lab.client(node, "replication").ask("GET", "x")
        assert admin.ask("ACL", "WHOAMI") == lab.user("admin")[0]


def test_certificates_that_the_authority_did_not_sign_are_refused(lab: Secured, tmp_path: Path) -> None:
    import trustme  # noqa: PLC0415

    other = tmp_path / "other.crt"
    trustme.CA().cert_pem.write_to_path(str(other))
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        replace(lab.clients()[0], ca_file=str(other)).ask("PING")


def test_the_verbs_work_with_them(lab: Secured) -> None:
    assert lab.labctl.run("cli", "redis-1", "acl", "whoami").out.strip().strip('"') == lab.user("admin")[0]
    assert lab.labctl.run("cli", "redis-1", "--direct", "ping").out.strip() == "PONG"
    shown = [lab.labctl.run(verb, "-o", "json").out for verb in ("status", "ls")]
    assert not [secret for secret in lab.secrets if any(secret in text for text in shown)]


def test_secrets_are_in_files_of_mode_600_and_nowhere_else(lab: Secured) -> None:
    """Also after Sentinel had servers rewrite their configuration, which Redis does into a new file."""
    for node in (n["name"] for n in lab.plan["nodes"] if n["role"] != "sentinel"):
        lab.client(node, "admin").ask("CONFIG", "REWRITE")
    holders = []
    for path in (p for p in lab.folder.rglob("*") if p.is_file()):
        text = path.read_bytes().decode(errors="replace")
        if path.name in SECRET_FILES or "PRIVATE KEY" in text or any(secret in text for secret in lab.secrets):
            holders.append(path)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert {"secrets.json", "users.acl", "redis.conf", "server.key"} <= {path.name for path in holders}
    assert not [path for path in holders if path.suffix == ".log"]
    assert stat.S_IMODE(lab.folder.stat().st_mode) == 0o700


def test_secrets_are_not_in_ps(lab: Secured) -> None:
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        assert not [secret for secret in lab.secrets if secret in line], f"{process.pid} shows a secret"


def redis_cli(lab: Secured) -> psutil.Process | None:
    lines = ((process, command_line(process)) for process in lab.labctl.processes())
    return next((process for process, line in lines if "subscribe" in line and "labctl" not in line), None)


def test_the_password_of_a_running_console_is_not_in_ps(lab: Secured) -> None:
    console = lab.labctl.start("cli", "redis-1", "subscribe", "news")
    try:
        process = until(lambda: redis_cli(lab), "a console that waits")
        admin = lab.client("redis-1", "admin")
        until(lambda: "cmd=subscribe" in admin.ask("CLIENT", "LIST"), "a console that is connected")
        assert not [secret for secret in lab.secrets if secret in " ".join(process.cmdline())]
    finally:
        console.send(signal.SIGKILL)
        console.finish()


def test_logs_hold_no_secret_after_a_failed_login(lab: Secured) -> None:
    with pytest.raises(ErrorReply):
        replace(lab.clients()[0], user=(lab.user("admin")[0], "guessed")).ask("PING")
    logs = [p.read_text(errors="replace") for p in lab.folder.rglob("*.log")]
    assert logs
    for secret in lab.secrets:
        assert not any(secret in log for log in logs)
        assert re.search(r"\A[\w-]{32}\Z", secret), "192 bits, base64"
