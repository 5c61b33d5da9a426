"""The agent's exporter: its names against a real redis_exporter, and what it says while nodes hang and die."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.support.command import Labctl, labctl_at, until
from tests.support.ports import free_port

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("exporter")]

REAL = next(filter(None, map(shutil.which, ("redis_exporter", "prometheus-redis-exporter"))), None)
OF_THE_EXPORTER_ITSELF = ("redis_exporter_", "redis_target_scrape_request_errors_total", "redis_last_key_groups_scrape")
"""What a redis_exporter says of itself, and of scans for keys that it was not asked for."""
OWN = {"lab", "node", "instance"}


@dataclass(frozen=True)
class Metrics:
    """What one scrape said."""

    samples: tuple[Sample, ...]

    def value(self, name: str, **labels: str) -> float | None:
        """The only sample of that name with these labels."""
        found = [s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()]
        assert len(found) <= 1, (name, labels, found)
        return found[0] if found else None

    def names(self) -> dict[str, frozenset[str]]:
        """Label names by sample name, without those that say which node of which lab."""
        return {s.name: frozenset(s.labels) - OWN for s in self.samples}


def fetch(url: str, **headers: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        return str(answer.read().decode())


def parsed(text: str) -> Metrics:
    """Without types, by which the parser would rename counters that do not end in `_total`."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return Metrics(tuple(s for family in text_string_to_metric_families(lines + "\n") for s in family.samples))


def scrape(labctl: Labctl, lab: str, path: str = "") -> Metrics:
    return parsed(fetch(labctl.json("status", "--lab", lab)["metrics"] + path))


def whole(labctl: Labctl, lab: str, *without: str) -> Metrics:
    """A scrape that every node but some had the time to answer: half a second, and the machine is busy with other tests."""
    names = [node["name"] for node in labctl.plan(lab)["nodes"] if node["name"] not in without]

    def found() -> Metrics | None:
        metrics = scrape(labctl, lab)
        return metrics if all(metrics.value("redis_up", node=name) == 1 for name in names) else None

    metrics = until(found, f"a scrape of {', '.join(names)}")
    assert metrics is not None
    return metrics


@pytest.fixture(scope="module")
def labctl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labctl]:
    """A lab with Sentinels, and a Cluster."""
    with labctl_at(tmp_path_factory.mktemp("exporter") / "home") as command:
        command.run("up", "sentinel")
        command.run("up", "cluster")
        yield command
        command.run("down", "--all")


@contextmanager
def real_exporter() -> Iterator[str]:
    """A redis_exporter; the address at which it scrapes whatever it is told to."""
    if REAL is None:
        pytest.skip("no redis_exporter on this machine: apt-get install prometheus-redis-exporter")
    port = free_port()
    command = [REAL, "-web.listen-address", f"127.0.0.1:{port}", "-redis.addr", "", "-include-system-metrics"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _answers(port), "a redis_exporter")
        yield f"http://127.0.0.1:{port}/scrape?target="
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_names_and_labels_are_those_of_redis_exporter(labctl: Labctl) -> None:
    ours = {lab: whole(labctl, lab) for lab in ("sentinel", "cluster")}
    with real_exporter() as target:
        for lab, found in ours.items():
            for node in labctl.plan(lab)["nodes"]:
                theirs = parsed(fetch(f"{target}127.0.0.1:{node['port']}")).names()
                mine = Metrics(tuple(s for s in found.samples if s.labels.get("node") == node["name"])).names()
                for name, labels in theirs.items():
                    if not name.startswith(OF_THE_EXPORTER_ITSELF) and _of_every_server(name):
                        assert mine.get(name) == labels, f"{lab} {node['name']}: {name}"


def _of_every_server(name: str) -> bool:
    """A Sentinel's metrics of data that it has none of: redis_exporter makes up sixteen empty databases."""
    return not name.startswith("redis_db_keys")


def test_values_are_those_of_redis_exporter(labctl: Labctl) -> None:
    """Of settings and states that nothing changes between two scrapes."""
    names = (
        "redis_up redis_connected_slaves redis_config_maxclients redis_memory_max_bytes redis_rdb_last_bgsave_status "
        "redis_replication_backlog_bytes redis_slave_priority redis_cluster_enabled redis_cluster_slots_ok "
        "redis_cluster_state redis_cluster_known_nodes redis_sentinel_masters redis_replica_resyncs_full"
    )
    with real_exporter() as target:
        for lab in ("sentinel", "cluster"):
            found = whole(labctl, lab)
            for node in labctl.plan(lab)["nodes"]:
                theirs = parsed(fetch(f"{target}127.0.0.1:{node['port']}"))
                for name in names.split():
                    assert found.value(name, node=node["name"]) == theirs.value(name), (lab, node["name"], name)


def test_a_frozen_node_is_not_up_and_holds_up_nobody(labctl: Labctl) -> None:
    fault = labctl.json("chaos", "pause", "sentinel-3", "--lab", "sentinel", "--for", "1h")
    try:
        found = whole(labctl, "sentinel", "sentinel-3")
        assert found.value("redis_up", node="sentinel-3") == 0
        assert found.value("redis_uptime_in_seconds", node="sentinel-3") is None
        assert found.value("labctl_server_state", node="sentinel-3", state="paused") == 1
        assert found.value("labctl_fault_active", kind="pause", target="sentinel-3", id=str(fault["id"])) == 1
        assert scrape(labctl, "sentinel").value("redis_up", node="sentinel-3") == 0, "it is still hanging"
    finally:
        labctl.run("heal", "--lab", "sentinel")
    found = whole(labctl, "sentinel")
    assert found.value("labctl_faults") == 0


def test_a_failover_is_counted_and_links_say_who_is_cut(labctl: Labctl) -> None:
    before = whole(labctl, "cluster")
    primary = next(
        s.labels["node"] for s in before.samples if s.name == "redis_instance_info" and s.labels["role"] == "master"
    )
    total = sum(s.value for s in before.samples if s.name == "labctl_failovers_total")
    labctl.run("chaos", "isolate", primary, "--lab", "cluster", "--for", "1h")
    try:
        cut = scrape(labctl, "cluster")
        others = [n["name"] for n in labctl.plan("cluster")["nodes"] if n["name"] != primary]
        for other in others:
            assert cut.value("labctl_link_open", source=primary, target=other) == 0
            assert cut.value("labctl_link_open", source=other, target=primary) == 0
        assert (cut.value("labctl_links", state="blackhole") or 0) >= 2 * len(others)

        def counted() -> bool:
            samples = scrape(labctl, "cluster").samples
            return sum(s.value for s in samples if s.name == "labctl_failovers_total") > total

        until(counted, "a failover in the metrics")
    finally:
        labctl.run("heal", "--lab", "cluster")
    until(lambda: scrape(labctl, "cluster").value("labctl_lab_healthy"), "a healthy cluster")
    traffic = [s.value for s in scrape(labctl, "cluster").samples if s.name == "labctl_link_bytes_total"]
    assert sum(traffic) > 0


def test_a_load_is_counted_while_it_runs(labctl: Labctl) -> None:
    load = labctl.start("load", "register", "--for", "1h", "--rate", "200", "--lab", "sentinel")

    def acknowledged() -> float:
        return scrape(labctl, "sentinel").value("labctl_acknowledged_writes_total", scenario="register") or 0

    first = until(acknowledged, "acknowledged writes")
    assert scrape(labctl, "sentinel").value("labctl_run_recording", scenario="register") == 1
    until(lambda: acknowledged() > first, "more of them")
    load.send(signal.SIGINT)
    load.finish(130)
    until(lambda: scrape(labctl, "sentinel").value("labctl_run_recording", scenario="register") == 0, "its end")


def test_only_labctls_own_without_the_nodes(labctl: Labctl) -> None:
    names = scrape(labctl, "sentinel", "/lab").names()
    assert "labctl_lab_info" in names
    assert not [name for name in names if name.startswith("redis_")]


def test_status_says_where_they_are(labctl: Labctl) -> None:
    url = labctl.json("status", "--lab", "sentinel")["metrics"]
    assert f"Metrics: {url}" in labctl.run("status", "--lab", "sentinel").out


def test_strangers_and_names_of_elsewhere_are_refused(labctl: Labctl) -> None:
    url = labctl.json("status", "--lab", "sentinel")["metrics"]
    with pytest.raises(urllib.error.HTTPError, match="400"):
        fetch(url, Host="labs.example")
    addresses = {host for host, _ in labctl.listeners()}
    assert all(host.startswith("127.") for host in addresses), addresses


def test_whoever_asks_for_another_lab_is_not_given_this_one(labctl: Labctl) -> None:
    """Its port may have been another lab's a second ago, and Prometheus still asks for that."""
    url = labctl.json("status", "--lab", "sentinel")["metrics"]
    assert "labctl_lab_info" in fetch(f"{url}?id={labctl.plan('sentinel')['lab_id']}")
    for path in ("", "/lab"):
        with pytest.raises(urllib.error.HTTPError, match="421"):
            fetch(f"{url}{path}?id={labctl.plan('cluster')['lab_id']}")


def test_an_impatient_scraper_is_answered_in_its_time(labctl: Labctl) -> None:
    labctl.run("chaos", "pause", "redis-6", "--lab", "cluster", "--for", "1h")
    try:
        url = labctl.json("status", "--lab", "cluster")["metrics"]
        text = fetch(url, **{"X-Prometheus-Scrape-Timeout-Seconds": "0.1"})
        assert parsed(text).value("redis_up", node="redis-6") == 0
    finally:
        labctl.run("heal", "--lab", "cluster")


def test_a_new_agent_serves_again(labctl: Labctl) -> None:
    old = labctl.json("status", "--lab", "sentinel")["agent_pid"]
    agent = next(p for p in labctl.processes() if p.pid == old)
    agent.send_signal(signal.SIGKILL)
    until(lambda: labctl.json("status", "--lab", "sentinel")["agent_pid"] != old, "a new agent")
    until(lambda: labctl.json("status", "--lab", "sentinel")["metrics"], "its metrics")
    whole(labctl, "sentinel")


def test_a_certificates_end_is_what_the_node_shows(tmp_path_factory: pytest.TempPathFactory) -> None:
    with labctl_at(tmp_path_factory.mktemp("tls") / "home") as labctl:
        up = labctl.run("up", "standalone-tls-acl", code=None)
        if up.code != 0:
            pytest.skip("no server with TLS on this machine: apt-get install redis-server")
        name = "labctl_certificate_not_after_seconds"
        ends = until(lambda: scrape(labctl, "standalone-tls-acl").value(name, node="redis-1"), "when it ends")
        assert ends is not None
        assert ends > time.time()
        labctl.run("down")
