"""A lab as a test holds it: `with redis_lab("sentinel") as lab:`.

Everything here is synchronous and stands on what the command line stands on: the lab is the same, `labctl status` shows
it meanwhile, and its agent reverts faults at their deadlines whatever becomes of the test.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from labctl import lab as labs
from labctl.errors import CapabilityError, LabError, UsageError
from labctl.model import conditions
from labctl.model.fault import Scalar
from labctl.model.plan import LabPlan, Net, RuntimeName
from labctl.model.scenario import NATURAL_RECOVERY_S, Workload
from labctl.model.topology import Kind, Role, Topology
from labctl.model.view import View
from labctl.report.environment import environment
from labctl.testing.injected import Injected
from labctl.testing.kinds import Kinds
from labctl.testing.lifeline import LIFELINE

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from labctl.testing.recording import Recording

Condition = Callable[[View], bool]
_PAUSE_S = 0.02
_REASONS_SHOWN = 6


class RedisLab(Kinds):
    """A lab that is up. Faults are methods (`kill`, `partition`, `latency`, …), and their blocks end them.

    As a context manager it heals and goes down in the end, whatever happened inside.

    Attributes:
        name: As `labctl ls` lists it.
        plan: Its nodes, addresses and links.
        kept: It stays up in the end.
    """

    def __init__(self, lab: labs.Lab, *, keep: bool = False) -> None:
        self.name = lab.name
        self._lab = lab
        self.kept = keep
        self._down = False
        self.plan: LabPlan = lab.plan()

    # How to reach it.

    @property
    def kind(self) -> Kind:
        """Standalone, replica, Sentinel or Cluster."""
        return self.plan.topology.kind

    @property
    def engine(self) -> str:
        """What serves it, `redis 8.2.3` for example."""
        return self.plan.engine_name

    @property
    def url(self) -> str:
        """`redis://…` or `rediss://…` of the first node, which was the primary when the lab came up."""
        return self.env()["REDIS_URL"]

    @property
    def urls(self) -> tuple[str, ...]:
        """The same of every data node."""
        return tuple(self.env()["REDIS_URLS"].split(","))

    @property
    def nodes(self) -> dict[str, tuple[str, int]]:
        """Data nodes by name: host and port as clients reach them."""
        return {node.name: (node.host, node.port) for node in self._lab.endpoints().nodes}

    @property
    def sentinels(self) -> list[tuple[str, int]]:
        """Host and port of each Sentinel, as `redis.Sentinel` takes them; empty for other kinds."""
        return [(node.host, node.port) for node in self._lab.endpoints().sentinels]

    @property
    def sentinel_name(self) -> str:
        """The name under which the Sentinels watch the primary."""
        return self.plan.topology.primary_name

    def env(self, group: str = "clients") -> dict[str, str]:
        """What `labctl env` prints: REDIS_URL, REDIS_SENTINELS, REDIS_CLUSTER_NODES, REDIS_CA_FILE and so on.

        Args:
            group: The client group, for faults that cut clients away: `clients`, `clients-a` or `clients-b`. A program is of
                the other two groups when it connects from REDIS_SOURCE_ADDRESS.
        """
        return environment(self._lab.endpoints(group))

    def redis(self, group: str = "clients", **options: Any) -> Any:
        """A redis-py client: by Sentinel, by slot in a Cluster, else of the first node.

        Args:
            group: The client group that it belongs to.
            **options: Of redis-py's client. Replies are text and time-outs are 2 s unless stated.

        Returns:
            A `redis.Redis`, or a `redis.RedisCluster` for a Cluster.
        """
        from labctl.testing.clients import application_client  # noqa: PLC0415 - redis-py, only where it is wanted

        return application_client(self._lab.endpoints(group), options)

    def admin(self, node: str, **options: Any) -> Redis:
        """A redis-py client of one node as the lab's admin user, past the links: for looking at it from outside."""
        from labctl.testing.clients import admin_client  # noqa: PLC0415

        return admin_client(self.plan.node(node), self._lab.keys(), options)

    # What it is now.

    def view(self) -> View:
        """What every node says now, and both sides of a partition."""
        from labctl.store.codec import from_data  # noqa: PLC0415 - pydantic

        return from_data(View, self._lab.call("GET", "/status")["view"])

    @property
    def primary(self) -> str:
        """Name of the primary now. With Sentinels their majority decides.

        Raises:
            UsageError: It is a Cluster, which has several: `primaries`.
            LabError: There is none now.
        """
        if self.kind is Kind.CLUSTER:
            raise UsageError(f"Lab {self.name} is a Cluster, which has several primaries.", "lab.primaries")
        if name := conditions.primary(self.view()):
            return name
        raise LabError(f"Lab {self.name} has no primary now.", "lab.until_primary() waits for one.")

    @property
    def primaries(self) -> tuple[str, ...]:
        """Nodes that call themselves primary now: one a shard, more while a split brain lasts."""
        return tuple(node.name for node in conditions.primaries(self.view()))

    @property
    def replicas(self) -> tuple[str, ...]:
        """Nodes that call themselves replica now."""
        return tuple(node.name for node in self.view().data_nodes if node.role is Role.REPLICA)

    @property
    def unhealthy(self) -> tuple[str, ...]:
        """Why it is not healthy now, as sentences; empty when it is."""
        return tuple(self._lab.call("GET", "/status")["unhealthy"])

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        """What the lab's agent saw: `seq`, `at_ns` (monotonic), `kind`, `node`, `text`, `detail`; above `seq` `after`."""
        found: list[dict[str, Any]] = self._lab.call("GET", "/events", after=after)
        return found

    def log(self, node: str) -> Path:
        """The server log of a node, or of the `agent`; it is there as long as the lab is."""
        return self._lab.folder.agent_log if node == "agent" else self._lab.folder.node(node) / "server.log"

    # Waiting.

    def until(self, condition: Condition, deadline_s: float = NATURAL_RECOVERY_S, what: str = "the condition") -> View:
        """The first view that meets the condition.

        Raises:
            LabError: None did within `deadline_s` seconds; says what is unhealthy at last.
        """
        ends = time.monotonic() + deadline_s
        while not condition(view := self.view()):
            if time.monotonic() > ends:
                reasons = "; ".join(self.unhealthy[:_REASONS_SHOWN]) or "nothing, the lab is healthy"
                raise LabError(
                    f"Lab {self.name}: {what} was not observed within {deadline_s:g} s.", f"Unhealthy: {reasons}."
                )
            time.sleep(_PAUSE_S)
        return view

    def until_healthy(self, deadline_s: float = NATURAL_RECOVERY_S) -> View:
        """The first view in which all nodes agree, which is how the lab was handed out. Raises as `until`."""
        return self.until(lambda view: not conditions.healthy(self.plan, view), deadline_s, "a healthy lab")

    def until_converged(self, deadline_s: float = NATURAL_RECOVERY_S) -> View:
        """The first healthy view in which every replica holds its primary's data; only once writes have stopped."""
        return self.until(
            lambda view: not [*conditions.healthy(self.plan, view), *conditions.converged(self.plan, view)],
            deadline_s,
            "a healthy lab whose replicas have converged",
        )

    def until_primary(self, other_than: str = "", deadline_s: float = NATURAL_RECOVERY_S) -> str:
        """The name of the primary, as soon as there is one that is not `other_than`. Raises as `until`."""

        def promoted(view: View) -> bool:
            name = conditions.primary(view)
            return name not in (None, other_than) and view.node(str(name)).role is Role.PRIMARY

        what = f"a primary other than {other_than}" if other_than else "a primary"
        return str(conditions.primary(self.until(promoted, deadline_s, what)))

    # Breaking it.

    def fault(
        self,
        kind: str,
        target: str = "",
        /,
        *,
        for_s: float | None = None,
        from_: str = "",
        seed: int | None = None,
        **params: Scalar,
    ) -> Injected:
        """Inject a fault now; return when it was measured to have taken effect.

        Args:
            kind: As `labctl chaos` has it, `command-delay` for example; docs/faults.md lists them.
            target: Symbolic, such as `primary`, `replicas`, `redis-2`, `primary,clients-a`; the kind's own when left out.
            for_s: Seconds until the lab reverts it by itself; until its block ends or `heal`, when left out.
            from_: One way only: connections of these towards the target.
            seed: Of random targets.
            **params: Of the kind.

        Raises:
            UsageError: It means nothing in this lab now; nothing was done.
            LabError: It did not take effect; it was reverted.
        """
        fault = {"kind": kind, "target": target, "duration_s": for_s, "params": params, "origin": from_}
        return Injected(self._lab.call, self._lab.call("POST", "/faults", {"fault": fault, "seed": seed}))

    @property
    def faults(self) -> list[dict[str, Any]]:
        """Faults in force, as `labctl chaos ls -o json` lists them."""
        found: list[dict[str, Any]] = self._lab.call("GET", "/faults")
        return found

    def heal(self) -> None:
        """Revert every fault and return when that was measured.

        Raises:
            RevertError: Names what could not be reverted; it is tried again.
        """
        self._lab.call("DELETE", "/faults")

    # Load whose every operation is recorded.

    def record(
        self,
        *workloads: str | Workload,
        clients: int = 4,
        rate: float | None = None,
        seed: int = 1,
        to: Path | None = None,
        **options: Scalar,
    ) -> Recording:
        """Load, faults and role changes in one history, for as long as the block lasts.

        Args:
            *workloads: Kinds (`set`, `register`, …), or `labctl.Workload` where they differ in more than the kind.
            clients: Concurrent clients of each kind that is a word.
            rate: Operations a second of each, all clients together; as fast as replies come when left out.
            seed: Of the clients' choices.
            to: Keep the history in this file, which must not exist; `labctl history check` reads it.
            **options: Of each kind that is a word.
        """
        from labctl.testing.recording import Recording  # noqa: PLC0415 - numpy

        declared = [
            Workload(each, clients, rate=rate, options=options) if isinstance(each, str) else each
            for each in workloads or ("set",)
        ]
        return Recording(self._lab, tuple(declared), seed, to)

    # Its end.

    def down(self) -> None:
        """End every process and remove every file of it. Once is enough; again is no error.

        Raises:
            LabError: Something does not end; it is named.
        """
        if not self._down:
            self._lab.down()
            self._down = True
            LIFELINE.remove(self._lab.folder.path)

    def keep(self) -> None:
        """Leave it up in the end, also after this process: `labctl status --lab NAME`, `labctl down NAME`."""
        self.kept = True
        LIFELINE.remove(self._lab.folder.path)

    def close(self) -> None:
        """Heal, and go down unless it is kept: what the end of its block does.

        Raises:
            RevertError: A fault could not be reverted; the lab is down all the same.
        """
        if self._down:
            return
        try:
            self.heal()
        finally:
            if not self.kept:
                self.down()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self.close()
        return False

    def __repr__(self) -> str:
        return f"<lab {self.name}: {self.plan.topology.name} on {self.engine}>"


def redis_lab(
    topology: str | Topology = "sentinel",
    *,
    changes: Mapping[str, object] | None = None,
    engine: str | None = None,
    runtime: str = "process",
    name: str | None = None,
    disk_faults: bool = False,
    net: str = "loopback",
) -> RedisLab:
    """Bring up a lab of one's own; return when it was observed healthy.

    It ends with its `with` block, and with this process at the latest, even if that is killed.

    Args:
        topology: A shipped one by name (`standalone`, `replica`, `sentinel`, `cluster`, the three with `-tls-acl`), a YAML file
            by path, or a `Topology`.
        changes: What differs from it, spelled as in YAML: `{"replicas": 3, "sentinel": {"down-after": "500ms"}}`.
        engine: `redis-8`, `redis-7`, `valkey-9`, a path or an image; the first that is there when left out.
        runtime: `process` or `docker`.
        name: Of the lab; a new one each time when left out, so that labs of several processes never meet.
        disk_faults: Servers load the shim that disk, clock and fork faults need.
        net: `netns` for a network namespace a server, which faults on packets need; Linux.

    Raises:
        UsageError: There is no such topology or engine here, or the changes are wrong; nothing was started.
        LabError: It did not come up; nothing is left of it.
    """
    from labctl.declare import library  # noqa: PLC0415 - YAML

    if runtime not in list(RuntimeName):
        raise UsageError(f"There is no runtime '{runtime}'.", f"Runtimes: {', '.join(RuntimeName)}.")
    if net not in list(Net):
        raise UsageError(f"There is no net '{net}'.", f"Nets: {', '.join(Net)}.")
    if disk_faults and runtime != RuntimeName.PROCESS:
        raise CapabilityError(f"Disk faults work on local processes, not on the {runtime} runtime.")
    declared = library.topology(topology) if isinstance(topology, str) else topology
    if changes:
        declared = library.changed(declared, changes)
    chosen = name or f"{declared.name[:30]}-{secrets.token_hex(4)}"
    lab, _ = labs.up(declared, name=chosen, engine=engine, runtime=RuntimeName(runtime), shim=disk_faults, net=Net(net))
    LIFELINE.add(lab.folder.path)
    return RedisLab(lab)


def attach(name: str | None = None) -> RedisLab:
    """A lab that is up already, by name, or the only one. Its `with` block heals it and leaves it up.

    Raises:
        UsageError: There is none, or there are several.
    """
    return RedisLab(labs.find(name), keep=True)
