"""Plan → the text of every file a server starts from: its configuration, ACL users and (Cluster) nodes.conf.

A configuration file is final: it states what the topology states and nothing borrowed for the bring-up, so that a
server which is restarted from it (as rewritten by Sentinel or CONFIG REWRITE meanwhile) comes back as the node it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from labctl.model.plan import ANNOUNCED_HOST, ANY_HOST, Formation, LabPlan, NodePlan, Secrets, TlsFiles
from labctl.model.topology import Directives, Kind, Role, Topology
from labctl.plan.acl import acl_file
from labctl.plan.nodes_conf import nodes_conf

DATA_FOLDER = "data"
"""The server's `dir`, inside the node's folder: dump, append-only files and nodes.conf."""

OWNED_DIRECTIVES = frozenset(
    {
        "aclfile",
        "bind",
        "bind-source-addr",
        "cluster-announce-bus-port",
        "cluster-announce-ip",
        "cluster-announce-port",
        "cluster-announce-tls-port",
        "cluster-config-file",
        "cluster-enabled",
        "cluster-port",
        "daemonize",
        "dir",
        "include",
        "logfile",
        "masterauth",
        "masteruser",
        "pidfile",
        "port",
        "primaryauth",
        "primaryuser",
        "protected-mode",
        "rename-command",
        "replica-announce-ip",
        "replica-announce-port",
        "replicaof",
        "requirepass",
        "set-proc-title",
        "slave-announce-ip",
        "slave-announce-port",
        "slaveof",
        "supervised",
        "syslog-enabled",
        "tls-ca-cert-dir",
        "tls-ca-cert-file",
        "tls-cert-file",
        "tls-cluster",
        "tls-key-file",
        "tls-port",
        "tls-replication",
        "user",
    }
)
"""Directives that decide addresses, files, secrets or roles; the lab sets them, so a topology cannot."""


def config_name(node: NodePlan) -> str:
    """File name of the node's configuration, inside its folder."""
    return "sentinel.conf" if node.role is Role.SENTINEL else "redis.conf"


def node_files(
    plan: LabPlan, node: NodePlan, folder: str, secrets: Secrets | None, tls: TlsFiles | None
) -> Mapping[str, str]:
    """Path inside `folder` → text of every file to write (mode 0600) before the node's first start, never later.

    The folder `data` is to be made as well, whether or not a file goes there.
    """
    files = {config_name(node): server_config(plan, node, folder, secrets, tls)}
    if secrets is not None:
        files["users.acl"] = acl_file(plan, node, secrets)
    if plan.topology.kind is Kind.CLUSTER and plan.formation is Formation.SEEDED:
        files[f"{DATA_FOLDER}/nodes.conf"] = nodes_conf(plan, node)
    return files


def server_config(plan: LabPlan, node: NodePlan, folder: str, secrets: Secrets | None, tls: TlsFiles | None) -> str:
    """The final text of a node's redis.conf or sentinel.conf.

    Args:
        plan: The lab.
        node: Which of its nodes.
        folder: Absolute path of the node's own folder.
        secrets: The lab's users where the topology asks for ACL, else None.
        tls: The lab's certificates where the topology asks for TLS, else None.
    """
    directives = _process(node, folder) + _listen(plan.topology, node, tls)
    if secrets is not None:
        directives += (("aclfile", _quoted(f"{folder}/users.acl")),)
    if node.role is Role.SENTINEL:
        directives += _stated(plan.topology, ("sentinel",)) + _sentinel(plan, node, secrets)
    else:
        directives += _announced(plan.topology, node) + _replication(plan, node, secrets) + data_directives(plan, node)
    return "".join(f"{name} {value}\n" for name, value in directives)


def data_directives(plan: LabPlan, node: NodePlan) -> Directives:
    """What the topology asks of a data node; where a directive stands twice, the last one holds."""
    return _storage(plan.topology) + _cluster(plan.topology) + _stated(plan.topology, ("all", node.role.value))


def _process(node: NodePlan, folder: str) -> Directives:
    """The runtime owns the process: it reads standard output as the log, and finds servers by their environment.

    `set-proc-title` would write over the environment that the kernel shows of a process.
    """
    directives: Directives = (
        ("daemonize", "no"),
        ("supervised", "no"),
        ("set-proc-title", "no"),
        ("logfile", '""'),
        ("dir", _quoted(f"{folder}/{DATA_FOLDER}")),
        ("bind", node.host),
        ("protected-mode", "no"),  # Redis 7.0 counts 127.0.0.1 alone as loopback, not the rest of 127.0.0.0/8
    )
    return directives if node.host in (ANY_HOST, ANNOUNCED_HOST) else (*directives, ("bind-source-addr", node.host))


def _listen(topology: Topology, node: NodePlan, tls: TlsFiles | None) -> Directives:
    if tls is None:
        return (("port", str(node.listen_port)),)
    directives: Directives = (
        ("port", "0"),
        ("tls-port", str(node.listen_port)),
        ("tls-cert-file", _quoted(tls.cert)),
        ("tls-key-file", _quoted(tls.key)),
        ("tls-ca-cert-file", _quoted(tls.ca)),
        (
            "tls-auth-clients",
            "optional",
        ),  # users prove themselves by ACL; `yes` in a topology asks for certificates too
        ("tls-replication", "yes"),  # also what makes Sentinel speak TLS
    )
    return (*directives, ("tls-cluster", "yes")) if topology.kind is Kind.CLUSTER else directives


def _announced(topology: Topology, node: NodePlan) -> Directives:
    directives: Directives = (("replica-announce-ip", ANNOUNCED_HOST), ("replica-announce-port", str(node.port)))
    if node.bus_port is None:
        return directives
    return (
        *directives,
        ("cluster-port", str(node.listen_bus_port)),
        ("cluster-announce-ip", ANNOUNCED_HOST),
        ("cluster-announce-tls-port" if topology.tls else "cluster-announce-port", str(node.port)),
        ("cluster-announce-bus-port", str(node.bus_port)),
    )


def _storage(topology: Topology) -> Directives:
    persistence = topology.persistence
    directives: list[tuple[str, str]] = [("save", f"{rule.seconds} {rule.changes}") for rule in persistence.rdb]
    if not directives:
        directives.append(("save", '""'))
    directives.append(("appendonly", "no" if persistence.aof is None else "yes"))
    if not persistence.rdb and persistence.aof is None:
        directives.append(("rdb-del-sync-files", "yes"))  # a server without persistence finds none of a replica's copy
    if persistence.aof is not None:
        directives.append(("appendfsync", persistence.aof.value))
    if topology.maxmemory is not None:
        directives.append(("maxmemory", topology.maxmemory))
    if topology.maxmemory_policy is not None:
        directives.append(("maxmemory-policy", topology.maxmemory_policy))
    return tuple(directives)


def _replication(plan: LabPlan, node: NodePlan, secrets: Secrets | None) -> Directives:
    """`masterauth` also on primaries: one that is deposed could not follow its successor without it."""
    directives: Directives = ()
    if secrets is not None:
        directives = (("masteruser", secrets.replication.name), ("masterauth", secrets.replication.password))
    if node.primary is not None and plan.topology.kind is not Kind.CLUSTER:
        directives += (("replicaof", f"{ANNOUNCED_HOST} {plan.node(node.primary).port}"),)
    return directives


def _cluster(topology: Topology) -> Directives:
    if topology.kind is not Kind.CLUSTER:
        return ()
    return (
        ("cluster-enabled", "yes"),
        ("cluster-config-file", "nodes.conf"),
        ("cluster-node-timeout", str(topology.cluster.node_timeout_ms)),
    )


def _sentinel(plan: LabPlan, node: NodePlan, secrets: Secrets | None) -> Directives:
    """Sentinel's settings and, in a seeded lab, its peers, which it would discover after 2 s of hello messages.

    The order matters: `myid` before any Sentinel is made known, `monitor` before what refers to its name. Replicas are
    left to discovery: one that Sentinel knows but sees without a replication link it looks at again only after 1 s,
    whereas the primary's INFO names a replica once it has attached.
    """
    options, name = plan.topology.sentinel, plan.topology.primary_name
    primary = plan.nodes[0]
    seeded = plan.formation is Formation.SEEDED
    lines = [f"myid {node.node_id}"] if seeded else []
    lines += [
        f"announce-ip {ANNOUNCED_HOST}",
        f"announce-port {node.port}",
        f"monitor {name} {ANNOUNCED_HOST} {primary.port} {options.quorum}",
        f"down-after-milliseconds {name} {options.down_after_ms}",
        f"failover-timeout {name} {options.failover_timeout_ms}",
        f"parallel-syncs {name} {options.parallel_syncs}",
    ]
    if secrets is not None:
        lines += [
            f"auth-user {name} {secrets.sentinel.name}",
            f"auth-pass {name} {secrets.sentinel.password}",
            f"sentinel-user {secrets.sentinel.name}",
            f"sentinel-pass {secrets.sentinel.password}",
        ]
    if seeded:
        lines += [f"config-epoch {name} 0", f"leader-epoch {name} 0", "current-epoch 0"]
        lines += [
            f"known-sentinel {name} {ANNOUNCED_HOST} {peer.port} {peer.node_id}"
            for peer in plan.sentinels
            if peer is not node
        ]
    return tuple(("sentinel", line) for line in lines)


def _stated(topology: Topology, keys: Iterable[str]) -> Directives:
    """What the topology states itself, last and so stronger than what stands above."""
    return tuple(directive for key in keys for directive in topology.directives.get(key, ()))


def _quoted(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
