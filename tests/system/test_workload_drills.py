"""Every workload in real labs under a fault, judged by its checkers: what Redis' documentation lets one expect shows.

One drill a topology, a phase a workload, and one test for what each of them must say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from labctl.workload.registry import KINDS
from tests.support.command import labctl_at

pytestmark = pytest.mark.system

HOLDS, MAY_LOSE, LOSES = "holds", "may lose", "loses"
CRASH = {"at": "600ms", "id": "crash", "kill": "redis-1", "for": "300ms"}
AND_ON = {"after": "crash.end", "delay": "1s", "command": "redis-1", "with": {"send": "PING"}}
"""Clients go on for a second after the restart, however long that took."""


def phase(
    workloads: list[dict[str, Any]] | dict[str, Any],
    checks: Mapping[str, str],
    *steps: dict[str, Any],
    duration: str = "2s",
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """A phase as a scenario declares it; `checks` are expectations by checker, `options` the checkers' own."""
    return {
        "duration": duration,
        "workloads": workloads if isinstance(workloads, list) else [workloads],
        "steps": list(steps),
        "checks": [
            {
                "check": name,
                "expect": expect,
                "promise": "As the comment says.",
                "with": dict((options or {}).get(name, {})),
            }
            for name, expect in checks.items()
        ],
    }


def run(name: str, clients: int = 4, group: str = "clients", **options: Any) -> dict[str, Any]:
    return {"run": name, "clients": clients, "from": group, "rate": 150, "with": options}


# `appendfsync always` and one server: what was acknowledged is on the disk, whatever happens to the process
# ("Redis persistence", "How durable is the append only file?"). So a crash breaks nothing that any workload relies on.
# Workloads run side by side: each checker has to find its own objects.
DURABLE = {
    "reading": phase(
        [
            run("register"),
            run("cas"),
            run("set", reads=0.1),
            run("unique-writes"),
            run("append"),
            run("bank"),
            run("queue"),
            run("stream", min_idle_ms=50, abandon=0.05),
            run("cache", keys=10),
            run("expiry", ttl_ms=50, keys=8, writes=0.2),
        ],
        dict.fromkeys(
            (
                "register", "read-your-writes", "monotonic-reads", "linearizable", "acked-writes", "set-full",
                "transactions", "bank", "total-queue", "stream", "cache", "expiry",
            ),
            HOLDS,
        ),
        CRASH,
        duration="3s",
        options={"cache": {"max_stale_ms": 30_000}},
    ),
    # Delivery is at most once, to those who are connected: a message to a subscriber whose connection broke is no loss.
    "counting": phase(
        [
            run("counter"),
            run("leaderboard"),
            run("unique-ids"),
            run("rate-limit", limit=10, window_ms=200),
            run("pubsub"),
            run("lock", hold_ms=5, lease_ms=2000),
            run("cas", by="lua"),
            run("bank", by="lua"),
        ],
        dict.fromkeys(("counter-bounds", "linearizable", "unique-ids", "rate-limit", "pubsub", "mutex", "bank"), HOLDS),
        CRASH,
        duration="3s",
        options={"mutex": {"lease_ms": 2000}, "linearizable": {"model": "counter"}},
    ),
    "locking": phase(
        [run("lock", hold_ms=5, lease_ms=2000), run("cas", by="lua")],
        {"linearizable": HOLDS, "mutex": HOLDS},
        CRASH,
        options={"mutex": {"lease_ms": 2000}, "linearizable": {"model": "lock"}},
    ),
}  # fmt: skip

# Nothing is persisted, so a restart begins with nothing: numbers are given out twice, counts begin anew.
FORGETFUL = {
    "everything": phase(
        [
            *(run(name) for name in ("unique-ids", "counter", "append", "bank", "set")),
            run("queue", clients=1),  # a producer alone, so that there is always something to lose
        ],
        {
            **dict.fromkeys(("unique-ids", "counter-bounds", "transactions", "total-queue", "acked-writes"), LOSES),
            "bank": MAY_LOSE,  # all accounts together are gone, and a read of none of them is refused, not wrong
        },
        CRASH,
        AND_ON,
    ),
}

# "Distributed Locks with Redis": safe and live while a majority of the masters is up; and, without persistence, a lock
# can be taken again once enough of those that granted it were restarted ("Performance, crash recovery and fsync").
VOTERS = {
    "redlock": phase(
        run("redlock", instances=5, hold_ms=10, lease_ms=2000),
        {"mutex": HOLDS},
        {"at": "500ms", "kill": "redis-1,redis-4", "for": "1s"},
        options={"mutex": {"lease_ms": 2000}},
    ),
    "redlock-forgotten": phase(
        run("redlock", clients=6, instances=5, lease_ms=10_000, stall=1.0),  # whoever has it keeps it until it ends
        {"mutex": LOSES},
        {"when": {"writes": 1}, "id": "crash", "kill": "redis-1,redis-2,redis-3", "for": "100ms"},
        AND_ON,
        options={"mutex": {"lease_ms": 10_000}},
    ),
    # Each key has one server: with nothing persisted, those of the one that crashes lose.
    "register": phase(run("register", keys=40), {"register": HOLDS, "acked-writes": HOLDS}),
}

# Reads from replicas show the past ("Redis replication"); WAIT for all replicas makes the write visible on each of them
# before it is acknowledged (WAIT's own page), so one's own writes are there.
READERS = {
    "session": phase(
        run("session", read_from_replica=True),
        {"read-your-writes": LOSES, "acked-writes": HOLDS},
        {"at": "300ms", "latency": "redis-1", "from": "redis-2,redis-3", "for": "1s", "with": {"ms": 300}},
    ),
    "session-wait": phase(
        run("session", read_from_replica=True, wait_replicas=2),
        {"read-your-writes": HOLDS, "acked-writes": HOLDS},
    ),
}


def until_a_failover(fault: str, target: str) -> tuple[dict[str, Any], ...]:
    """A fault that lasts until somebody else was promoted, however many votes that takes, and for two seconds more."""
    return (
        {"when": {"writes": 50}, "id": "fault", fault: target},
        {
            "after": "fault",
            "when": "promoted",
            "within": "60s",
            "delay": "2s",
            "command": "primary",
            "with": {"send": "PING"},
        },
    )


# A primary on the wrong side of a partition acknowledges what is thrown away when it heals ("High availability with Redis
# Sentinel", Example 2).
WATCHED = {
    "append": phase(
        [run("append", group="clients-a"), run("append", group="clients-b")],
        {"transactions": LOSES},
        *until_a_failover("partition", "primary,clients-a"),
        duration="4s",
    ),
}

# "Redis Cluster specification": the minority's primary acknowledges for the node timeout, and that is lost; a failover
# may lose what was not replicated yet, but never half of a script, so that no money is made ("Transactions"). A sharded
# channel lives where its slot is, and delivery is at most once.
SHARDS = {
    "sharded-pubsub": phase(
        run("sharded-pubsub", keys=6), {"pubsub": HOLDS}, {"at": "600ms", "kill": "redis-1", "for": "200ms"}
    ),
    "redlock": phase(run("redlock", hold_ms=5, lease_ms=2000), {"mutex": HOLDS}, options={"mutex": {"lease_ms": 2000}}),
    "append-partition": phase(
        [
            run("append", clients=8, group="clients-a", keys=12, driver="lean", timeout_ms=200) | {"rate": 400},
            run("bank", group="clients-b", by="lua"),
        ],
        {"transactions": LOSES, "bank": HOLDS},
        *until_a_failover("partition", "slot:0,clients-a"),
        duration="6s",
    ),
    "append-failover": phase(
        run("append", keys=12),
        {"transactions": MAY_LOSE},
        *until_a_failover("kill", "slot:0"),
        duration="4s",
    ),
}

DRILLS: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    "durable": ({"name": "standalone", "persistence": {"aof": "always"}}, DURABLE),
    "forgetful": ({"name": "standalone"}, FORGETFUL),
    "voters": ({"name": "standalone", "primaries": 5}, VOTERS),
    "readers": ({"name": "replica"}, READERS),
    "watched": ({"name": "sentinel", "sentinel": {"down-after": "500ms", "failover-timeout": "5s"}}, WATCHED),
    "shards": ({"name": "cluster", "cluster": {"node-timeout": "3s"}}, SHARDS),
}
JUDGED = {HOLDS: {"held"}, MAY_LOSE: {"held", "lost data as documented"}, LOSES: {"lost data as documented"}}


def test_every_workload_is_drilled() -> None:
    assert {w["run"] for _, phases in DRILLS.values() for p in phases.values() for w in p["workloads"]} == set(KINDS)


@pytest.mark.parametrize("name", list(DRILLS))
def test_a_drill_says_what_the_documentation_lets_one_expect(name: str, tmp_path: Path) -> None:
    topology, phases = DRILLS[name]
    scenario = {"title": name, "description": "Every workload.", "topology": topology, "phases": phases}
    (tmp_path / f"{name}.yaml").write_text(json.dumps(scenario))
    with labctl_at(tmp_path / "home") as labctl:
        drill = labctl.start("drill", str(tmp_path / f"{name}.yaml"), "--seed", "3")
        drill.process.wait(timeout=170)
        done = drill.finish()
        assert done.code in {0, 1, 3}, str(done)
        judged = labctl.json("check", code=done.code)
    verdicts = {p["phase"]: {v["finding"]["check"]: v for v in p["verdicts"]} for p in judged["phases"]}
    surprises = [
        f"{phase}: {check['check']} is expected to: {check['expect']}, and is: {verdict['judgement']} "
        f"({verdict['finding']['summary']})"
        for phase, declared in phases.items()
        for check in declared["checks"]
        if (verdict := verdicts[phase][check["check"]])["judgement"] not in JUDGED[check["expect"]]
    ]
    assert surprises == []
    assert done.code == 0
