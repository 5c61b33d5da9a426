"""What topologies and scenarios may look like in YAML, as pydantic models: the source of their JSON Schemas.

Shapes know keys, types, ranges and spellings; what the values mean together is for `topology` and `scenario`. Import
this module inside functions only: pydantic takes longer to import than `labctl --help` may take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from labctl.declare import spellings
from labctl.declare.spellings import (
    Arguments,
    Conditions,
    Engine,
    Expectations,
    Memory,
    Milliseconds,
    Scalar,
    Seconds,
    Target,
)

MAX_NODES = 250
"""Each node has an address of its own in 127.L.0.0/24."""
_Count = Annotated[int, Field(ge=0, le=MAX_NODES)]
_Positive = Annotated[int, Field(ge=1, le=1_000_000_000)]
_Line = Annotated[str, Field(min_length=1, max_length=200)]
_Text = Annotated[str, Field(min_length=1, max_length=20_000)]

EvictionPolicy = Literal[
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
]


def _key(field: str) -> str:
    return field.rstrip("_").replace("_", "-")


class Shape(BaseModel):
    """A mapping whose keys are all known, and whose values are what they look like: no text becomes a number."""

    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=_key, frozen=True)
    stand_ins: ClassVar[Mapping[str, object]] = {}
    """What takes the place of required keys that are missing, so that the rest of the file can still be looked at."""

    @model_validator(mode="before")
    @classmethod
    def _remember_keys(cls, value: Any, info: ValidationInfo) -> Any:
        """Tell the error messages which keys would have been right for this very mapping."""
        if isinstance(value, dict) and isinstance(info.context, dict):
            info.context[id(value)] = [field.alias for field in cls.model_fields.values()]
        return value


class SaveRule(Shape):
    """Dump after some time when enough keys changed."""

    after: Milliseconds
    changes: _Positive


class Persistence(Shape):
    """What survives a restart."""

    rdb: Annotated[
        list[SaveRule] | None, BeforeValidator(spellings.save_rules, json_schema_input_type=str | list[SaveRule] | None)
    ] = Field(None, description="`default`, rules as in redis.conf (`3600 1 60 10000`), or a list of rules.")
    aof: Literal["always", "everysec", "no"] | None = Field(
        None, description="Keep an append-only file with this appendfsync; leave it out for none."
    )


class Sentinel(Shape):
    """Sentinel's own settings."""

    quorum: Annotated[int, Field(ge=1, le=MAX_NODES)] | None = Field(
        None, description="Sentinels that must agree that the primary is down; the majority if left out."
    )
    down_after: Milliseconds | None = Field(None, description="down-after-milliseconds")
    failover_timeout: Milliseconds | None = Field(None, description="failover-timeout")
    parallel_syncs: Annotated[int, Field(ge=1, le=MAX_NODES)] | None = Field(None, description="parallel-syncs")
    primary_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = Field(
        None, description="The name under which Sentinels watch the primary; `lab` if left out."
    )


class Cluster(Shape):
    """Cluster settings."""

    node_timeout: Milliseconds | None = Field(None, description="cluster-node-timeout")


_Directives = dict[str, Arguments]


class Directives(Shape):
    """Lines of redis.conf, by the role that a node has when the lab comes up."""

    all: _Directives = Field(default_factory=dict, description="Every node that holds data.")
    primary: _Directives = Field(default_factory=dict)
    replica: _Directives = Field(default_factory=dict)
    sentinel: _Directives = Field(default_factory=dict)


class Settings(Shape):
    """What a topology file and a scenario's overrides have in common."""

    description: _Line | None = Field(None, description="One line for listings.")
    primaries: _Count | None = Field(
        None,
        description="Shards of a cluster (3 if left out); servers on their own, standalone (1); 1 for every other kind.",
    )
    replicas: _Count | None = Field(
        None, description="Replicas of each primary: if left out 2, in a cluster 1, standalone 0."
    )
    sentinels: _Count | None = Field(None, description="Sentinels, for kind sentinel only: 3 if left out.")
    engine: Engine | None = None
    tls: bool | None = Field(None, description="TLS on every port, replication and bus included; no plaintext port.")
    acl: bool | None = Field(None, description="Users with random secrets for every purpose; default user off.")
    persistence: Annotated[
        Persistence | None,
        BeforeValidator(
            spellings.persistence, json_schema_input_type=Literal["none", "rdb", "aof"] | Persistence | None
        ),
    ] = Field(None, description="none, rdb (default rules), aof (everysec), or a mapping; none if left out.")
    maxmemory: Memory | None = None
    maxmemory_policy: EvictionPolicy | None = None
    directives: Directives | None = None
    sentinel: Sentinel | None = None
    cluster: Cluster | None = None


class TopologyFile(Settings):
    """A topology of real Redis or Valkey servers for labctl."""

    kind: Literal["standalone", "replica", "sentinel", "cluster"]
    name: str | None = Field(None, description="The lab's default name; the file's name if left out.")


MISSING = "?"
"""Stands where a topology should be named. No file and no shipped topology is called so."""


class TopologyReference(Settings):
    """A topology by name or path, with what this scenario changes in it."""

    name: _Line = Field(description="A shipped topology's name, or the path of a file.")


class Workload(Shape):
    """Clients of one kind that run through a phase."""

    run: _Line = Field(description="The workload's name.")
    clients: Annotated[int, Field(ge=1, le=100_000)] = Field(4, description="Concurrent clients.")
    from_: Literal["clients", "clients-a", "clients-b"] = Field(
        "clients", description="The side that they connect from, for faults that cut clients away."
    )
    rate: Annotated[float, Field(gt=0, le=100_000_000)] | None = Field(
        None, description="Operations a second, all clients together; as fast as replies come if left out."
    )
    with_: dict[str, Scalar] = Field(default_factory=dict, description="Options of the workload.")
    start: Seconds = Field(0.0, description="When they begin, counted from the start of the phase.")
    stop: Milliseconds | None = Field(None, description="When they stop; at the end of the phase if left out.")


class Preload(Shape):
    """Keys that are there before the workload begins; no checker looks at them."""

    keys: Annotated[int, Field(ge=1, le=100_000_000)] = Field(description="How many.")
    bytes_: Annotated[int, Field(ge=1, le=512 * 1024 * 1024)] = Field(100, description="Length of each value.")
    prefix: _Line = Field("preload:", description="Their names begin so; a number follows.")
    ttl: Milliseconds | None = Field(None, description="They expire after so long; never if left out.")


class Recovery(Shape):
    """What is waited for when the faults are gone."""

    within: Milliseconds = Field(60_000, description="How long the lab may take to be healthy and converged.")
    required: bool = Field(True, description="false: a lab that does not recover is judged by the checks alone.")
    natural: bool = Field(False, description="true: at its own pace; else Sentinels are made to look at once.")


class Step(Shape):
    """A fault or an action on the timeline; read `- {at: 2s, kill: primary, for: 4s}` aloud."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "minProperties": 2,
            "anyOf": [{"required": [key]} for key in ("at", "after", "when")],
        },
    )
    __pydantic_extra__: dict[str, Target] = Field(init=False)

    at: Seconds | None = Field(None, description="When, counted from the start of the phase's workload.")
    after: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}(\.end)?$")] | None = Field(
        None, description="When the step with this `id` has begun; `ID.end`: when it is over."
    )
    when: Conditions | None = None
    within: Milliseconds | None = Field(None, description="how long to wait for `when`: 30s if left out.")
    delay: Milliseconds | None = Field(None, description="So long after that.")
    id_: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")] | None = Field(
        None, description="A name for other steps' `after`."
    )
    may_fail: bool = Field(False, description="An action that fails is part of the drill.")
    for_: Milliseconds | None = Field(None, description="Until it is undone; to the end of the phase if left out.")
    from_: Target | None = Field(
        None, description="For a fault on links: only connections from these to the target, one way."
    )
    follow: bool = Field(
        default=False, description="When the roles move that the target names, the fault moves along with them."
    )
    every: Milliseconds | None = Field(None, description="Again after so long, `times` times.")
    times: Annotated[int, Field(ge=1, le=10_000)] = Field(1, description="How often, with `every`.")
    with_: dict[str, Scalar] = Field(default_factory=dict, description="Parameters of the fault or the action.")


class Check(Shape):
    """One checker and the promise that it is held to."""

    check: _Line = Field(description="The checker's name.")
    promise: _Text = Field(description="What the configuration promises, in words, with the page it comes from.")
    expect: Expectations = Field(
        default_factory=lambda: {"else": "holds"},
        description="What the documentation lets one expect under these faults; by cell of the matrix where it differs.",
    )
    only: _Line | None = Field(None, description="Cells of the matrix in which it is checked: `aof=always`.")
    bounds: dict[str, float] = Field(default_factory=dict, description="Upper bounds on the finding's numbers.")
    with_: dict[str, Scalar] = Field(default_factory=dict, description="Options of the checker.")


class Phase(Shape):
    """Workloads and steps that run together, are healed, and then read back."""

    title: _Line | None = None
    duration: Milliseconds = Field(description="How long the workload runs, at least.")
    load: Preload | None = None
    workloads: list[Workload] = Field(default_factory=list)
    steps: list[Step] = Field(default_factory=list)
    checks: list[Check] = Field(default_factory=list)
    recovery: Recovery | None = None


class ScenarioFile(Shape):
    """A drill: faults on a topology under load, and the promise that each check is held to."""

    stand_ins: ClassVar[Mapping[str, object]] = {"title": "?", "description": "?", "topology": MISSING}

    title: _Line = Field(description="One line.")
    description: _Text = Field(description="What happens and why it is worth seeing, in plain words.")
    learn: list[_Text] = Field(default_factory=list, description="What to take away, a sentence each.")
    tags: list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]] = Field(default_factory=list)
    chapter: Annotated[str, Field(pattern=r"^https?://\S{1,500}$")] | None = Field(
        None, description="Where to read on."
    )
    topology: Annotated[
        TopologyReference,
        BeforeValidator(spellings.reference, json_schema_input_type=str | TopologyReference),
    ]
    requires: list[_Line] = Field(
        default_factory=list, description="What it needs besides what its topology and faults show: `redis >= 7.2`."
    )
    matrix: dict[str, Annotated[list[Scalar], Field(min_length=1, max_length=20)]] | None = Field(
        None, description="Run once for each combination: `engine`, or a path into the topology, and its values."
    )
    phases: dict[str, Phase] | None = Field(None, description="Phases in order, by name.")
    duration: Milliseconds | None = Field(None, description="For a scenario of one phase, in place of `phases`.")
    load: Preload | None = None
    workloads: list[Workload] | None = None
    steps: list[Step] | None = None
    checks: list[Check] | None = None
    recovery: Recovery | None = None
