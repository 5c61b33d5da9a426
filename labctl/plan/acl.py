"""Least-privilege ACL users of a lab: who may do what, on data nodes and on Sentinels.

Sources: redis.io "High availability with Redis Sentinel" (ACL of Sentinel and of clients), "Redis replication" (ACL of
replicas), "ACL". The tests run a failover with these rules and require that no node's ACL LOG names one of these users.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from labctl.model.plan import LabPlan, NodePlan, Secrets, User
from labctl.model.topology import Role
from labctl.plan.versions import Version

_EVERYTHING = "~* &* +@all"

_APP = "~* &* +@all -@admin -@dangerous +info +role"
"""Everything an application does; not KEYS, FLUSHALL, CONFIG, REPLICAOF and the like."""

_REPLICATION = "resetchannels +psync +replconf +ping"

_SENTINEL = (
    "resetchannels &__sentinel__:hello +multi +exec +slaveof +replicaof +failover +ping +info +role +publish "
    "+subscribe +config|rewrite +client|setname +client|kill +client|pause +client|unpause +script|kill"
)
"""What Sentinel does on data nodes. Without the hello channel CKQUORUM fails and nothing ever fails over."""

_APP_AT_SENTINEL = (
    "resetchannels &* +@connection +@pubsub -@admin -@dangerous -publish +info +role "
    "+sentinel|get-master-addr-by-name +sentinel|master +sentinel|masters +sentinel|replicas +sentinel|slaves "
    "+sentinel|sentinels +sentinel|myid +sentinel|ckquorum"
)
"""Discovery and events (`+switch-master`), no changes."""

_SENTINEL_AT_SENTINEL = (
    "resetchannels &__sentinel__:hello +ping +publish +client|setname +sentinel|is-master-down-by-addr +sentinel|myid"
)
"""What a Sentinel does on its peers: pings, hello messages, votes."""


def acl_rules(user: str) -> str:
    """Rules of `app`, `admin`, `replication` or `sentinel` on data nodes, without the password."""
    return {"app": _APP, "admin": _EVERYTHING, "replication": _REPLICATION, "sentinel": _SENTINEL}[user]


def make_secrets(token: Callable[[], str]) -> Secrets:
    """The lab's four users. `token` returns a fresh random password of URL-safe characters at each call."""
    app, admin, replication, sentinel = (
        User(name, token(), acl_rules(name)) for name in ("app", "admin", "replication", "sentinel")
    )
    return Secrets(app=app, admin=admin, replication=replication, sentinel=sentinel)


def acl_file(plan: LabPlan, node: NodePlan, secrets: Secrets) -> str:
    """Text of a node's `users.acl`: the default user off, passwords as SHA-256 only."""
    lines = ["user default off resetchannels -@all"]
    for user, rules in _users(plan, node, secrets):
        digest = sha256(user.password.encode()).hexdigest()
        lines.append(f"user {user.name} on #{digest} {rules}")
    return "\n".join(lines) + "\n"


def _users(plan: LabPlan, node: NodePlan, secrets: Secrets) -> list[tuple[User, str]]:
    if node.role is Role.SENTINEL:
        return [
            (secrets.admin, _EVERYTHING),
            (secrets.app, _APP_AT_SENTINEL),
            (secrets.sentinel, _SENTINEL_AT_SENTINEL),
        ]
    users = [(user, user.rules) for user in (secrets.admin, secrets.app, secrets.replication)]
    if node.bus_port is not None and Version.parse(plan.engine_name).syncslots:
        users[-1] = (secrets.replication, f"{secrets.replication.rules} +cluster|syncslots")
    if plan.sentinels:
        users.append((secrets.sentinel, secrets.sentinel.rules))
    return users
