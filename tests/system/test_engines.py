"""What labctl believes of each engine here, held against the running server."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis
import trustme
from redis.backoff import NoBackoff
from redis.retry import Retry

from labctl.declare import library
from labctl.declare.directives import argument_refusal
from labctl.engines.doctor import diagnose
from labctl.engines.find import find_engines
from labctl.engines.probe import capabilities, probe
from labctl.engines.select import select_engine
from labctl.errors import CapabilityError
from labctl.model.engine import Capability, Engine, Flavour
from tests.support.command import control_groups
from tests.support.ports import free_port

pytestmark = pytest.mark.system

ENGINES = find_engines()
PATIENCE_S = 20.0


@pytest.fixture(params=ENGINES, ids=lambda engine: engine.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.param
    return found


def wait_for(client: redis.Redis, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.ping():
                return
        except redis.ConnectionError:
            time.sleep(0.01)
    raise AssertionError(f"{process.args} does not answer:\n{log.read_text()}")


@contextmanager
def server(engine: Engine, folder: Path, *arguments: str, **connection: object) -> Iterator[redis.Redis]:
    """A server of this engine and a client to it; ended by its process."""
    port = free_port()
    log = folder / "log"
    with log.open("wb") as stream:
        config = folder / "conf"
        config.write_text(f'bind 127.0.0.1\nsave ""\ndir {folder}\n')
        ports = [argument.replace("PORT", str(port)) for argument in arguments or ("--port", "PORT")]
        process = subprocess.Popen([engine.path, str(config), *ports], stdout=stream, stderr=subprocess.STDOUT)
        retry = Retry(NoBackoff(), 0)
        client = redis.Redis("127.0.0.1", port, decode_responses=True, retry=retry, **connection)
        try:
            wait_for(client, process, log)
            yield client
        finally:
            client.close()
            process.kill()
            process.wait()


def has_command(client: redis.Redis, name: str) -> bool:
    return client.execute_command("COMMAND LIST", "FILTERBY", "PATTERN", name) == [name]


def test_there_is_an_engine_on_this_machine() -> None:
    assert ENGINES, "labctl depends on wheels that carry servers, so there always is one"


def test_the_running_server_is_what_the_probe_says(engine: Engine, tmp_path: Path) -> None:
    with server(engine, tmp_path) as client:
        info = client.info("server")
        own = "valkey_version" if engine.flavour is Flavour.VALKEY else "redis_version"
        assert info[own] == engine.version_text
        assert ("valkey_version" in info) == (engine.flavour is Flavour.VALKEY)


def test_the_running_server_can_what_labctl_believes(engine: Engine, tmp_path: Path) -> None:
    with server(engine, tmp_path) as client:
        assert bool(client.config_get("bind-source-addr")) == engine.can(Capability.LINKS)
        assert has_command(client, "waitaof") == engine.can(Capability.WAITAOF)
        assert has_command(client, "cluster|migrateslots") == engine.can(Capability.MIGRATE_SLOTS)
        assert bool(client.config_get("enable-debug-command")) == engine.can(Capability.DEBUG_GATE)
        if engine.can(Capability.DEBUG_GATE):
            with pytest.raises(redis.ResponseError, match="DEBUG command not allowed"):
                client.execute_command("DEBUG", "SLEEP", "0")


def test_sentinel_knows_coordinated_failovers_or_not(engine: Engine, tmp_path: Path) -> None:
    with server(engine, tmp_path, "--port", "PORT", "--sentinel") as client:
        with pytest.raises(redis.ResponseError) as caught:
            client.execute_command("SENTINEL", "FAILOVER", "nobody", "COORDINATED")
        knows = "no such" in str(caught.value).lower()
        assert knows == engine.can(Capability.COORDINATED_FAILOVER), str(caught.value)


def test_tls_serves_where_the_probe_says_so_and_only_there(engine: Engine, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    arguments = [
        *("--port", "0", "--tls-port", "PORT", "--tls-auth-clients", "no"),
        *("--tls-ca-cert-file", str(tmp_path / "ca.pem")),
        *("--tls-cert-file", str(tmp_path / "cert.pem"), "--tls-key-file", str(tmp_path / "key.pem")),
    ]
    started = server(engine, tmp_path, *arguments, ssl=True, ssl_ca_certs=str(tmp_path / "ca.pem"))
    if engine.tls:
        with started as client:
            assert client.ping()
    else:
        with pytest.raises(AssertionError, match="TLS"), started:
            pass


def test_a_fresh_probe_agrees_and_leaves_no_process(engine: Engine) -> None:
    before = {child.pid for child in psutil.Process().children()}
    answer = probe(engine.path)
    assert (answer.flavour, answer.version, capabilities(answer)) == (
        engine.flavour,
        engine.version,
        engine.capabilities,
    )
    assert {child.pid for child in psutil.Process().children()} <= before


@pytest.mark.parametrize("name", library.names("topologies"))
def test_each_topology_gets_the_engine_or_the_reason(engine: Engine, name: str) -> None:
    topology = library.topology(name)
    if topology.tls and not engine.tls:
        with pytest.raises(CapabilityError, match="needs TLS"):
            select_engine(engine.path, topology)
    else:
        assert select_engine(engine.path, topology).path == engine.path


@pytest.mark.parametrize(
    "arguments",
    [
        "plain",
        "several words here",
        '"quoted words"',
        "'single quoted'",
        r'"an escaped \" quote"',
        r"'an escaped \' quote'",
        r'"\x41\n"',
        '""',
        "''",
        'ends"quoted"',
        '"open',
        "'open",
        'a "b',
        '"closed"x',
        "'closed'x",
        'a"b"c',
        "it's",
        r'"\"',
        r"'\'",
        '"a" "b"',
        '"a""b"',
        "tab\tbetween",
        "  spaced  ",
        "a#b",
        "\\",
        '\\"',
    ],
)
def test_quotes_are_read_as_the_server_reads_them(engine: Engine, arguments: str) -> None:
    done = subprocess.run(
        [engine.path, "-"],
        input=f"port 0\nappendfilename {arguments}\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    refused = "Unbalanced quotes" in done.stdout + done.stderr
    refuses = bool(argument_refusal("appendfilename", arguments))
    assert refuses or not refused
    if engine.flavour is Flavour.REDIS and "\t" not in arguments:
        assert refused or not refuses, "labctl is stricter than the server only on purpose"


def test_the_doctor_sees_what_is_here() -> None:
    diagnosis = diagnose()
    assert list(diagnosis.engines) == find_engines()
    facilities = {facility.name: facility for facility in diagnosis.facilities}
    assert len(facilities) == len(diagnosis.facilities)
    assert all(facility.detail for facility in diagnosis.facilities)
    assert facilities["server with TLS"].available == any(engine.tls for engine in ENGINES)
    compiler = facilities["C compiler"]
    if compiler.available:
        assert subprocess.run([compiler.detail, "--version"], capture_output=True, check=False).returncode == 0
    assert control_groups(f"labctl-doctor-{os.getpid()}") == []
