"""kill, stop, pause, partition, isolate: that they bite, where they are seen, and that they end, whatever overlaps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import psutil
import pytest

from tests.support.client import Client, ErrorReply, lab_client
from tests.support.command import Labctl, kernel_state, labctl_at, until

pytestmark = pytest.mark.system

T = TypeVar("T")
LONG = "1h"


@dataclass(frozen=True)
class Lab:
    """A running lab: one primary and two replicas, which nobody promotes."""

    labctl: Labctl
    plan: Any

    def client(self, node: str, group: str | None = None) -> Client:
        """Through the link."""
        return lab_client(self.plan, node, group=group)

    def direct(self, node: str) -> Client:
        """Past the links."""
        return lab_client(self.plan, node, direct=True)

    def between(self, source: str, target: str) -> Client:
        """As a node or a client group reaches a node."""
        hosts = {**{n["name"]: n["host"] for n in self.plan["nodes"]}, **dict(self.plan["client_hosts"])}
        return Client("127.0.0.1", self.client(target).port, hosts[source])

    def chaos(self, *args: str) -> Any:
        """Inject."""
        return self.labctl.json("chaos", *args)

    def heal(self, *ids: int) -> None:
        """Heal."""
        self.labctl.run("heal", *map(str, ids))

    def faults(self) -> list[int]:
        """Numbers of those in force."""
        return [fault["id"] for fault in self.labctl.json("chaos", "ls")]

    def state(self, node: str) -> str:
        """What the kernel says of a server, asked without labctl."""
        server = self.labctl.servers().get(node)
        state = kernel_state(server) if server else None
        if state is None:
            return "gone"
        return "paused" if state == psutil.STATUS_STOPPED else "running"

    def cut(self) -> set[str]:
        """Links that are cut, as `status` says."""
        return set(self.labctl.json("status")["links"]["cut"])

    def links(self) -> set[str]:
        """All that there are."""
        nodes = [n["name"] for n in self.plan["nodes"]]
        sources = [*nodes, *dict(self.plan["client_hosts"])]
        return {f"{source}.to.{target}" for source in sources for target in nodes if source != target}

    def answering(self, links: Iterable[str], expected: set[str]) -> set[str]:
        """Those of the links through which something answers, with patience for those that are expected to."""

        def answers(link: str) -> bool:
            client = self.between(*link.split(".to."))
            return client.answers() if link in expected else not client.gives_no_answer()

        every = list(links)
        with ThreadPoolExecutor(len(every)) as pool:
            return {link for link, answer in zip(every, pool.map(answers, every), strict=True) if answer}

    def assert_answering(self, links: Iterable[str], expected: set[str]) -> None:
        """Through the expected ones of the links something answers, and through no other."""
        assert self.answering(links, expected) == expected

    def is_well(self) -> bool:
        """Healthy and converged, as `status` says."""
        status = self.labctl.json("status")
        return not status["unhealthy"] and not status["unconverged"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with labctl_at(tmp_path_factory.mktemp("chaos") / "home") as labctl:
        labctl.run("up", "replica")
        yield Lab(labctl, labctl.plan("replica"))
        labctl.run("down")


@pytest.fixture
def lab(running: Lab) -> Lab:
    """The lab, healed and well again after whatever the test before did to it."""
    running.heal()
    until(running.is_well, "a healthy lab")
    return running


PRIMARY, VICTIM, OTHER = "redis-1", "redis-2", "redis-3"


def undisturbed(look: Callable[[], T]) -> T | None:
    """What is seen; None where the connection was closed, as Sentinel does with all of a server to which it gives a role."""
    with suppress(OSError, ErrorReply):
        return look()
    return None


def is_listed(lab: Lab, fault: Any, *words: str) -> None:
    """In `chaos ls` and in `status`, for people and for programs."""
    assert lab.faults() == [fault["id"]]
    assert [f["id"] for f in lab.labctl.json("status")["faults"]] == [fault["id"]]
    for verb in (("chaos", "ls"), ("status",)):
        text = lab.labctl.run(*verb).out
        assert all(word in text for word in (fault["kind"], fault["target"], *words))


def test_kill(lab: Lab) -> None:
    before = lab.labctl.servers()[VICTIM].pid
    fault = lab.chaos("kill", VICTIM, "--for", LONG)
    assert lab.state(VICTIM) == "gone"
    assert lab.client(VICTIM).gives_no_answer()
    is_listed(lab, fault, VICTIM, f"{VICTIM} gone")
    lab.heal(fault["id"])
    assert lab.client(VICTIM).answers()
    assert lab.labctl.servers()[VICTIM].pid != before


def test_stop_is_in_order(lab: Lab) -> None:
    fault = lab.chaos("stop", VICTIM, "--for", LONG)
    assert lab.state(VICTIM) == "gone"
    assert "User requested shutdown" in lab.labctl.run("logs", VICTIM, "-n", "60").out
    is_listed(lab, fault, VICTIM)
    lab.heal()
    assert lab.client(VICTIM).answers()


def test_pause(lab: Lab) -> None:
    before = lab.labctl.servers()[VICTIM].pid
    fault = lab.chaos("pause", VICTIM, "--for", LONG)
    assert lab.state(VICTIM) == "paused"
    assert lab.client(VICTIM).gives_no_answer()
    assert lab.direct(VICTIM).gives_no_answer()
    is_listed(lab, fault, VICTIM, "paused")
    lab.heal()
    assert lab.client(VICTIM).answers()
    assert lab.labctl.servers()[VICTIM].pid == before


@pytest.mark.parametrize("how", ["drop", "reject"])
def test_isolate(lab: Lab, how: str) -> None:
    fault = lab.chaos("isolate", VICTIM, "--for", LONG, "--set", f"how={how}")
    cut = set(fault["touches"])
    assert cut == {link for link in lab.links() if VICTIM in link.split(".to.")}
    lab.assert_answering(lab.links(), lab.links() - cut)
    assert lab.direct(VICTIM).answers(), "it runs; nobody reaches it"
    with pytest.raises(TimeoutError if how == "drop" else ConnectionError):
        Client("127.0.0.1", lab.client(VICTIM).port, timeout_s=1.0).ask("PING")
    is_listed(lab, fault, "links cut")
    assert lab.cut() == cut
    lab.heal()
    assert lab.cut() == set()
    lab.assert_answering(cut, cut)


def test_a_partition_isolates_the_primary_with_a_minority_of_clients(labctl: Labctl) -> None:
    """The default of `chaos partition`: the Sentinels and the other clients go on without them, and then all is one."""
    labctl.run("up", "sentinel")
    lab = Lab(labctl, labctl.plan("sentinel"))
    fault = lab.chaos("partition", "--for", LONG)
    assert fault["target"] == "primary,clients-a"
    is_listed(lab, fault)
    assert lab.client(PRIMARY, "clients-a").ask("SET", "where", "minority") == "OK"
    lab.assert_answering(fault["touches"], set())
    assert {f"{PRIMARY}.to.{OTHER}", f"sentinel-1.to.{PRIMARY}", "clients-a.to.sentinel-1"} <= set(fault["touches"])

    def promoted() -> str | None:
        _, port = lab.client("sentinel-2", "clients-b").ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "lab")
        name = next(n["name"] for n in lab.plan["nodes"] if n["port"] == int(port))
        return name if name != PRIMARY and lab.client(name, "clients-b").ask("ROLE")[0] == "master" else None

    new = str(until(lambda: undisturbed(promoted), "a promoted replica"))
    assert lab.client(new, "clients-b").ask("SET", "where", "majority") == "OK"
    assert lab.client(PRIMARY, "clients-a").ask("GET", "where") == "minority"
    lab.heal()
    assert lab.cut() == set()
    old = lab.direct(PRIMARY)
    until(lambda: undisturbed(lambda: old.ask("ROLE")[0] == "slave"), "the old primary as a replica")
    until(lambda: undisturbed(lambda: old.ask("GET", "where") == "majority"), "the new primary's data")
    until(lab.is_well, "a healthy lab")

    again = lab.chaos("partition", "--for", "1s")
    assert f"{new}.to.{PRIMARY}" in again["touches"]
    until(lambda: not lab.faults(), "the end of the partition, without being asked for")
    lab.assert_answering(again["touches"], set(again["touches"]))
    labctl.run("down")


def test_a_fault_ends_at_its_deadline(lab: Lab) -> None:
    assert lab.chaos("pause", VICTIM, "--for", "1s")["evidence"] == f"{VICTIM} paused"
    assert lab.chaos("kill", OTHER, "--for", "1s")["evidence"] == f"{OTHER} gone"
    until(lambda: lab.state(VICTIM) == lab.state(OTHER) == "running", "both servers")
    until(lambda: not lab.faults(), "no fault")
    assert lab.client(OTHER).answers()


def test_forever_is_until_healed(lab: Lab) -> None:
    fault = lab.chaos("pause", VICTIM, "--forever")
    assert fault["ends_ns"] is None
    assert "never" in lab.labctl.run("chaos", "ls").out
    lab.heal(fault["id"])
    assert lab.state(VICTIM) == "running"


def test_a_dead_server_cannot_be_killed_or_frozen_or_stopped(lab: Lab) -> None:
    lab.chaos("kill", VICTIM, "--for", LONG)
    for kind in ("kill", "pause", "stop"):
        done = lab.labctl.run("chaos", kind, VICTIM, code=4)
        assert f"{VICTIM} is not running" in done.err
    assert len(lab.faults()) == 1
    lab.chaos("isolate", VICTIM, "--for", LONG)  # its links can be cut all the same
    lab.heal()
    assert lab.client(VICTIM).answers()


def test_a_server_that_somebody_else_killed_is_seen(labctl: Labctl) -> None:
    """It is nobody's fault, so nothing starts it again, and nothing is said to have been done to it."""
    labctl.run("up", "replica")
    lab = Lab(labctl, labctl.plan("replica"))
    labctl.servers()[VICTIM].kill()
    until(lambda: lab.state(VICTIM) == "gone", "a dead server")
    status = labctl.json("status")
    assert status["servers"][VICTIM] == "gone"
    assert status["faults"] == []
    assert any(VICTIM in reason for reason in status["unhealthy"])
    assert labctl.json("ls")[0]["state"] == "unhealthy"
    labctl.run("chaos", "kill", VICTIM, code=4)
    lab.chaos("kill", OTHER, "--for", LONG)
    lab.heal()
    assert (lab.state(VICTIM), lab.state(OTHER)) == ("gone", "running")
    labctl.run("down")


PAIRS = [
    (("partition", "redis-1"), ("partition", "redis-1,redis-2")),
    (("isolate", "redis-1"), ("partition", "redis-2,clients-a")),
    (("isolate", "redis-1", "--set", "how=reject"), ("isolate", "redis-1,redis-3")),
]


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=lambda pair: "-".join(pair[:2]))
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=str)
def test_overlapping_cuts_do_not_undo_each_other(
    lab: Lab, first: tuple[str, ...], second: tuple[str, ...], order: tuple[int, int]
) -> None:
    faults = [lab.chaos(*fault, "--for", LONG) for fault in (first, second)]
    both = set(faults[0]["touches"]) | set(faults[1]["touches"])
    assert lab.cut() == both
    healed, kept = (faults[i] for i in order)
    lab.heal(healed["id"])
    assert lab.cut() == set(kept["touches"])
    assert lab.faults() == [kept["id"]]
    lab.assert_answering(both, both - set(kept["touches"]))
    lab.heal()
    assert lab.cut() == set()


ENDS = {
    ("pause", "kill"): {"pause": "gone", "kill": "paused"},
    ("kill",): {"kill": "running"},
    ("pause", "pause"): {"pause": "paused"},
    ("pause", "stop"): {"pause": "gone", "stop": "paused"},
}


@pytest.mark.parametrize("kinds", ENDS, ids="-".join)
@pytest.mark.parametrize("last_first", [False, True], ids=["first-healed-first", "last-healed-first"])
def test_overlapping_faults_of_one_server(lab: Lab, kinds: tuple[str, ...], last_first: bool) -> None:
    """Healing one leaves the server as the other has it."""
    faults = [lab.chaos(kind, VICTIM, "--for", LONG) for kind in kinds]
    order = list(zip(kinds, faults, strict=True))[:: -1 if last_first else 1]
    for number, (kind, fault) in enumerate(order):
        lab.heal(fault["id"])
        last = number == len(order) - 1
        assert lab.state(VICTIM) == ("running" if last else ENDS[kinds][kind])
    assert lab.client(VICTIM).answers()


def test_a_partition_of_a_dead_server_and_its_return(lab: Lab) -> None:
    killed = lab.chaos("kill", VICTIM, "--for", LONG)
    cut = lab.chaos("isolate", VICTIM, "--for", LONG)
    lab.heal(killed["id"])
    assert lab.state(VICTIM) == "running"
    assert lab.client(VICTIM).gives_no_answer(), "it runs again and is still cut off"
    lab.heal(cut["id"])
    assert lab.client(VICTIM).answers()


def test_dry_run_does_nothing(lab: Lab) -> None:
    links = {f"{a['link']['source']}.to.{a['link']['target']}" for a in lab.chaos("isolate", "--dry-run")["actions"]}
    assert links >= {"redis-1.to.redis-2", "redis-2.to.redis-1", "clients.to.redis-1", "clients-b.to.redis-1"}
    assert f"cut {len(links)} links" in lab.labctl.run("chaos", "isolate", "--dry-run").out
    assert not lab.faults()
    assert lab.cut() == set()


def test_the_same_seed_means_the_same_target(lab: Lab) -> None:
    targets = {lab.chaos("pause", "any", "--seed", "7", "--dry-run")["actions"][0]["node"] for _ in range(3)}
    assert len(targets) == 1


def test_strangers_are_not_let_in(labctl: Labctl) -> None:
    """A server of another lab whose ports were taken over would otherwise replicate from, or reconfigure, this one."""
    labctl.run("up", "standalone")
    (node,) = labctl.plan("standalone")["nodes"]
    if not labctl.json("status")["links"]["per_link"]:
        pytest.skip("nodes share one address here: needs Linux, where 127.0.0.0/8 is all local")
    assert Client("127.0.0.1", node["port"]).ask("PING") == "PONG"
    with pytest.raises(ConnectionError):
        Client("127.0.0.1", node["port"], source="127.254.253.252").ask("PING")
    labctl.run("down")
