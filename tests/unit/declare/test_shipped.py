"""The shipped files: each parses, and each fits its published JSON Schema."""

from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from labctl.check.registry import CHECKERS
from labctl.declare import library
from labctl.declare.scenario import Known
from labctl.declare.schema import scenario_schema, topology_schema
from labctl.declare.topology import parse_topology
from labctl.declare.yaml import load
from labctl.errors import DeclarationError
from labctl.model.scenario import Expectation
from labctl.model.topology import Kind

KNOWN = Known(
    faults=frozenset({"kill", "partition"}),
    checks=frozenset(CHECKERS),
    workloads=frozenset({"set"}),
)


def fits(schema: dict[str, Any], value: object) -> list[str]:
    return [error.message for error in Draft202012Validator(schema).iter_errors(value)]


def test_schemas_are_schemas() -> None:
    for schema in (topology_schema(), scenario_schema(), scenario_schema(KNOWN)):
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", library.names("topologies"))
def test_topologies_fit_the_schema(name: str) -> None:
    entry = library.read("topologies", name)
    assert fits(topology_schema(), load(entry.text, entry.source).value) == []
    # An editor's YAML reader is not labctl's; the shipped files mean the same to both.
    assert yaml.safe_load(entry.text) == load(entry.text, entry.source).value


@pytest.mark.parametrize("name", library.names("scenarios"))
def test_scenarios_fit_the_schema(name: str) -> None:
    entry = library.read("scenarios", name)
    value = load(entry.text, entry.source).value
    assert fits(scenario_schema(), value) == []


@pytest.mark.parametrize(
    ("name", "kind", "counts", "secure"),
    [
        ("standalone", Kind.STANDALONE, (1, 0, 0), False),
        ("standalone-tls-acl", Kind.STANDALONE, (1, 0, 0), True),
        ("replica", Kind.REPLICA, (1, 2, 0), False),
        ("sentinel", Kind.SENTINEL, (1, 2, 3), False),
        ("sentinel-tls-acl", Kind.SENTINEL, (1, 2, 3), True),
        ("cluster", Kind.CLUSTER, (3, 1, 0), False),
        ("cluster-tls-acl", Kind.CLUSTER, (3, 1, 0), True),
    ],
)
def test_topologies_are_what_their_names_say(name: str, kind: Kind, counts: tuple[int, int, int], secure: bool) -> None:
    topology = library.topology(name)
    assert topology.name == name
    assert topology.kind is kind
    assert (topology.primaries, topology.replicas, topology.sentinels) == counts
    assert (topology.tls, topology.acl) == (secure, secure)
    assert topology.description


def test_sentinel_failover_states_what_redis_documents() -> None:
    scenario = library.scenario("sentinel-failover", KNOWN)
    assert fits(scenario_schema(KNOWN), load(library.read("scenarios", "sentinel-failover").text, "f").value) == []
    kill, partition = scenario.phases
    assert [(step.fault.kind, step.fault.target) for step in kill.steps] == [("kill", "primary")]
    assert [(step.fault.kind, step.fault.target) for step in partition.steps] == [("partition", "primary,clients-a")]
    assert {workload.group for workload in partition.workloads} == {"clients-a", "clients-b"}
    expected = {check.name: check.expect for check in partition.checks}
    assert expected["acked-writes"] is Expectation.LOSES
    assert expected["convergence"] is Expectation.HOLDS
    # The lab must see the failover within the phase: down-after, and what the notes of the field add to it.
    for phase in scenario.phases:
        step = phase.steps[0]
        assert step.fault.duration_s is not None
        assert step.fault.duration_s * 1000 > 2 * scenario.topology.sentinel.down_after_ms


@pytest.mark.parametrize(
    "text",
    [
        "kind: sentinl",
        "replicas: 1",
        "kind: cluster\nreplica: 1",
        "kind: cluster\nreplicas: -1",
        "kind: cluster\nreplicas: 251",
        "kind: cluster\nreplicas: '1'",
        "kind: cluster\ntls: 'yes'",
        "kind: cluster\nengine: mysql",
        "kind: cluster\nmaxmemory: lots",
        "kind: cluster\nmaxmemory-policy: lru",
        "kind: cluster\ncluster: {node-timeout: 2000}",
        "kind: cluster\npersistence: rbd",
        "kind: cluster\npersistence: {aof: 'off'}",
        "kind: cluster\ndirectives: {all: {a: {}}}",
        "kind: cluster\ndirectives: {every: {}}",
    ],
)
def test_the_schema_refuses_what_the_parser_refuses(text: str) -> None:
    with pytest.raises(DeclarationError):
        parse_topology(text, "f.yaml")
    assert fits(topology_schema(), load(text, "f.yaml").value)


@pytest.mark.parametrize(
    "change",
    [
        {"steps": [{"at": "1s"}]},
        {"steps": [{"kill": "primary"}]},
        {"steps": [{"at": 1, "kill": "primary"}]},
        {"steps": [{"at": "1s", "kill": {}}]},
        {"steps": [{"at": "1s", "kil": "primary"}]},
        {"workloads": [{"run": "sett"}]},
        {"workloads": [{"run": "set", "from": "clients-c"}]},
        {"checks": [{"check": "recovery"}]},
        {"checks": [{"check": "recover", "promise": "P"}]},
        {"topology": {"kind": "cluster"}},
        {"phases": {"a": {}}},
    ],
)
def test_the_scenario_schema_refuses(change: dict[str, object]) -> None:
    right = {"title": "T", "description": "D", "topology": "sentinel", "duration": "1s"}
    assert fits(scenario_schema(KNOWN), right) == []
    assert fits(scenario_schema(KNOWN), right | change)
