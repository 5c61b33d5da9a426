"""Every alert, by a real fault in a real lab through a real Prometheus: it fires while the lab is broken, and clears after."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme

from labctl.monitoring.rules import RuleSettings, alerts
from tests.support.client import Client, ErrorReply, lab_client
from tests.support.command import Labctl, labctl_at, until
from tests.support.prometheus import Prometheus, observing

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("alerts")]

SETTINGS = {"hold_s": 0.5, "window_s": 5, "lag_bytes": 20_000, "silent_s": 2, "unsaved_s": 2, "agent_s": 2}
SENTINEL = """
kind: sentinel
replicas: 2
sentinels: 3
sentinel: {quorum: 2, down-after: 500ms, failover-timeout: 5s}
"""
CLUSTER = """
kind: cluster
primaries: 3
replicas: 1
cluster: {node-timeout: 1s}
"""
DISK = """
kind: replica
replicas: 1
persistence: {aof: everysec}
"""
TILT = """
kind: sentinel
replicas: 1
sentinels: 3
sentinel: {quorum: 2, down-after: 1s}
"""
PATIENCE_S = 120.0
"""TILT lasts for thirty seconds, and a busy machine takes its time."""


@dataclass(frozen=True)
class Broken:
    """One lab, and what a scenario does to it."""

    labctl: Labctl
    prometheus: Prometheus
    lab: str

    def chaos(self, *args: str) -> Any:
        return self.labctl.json("chaos", *args, "--for", "1h", "--lab", self.lab)

    def heal(self, code: int | None = 0) -> None:
        self.labctl.run("heal", "--lab", self.lab, code=code)

    def status(self) -> Any:
        return self.labctl.json("status", "--lab", self.lab)

    def ask(self, node: str, *command: str | int) -> Any:
        return self.client(node).ask(*command)

    def client(self, node: str) -> Client:
        return lab_client(self.labctl.plan(self.lab), node, direct=True)

    def role(self, role: str) -> list[str]:
        """Nodes that are in it now."""
        return [node["name"] for node in self.status()["view"]["nodes"] if node["role"] == role]

    def well(self) -> None:
        """Wait until it is."""
        until(lambda: not self.status()["unhealthy"], f"a healthy {self.lab}", PATIENCE_S)

    def firing(self, name: str) -> list[Any]:
        """The alerts of that name that fire for it now."""
        wanted = ("firing", name, self.lab)
        return [
            alert
            for alert in self.prometheus.get("alerts")["alerts"]
            if (alert["state"], alert["labels"]["alertname"], alert["labels"]["lab"]) == wanted
        ]

    def fired(self, name: str, since: float) -> bool:
        """Whether one fired since then, Unix time, be it that it has cleared meanwhile."""
        window = max(1, math.ceil(time.time() - since))
        series = f'ALERTS{{alertname="{name}",alertstate="firing",lab="{self.lab}"}}'
        return bool(self.prometheus.query(f"count_over_time({series}[{window}s])"))


Scenario = Callable[[Broken], AbstractContextManager[None]]


@dataclass(frozen=True)
class Case:
    """Alerts that a scenario makes fire in a lab."""

    lab: str
    alerts: tuple[str, ...]
    scenario: Scenario

    def __str__(self) -> str:
        return "+".join(self.alerts)


def fault(kind: str, target: str) -> Scenario:
    """A fault of the catalogue, from its injection until it is healed."""

    @contextmanager
    def scenario(lab: Broken) -> Iterator[None]:
        lab.chaos(kind, target)
        yield
        lab.heal()

    return scenario


@contextmanager
def settings(lab: Broken, node: str, **values: str | int) -> Iterator[None]:
    """Settings that are other than they should be."""
    names = {name: name.replace("_", "-") for name in values}
    before = {name: lab.ask(node, "CONFIG", "GET", own)[1] for name, own in names.items()}
    try:
        for name, value in values.items():
            lab.ask(node, "CONFIG", "SET", names[name], value)
        yield
    finally:
        for name, was in before.items():
            lab.ask(node, "CONFIG", "SET", names[name], was)


def primary(lab: Broken) -> str:
    return lab.role("primary")[0]


def a_replica(lab: Broken) -> str:
    return lab.role("replica")[0]


@contextmanager
def frozen_agent(lab: Broken) -> Iterator[None]:
    pid = lab.status()["agent_pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def stuck_fault(lab: Broken) -> Iterator[None]:
    """A server that cannot be started again, for its configuration is gone."""
    config = lab.labctl.lab_folder(lab.lab) / "nodes" / "redis-2" / "redis.conf"
    lab.chaos("kill", "redis-2")
    config.rename(config.with_suffix(".away"))
    lab.heal(code=5)
    yield
    config.with_suffix(".away").rename(config)
    until(lambda: not lab.status()["faults"], "the revert that is tried again", PATIENCE_S)


@contextmanager
def loaded(lab: Broken) -> Iterator[None]:
    """Clients at work."""
    load = lab.labctl.start("load", "register", "--for", "1h", "--rate", "200", "--lab", lab.lab)
    try:
        well = f'labctl:operations:rate10s{{lab="{lab.lab}",outcome="ok"}} > 0'
        until(lambda: lab.prometheus.query(well), "operations", PATIENCE_S)
        yield
    finally:
        load.send(signal.SIGINT)
        load.finish()


@contextmanager
def primary_lost_under_load(lab: Broken) -> Iterator[None]:
    with loaded(lab):
        lab.chaos("kill", "redis-1")
        yield
        lab.heal()


@contextmanager
def primary_cut_away(lab: Broken) -> Iterator[None]:
    """With one Sentinel: neither hears of the failover on the other side."""
    lab.chaos("partition", f"{primary(lab)},sentinel-3")
    yield
    lab.heal()
    lab.well()


@contextmanager
def replica_behind(lab: Broken) -> Iterator[None]:
    """Its link is silent and not closed, so that both ends think that it is there, while its primary goes on."""
    source = primary(lab)
    lab.chaos("isolate", a_replica(lab))
    for number in range(20):
        lab.ask(source, "SET", f"bulk-{number}", "x" * 2000)
    yield
    lab.heal()


@contextmanager
def replica_started_empty(lab: Broken) -> Iterator[None]:
    lab.chaos("kill", "redis-2")
    lab.heal()
    yield


@contextmanager
def sentinel_that_overslept(lab: Broken) -> Iterator[None]:
    lab.chaos("pause", "sentinel-2")
    time.sleep(4)  # longer than what a Sentinel takes for a jump of its clock
    lab.heal()
    yield


@contextmanager
def lost_shard(lab: Broken) -> Iterator[None]:
    plan = lab.labctl.plan(lab.lab)
    names = [node["name"] for node in plan["nodes"] if node["shard"] == 2]
    lab.chaos("kill", ",".join(names))
    yield
    lab.heal()
    lab.well()


@contextmanager
def node_that_missed_an_election(lab: Broken) -> Iterator[None]:
    lab.chaos("isolate", "redis-6")
    lab.chaos("cluster-failover", "redis-4")
    yield
    lab.heal()
    lab.well()


@contextmanager
def evicting(lab: Broken) -> Iterator[None]:
    """More in memory than is allowed all at once; and a slow log that takes everything for slow."""
    for number in range(10):
        lab.ask("redis-1", "MSET", *(word for n in range(100) for word in (f"fill-{number}-{n}", "x" * 1000)))
    used = int(lab.ask("redis-1", "INFO", "memory").split("used_memory:")[1].split()[0])
    limits: dict[str, str | int] = {"maxmemory_policy": "allkeys-lru", "maxmemory": used - 300_000}
    with settings(lab, "redis-1", slowlog_log_slower_than=0, **limits):
        lab.ask("redis-1", "GET", "something")
        yield
    lab.ask("redis-1", "FLUSHALL")


@contextmanager
def out_of_memory(lab: Broken) -> Iterator[None]:
    with settings(lab, "redis-1", maxmemory=100_000):
        with pytest.raises(ErrorReply, match="OOM"):
            lab.ask("redis-1", "SET", "one", "more")
        yield


@contextmanager
def no_room_for_clients(lab: Broken) -> Iterator[None]:
    """At its limit, with a connection kept to lift it again."""
    client = lab.client("redis-2")
    with redis.Redis(client.host, client.port, single_connection_client=True) as kept:
        before = kept.config_get("maxclients")["maxclients"]
        kept.config_set("maxclients", len(kept.client_list()))
        try:
            with pytest.raises((OSError, ErrorReply)):
                client.ask("PING")
            yield
        finally:
            kept.config_set("maxclients", before)


@contextmanager
def loading(lab: Broken) -> Iterator[None]:
    """A server that takes its time over each key when it starts."""
    node = "redis-1"
    for number in range(3000):
        if number % 500 == 0:
            pairs = [str(part) for n in range(number, number + 500) for part in (f"key-{n}", "value")]
            lab.ask(node, "MSET", *pairs)
    lab.ask(node, "CONFIG", "SET", "key-load-delay", 2000)
    lab.ask(node, "CONFIG", "SET", "loading-process-events-interval-bytes", 1024)
    lab.ask(node, "CONFIG", "REWRITE")
    lab.ask(node, "BGREWRITEAOF")
    until(lambda: "aof_rewrite_in_progress:0" in lab.ask(node, "INFO", "persistence"), "a rewritten AOF")
    pid = lab.labctl.start("chaos", "restart", node, "--for", "1h", "--lab", lab.lab)
    yield
    pid.finish(None)
    until(lambda: lab.client(node).ask("CONFIG", "SET", "key-load-delay", 0) == "OK", "an end of it", PATIENCE_S)
    until(lambda: "\nloading:0" in lab.ask(node, "INFO", "persistence"), "its data", PATIENCE_S)
    lab.ask(node, "CONFIG", "REWRITE")
    lab.ask(node, "FLUSHALL")
    lab.well()


@contextmanager
def no_fork(lab: Broken) -> Iterator[None]:
    lab.chaos("no-fork", "redis-1")
    for command in ("BGSAVE", "BGREWRITEAOF"):
        with contextlib.suppress(ErrorReply):
            lab.ask("redis-1", command)
    yield
    lab.heal()
    lab.ask("redis-1", "BGSAVE")
    until(lambda: "rdb_bgsave_in_progress:0" in lab.ask("redis-1", "INFO", "persistence"), "a dump")
    lab.ask("redis-1", "BGREWRITEAOF")


@contextmanager
def slow_disk(lab: Broken) -> Iterator[None]:
    lab.chaos("slow-fsync", "redis-1", "--set", "ms=4000")

    def delayed() -> bool:
        lab.ask("redis-1", "SET", "tick", str(time.monotonic()))
        return "aof_delayed_fsync:0" not in lab.ask("redis-1", "INFO", "persistence")

    until(delayed, "a write that waited")
    yield
    lab.heal()


@contextmanager
def unsaved(lab: Broken) -> Iterator[None]:
    lab.ask("redis-1", "SET", "not", "saved")
    yield
    lab.ask("redis-1", "SAVE")


@contextmanager
def old_certificate(lab: Broken) -> Iterator[None]:
    """The server shows one that ends tomorrow; those who are connected already do not notice."""
    folder = lab.labctl.lab_folder(lab.lab) / "tls"
    with _admin(lab) as admin:
        before = admin.config_get("tls-*-file")
        made = trustme.CA().issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=1))
        cert, key = folder / "old.crt", folder / "old.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        key.write_bytes(made.private_key_pem.bytes())
        admin.config_set("tls-cert-file", str(cert), "tls-key-file", str(key))
        yield
        admin.config_set("tls-cert-file", before["tls-cert-file"], "tls-key-file", before["tls-key-file"])


@contextmanager
def _admin(lab: Broken) -> Iterator[redis.Redis]:
    secrets: Any = json.loads((lab.labctl.lab_folder(lab.lab) / "secrets.json").read_bytes())
    user, node = secrets["secrets"]["admin"], lab.labctl.plan(lab.lab)["nodes"][0]
    with redis.Redis(
        "127.0.0.1",
        node["port"],
        username=user["name"],
        password=user["password"],
        ssl=True,
        ssl_ca_certs=secrets["tls"]["ca"],
        decode_responses=True,
        single_connection_client=True,
    ) as client:
        yield client


@contextmanager
def stranger(lab: Broken) -> Iterator[None]:
    node = lab.labctl.plan(lab.lab)["nodes"][0]
    client = Client("127.0.0.1", node["port"], ca_file=str(lab.labctl.lab_folder(lab.lab) / "tls" / "ca.crt"))
    for _ in range(3):
        with pytest.raises(ErrorReply, match="NOAUTH"):
            client.ask("GET", "anything")
    yield


CASES = (
    Case("sentinel", ("RedisReplicationLag", "RedisReplicaSilent"), replica_behind),
    Case(
        "sentinel",
        ("SentinelSeesPrimaryDown", "RedisFailover", "RedisTwoPrimaries", "SentinelsDisagree"),
        primary_cut_away,
    ),
    Case("sentinel", ("SentinelQuorumAtRisk",), fault("kill", "sentinel-1")),
    Case("sentinel", ("SentinelQuorumLost",), fault("kill", "sentinel-1,sentinel-2")),
    Case("tilt", ("SentinelTilt",), sentinel_that_overslept),
    Case("cluster", ("ClusterStateFail", "ClusterSlotsUncovered"), lost_shard),
    Case("cluster", ("ClusterViewsDisagree",), node_that_missed_an_election),
    Case(
        "disk",
        (
            *("LabFaultActive", "RedisDown", "RedisNoPrimary", "RedisReplicationBroken"),
            *("WorkloadStalled", "WorkloadFailing"),
        ),
        primary_lost_under_load,
    ),
    Case("disk", ("RedisReplicaMissing",), fault("kill", "redis-2")),
    Case("disk", ("RedisRestarted", "RedisFullResync"), replica_started_empty),
    Case("disk", ("LabFaultStuck",), stuck_fault),
    Case("disk", ("LabAgentDown",), frozen_agent),
    Case("disk", ("RedisMemoryNearLimit", "RedisRefusesWrites"), out_of_memory),
    Case("disk", ("RedisEvicting", "RedisSlowCommands"), evicting),
    Case("disk", ("RedisClientsNearLimit", "RedisRejectsConnections"), no_room_for_clients),
    Case("disk", ("RedisSaveFailing", "RedisAofFailing"), no_fork),
    Case("disk", ("RedisAofDelayed",), slow_disk),
    Case("disk", ("RedisLoading",), loading),
    Case("plain", ("RedisUnsaved",), unsaved),
    Case("tls", ("RedisAccessDenied",), stranger),
    Case("tls", ("RedisCertificateEnding",), old_certificate),
)


Outcome = BaseException | None


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Case, Outcome]]:
    """What became of each case. Labs do not wait for each other: waiting is most of what there is to do."""
    calls = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    chosen = {params["case"] for params in calls if "case" in params} & {*CASES}
    folder = tmp_path_factory.mktemp("alerts")
    topologies = {"sentinel": SENTINEL, "tilt": TILT, "cluster": CLUSTER, "disk": DISK}
    named = {name: write(folder / f"{name}.yaml", text) for name, text in topologies.items()}
    named |= {"plain": "standalone", "tls": "standalone-tls-acl"}
    labs = {case.lab for case in CASES if case in chosen}
    with labctl_at(folder / "home") as labctl:
        up = {lab for lab in labs if bring_up(labctl, lab, named[lab])}
        options = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
        with observing(labctl, *up, options=("--interval", "500ms", *options)) as prometheus:
            with ThreadPoolExecutor() as pool:
                every = {lab: [case for case in CASES if case.lab == lab and case in chosen] for lab in up}
                done = pool.map(lambda lab: [(c, tried(Broken(labctl, prometheus, lab), c)) for c in every[lab]], up)
                found = {case: outcome for results in done for case, outcome in results}
            yield found
        labctl.run("down", "--all")


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def bring_up(labctl: Labctl, lab: str, topology: str) -> bool:
    """False where this machine cannot."""
    extras = ("--with", "disk-faults") if lab == "disk" else ()
    return labctl.run("up", topology, "--name", lab, *extras, code=None if lab == "tls" else 0).code == 0


def tried(lab: Broken, case: Case) -> Outcome:
    """What went wrong; None when every alert of the case fired and cleared."""
    try:
        fires_and_clears(lab, case)
    except BaseException as error:  # noqa: BLE001 - it is the test's to raise
        return error
    finally:
        lab.heal(code=None)
    return None


def fires_and_clears(lab: Broken, case: Case) -> None:
    for name in case.alerts:
        until(lambda name=name: not lab.firing(name), f"an end of {name} before it is wanted", PATIENCE_S)
    since = time.time()
    with case.scenario(lab):
        for name in case.alerts:
            until(lambda name=name: lab.fired(name, since), f"{name} to fire", PATIENCE_S)
        texts = [text for name in case.alerts for alert in lab.firing(name) for text in alert["annotations"].values()]
    for name in case.alerts:
        until(lambda name=name: not lab.firing(name), f"{name} to clear", PATIENCE_S)
    for text in texts:
        assert not any(wrong in text for wrong in ("error expanding", "{{", "<no value>")), text


def test_every_alert_has_a_scenario() -> None:
    assert {name for case in CASES for name in case.alerts} == {alert.name for alert in alerts(RuleSettings())}


@pytest.mark.thorough
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_fires_and_clears(outcomes: dict[Case, Outcome], case: Case) -> None:
    if case not in outcomes:
        pytest.skip("no server with TLS on this machine: apt-get install redis-server")
    if (error := outcomes[case]) is not None:
        raise error
