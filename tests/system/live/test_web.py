"""The live view in a real headless Chromium, and what it answers to those who are not it."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from labctl.model.topology import Kind, Topology
from tests.support.browser import Browser, browser, program
from tests.support.canned import canned
from tests.support.command import Labctl, until
from tests.support.pictures import change, fault, frame, ping, seen, silent, with_groups
from tests.support.views import CLUSTER, REPLICA, SENTINEL, STANDALONE, healthy_view

# On one worker: the view's ports are the same for every lab, and some of these tests take them from it.
pytestmark = [pytest.mark.system, pytest.mark.xdist_group("live-web")]

needs_browser = pytest.mark.skipif(program() is None, reason="no browser: install Debian package chromium")
PRIMARY = "document.querySelector('.card[data-role=primary][data-condition=up] .title')?.textContent"
BIG = Topology("big", Kind.CLUSTER, primaries=50, replicas=1)
WIDE = Topology("wide", Kind.REPLICA, replicas=12)


@pytest.fixture(scope="module")
def page() -> Iterator[Browser]:
    """One browser for the module."""
    with browser() as opened:
        opened.resize(1920, 1080)
        yield opened


@pytest.fixture
def clean(page: Browser) -> Iterator[Browser]:
    """The browser, without a page and without complaints; a test that leaves some fails."""
    page.open("about:blank")
    page.until("location.href == 'about:blank'")
    page.complaints.clear()
    page.requests.clear()
    yield page
    assert page.complaints == []


def opened(page: Browser, url: str, cards: int = 6) -> Browser:
    """A page whose picture is complete."""
    page.open(url)
    page.until(f"document.querySelectorAll('.card').length == {cards}")
    return page


def press(page: Browser, key: str) -> None:
    """A key, as a person would press it."""
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" else "")


def aim(page: Browser, target: str) -> None:
    """Another target in the open dialog."""
    field = "document.querySelector('#target')"
    page.value(f"{field}.value = '{target}'; {field}.dispatchEvent(new Event('change'))")


@needs_browser
def test_the_picture_shows_that_the_primary_has_moved(lab: Labctl, clean: Browser) -> None:
    url = lab.json("observe", "web")["url"]
    page = opened(clean, url)
    old = page.until(PRIMARY)
    page.until("document.querySelector('#health').textContent == '● healthy'")
    lab.run("chaos", "kill", "primary", "--for", "1h")
    new = page.until(f"{PRIMARY} != '{old}' && {PRIMARY}")
    page.until(f"document.querySelector('[data-name={old}]').dataset.condition == 'down'")
    top = "document.querySelector('[data-name={}]').getBoundingClientRect().top"
    page.until(
        " && ".join(
            f"{top.format(new)} < {top.format(name)}" for name in ("redis-1", "redis-2", "redis-3") if name != new
        )
    )
    page.until(f"document.querySelector('[data-name=sentinel-1] .first').textContent == '→ {new}'")
    assert page.until(f"document.querySelector('#events').innerText.includes('{new} is primary')")
    assert page.value("document.querySelector('#faults').innerText").count("kill") == 1
    lab.run("heal")
    page.until(f"document.querySelector('[data-name={old}]').dataset.role == 'replica'")
    page.until("document.querySelector('#health').textContent == '● healthy'")
    assert {urlsplit(asked).netloc for asked in page.requests if asked.startswith("http")} == {urlsplit(url).netloc}


@needs_browser
def test_a_cut_link_is_drawn_as_one_and_clients_are_seen_to_notice(lab: Labctl, clean: Browser) -> None:
    page = opened(clean, lab.json("observe", "web")["url"])
    primary = page.until(PRIMARY)
    lab.run("chaos", "partition", "--from", "clients-b", "--to", "primary", "--for", "1h")
    page.until(f"document.querySelector('[data-edge=\"clients clients-b {primary}\"]').classList.contains('cut')")
    page.until("document.querySelector('[data-name=clients-b]').classList.contains('silent')")
    page.until("document.querySelector('[data-name=clients-a]').classList.contains('well')")
    lab.run("heal")
    page.until("document.querySelector('[data-name=clients-b]').classList.contains('well')")
    assert page.value("document.querySelectorAll('.cut').length") == 0


@needs_browser
def test_only_who_has_the_token_can_break_something(lab: Labctl, clean: Browser) -> None:
    page = opened(clean, lab.json("observe", "web")["url"])
    assert page.value("document.querySelector('#control').hidden")
    press(page, "k")
    assert not page.value("document.querySelector('#agree').open")


@needs_browser
def test_with_the_token_faults_are_agreed_to_and_healed(lab: Labctl, clean: Browser) -> None:
    page = opened(clean, lab.json("observe", "web", "--control")["url"])
    assert "token" not in page.value("location.href"), "a projector must not show it"
    press(page, "z")
    page.until("document.querySelector('#agree').open && !document.querySelector('#do').disabled")
    assert page.value("document.querySelector('#target').value") == "primary"
    aim(page, "nobody")
    page.until("document.querySelector('#follows').innerText.includes(\"'nobody' is no target\")")
    assert page.value("document.querySelector('#do').disabled")
    page.complaints = [said for said in page.complaints if "409" not in said]  # how a browser reports a refusal
    aim(page, "sentinel-2")
    page.until("!document.querySelector('#do').disabled")
    assert lab.json("chaos", "ls") == []
    page.value("document.querySelector('#do').click()")
    page.until("document.querySelector('[data-name=sentinel-2]').dataset.condition == 'paused'")
    assert page.value("document.querySelector('#faults').innerText").count("pause sentinel-2") == 1
    page.value("document.querySelector('#heal').click()")
    page.until("document.querySelector('[data-name=sentinel-2]').dataset.condition == 'up'")
    until(lambda: lab.json("chaos", "ls") == [], "the end of every fault")
    page.value("sessionStorage.clear()")


@needs_browser
def test_it_comes_back_at_its_address_when_the_agent_was_killed(lab: Labctl) -> None:
    with browser() as page:
        opened(page, lab.json("observe", "web")["url"])
        before = page.value("document.querySelector('#clock').textContent")
        guard, agent = lab.agents()
        guard.suspend()  # or another agent may be there before the page was looked at
        try:
            agent.kill()
            page.until("!document.querySelector('#lost').hidden")
        finally:
            guard.resume()
        page.until("document.querySelector('#lost').hidden")
        page.until(f"document.querySelector('#clock').textContent != '{before}'")
        page.until("document.querySelector('#events').innerText.includes('the agent was started again')")


ODD = change(healthy_view(with_groups(BIG)), silent("redis-8"))
FRAMES = {
    "standalone": frame(seen(with_groups(STANDALONE))),
    "replica": frame(seen(with_groups(REPLICA)), faults=(fault(1), fault(2, ends_in_s=None, lasts_s=None))),
    "sentinel": frame(
        seen(with_groups(SENTINEL)), pings=(ping("clients", "redis-1"), ping("clients-a", "redis-1", None))
    ),
    "cluster": frame(seen(with_groups(CLUSTER))),
    "thirteen": frame(seen(with_groups(WIDE))),
    "hundred": frame(seen(with_groups(BIG), ODD)),
}
OVERLAPS = """(() => {
  const rect = (element) => element.getBoundingClientRect();
  const within = (inner, outer) => inner.left > outer.left - 1 && inner.right < outer.right + 1;
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const drawn = [...document.querySelectorAll('[data-name]')];
  const cards = drawn.map((card) => [card.dataset.name, card, rect(card.querySelector('.box'))]);
  const room = rect(document.querySelector('#picture svg'));
  const wrong = [];
  for (const [name, card, box] of cards) {
    if (!within(box, room) || box.top < room.top - 1 || box.bottom > room.bottom + 1) wrong.push(`${name} is outside`);
    for (const text of card.querySelectorAll('text:not(.fault)')) {
      if (text.textContent && !within(rect(text), box)) wrong.push(`${name}: ${text.textContent}`);
    }
    for (const [other, , its] of cards) if (name < other && meet(box, its)) wrong.push(`${name} and ${other}`);
  }
  if (document.documentElement.scrollWidth > innerWidth) wrong.push('wider than the window');
  return wrong;
})()"""


@needs_browser
@pytest.mark.parametrize("name", FRAMES)
def test_no_card_lies_on_another_on_a_projector_or_a_phone(name: str, clean: Browser) -> None:
    with canned(FRAMES[name]) as url:
        for width, height in ((1920, 1080), (1024, 768), (390, 844)):
            clean.resize(width, height, mobile=width < 600)
            opened(clean, url, len(FRAMES[name].picture.nodes))
            assert clean.value(OVERLAPS) == [], f"at {width} × {height}"
        clean.open("about:blank")  # or it would ask for its feed again, of nobody
        clean.until("document.querySelector('.card') === null")
    clean.resize(1920, 1080)


# Without a browser


@dataclass(frozen=True)
class Answer:
    """What came back: nothing of the body where it is a stream."""

    status: int
    headers: http.client.HTTPMessage
    text: str


def ask(url: str, method: str = "GET", path: str = "/", body: object = None, **headers: str) -> Answer:
    """One request with exactly these headers besides the length."""
    where = urlsplit(url)
    with closing(http.client.HTTPConnection("127.0.0.1", where.port, timeout=10)) as connection:
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": where.netloc, **headers}.items():
            connection.putheader(name.replace("_", "-"), value.encode())
        data = json.dumps(body).encode()
        connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        with closing(connection.getresponse()) as answer:
            endless = answer.headers.get_content_type() == "text/event-stream"
            return Answer(answer.status, answer.headers, "" if endless else answer.read().decode())


def test_pages_of_others_get_nothing(lab: Labctl) -> None:
    url = lab.json("observe", "web")["url"]
    port = urlsplit(url).port
    for path in ("/", "/live", "/kinds"):
        assert ask(url, path=path, Host=f"labctl.example:{port}").status == 403
        assert ask(url, path=path, Host="127.0.0.1:1").status == 403
        assert ask(url, path=path, Origin="https://evil.example").status == 403
        assert ask(url, path=path, Origin="null").status == 403
        assert ask(url, path=path, Sec_Fetch_Site="cross-site").status == 403
    for host in ("127.0.0.1", "localhost"):
        answer = ask(url, Host=f"{host}:{port}", Origin=f"http://{host}:{port}")
        assert answer.status == 200
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_without_the_token_nothing_can_be_broken(lab: Labctl) -> None:
    url = lab.json("observe", "web")["url"]
    _, _, token = lab.json("observe", "web", "--control")["url"].partition("#token=")
    kill = {"fault": {"kind": "kill", "target": "primary", "duration_s": 5}, "dry_run": True}
    for given in ("", "Bearer", "Bearer wrong", f"Basic {token}", f"Bearer {token}x", "Bearer é"):
        assert ask(url, "POST", "/faults", kill, Authorization=given).status == 403
        assert ask(url, "DELETE", "/faults", Authorization=given).status == 403
    answer = ask(url, "POST", "/faults", kill, Authorization=f"Bearer {token}")
    assert answer.status == 200
    assert json.loads(answer.text)["actions"][0]["claim"] == "down"
    assert lab.json("chaos", "ls") == []


def test_what_is_no_request_is_refused_in_words(lab: Labctl) -> None:
    url = lab.json("observe", "web", "--control")["url"]
    address, _, token = url.partition("#token=")
    allowed = {"Authorization": f"Bearer {token}"}
    assert ask(address, "POST", "/faults", {"fault": {"kind": "nonsense"}}, **allowed).status == 409
    assert ask(address, "POST", "/faults", {}, **allowed).status == 409
    assert ask(address, "POST", "/faults", [1], **allowed).status == 409
    assert ask(address, "POST", "/faults", "x" * 100_000, **allowed).status == 403
    assert ask(address, path="/live", Last_Event_ID="999999999999").status == 200
    assert ask(address, path="/live", Last_Event_ID="x").status == 200
    assert ask(address, path="/nothing").status == 404


def held(port: int) -> socket.socket | None:
    with suppress(OSError):
        return socket.create_server(("127.0.0.1", port))
    return None


def test_it_listens_on_loopback_alone_moves_on_from_a_taken_port_and_stops(lab: Labctl) -> None:
    first = lab.json("observe", "web")["url"]
    assert lab.json("observe", "web")["url"] == first, "asked for again, it is where it was"
    assert {host for host, _ in lab.listeners() if not host.startswith("127.")} == set()
    lab.run("observe", "web", "--stop")
    port = urlsplit(first).port
    assert port is not None
    assert ("127.0.0.1", port) not in lab.listeners()
    with until(lambda: held(port), "a port that nobody has: who had it next has left"):
        second = urlsplit(lab.json("observe", "web")["url"]).port
    assert second != port


def test_it_is_served_where_it_was_asked_for_or_not_at_all(lab: Labctl) -> None:
    lab.run("observe", "web", "--stop")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = taken.getsockname()[1]
        refused = lab.run("observe", "web", "--port", str(wanted), code=4).err
        assert f"127.0.0.1:{wanted}" in refused
        assert "in use" in refused
    asked = ("observe", "web", "--port", str(wanted))
    until(lambda: lab.run(*asked, code=None).code == 0, "a port that nobody has who connects somewhere")
    assert f"127.0.0.1:{wanted}" in lab.run("observe", "web", "--port", "8471", code=4).err, "it is served already"
    assert urlsplit(lab.json("observe", "web")["url"]).port == wanted
    assert lab.run("observe", "web", "--port", "0", code=2).err
    lab.run("observe", "web", "--stop")


def test_no_other_lab_takes_its_address_while_its_agent_is_dead(lab: Labctl) -> None:
    url = lab.json("observe", "web")["url"]
    lab.run("up", "standalone")
    guard, agent = lab.agents("sentinel")
    guard.suspend()
    try:
        agent.kill()
        until(lambda: not agent.is_running() or agent.status() == "zombie", "a dead agent")
        other = lab.json("observe", "web", "--lab", "standalone")["url"]
    finally:
        guard.resume()
    assert other != url
    until(lambda: lab.run("observe", "web", "--lab", "sentinel", code=None).out.strip() == url, "where it was")
    lab.run("down", "standalone")
