"""An engine that dies, or has no room: a second one of the tests' own, whose end hurts nobody else."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

from tests.support.command import Labctl, labctl_at, until
from tests.support.containers import TOXIPROXY, server_images, why_no_engine
from tests.system.test_topologies import engine_named

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ENGINE = "redis-7"
_SIZE = "200m"


@dataclass
class OwnEngine:
    """A dockerd on a small file system in memory, in a network namespace of its own: two would share one's iptables.

    Attributes:
        folder: Where everything of it is.
        inside: What to put before a command that is to run in its network.
        process: The engine, while it runs.
        containerd: Its own.
    """

    folder: Path
    inside: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = field(default=None)
    containerd: psutil.Process | None = field(default=None)

    @property
    def host(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    def docker(self, *args: str) -> str:
        command = ["docker", "-H", self.host, *args]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
        return done.stdout

    def start(self) -> None:
        command = [*self.inside, "dockerd", "-H", self.host, "--data-root", str(self.folder / "data")]
        command += ["--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid"), "--bridge", "none"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        until(self.answers, "an engine", 60)
        (self.containerd,) = [p for p in psutil.Process(self.process.pid).children() if p.name() == "containerd"]

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
        command = ["docker", "-H", self.host, "info", "--format", "{{.ID}}"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def kill(self) -> None:
        """SIGKILL, and its containerd with it, which a new one could not take over; containers live on."""
        assert self.process is not None
        assert self.containerd is not None
        self.process.kill()
        self.process.wait()
        self.containerd.kill()
        self.containerd.wait(30)

    @contextmanager
    def first_container(self) -> Iterator[Callable[[], bytes]]:
        """Wait for it without asking again and again: a lab is up in the time that a few questions take."""
        command = ["docker", "-H", self.host, "events", "--since", str(int(time.time()))]
        command += ["--filter", "type=container", "--filter", "event=create"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as events:
            assert events.stdout is not None
            yield events.stdout.readline
            events.kill()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)

    def residue(self) -> list[str]:
        names = self.docker("ps", "-a", "--filter", "label=labctl.id", "--format", "{{.Names}}").split()
        names += self.docker("volume", "ls", "--filter", "label=labctl.id", "--format", "{{.Name}}").split()
        return names + self.docker("network", "ls", "--filter", "label=labctl.id", "--format", "{{.Name}}").split()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnEngine]:
    if reason := why_no_engine():
        pytest.skip(reason)
    if os.geteuid() != 0:
        pytest.skip("run as root: it starts a second engine on a file system of its own")
    engine_named(ENGINE)
    folder, network = tmp_path_factory.mktemp("engine"), f"labctl-test-{os.getpid()}"
    with ExitStack() as stack:
        _run("mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "labctl-test", str(folder))
        stack.callback(_run, "umount", "--recursive", "--lazy", str(folder))
        _run("ip", "netns", "add", network)
        stack.callback(_run, "ip", "netns", "del", network)
        inside = ("nsenter", f"--net=/run/netns/{network}")
        _run(*inside, "ip", "link", "set", "lo", "up")
        engine = OwnEngine(folder, inside)
        engine.start()
        stack.callback(engine.stop)
        images = subprocess.run(
            ["docker", "save", server_images()[ENGINE], TOXIPROXY], capture_output=True, check=True
        ).stdout
        subprocess.run(["docker", "-H", engine.host, "load"], input=images, capture_output=True, check=True)
        yield engine


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=True)


@pytest.fixture
def labctl(own: OwnEngine, tmp_path: Path) -> Iterator[Labctl]:
    with labctl_at(tmp_path / "home") as command:
        command.env["DOCKER_HOST"] = own.host
        yield replace(command, program=(*own.inside, *command.program))


def test_an_engine_that_dies_while_a_lab_comes_up(own: OwnEngine, labctl: Labctl) -> None:
    with own.first_container() as wait:
        up = labctl.start("up", "replica", "--runtime", "docker", "--engine", server_images()[ENGINE])
        wait()
        own.kill()
    done = up.finish(code=4)
    assert "Docker engine" in done.err
    assert "Traceback" not in done.err
    refused = labctl.run("down", code=None)
    assert refused.code in (2, 4)
    own.start()
    labctl.run("down", "--all")
    assert own.residue() == []
    labctl.assert_nothing_left()


def test_an_engine_that_dies_under_a_lab(own: OwnEngine, labctl: Labctl) -> None:
    labctl.run("up", "standalone", "--runtime", "docker", "--engine", server_images()[ENGINE])
    labctl.run("chaos", "isolate", "redis-1", "--forever")
    own.kill()
    done = labctl.run("chaos", "kill", "redis-1", code=4)
    assert "Docker engine" in done.err
    assert "Start it again" in done.err
    down = labctl.run("down", code=None)
    assert down.code in (2, 4)
    assert "Docker engine" in down.err
    own.start()
    labctl.run("down")
    assert own.residue() == []
    labctl.assert_nothing_left()


def test_an_engine_without_room(own: OwnEngine, labctl: Labctl) -> None:
    ballast = own.folder / "ballast"
    subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=64k"], capture_output=True, check=False)
    try:
        done = labctl.run("up", "replica", "--runtime", "docker", "--engine", server_images()[ENGINE], code=4)
    finally:
        ballast.unlink()
    assert "no space left on device" in done.err
    assert "Traceback" not in done.err
    assert own.residue() == []
    labctl.assert_nothing_left()
