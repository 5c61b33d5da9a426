"""Every verb on a running lab: text, JSON, and a sentence with near names for every mistake."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.command import Labctl, labctl_at, until

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labctl]:
    """A running Sentinel lab; no test changes it for good."""
    with labctl_at(tmp_path_factory.mktemp("verbs") / "home") as labctl:
        labctl.run("up", "sentinel")
        yield labctl
        labctl.run("down")


def test_status(lab: Labctl) -> None:
    status = lab.json("status")
    assert {n["role"] for n in status["nodes"].values()} == {"primary", "replica", "sentinel"}
    assert {"offset", "lag_bytes", "lag_s", "follows", "link_up"} <= status["view"]["nodes"][1].keys()
    text = lab.run("status").out
    for word in ("redis-1", "primary", "sentinel-3", "OFFSET", "LAG", "healthy", "No fault is in force", "39 open"):
        assert word in text


def test_watching_goes_on_until_interrupted(lab: Labctl) -> None:
    data = lab.start("status", "--watch", "-o", "json")
    until(lambda: data.out.count("\n") >= 2, "two statuses")
    assert {json.loads(line)["lab"] for line in data.out.splitlines()[:2]} == {"sentinel"}
    data.send(signal.SIGINT)
    data.finish(code=130)
    text = lab.start("status", "--watch")
    until(lambda: text.out.count("redis-1 primary") >= 2, "two summaries")
    text.send(signal.SIGTERM)
    text.finish(code=130)


def test_ls(lab: Labctl) -> None:
    lab.well()
    (row,) = lab.json("ls")
    assert row == {
        "lab": "sentinel",
        "state": "healthy",
        "topology": "sentinel",
        "engine": row["engine"],
        "nodes": 6,
        "faults": 0,
    }
    assert "healthy" in lab.run("ls").out


def test_env_is_for_a_shell(lab: Labctl) -> None:
    text, data = lab.run("env").out, lab.json("env")
    assert dict(re.findall(r"^export (\w+)='?([^'\n]*)'?$", text, re.MULTILINE)) == data
    assert data["REDIS_SENTINEL_MASTER"] == "lab"
    assert "REDIS_SOURCE_ADDRESS" not in data
    assert lab.json("env", "--group", "clients-a")["REDIS_SOURCE_ADDRESS"].startswith("127.")


def test_exec_gives_a_program_the_same(lab: Labctl) -> None:
    url = lab.json("env")["REDIS_URL"]
    assert lab.run("exec", "--", "sh", "-c", 'echo "$REDIS_URL"').out == f"{url}\n"
    lab.run("exec", "--", "sh", "-c", "exit 7", code=7)
    assert lab.run("exec", "-o", "json", "sh", "-c", "echo on -o text; exit 7", code=7).data["stdout"] == "on -o text\n"
    assert "cannot be run" in lab.run("exec", "nosuchprogram", code=2).err
    assert "no command" in lab.run("exec", code=2).err


def test_cli_talks_to_a_node(lab: Labctl) -> None:
    assert lab.run("cli", "redis-1", "ping").out.strip() == "PONG"
    assert lab.run("cli", "redis-1", text="ping\n").out.strip() == "PONG"
    assert lab.run("cli", "redis-2", "--direct", "ping").out.strip() == "PONG"
    assert lab.json("cli", "sentinel-1", "sentinel", "ckquorum", "lab")["reply"].startswith("OK 3 usable")
    assert "error" in lab.run("cli", "redis-1", "nosuch", "-o", "json", code=1).data


def test_cli_without_redis_cli(lab: Labctl, tmp_path: Path) -> None:
    without = Labctl(lab.home, env={"PATH": str(tmp_path)})
    assert without.run("cli", "redis-1", "config", "get", "maxmemory").out == "1) maxmemory\n2) 0\n"
    assert without.run("cli", "redis-1", text="ping\nnosuch\n", code=1).out.startswith("PONG\n(error) ")


def test_logs(lab: Labctl) -> None:
    assert "Ready to accept connections" in lab.run("logs", "redis-1", "-n", "200").out
    assert len(lab.run("logs", "redis-1", "-n", "2").out.splitlines()) == 2
    assert len(lab.json("logs", "redis-1", "-n", "2")["lines"]) == 2
    lab.run("logs", "agent")


def test_logs_can_be_followed(lab: Labctl) -> None:
    following = lab.start("logs", "redis-1", "-f", "-n", "1")
    until(lambda: following.out.count("\n") >= 1, "the last line")
    lab.run("cli", "redis-1", "bgsave")
    until(lambda: "Background saving" in following.out.partition("\n")[2], "a new line")
    following.send(signal.SIGTERM)
    following.finish(code=130)


def test_what_there_is(lab: Labctl) -> None:
    assert {t["name"] for t in lab.json("topologies")} >= {"sentinel", "cluster"}
    assert lab.json("topologies", "cluster")["kind"] == "cluster"
    assert "$defs" in lab.run("topologies", "--schema").data
    assert {s["name"] for s in lab.json("scenarios")} >= {"sentinel-failover"}
    assert lab.json("scenarios", "sentinel-failover")["phases"]
    assert "$defs" in lab.run("scenarios", "--schema").data
    assert "Sentinel" in lab.run("scenarios", "sentinel-failover").out
    assert lab.json("doctor")["engines"]
    assert lab.json("runs") == []


def test_faults_and_healing_in_json(lab: Labctl) -> None:
    planned = lab.json("chaos", "pause", "redis-3", "--dry-run")
    assert [action["node"] for action in planned["actions"]] == ["redis-3"]
    assert lab.json("chaos", "ls") == []
    fault = lab.json("chaos", "pause", "redis-3", "--for", "1h")
    assert lab.json("chaos", "ls")[0]["id"] == fault["id"]
    healed = lab.json("heal", str(fault["id"]))
    assert healed["healed"] == [fault["id"]]
    assert [(f["id"], f["ended"]) for f in healed["faults"]] == [(fault["id"], True)]
    assert lab.json("chaos", "heal") == {"healed": [], "faults": []}


def test_plans_without_doing_anything(labctl: Labctl) -> None:
    assert len(labctl.json("up", "cluster", "--dry-run")["nodes"]) == 6
    assert "redis-6" in labctl.run("up", "cluster", "--dry-run").out
    assert labctl.json("drill", "sentinel-failover", "--dry-run")["name"] == "sentinel-failover"


def test_a_terminal_gets_colours_and_a_spinner(labctl: Labctl) -> None:
    """And a pipe plain lines: each starts with its time."""
    plain = labctl.run("up", "standalone", "--name", "plain").err
    assert all(re.match(r" *\d+\.\d\d s  \S", line) for line in plain.splitlines())
    assert "\x1b" not in plain
    shown = labctl.on_a_terminal("up", "standalone", "--name", "shown")
    assert "\x1b[" in shown
    assert "lab shown" in shown
    assert "redis-1" in labctl.on_a_terminal("status", "--lab", "shown")
    labctl.run("down", "--all")


def test_completion_for_every_shell(lab: Labctl) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "labctl" in lab.run("--show-completion", shell).out
    completing = replace(lab, program=(sys.executable, "-c", COMPLETING), env={"_LABCTL_COMPLETE": "complete_bash"})
    for words, expected in ((("up", "sent"), "sentinel"), (("drill", "sentinel-f"), "sentinel-failover")):
        line = " ".join(("labctl", *words))
        env = {**completing.env, "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
        assert expected in replace(completing, env=env).run(code=None).out.split()


COMPLETING = "import sys; sys.argv[0] = 'labctl'; from labctl.__main__ import main; main()"

MISTAKES = [
    (("up", "sentinal"), "There is no topology", "Did you mean sentinel"),
    (("drill", "sentinel-failovr"), "There is no scenario", "Did you mean sentinel-failover"),
    (("scenarios", "failover"), "There is no scenario", "sentinel-failover"),
    (("topologies", "clutser"), "There is no topology", "Did you mean cluster"),
    (("up", "./nothere.yaml"), "No such file", "path"),
    (("up", "sentinel"), "exists already", "--name"),
    (("up", "sentinel", "--name", "Not A Name"), "cannot name a lab", "lower-case"),
    (("up", "sentinel", "--engine", "redis-99"), "There is no redis-99", "path"),
    (("up", "sentinel", "--engine", "/etc/passwd"), "/etc/passwd", "redis-server"),
    (("up", "sentinel", "--formation", "magic"), "no formation", "seeded or natural"),
    (("up", "sentinel", "--runtime", "abacus"), "no runtime", "process"),
    (("status", "--lab", "sentinell"), "There is no lab 'sentinell'", "Did you mean sentinel?"),
    (("down", "sentinell"), "There is no lab 'sentinell'", "Did you mean sentinel?"),
    (("cli", "redis-11"), "no node 'redis-11'", "Did you mean redis-1"),
    (("logs", "sentinel-33"), "no node 'sentinel-33'", "Did you mean sentinel-3"),
    (("env", "--group", "clients-z"), "no client group", "clients-a"),
    (("chaos", "partitoin"), "No such command", "Did you mean 'partition'"),
    (("chaos", "kill", "primaryy"), "no target", "Did you mean primary"),
    (("chaos", "kill", "slot:12"), "slot", "sentinel"),
    (("chaos", "kill", "clients-a"), "names clients", "partition"),
    (("chaos", "partition", "all,clients,clients-a,clients-b"), "nobody on the other side", ""),
    (("chaos", "kill", "--set", "how=drop"), "no parameter 'how'", "none"),
    (("chaos", "partition", "--set", "how=softly"), "softly", "drop"),
    (("chaos", "partition", "--set", "how"), "no parameter", "NAME=VALUE"),
    (("chaos", "kill", "--for", "soon"), "duration", "--for 10s"),
    (("chaos", "kill", "--for", "0s"), "duration", "--for 10s"),
    (("heal", "99"), "number 99", "labctl chaos ls"),
    (("check", "nosuchrun"), "There is no run", ""),
    (("report",), "There is no run yet", "labctl drill"),
    (("nosuchverb",), "No such command", "--help"),
]


@pytest.mark.parametrize(
    ("args", "what", "hint"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_a_mistake_is_a_sentence_and_a_hint(lab: Labctl, args: tuple[str, ...], what: str, hint: str) -> None:
    done = lab.run(*args, code=2)
    assert what in done.err
    assert hint in done.err
    assert done.out == ""


@pytest.mark.parametrize("verb", ["status", "env", "down", "heal", "cli redis-1", "chaos ls"])
def test_without_a_lab(labctl: Labctl, verb: str) -> None:
    assert "labctl up TOPOLOGY" in labctl.run(*verb.split(), code=2).err
    assert labctl.json("ls") == []
    assert labctl.json("down", "--all") == {"down": []}


def test_a_topology_of_ones_own(labctl: Labctl, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("kind: replica\nreplicas: 1\nmaxmemory: 20mb\ndirectives: {replica: {replica-priority: 7}}\n")
    labctl.run("up", str(mine), "--name", "own")
    assert labctl.json("cli", "redis-1", "config", "get", "maxmemory")["reply"] == {"maxmemory": str(20 * 1024 * 1024)}
    assert labctl.json("cli", "redis-2", "config", "get", "replica-priority")["reply"] == {"replica-priority": "7"}
    labctl.run("down", "own")


def test_every_error_of_a_file_at_once(labctl: Labctl, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("kind: sentinal\nreplicas: -1\nreplicas: 2\nsentinels: many\ntsl: true\n")
    done = labctl.run("up", str(wrong), code=2)
    places = re.findall(rf"^(?:labctl: )?{re.escape(str(wrong))}:(\d+):(\d+): ", done.err, re.MULTILINE)
    assert {line for line, _ in places} == {"1", "2", "3", "4", "5"}, done.err
    assert "nothing was started" in done.err
    wrong.write_text("kind: [")
    assert f"{wrong}:1:" in labctl.run("up", str(wrong), code=2).err


def test_natural_formation_ends_in_the_same_lab(labctl: Labctl) -> None:
    labctl.run("up", "sentinel", "--formation", "natural")
    status = labctl.well()
    assert all(len(n["sentinel"]["sentinels"]) == 2 for n in status["view"]["nodes"] if n["sentinel"])
    labctl.run("down")
