"""Toxiproxy's HTTP contract: one suite, two servers, the same answers."""

from typing import Any

import pytest

from tests.system.links.servers import ApiServer, Upstream

pytestmark = pytest.mark.system

P = {"name": "p", "upstream": "127.0.0.1:9"}


def error(text: str, status: int) -> dict[str, Any]:
    return {"error": text, "status": status}


def test_creating_answers_201_with_the_port_taken(api: ApiServer) -> None:
    made = api.call("POST", "/proxies", P | {"listen": "127.0.0.1:0"})
    assert made.status == 201
    assert made.json["listen"].startswith("127.0.0.1:")
    assert not made.json["listen"].endswith(":0")
    assert {k: made.json[k] for k in ("name", "upstream", "enabled", "toxics")} == P | {"enabled": True, "toxics": []}
    shown = api.call("GET", "/proxies/p")
    assert shown.status == 200
    assert shown.json["listen"] == made.json["listen"]
    assert list(api.call("GET", "/proxies").json) == ["p"]


def test_a_proxy_without_listen_takes_a_free_port(api: ApiServer) -> None:
    made = api.call("POST", "/proxies", P)
    assert made.status == 201
    assert int(made.json["listen"].rpartition(":")[2]) > 0


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ('{"upstream": "a:1"}', "missing required field: name"),
        ('{"name": "a"}', "missing required field: upstream"),
        ("{}", "missing required field: name"),
        ("null", "missing required field: name"),
        ("", "bad request body: EOF"),
        ("[]", "bad request body: "),
        ("{", "bad request body: "),
        ('{"name": 1}', "bad request body: "),
        ('{"name": "a", "upstream": "b:1", "enabled": "yes"}', "bad request body: "),
        ('{"name": "a", "upstream": "b:1", "enabled": NaN}', "bad request body: "),
    ],
)
def test_a_bad_body_is_a_400_that_says_why(api: ApiServer, raw: str, text: str) -> None:
    answer = api.call("POST", "/proxies", raw=raw)
    assert answer.status == 400
    assert answer.json["status"] == 400
    assert answer.json["error"] == text if not text.endswith(": ") else answer.json["error"].startswith(text)


def test_field_names_match_in_any_case_and_what_follows_the_value_is_ignored(api: ApiServer) -> None:
    answer = api.call("POST", "/proxies", raw='{"NAME": "p", "Upstream": "127.0.0.1:9", "eNaBlEd": false} and more')
    assert answer.status == 201
    assert answer.json["enabled"] is False


def test_the_same_name_again_is_a_409(api: ApiServer) -> None:
    api.call("POST", "/proxies", P)
    again = api.call("POST", "/proxies", P)
    assert (again.status, again.json) == (409, error("proxy already exists", 409))


def test_a_port_that_is_taken_is_a_500_that_names_it(api: ApiServer, upstream: Upstream) -> None:
    answer = api.call("POST", "/proxies", P | {"listen": upstream.address})
    assert answer.status == 500
    assert answer.json == error(f"listen tcp {upstream.address}: bind: address already in use", 500)
    assert api.call("GET", "/proxies/p").status == 404
    # Unless the proxy does not listen yet.
    assert api.call("POST", "/proxies", P | {"listen": upstream.address, "enabled": False}).status == 201
    assert api.call("POST", "/proxies/p", {"enabled": True}).status == 500


def test_listen_may_be_a_name(api: ApiServer) -> None:
    assert api.call("POST", "/proxies", P | {"listen": "localhost:0"}).json["listen"].startswith("127.0.0.1:")


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_unknown_proxies_are_404(api: ApiServer, method: str) -> None:
    answer = api.call(method, "/proxies/nobody", {} if method != "GET" else None)
    assert (answer.status, answer.json) == (404, error("proxy not found", 404))


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_updating_changes_what_is_given_only(api: ApiServer, method: str) -> None:
    made = api.call("POST", "/proxies", P | {"listen": "127.0.0.1:0"}).json
    off = api.call(method, "/proxies/p", {"enabled": False})
    assert (off.status, off.json["enabled"], off.json["listen"]) == (200, False, made["listen"])
    moved = api.call(method, "/proxies/p", {"upstream": "127.0.0.1:10", "enabled": True}).json
    assert (moved["enabled"], moved["upstream"], moved["listen"]) == (True, "127.0.0.1:10", made["listen"])
    assert api.call(method, "/proxies/p", raw="nonsense").status == 400


def test_deleting_answers_204_and_frees_the_name(api: ApiServer) -> None:
    api.call("POST", "/proxies", P)
    gone = api.call("DELETE", "/proxies/p")
    assert (gone.status, gone.text) == (204, "")
    assert api.call("DELETE", "/proxies/p").status == 404
    assert api.call("POST", "/proxies", P).status == 201


def test_populate_creates_replaces_and_leaves_equal_ones_with_their_toxics(api: ApiServer) -> None:
    first = api.call("POST", "/populate", [P | {"listen": "127.0.0.1:0"}, P | {"name": "q", "enabled": False}])
    assert first.status == 201
    p, q = first.json["proxies"]
    assert (p["enabled"], q["enabled"]) == (True, False)
    api.call("POST", "/proxies/p/toxics", {"type": "latency"})
    same = api.call("POST", "/populate", [P | {"listen": p["listen"], "enabled": False}])
    assert same.status == 201
    assert [toxic["name"] for toxic in same.json["proxies"][0]["toxics"]] == ["latency_downstream"]
    assert same.json["proxies"][0]["enabled"] is True
    other = api.call("POST", "/populate", [P | {"listen": p["listen"], "upstream": "127.0.0.1:10"}]).json["proxies"][0]
    assert (other["upstream"], other["toxics"]) == ("127.0.0.1:10", [])


def test_populate_reports_what_failed_and_what_was_done(api: ApiServer, upstream: Upstream) -> None:
    missing = api.call("POST", "/populate", [P, {"name": "q"}])
    assert missing.status == 400
    assert missing.json == error("missing required field: upstream at proxy 2", 400) | {"proxies": None}
    taken = api.call("POST", "/populate", [P, P | {"name": "q", "listen": upstream.address}])
    assert taken.status == 500
    assert "address already in use" in taken.json["error"]
    assert [proxy["name"] for proxy in taken.json["proxies"]] == ["p"]
    assert api.call("POST", "/populate", {}).status == 400
    empty = api.call("POST", "/populate", [])
    assert (empty.status, empty.json) == (201, {"proxies": None})


def test_a_toxic_is_created_with_200_and_its_defaults(api: ApiServer) -> None:
    api.call("POST", "/proxies", P)
    made = api.call("POST", "/proxies/p/toxics", {"type": "latency", "attributes": {"LATENCY": 7}})
    latency = {
        "attributes": {"latency": 7, "jitter": 0},
        "name": "latency_downstream",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 1,
    }
    assert (made.status, made.json) == (200, latency)
    assert api.call("GET", "/proxies/p/toxics/latency_downstream").json == latency
    assert api.call("GET", "/proxies/p/toxics").json == [latency]
    assert api.call("GET", "/proxies/p").json["toxics"] == [latency]


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("noop", {}),
        ("latency", {"latency": 0, "jitter": 0}),
        ("bandwidth", {"rate": 0}),
        ("slow_close", {"delay": 0}),
        ("timeout", {"timeout": 0}),
        ("reset_peer", {"timeout": 0}),
        ("slicer", {"average_size": 0, "size_variation": 0, "delay": 0}),
        ("limit_data", {"bytes": 0}),
    ],
)
def test_every_type_has_its_attributes(api: ApiServer, kind: str, attributes: dict[str, int]) -> None:
    api.call("POST", "/proxies", P)
    assert api.call("POST", "/proxies/p/toxics", {"type": kind}).json["attributes"] == attributes


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"type": "nix"}, 400, "invalid toxic type"),
        ({}, 400, "invalid toxic type"),
        (
            {"type": "latency", "stream": "sideways"},
            400,
            "stream was invalid, can be either upstream or downstream",
        ),
        ({"type": "latency", "stream": ""}, 400, "stream was invalid, can be either upstream or downstream"),
        ({"type": "nix", "stream": "x"}, 400, "stream was invalid, can be either upstream or downstream"),
        ({"type": "latency", "name": "there"}, 409, "toxic already exists"),
        ({"type": "latency", "attributes": {"latency": "7"}}, 400, "bad request body: "),
        ({"type": "latency", "attributes": {"latency": 7.5}}, 400, "bad request body: "),
        ({"type": "latency", "attributes": {"latency": 2**63}}, 400, "bad request body: "),
        ({"type": "latency", "attributes": 7}, 400, "bad request body: "),
        ({"type": "latency", "toxicity": "all"}, 400, "bad request body: "),
        ([], 400, "bad request body: "),
    ],
)
def test_a_bad_toxic_is_refused_and_not_created(api: ApiServer, body: Any, status: int, text: str) -> None:
    api.call("POST", "/proxies", P)
    api.call("POST", "/proxies/p/toxics", {"type": "timeout", "name": "there"})
    answer = api.call("POST", "/proxies/p/toxics", body)
    assert answer.status == status
    assert answer.json["status"] == status
    assert answer.json["error"] == text if not text.endswith(": ") else answer.json["error"].startswith(text)
    assert [toxic["name"] for toxic in api.call("GET", "/proxies/p/toxics").json] == ["there"]


def test_updating_a_toxic_changes_attributes_and_toxicity_only(api: ApiServer) -> None:
    api.call("POST", "/proxies", P)
    api.call("POST", "/proxies/p/toxics", {"type": "latency", "attributes": {"latency": 7, "jitter": 2}})
    path = "/proxies/p/toxics/latency_downstream"
    for method in ("POST", "PATCH"):
        body = {"attributes": {"latency": 9}, "toxicity": 0.5, "name": "other", "stream": "upstream", "type": "timeout"}
        answer = api.call(method, path, body)
        assert answer.status == 200
        assert answer.json == {
            "attributes": {"latency": 9, "jitter": 2},
            "name": "latency_downstream",
            "type": "latency",
            "stream": "downstream",
            "toxicity": 0.5,
        }
    assert api.call("PATCH", path, {"attributes": None}).json["attributes"] == {"latency": 9, "jitter": 2}
    assert api.call("PATCH", path, {"attributes": {"latency": "x"}}).status == 400


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_unknown_toxics_are_404(api: ApiServer, method: str) -> None:
    api.call("POST", "/proxies", P)
    answer = api.call(method, "/proxies/p/toxics/nothing", {} if method != "GET" else None)
    assert (answer.status, answer.json) == (404, error("toxic not found", 404))
    answer = api.call(method, "/proxies/nobody/toxics/nothing", {} if method != "GET" else None)
    assert (answer.status, answer.json) == (404, error("proxy not found", 404))


def test_toxics_are_listed_upstream_first_and_deleted_with_204(api: ApiServer) -> None:
    api.call("POST", "/proxies", P)
    for kind, stream in (("latency", "downstream"), ("bandwidth", "upstream"), ("slicer", "upstream")):
        api.call("POST", "/proxies/p/toxics", {"type": kind, "stream": stream})
    names = [toxic["name"] for toxic in api.call("GET", "/proxies/p/toxics").json]
    assert names == ["bandwidth_upstream", "slicer_upstream", "latency_downstream"]
    gone = api.call("DELETE", "/proxies/p/toxics/slicer_upstream")
    assert (gone.status, gone.text) == (204, "")
    names = [toxic["name"] for toxic in api.call("GET", "/proxies/p/toxics").json]
    assert names == ["bandwidth_upstream", "latency_downstream"]


def test_reset_enables_every_proxy_and_removes_every_toxic(api: ApiServer) -> None:
    api.call("POST", "/proxies", P | {"enabled": False})
    api.call("POST", "/proxies", P | {"name": "q"})
    api.call("POST", "/proxies/q/toxics", {"type": "timeout"})
    answer = api.call("POST", "/reset")
    assert (answer.status, answer.text) == (204, "")
    for proxy in api.call("GET", "/proxies").json.values():
        assert (proxy["enabled"], proxy["toxics"]) == (True, [])


def test_version_browsers_and_routes_that_are_none(api: ApiServer) -> None:
    assert "version" in api.call("GET", "/version").json
    browser = api.call("GET", "/version", agent="Mozilla/5.0")
    assert (browser.status, browser.text) == (403, "User agent not allowed\n")
    missing = api.call("GET", "/nothing")
    assert (missing.status, missing.text) == (404, "404 page not found\n")
    assert api.call("GET", "/proxies/").status == 404
    assert api.call("PUT", "/proxies").status == 405
    assert api.call("HEAD", "/proxies").status == 405
    assert api.call("GET", "/reset").status == 405
