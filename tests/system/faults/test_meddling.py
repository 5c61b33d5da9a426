"""Users may use the Toxiproxy API of a lab's own links. They cannot heal its faults behind its back, nor break its links."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.client import Client, lab_client
from tests.support.command import until
from tests.system.faults.trial import Trial
from tests.system.links.servers import Answer, ApiServer

pytestmark = pytest.mark.system

LINK = "clients.to.redis-2"


@pytest.fixture
def lab(trial: Callable[[str], Trial]) -> Iterator[Trial]:
    one = trial("sentinel")
    one.until_well()
    yield one
    one.run("heal")
    toxiproxy(one, "POST", "/reset")
    one.until_well()
    assert one.residue() == []


def toxiproxy(lab: Trial, method: str, path: str, body: Any = None) -> Answer:
    (api,) = until(lambda: lab.status()["links"]["api"], "the links' API, which comes when the lab is up already")
    return ApiServer("labctl", int(api.rpartition(":")[2])).call(method, path, body)


def visitor(lab: Trial) -> Client:
    return lab_client(lab.labctl.plan(lab.name), "redis-2")


@pytest.mark.parametrize("how", ["drop", "reject"])
def test_a_reset_leaves_a_partition_in_force(lab: Trial, how: str) -> None:
    lab.run("chaos", "isolate", "redis-2", "--set", f"how={how}", "--for", "60s")
    cut = lab.status()["links"]["cut"]
    assert LINK in cut
    assert toxiproxy(lab, "POST", "/reset").status == 204
    for body in ({"enabled": True}, {"state": "open"}):
        assert toxiproxy(lab, "POST", f"/proxies/{LINK}", body).json["state"] == cut[LINK]
    assert lab.status()["links"]["cut"] == cut
    assert visitor(lab).gives_no_answer()
    lab.run("heal")
    assert visitor(lab).answers()


def test_the_toxics_of_a_fault_stay_and_those_of_users_go(lab: Trial) -> None:
    lab.run("chaos", "latency", "--from", "clients", "--to", "redis-2", "--set", "ms=30", "--set", "stream=up")
    (ours,) = {toxic["name"] for toxic in toxiproxy(lab, "GET", f"/proxies/{LINK}").json["toxics"]}
    mine = {"name": "mine", "type": "slow_close", "attributes": {"delay": 5}}
    assert toxiproxy(lab, "POST", f"/proxies/{LINK}/toxics", mine).status == 200
    refused = [
        toxiproxy(lab, "DELETE", f"/proxies/{LINK}/toxics/{ours}"),
        toxiproxy(lab, "POST", f"/proxies/{LINK}/toxics/{ours}", {"attributes": {"latency": 0}}),
        toxiproxy(lab, "POST", f"/proxies/{LINK}/toxics", {**mine, "name": "labctl-99"}),
    ]
    assert [answer.status for answer in refused] == [403] * 3
    assert ours in refused[0].json["error"]
    assert toxiproxy(lab, "POST", "/reset").status == 204
    left = toxiproxy(lab, "GET", f"/proxies/{LINK}").json["toxics"]
    assert [(toxic["name"], toxic["attributes"]["latency"], toxic["held"]) for toxic in left] == [(ours, 30, True)]
    lab.run("heal")
    assert toxiproxy(lab, "GET", f"/proxies/{LINK}").json["toxics"] == []


def test_a_link_of_the_lab_can_neither_be_removed_nor_moved(lab: Trial) -> None:
    shown = toxiproxy(lab, "GET", f"/proxies/{LINK}").json
    elsewhere = {"name": LINK, "listen": shown["listen"], "upstream": "127.0.0.1:1"}
    assert toxiproxy(lab, "DELETE", f"/proxies/{LINK}").status == 403
    assert toxiproxy(lab, "POST", f"/proxies/{LINK}", {"upstream": "127.0.0.1:1"}).status == 403
    assert toxiproxy(lab, "POST", "/populate", [elsewhere]).status == 403
    assert toxiproxy(lab, "GET", f"/proxies/{LINK}").json["upstream"] == shown["upstream"]
    assert visitor(lab).answers()


def test_what_a_user_cut_is_his_to_heal(lab: Trial) -> None:
    """A fault on top of it comes and goes; a client that writes back what it read does not take over the fault's cut."""
    assert toxiproxy(lab, "POST", f"/proxies/{LINK}", {"enabled": False}).json["enabled"] is False
    assert lab.status()["links"]["cut"] == {LINK: "refused"}
    lab.run("chaos", "isolate", "redis-2", "--for", "60s")
    lab.run("heal")
    assert lab.faults() == []
    assert lab.status()["links"]["cut"] == {LINK: "refused"}
    assert toxiproxy(lab, "POST", f"/proxies/{LINK}", {"enabled": True}).json["enabled"] is True
    lab.run("chaos", "isolate", "redis-2", "--set", "how=reject", "--for", "60s")
    toxiproxy(lab, "POST", f"/proxies/{LINK}", toxiproxy(lab, "GET", f"/proxies/{LINK}").json)
    lab.run("heal")
    assert visitor(lab).answers()
