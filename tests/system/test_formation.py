"""Seven topologies on every engine of this machine: formed, healthy, and like a lab that was formed by hand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labctl.declare import library
from labctl.errors import StartError
from labctl.formation import form
from labctl.model.conditions import converged, healthy, primary
from labctl.model.engine import Engine
from labctl.model.plan import Formation
from labctl.model.topology import ClusterOptions, Role, SentinelOptions, Topology
from labctl.model.view import View
from labctl.plan.borrowed import formation_overrides, given_back
from tests.support import periods
from tests.support.lab import Lab, engines, healthy_lab, started

pytestmark = pytest.mark.system

ENGINES = ("redis-7", "redis-8", "valkey-9")
TOPOLOGIES = (
    "standalone",
    "replica",
    "sentinel",
    "cluster",
    "standalone-tls-acl",
    "sentinel-tls-acl",
    "cluster-tls-acl",
)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def cases(*names: str) -> Any:
    """Topologies × engines that can serve them; one that no engine of this machine can serve is left to be skipped."""
    pairs = []
    for name in names:
        serving = [label for label in ENGINES if label in engines() and can_serve(engines()[label], name)]
        missing = [label for label in ENGINES if label not in engines() and not library.topology(name).tls]
        pairs += [(name, label) for label in [*serving, *missing] or ["redis-7"]]
    return pytest.mark.parametrize(("name", "label"), pairs, ids=[f"{label}-{name}" for name, label in pairs])


def can_serve(engine: Engine, name: str) -> bool:
    return engine.tls or not library.topology(name).tls


def engine_for(label: str, name: str) -> Engine:
    if label not in engines():
        pytest.skip(f"no {label} on this machine: `labctl doctor` says how to add it")
    if not can_serve(engines()[label], name):
        pytest.skip(f"{engines()[label].name} has no TLS: install Debian's package redis-server")
    return engines()[label]


@cases(*TOPOLOGIES)
def test_every_topology_forms_on_every_engine(name: str, label: str, tmp_path: Path) -> None:
    async def test() -> None:
        topology = library.topology(name)
        async with healthy_lab(tmp_path, topology, engine_for(label, name)) as lab:
            view = await lab.observer.poll()
            assert healthy(lab.plan, view) == []
            assert len(view.nodes) == topology.nodes
            assert {n.name: n.role for n in view.nodes} == {n.name: n.role for n in lab.plan.nodes}
            await lab.until(lambda view: converged(lab.plan, view))
            await assert_nothing_is_borrowed(lab)
            await assert_links_are_used(lab)

    run(test())


async def assert_nothing_is_borrowed(lab: Lab) -> None:
    for node in lab.plan.data_nodes:
        for name, value in given_back(lab.plan, node).items():
            assert await lab.ask(node.name, "CONFIG", "GET", name) == [name, value]
    for node in lab.plan.sentinels:
        reply = await lab.ask(node.name, "SENTINEL", "DEBUG")
        assert isinstance(reply, list)
        assert periods.borrowed(reply) == periods.OWN


async def assert_links_are_used(lab: Lab) -> None:
    """Nobody ever heard a node's own address: every replica's and Sentinel's connection came through a link."""
    for node in lab.plan.data_nodes:
        text = await lab.ask(node.name, "INFO", "replication")
        assert isinstance(text, str)
        assert node.host not in text
        assert re.findall(r"(?:ip=|master_host:)([\d.]+)", text) in ([], ["127.0.0.1"], ["127.0.0.1"] * 2)


@pytest.mark.parametrize("label", ENGINES)
def test_a_seeded_lab_is_like_one_that_formed_naturally(label: str, tmp_path: Path) -> None:
    """Same configuration, same state, and each node comes back after a restart from what it keeps on disk.

    All at once, because labs that form naturally do little but wait. Timeouts are long, so that a restart on a busy machine is
    no failover, after which no two labs are alike.
    """
    engine = engine_for(label, "replica")

    async def state_of(topology: Topology, formation: Formation) -> list[dict[str, object]]:
        async with healthy_lab(tmp_path, topology, engine, formation) as lab:
            await lab.until(lambda view: all_sentinels_heard(lab, view))
            first = await state(lab)
            for node in lab.plan.nodes:
                await lab.runtime.kill(node)
                await lab.runtime.start(node)
                await lab.until(lambda view: healthy(lab.plan, view))
            return [first, await state(lab)]

    async def differences(name: str) -> list[object]:
        topology = replace(
            library.topology(name),
            sentinel=SentinelOptions(down_after_ms=60_000),
            cluster=ClusterOptions(node_timeout_ms=10_000),
        )
        seeded, natural = await asyncio.gather(*(state_of(topology, formation) for formation in Formation))
        found: list[object] = []
        for ours, theirs in zip(seeded, natural, strict=True):
            assert ours
            assert ours.keys() == theirs.keys()
            found += [(key, ours[key], theirs[key]) for key in ours if ours[key] != theirs[key]]
        return found

    async def test() -> None:
        names = ("replica", "sentinel", "cluster")
        assert dict(zip(names, await asyncio.gather(*map(differences, names)), strict=True)) == {
            name: [] for name in names
        }

    run(test())


def all_sentinels_heard(lab: Lab, view: View) -> list[str]:
    """Healthy, and every Sentinel's file lists its peers, which it writes a moment after it has heard of them."""
    missing = [
        f"{node.name}'s file lacks {kind} {peer.port}"
        for node in lab.plan.sentinels
        for kind, peers in (("known-sentinel", lab.plan.sentinels), ("known-replica", lab.plan.data_nodes[1:]))
        for peer in peers
        if peer is not node and f"{kind} lab 127.0.0.1 {peer.port}" not in lab.file(node.name, "sentinel.conf")
    ]
    return healthy(lab.plan, view) + missing


async def state(lab: Lab) -> dict[str, object]:
    """Everything that can be seen of a lab, with addresses, ids and folders replaced by who they belong to."""
    view = await lab.until(lambda view: healthy(lab.plan, view))  # a restart may be noticed late
    found: dict[str, object] = {}
    for node in view.nodes:
        kind = "sentinel.conf" if node.role is Role.SENTINEL else "redis.conf"
        found[f"{node.name} {kind}"] = sorted(directives(masked(lab, view, lab.file(node.name, kind))))
        if node.role is not Role.SENTINEL:
            reply = await lab.ask(node.name, "CONFIG", "GET", "*")
            assert isinstance(reply, list)
            found[f"{node.name} CONFIG"] = {
                key: masked(lab, view, value) for key, value in zip(reply[::2], reply[1::2], strict=True)
            }
        if node.sentinel is not None:
            found[f"{node.name} believes"] = replace(node.sentinel, node_id="")
        if node.cluster is not None:
            found[f"{node.name} sees"] = [replace(entry, node_id="", epoch=0) for entry in node.cluster.table]
            found[f"{node.name} keeps"] = shape_of_nodes_conf(lab, view, node.name)
    return found


def directives(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def masked(lab: Lab, view: View, text: str) -> str:
    for node in view.nodes:
        plan = lab.plan.node(node.name)
        node_id = (node.cluster or node.sentinel or plan).node_id
        for value in filter(None, (plan.host, plan.port, plan.bus_port, node_id, lab.folder.node(node.name))):
            text = re.sub(rf"(?<![\w.]){re.escape(str(value))}(?!\w)", f"<{node.name}>", text)
    return text


def shape_of_nodes_conf(lab: Lab, view: View, name: str) -> list[str]:
    """nodes.conf without what differs between any two Clusters: epochs, times, link states."""
    shapes = []
    text = re.sub(r"shard-id=\w+", "shard-id=X", masked(lab, view, lab.file(name, "data/nodes.conf")))
    for line in text.splitlines():
        fields = line.split(" ")
        shapes.append(" ".join([*fields[:4], *fields[8:]]) if fields[0] != "vars" else "vars")
    return sorted(shapes)


@cases("sentinel", "sentinel-tls-acl", "cluster", "cluster-tls-acl")
def test_a_failover_happens_as_the_topology_states_and_the_lab_recovers(name: str, label: str, tmp_path: Path) -> None:
    async def test() -> None:
        topology = library.topology(name)
        async with healthy_lab(tmp_path, topology, engine_for(label, name)) as lab:
            old = lab.plan.node("redis-1")
            await lab.runtime.kill(old)
            view = await lab.until(lambda view: successor(lab, view))
            assert view.node("redis-1").up is False
            await lab.runtime.start(old)
            view = await lab.until(lambda view: healthy(lab.plan, view))
            assert view.node("redis-1").role is Role.REPLICA
            await lab.until(lambda view: converged(lab.plan, view))
            if topology.acl:
                await assert_nothing_was_denied(lab)

    run(test())


def successor(lab: Lab, view: View) -> list[str]:
    """Unmet until another node than redis-1 is primary of its shard, for itself and for those who decide."""
    shard = [n.name for n in lab.plan.data_nodes if n.shard == 1 and n.name != "redis-1"]
    promoted = [name for name in shard if view.node(name).role is Role.PRIMARY]
    if not promoted:
        return [f"none of {shard} is primary"]
    if lab.plan.sentinels and primary(view) not in promoted:
        return [f"Sentinels send clients to {primary(view)}"]
    return []


async def assert_nothing_was_denied(lab: Lab) -> None:
    """The rules of the lab's own users suffice: after a failover and a recovery no ACL LOG names one of them."""
    for node in lab.plan.nodes:
        entries = await lab.ask(node.name, "ACL", "LOG")
        assert entries == [], (node.name, entries)


@cases("replica")
def test_what_a_failed_formation_lacked_is_named(name: str, label: str, tmp_path: Path) -> None:
    async def test() -> None:
        async with started(tmp_path, library.topology(name), engine_for(label, name)) as lab:
            await lab.runtime.kill(lab.plan.node("redis-3"))
            with pytest.raises(StartError, match=r"redis-3 does not answer at 127\.\d+\.0\.3:\d+"):
                await form(lab.plan, lab.access, lab.observer, print, deadline_s=1)

    run(test())


@cases("cluster")
@pytest.mark.parametrize(("primaries", "replicas"), [(1, 0), (1, 2), (2, 0), (3, 2), (12, 1)])
def test_clusters_of_other_shapes(primaries: int, replicas: int, name: str, label: str, tmp_path: Path) -> None:
    async def test() -> None:
        shape = replace(library.topology(name), primaries=primaries, replicas=replicas)
        async with healthy_lab(tmp_path, shape, engine_for(label, name)) as lab:
            await assert_nothing_is_borrowed(lab)
            view = await lab.observer.poll()
            assert {n.name: (n.role, n.follows) for n in view.nodes} == {
                n.name: (n.role, n.primary) for n in lab.plan.nodes
            }
            assert all(formation_overrides(lab.plan, node) for node in lab.plan.nodes)

    run(test())
