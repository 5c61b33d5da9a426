"""What link servers are told, and what is made of their answers."""

from __future__ import annotations

from typing import Any

import pytest

from labctl.model.fault import HELD_PREFIX, HoldToxic, Link, LinkState
from labctl.model.plan import LinksBy
from labctl.runtime.docker.dialects import (
    LabctlDialect,
    ToxiproxyDialect,
    add_toxic,
    dialect,
    has_all,
    is_it,
    is_meddled,
    remove_toxic,
    toxic_name,
)

LINK = Link("redis-1", "redis-2")
SLOW = HoldToxic(LINK, "latency", "upstream", (("latency", 100), ("jitter", 0)), 0.5)
STATES = (LinkState.OPEN, LinkState.BLACKHOLE, LinkState.REFUSED)


class Server:
    """As much of Toxiproxy as the requests of a dialect need, in order to see what comes of them."""

    def __init__(self) -> None:
        self.said: dict[str, Any] = {"enabled": True, "toxics": [], "state": "open"}

    def take(self, method: str, path: str, body: Any) -> None:
        _, proxies, proxy, *rest = path.split("/")
        assert (proxies, proxy) == ("proxies", "p")
        if method == "DELETE":
            self.said["toxics"] = [t for t in self.said["toxics"] if t["name"] != rest[1]]
        elif rest:
            name = body.get("name", f"{body['type']}_{body['stream']}")
            if name not in [t["name"] for t in self.said["toxics"]]:
                self.said["toxics"].append({"toxicity": 1, **body, "name": name})
        else:
            self.said.update(body)


def told(by: LinksBy, server: Server, left: tuple[LinkState, ...], entered: LinkState) -> LinkState:
    speaks = dialect(by)
    for request in speaks.change("p", left, entered):
        server.take(request.method, request.path, request.body)
    return speaks.state(server.said)


@pytest.mark.parametrize("by", LinksBy)
@pytest.mark.parametrize("first", STATES)
@pytest.mark.parametrize("second", STATES)
def test_every_state_is_reached_from_every_other(by: LinksBy, first: LinkState, second: LinkState) -> None:
    server = Server()
    assert told(by, server, (LinkState.OPEN,), first) is first
    assert told(by, server, (first,), second) is second
    assert told(by, server, (LinkState.REFUSED, LinkState.BLACKHOLE), LinkState.OPEN) is LinkState.OPEN
    assert server.said["toxics"] == []


def test_a_black_hole_swallows_before_it_keeps_hanging_up_to_itself() -> None:
    server = Server()
    told(LinksBy.TOXIPROXY, server, (LinkState.OPEN,), LinkState.BLACKHOLE)
    for stream in ("upstream", "downstream"):
        assert [t["type"] for t in server.said["toxics"] if t["stream"] == stream] == ["timeout", "slow_close"]


def test_a_toxic_has_a_name_that_says_all_of_it() -> None:
    same = HoldToxic(LINK, "latency", "upstream", (("jitter", 0), ("latency", 100)), 0.5)
    others = (
        HoldToxic(LINK, "latency", "downstream", SLOW.attributes, 0.5),
        HoldToxic(LINK, "latency", "upstream", (("latency", 101), ("jitter", 0)), 0.5),
        HoldToxic(LINK, "latency", "upstream", SLOW.attributes),
    )
    assert toxic_name(SLOW).startswith(HELD_PREFIX)
    assert toxic_name(same) == toxic_name(SLOW)
    assert len({toxic_name(each) for each in (SLOW, *others)}) == 4


def test_a_toxic_is_read_back_and_removed() -> None:
    server = Server()
    request = add_toxic("p", SLOW)
    server.take(request.method, request.path, request.body)
    (said,) = server.said["toxics"]
    assert is_it(SLOW, said)
    assert has_all(server.said, [SLOW])
    assert not has_all(server.said, [SLOW, HoldToxic(LINK, "timeout", "upstream", (("timeout", 0),))])
    assert not is_it(SLOW, {**said, "attributes": {"latency": 1, "jitter": 0}})
    assert ToxiproxyDialect().state(server.said) is LinkState.OPEN
    assert is_meddled(ToxiproxyDialect(), server.said)
    request = remove_toxic("p", toxic_name(SLOW))
    server.take(request.method, request.path, request.body)
    assert server.said["toxics"] == []
    assert not is_meddled(ToxiproxyDialect(), server.said)


def test_only_labctls_own_links_know_resp() -> None:
    assert "resp_delay" in LabctlDialect().toxics
    assert "resp_delay" not in ToxiproxyDialect().toxics
    assert set(ToxiproxyDialect().toxics) < set(LabctlDialect().toxics)
