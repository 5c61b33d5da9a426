"""`labctl observe`: what it starts, that it follows labs, and that nothing of it stays."""

from __future__ import annotations

import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labctl.monitoring.folder import MonitoringFolder
from labctl.runtime.docker.build import Image, archive
from tests.support.command import Labctl, environment, kernel_state, labctl_at, send, until
from tests.support.containers import containers, engine, why_no_engine
from tests.support.prometheus import Prometheus, need_prometheus, observing

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("monitoring")]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Labctl, Prometheus]]:
    """A lab, and Prometheus over it."""
    need_prometheus()
    with labctl_at(tmp_path_factory.mktemp("monitoring") / "home") as labctl:
        labctl.run("up", "replica")
        with observing(labctl, "replica", options=("--interval", "500ms")) as prometheus:
            yield labctl, prometheus
        labctl.run("down", "--all")


def parts(labctl: Labctl) -> dict[str, psutil.Process]:
    """Processes of the monitoring by marker."""
    found = {environment(p).get("LABCTL_NODE", ""): p for p in labctl.processes()}
    return {marker: p for marker, p in found.items() if marker.startswith("@") and marker != "@agent"}


def test_every_node_is_a_target_with_its_own_address(running: tuple[Labctl, Prometheus]) -> None:
    labctl, prometheus = running
    wanted = {node["name"]: f"127.0.0.1:{node['port']}" for node in labctl.plan("replica")["nodes"]}
    until(lambda: prometheus.query('redis_up{lab="replica"}'), "scrapes")
    found = {r["metric"]["node"]: r["metric"]["instance"] for r in prometheus.query('redis_up{lab="replica"}')}
    assert found == wanted


def test_labs_are_followed(running: tuple[Labctl, Prometheus]) -> None:
    labctl, prometheus = running
    labctl.run("up", "standalone", "--name", "guest")
    until(lambda: "guest" in prometheus.healthy_targets(), "the new lab")
    assert labctl.json("observe", "status")["labs"] == ["guest", "replica"]
    until(lambda: prometheus.values('redis_up{lab="guest"}', "node") == {"redis-1": 1}, "its node")
    labctl.run("down", "guest")
    until(lambda: "guest" not in prometheus.healthy_targets(), "an end of it")
    until(lambda: prometheus.query('up{lab="guest"}') == [], "no alert about a lab that is down")


def test_it_listens_on_loopback_alone(running: tuple[Labctl, Prometheus]) -> None:
    labctl, _ = running
    assert {"@prometheus", "@follower"} <= set(parts(labctl))
    addresses = {host for host, _ in labctl.listeners()}
    assert all(host.startswith("127.") for host in addresses), addresses


def test_the_rules_are_loaded_and_take_new_settings(running: tuple[Labctl, Prometheus]) -> None:
    labctl, prometheus = running
    before = parts(labctl)["@prometheus"].pid

    def hold() -> set[float]:
        groups = prometheus.get("rules")["groups"]
        return {rule["duration"] for group in groups for rule in group["rules"] if rule.get("name") == "RedisDown"}

    assert hold() == {3}
    labctl.run("observe", "up", "--set", "hold_s=1", "--interval", "500ms")
    until(lambda: hold() == {1}, "rules with the new setting")
    assert parts(labctl)["@prometheus"].pid == before, "it was not started again, and keeps what it knows"
    assert all(rule["health"] != "err" for group in prometheus.get("rules")["groups"] for rule in group["rules"])


def test_settings_that_there_are_not_are_refused(running: tuple[Labctl, Prometheus]) -> None:
    labctl, _ = running
    wrong = labctl.run("observe", "up", "--set", "hold=1", code=2)
    assert "hold_s" in wrong.err
    assert "number" in labctl.run("observe", "up", "--set", "hold_s=soon", code=2).err
    assert "negative" in labctl.run("observe", "up", "--set", "hold_s=-1", code=2).err
    assert "too short" in labctl.run("observe", "up", "--interval", "1ms", code=2).err


def test_what_was_killed_is_started_again(running: tuple[Labctl, Prometheus]) -> None:
    labctl, _ = running
    for marker in ("@prometheus", "@follower"):
        old = parts(labctl)[marker]
        old.kill()
        until(lambda old=old: not psutil.pid_exists(old.pid), "its end")
        labctl.run("observe", "up", "--interval", "500ms")
        assert parts(labctl)[marker].pid != old.pid
    state = labctl.json("observe", "status")
    prometheus = Prometheus(state["services"]["prometheus"])
    until(lambda: "replica" in prometheus.healthy_targets(), "scrapes again")


def test_a_real_redis_exporter_in_its_place(running: tuple[Labctl, Prometheus]) -> None:
    if not (shutil.which("redis_exporter") or shutil.which("prometheus-redis-exporter")):
        pytest.skip("no redis_exporter on this machine: apt-get install prometheus-redis-exporter")
    labctl, _ = running
    state = labctl.json("observe", "up", "--exporter", "--interval", "500ms")
    try:
        prometheus = Prometheus(state["services"]["prometheus"])
        real = 'redis_exporter_scrapes_total{lab="replica"}'
        nodes = {node["name"]: f"127.0.0.1:{node['port']}" for node in labctl.plan("replica")["nodes"]}

        def seen() -> dict[str, str]:
            return {r["metric"]["node"]: r["metric"]["instance"] for r in prometheus.query(real)}

        until(lambda: seen() == nodes, "every node by way of the redis_exporter")
        until(lambda: prometheus.query('labctl_lab_info{lab="replica"}'), "labctl's own metrics beside it")
        until(lambda: prometheus.query('labctl:replication_lag:bytes{lab="replica"}'), "rules that work with it")
    finally:
        labctl.run("observe", "up", "--interval", "500ms")
    assert "@exporter" not in parts(labctl)


@pytest.fixture
def labctl(tmp_path: Path) -> Iterator[Labctl]:
    """A state folder of its own; nothing may be left of it at the end."""
    need_prometheus()
    with labctl_at(tmp_path / "home") as command:
        yield command


def test_down_all_ends_the_monitoring(labctl: Labctl) -> None:
    labctl.run("observe", "up")
    assert "@prometheus" in parts(labctl)
    lock = MonitoringFolder(labctl.home / "observe").lock
    assert lock.exists()
    assert labctl.run("down", "--all").out
    labctl.assert_nothing_left()
    assert not lock.exists()
    assert labctl.run("observe", "down").out == "No monitoring is up.\n"


def test_processes_are_found_without_any_file(labctl: Labctl) -> None:
    labctl.run("observe", "up")
    prometheus = parts(labctl)["@prometheus"]
    everybody = labctl.processes()
    send(everybody, signal.SIGSTOP)  # or they would write new files while the folder is removed
    shutil.rmtree(labctl.home / "observe")
    send(everybody, signal.SIGCONT)
    labctl.run("observe", "down")
    assert kernel_state(prometheus) is None
    labctl.assert_nothing_left()


def test_a_port_that_is_taken_moves_on(labctl: Labctl) -> None:
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            stranger.bind(("127.0.0.1", 9090))
            stranger.listen()
            ours = True
        except OSError:  # somebody else has it, for how long is not known
            ours = False
        url = labctl.json("observe", "up")["services"]["prometheus"]
        assert not (ours and url.endswith(":9090"))
        assert Prometheus(url).get("status/runtimeinfo")
    labctl.run("observe", "down")


def test_an_observe_up_that_is_killed_leaves_nothing_that_down_does_not_find(labctl: Labctl) -> None:
    for lines in (0, 1):
        starting = labctl.start("observe", "up")
        if lines:
            starting.said(lines)
        starting.send(signal.SIGKILL)
        starting.finish()  # it may have ended before it was killed
        labctl.run("observe", "down")
        labctl.assert_nothing_left()


def without(tmp_path: Path, *missing: str) -> Labctl:
    """A `labctl` on whose PATH there is little, and certainly none of these."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("redis-server", "apt-get", "prometheus"):
        if name not in missing and (found := shutil.which(name)):
            (tools / name).symlink_to(found)
    return Labctl(tmp_path / "home", env={"PATH": str(tools)})


def test_a_missing_prometheus_says_how_to_get_it(tmp_path: Path) -> None:
    labctl = without(tmp_path, "prometheus")
    done = labctl.run("observe", "up", code=2)
    assert "There is no Prometheus on PATH" in done.err
    assert "install" in done.err
    assert "--prometheus-image" in done.err
    labctl.assert_nothing_left()


def test_a_missing_redis_exporter_says_how_to_get_it(tmp_path: Path) -> None:
    need_prometheus()
    labctl = without(tmp_path)
    done = labctl.run("observe", "up", "--exporter", code=2)
    assert "There is no redis_exporter on PATH" in done.err
    assert "install" in done.err
    labctl.assert_nothing_left()


def test_a_missing_grafana_says_how_to_get_it_and_keeps_nobody_from_prometheus(labctl: Labctl) -> None:
    if shutil.which("grafana") or shutil.which("grafana-server"):
        state = labctl.json("observe", "up")
        assert "grafana" in state["services"]
    else:
        done = labctl.run("observe", "up")
        assert "There is no Grafana on PATH" in done.out
        assert "--grafana-image" in done.out
        assert "Prometheus  http://127.0.0.1:" in done.out
    labctl.run("observe", "down")


@pytest.fixture
def image() -> Iterator[str]:
    """An image with this machine's Prometheus, made without a registry."""
    need_prometheus()
    if reason := why_no_engine():
        pytest.skip(reason)
    program = Path(str(shutil.which("prometheus")))
    made = Image("labctl/test-prometheus:here", {"/usr/bin/prometheus": program}, ("/usr/bin/prometheus",))
    with tempfile.TemporaryFile() as packed:
        archive([made], packed)
        packed.seek(0)
        list(engine().api.load_image(packed))
    yield made.reference
    engine().api.remove_image(made.reference, force=True)


def test_prometheus_in_a_container(labctl: Labctl, image: str) -> None:
    labctl.run("up", "standalone")
    state = labctl.json("observe", "up", "--prometheus-image", image)
    try:
        assert "@prometheus" not in parts(labctl), "no process of this machine"
        assert len(containers(labctl, everything=False)) == 1
        prometheus = Prometheus(state["services"]["prometheus"])
        until(lambda: "standalone" in prometheus.healthy_targets(), "the lab by way of the host's network")
        assert labctl.json("observe", "status")["services"] == state["services"]
        labctl.run("observe", "up", "--prometheus-image", image, "--set", "hold_s=1")
        assert len(containers(labctl)) == 1, "it was not started again"
    finally:
        labctl.run("observe", "down")
    assert containers(labctl) == []
    labctl.run("down")


def test_an_image_that_there_is_not_is_an_error_with_a_hint(labctl: Labctl) -> None:
    if reason := why_no_engine():
        pytest.skip(reason)
    done = labctl.run("observe", "up", "--prometheus-image", "labctl/no-such-image:ever", code=2)
    assert "docker pull labctl/no-such-image:ever" in done.err
    labctl.assert_nothing_left()
