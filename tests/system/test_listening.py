"""What nodes of a real Cluster say to each other while its primary is gone, heard on the links of a lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labctl.agent.client import AgentClient
from labctl.model.message import Heard, Topic
from labctl.store.codec import from_data
from tests.support.command import Labctl, labctl_at, until
from tests.support.lab import engines

pytestmark = pytest.mark.system
PRIMARIES = ("redis-1", "redis-2", "redis-3")


@pytest.fixture(scope="module", params=["redis-7", "redis-8", "valkey-9"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labctl]:
    if request.param not in engines():
        pytest.skip(f"there is no {request.param}: labctl doctor says what to install")
    with labctl_at(tmp_path_factory.mktemp("listening") / "home") as labctl:
        labctl.run("up", "cluster", "--engine", request.param)
        yield labctl
        labctl.run("down")


def agent(labctl: Labctl) -> AgentClient:
    return AgentClient(labctl.lab_folder("cluster") / "agent.sock")


def test_the_failover_of_a_cluster_is_heard(cluster: Labctl) -> None:
    client = agent(cluster)
    assert client.call("POST", "/messages") == {"why_not": ""}
    cluster.run("chaos", "kill", "redis-1", "--for", "60s")

    def successor() -> str | None:
        nodes = cluster.json("status")["view"]["nodes"]
        return next((n["name"] for n in nodes if n["role"] == "primary" and n["name"] not in PRIMARIES), None)

    promoted = until(successor, "a new primary")
    cluster.run("heal")
    until(lambda: not cluster.json("status")["unhealthy"], "a healthy cluster")
    heard = from_data(Heard, client.call("DELETE", "/messages"))
    said = {(message.source, message.topic, message.text) for message in heard.messages}
    texts = {text for _, _, text in said}
    assert "FAIL: redis-1 has failed" in texts
    assert any(topic is Topic.SUSPECT and "redis-1" in text for _, topic, text in said)
    asked = [text for source, topic, text in said if topic is Topic.ELECTION and source == promoted]
    assert any(text.startswith("FAILOVER_AUTH_REQUEST: vote for me") for text in asked)
    voters = {source for source, _, text in said if text.startswith("FAILOVER_AUTH_ACK")}
    assert voters <= {"redis-2", "redis-3"}, "primaries vote"
    assert voters
    assert any(source == promoted and text.startswith("I am primary, epoch") for source, _, text in said)
    assert any(source == "redis-1" and text.startswith("PSYNC") for source, _, text in said)
    assert [message.at_ns for message in heard.messages] == sorted(message.at_ns for message in heard.messages)
    assert client.call("DELETE", "/messages")["messages"] == [], "nobody listens any more"
