"""A lab under test, and everything that a fault might leave behind in it."""

from __future__ import annotations

import json
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.agent.client import AgentClient
from labctl.model.fault import Knob
from labctl.runtime import shim
from labctl.wires.detour import DEVICE
from tests.support.client import ErrorReply, lab_client
from tests.support.command import Done, Labctl, control_groups, until

_ROLES = {"replicaof", "slaveof"}
"""Settings that a failover changes, as it should."""


@dataclass(frozen=True)
class Case:
    """One fault as a user writes it: a kind, the lab that it fits, and what is behind `labctl chaos KIND`."""

    kind: str
    lab: str
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.kind


CASES = (
    Case("kill", "sentinel", ("redis-2",)),
    Case("stop", "sentinel", ("redis-2",)),
    Case("shutdown", "sentinel", ("redis-2", "--set", "options=nosave+now+force")),
    Case("restart", "sentinel", ("redis-2", "--set", "by=term")),
    Case("crash-loop", "sentinel", ("redis-2", "--set", "up=100")),
    Case("pause", "sentinel", ("redis-2",)),
    Case("power-loss", "sentinel", ("redis-2",)),
    Case("partition", "sentinel", ("redis-2,clients-a",)),
    Case("isolate", "sentinel", ("redis-2", "--set", "how=reject")),
    Case("latency", "sentinel", ("redis-2", "--set", "ms=30")),
    Case("bandwidth", "sentinel", ("redis-2", "--set", "rate=1000")),
    Case("slow-close", "sentinel", ("redis-2",)),
    Case("timeout", "sentinel", ("--from", "clients-a", "--to", "redis-2")),
    Case("reset", "sentinel", ("redis-2", "--from", "clients-a")),
    Case("slice", "sentinel", ("redis-2",)),
    Case("limit-data", "sentinel", ("redis-2",)),
    Case("command-delay", "sentinel", ("redis-2", "--set", "command=get")),
    Case("command-error", "sentinel", ("redis-2", "--set", "command=get", "--set", "error=LOADING")),
    Case("command-drop", "sentinel", ("redis-2", "--set", "command=get")),
    Case("command-truncate", "sentinel", ("redis-2", "--set", "command=get")),
    Case("packet-drop", "wires", ("redis-2",)),
    Case("packet-loss", "wires", ("redis-2", "--from", "redis-1")),
    Case("packet-duplicate", "wires", ("redis-2",)),
    Case("packet-reorder", "wires", ("redis-2", "--from", "redis-1")),
    Case("packet-corrupt", "wires", ("redis-2",)),
    Case("packet-delay", "wires", ("redis-2", "--set", "ms=20")),
    Case("block", "sentinel", ("redis-2", "--set", "ms=100")),
    Case("slow-lua", "sentinel", ("redis-2", "--set", "ms=50")),
    Case("big-key", "sentinel", ("primary", "--set", "members=20000")),
    Case("client-pause", "sentinel", ("primary",)),
    Case("connection-storm", "replica", ("redis-2",)),
    Case("output-buffer", "sentinel", ("redis-2", "--set", "limit=1000000")),
    Case("config-drift", "sentinel", ("primary", "--set", "name=maxmemory", "--set", "value=50mb")),
    Case("backlog-overrun", "sentinel", ("replicas",)),
    Case("failover", "handover"),
    Case("sentinel-failover", "sentinel"),
    Case("cluster-failover", "cluster"),
    Case("cpu-throttle", "replica", ("redis-2",)),
    Case("memory-limit", "replica", ("redis-2",)),
    Case("oom-kill", "replica", ("redis-2",)),
    Case("no-fork", "replica", ("redis-1",)),
    Case("slow-fsync", "replica", ("redis-2", "--set", "ms=50")),
    Case("failing-fsync", "replica", ("redis-2",)),
    Case("disk-full", "replica", ("redis-1",)),
    Case("read-only-folder", "replica", ("redis-2",)),
    Case("clock-skew", "replica", ("redis-2", "--set", "ms=-3600000")),
    Case("clock-drift", "replica", ("redis-2",)),
    Case("corrupt-file", "replica", ("redis-1", "--set", "file=rdb", "--set", "how=flip", "--set", "bytes=40")),
)


@dataclass(frozen=True)
class Trial:
    """One lab and the command line that it belongs to."""

    labctl: Labctl
    name: str

    def run(self, *args: str, code: int | None = 0) -> Done:
        return self.labctl.run(*args, "--lab", self.name, code=code)

    @property
    def agent(self) -> AgentClient:
        """The lab's agent, once it answers: after a crash its successor reverts all faults before it does."""
        agent = AgentClient(self.folder / "agent.sock")
        try:
            until(agent.alive, "an agent", patience_s=5)
        except AssertionError:
            self.run("status")
        return agent

    def status(self) -> Any:
        return self.agent.call("GET", "/status")

    def inject(self, case: Case, code: int | None = 0) -> Done:
        """Through the command line."""
        self._prepare(case)
        return self.run("chaos", case.kind, *case.arguments, "-o", "json", code=code)

    def perform(self, case: Case) -> Any:
        """Without a process of the command line."""
        self._prepare(case)
        words = iter(case.arguments)
        options: dict[str, Any] = {}
        for word in words:
            if word == "--set":
                name, _, value = next(words).partition("=")
                options[name] = value
            else:
                options[{"--from": "origin", "--to": "target"}.get(word, "target")] = (
                    next(words) if word.startswith("--") else word
                )
        return self.fault(case.kind, **options)

    def _prepare(self, case: Case) -> None:
        if case.kind == "corrupt-file":  # there has to be a dump to damage, and something in it
            self.ask("redis-1", "SET", "there", "x" * 200)
            until(self._saved, "a dump: SAVE is refused while another save is under way, for a replica perhaps")

    def _saved(self) -> bool:
        try:
            return bool(self.ask("redis-1", "SAVE") == "OK")
        except ErrorReply:
            return False

    def fault(
        self,
        kind: str,
        target: str = "",
        *,
        origin: str = "",
        duration_s: float = 60,
        follow: bool = False,
        **params: Any,
    ) -> Any:
        """Inject without a process of the command line."""
        fault = {
            "kind": kind,
            "target": target,
            "origin": origin,
            "duration_s": duration_s,
            "follow": follow,
            "params": params,
        }
        return self.agent.call("POST", "/faults", {"fault": fault, "seed": 1})

    def heal(self) -> Any:
        """Revert all; the faults that were reverted."""
        return self.agent.call("DELETE", "/faults")["faults"]

    def faults(self) -> Any:
        return self.agent.call("GET", "/faults")

    def ask(self, node: str, *command: str | int) -> Any:
        """Past all links."""
        return lab_client(self.labctl.plan(self.name), node, direct=True).ask(*command)

    @property
    def folder(self) -> Path:
        return self.labctl.lab_folder(self.name)

    def until_well(self) -> None:
        """Roles and links may take their time after a fault; what labctl holds must be gone at once."""

        def well() -> bool:
            return not self.status()["unhealthy"]

        until(well, f"a healthy lab {self.name}")

    def settings(self) -> dict[str, dict[str, str]]:
        """CONFIG GET * of every data node, roles aside."""
        found = {}
        for node in self.labctl.plan(self.name)["nodes"]:
            if node["role"] != "sentinel":
                words = self.ask(node["name"], "CONFIG", "GET", "*")
                settings = dict(zip(words[::2], words[1::2], strict=True))
                found[node["name"]] = {name: value for name, value in settings.items() if name not in _ROLES}
        return found

    def residue(self) -> list[str]:
        """Whatever is left of faults, in words; nothing in a lab without faults."""
        status = self.status()
        left = [f"fault {fault['id']}" for fault in status["faults"]]
        left += [f"{name} is {state}" for name, state in status["servers"].items() if state != "running"]
        left += [f"{name} is {state}" for name, state in status["links"]["cut"].items()]
        for api in status["links"]["api"]:
            with urllib.request.urlopen(f"http://{api}/proxies", timeout=10) as answer:
                proxies = json.load(answer)
            left += [f"{name} has {proxy['toxics']}" for name, proxy in proxies.items() if proxy["toxics"]]
        lab_id = self.labctl.plan(self.name)["lab_id"]
        left += [f"control group {path}" for path in control_groups(f"labctl-{lab_id}")]
        for process in self.labctl.of(self.name):
            with suppress(OSError):  # the child of a save may just have ended
                devices = Path(f"/proc/{process.pid}/net/dev").read_text()
                left += [f"a detour of packets at {process}"] if f"{DEVICE}:" in devices else []
        for page in self.folder.glob("nodes/*/shim.page"):
            with shim.Page(page.parent) as shared:
                left += [f"{knob} of {page.parent.name}" for knob in Knob if shared.knob(knob)]
        left += [f"{path}" for path in self.folder.glob("nodes/*/kept/*")]
        for node in self.labctl.plan(self.name)["nodes"]:
            if node["role"] != "sentinel":
                left += [f"key {key}" for key in self.ask(node["name"], "KEYS", "labctl:*")]
        return left
