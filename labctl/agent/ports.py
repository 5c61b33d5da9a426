"""Addresses of a process lab: ports that are free, and a loopback address for each node."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from labctl.errors import StartError, UsageError
from labctl.model.plan import ANNOUNCED_HOST
from labctl.model.topology import Topology
from labctl.plan.layout import ports_needed
from labctl.runtime.marker import AGENT_MODULE, marked_processes
from labctl.store.folders import LabFolder

VARIABLE = "LABCTL_FIRST_PORT"
_FIRST_PORT = 7001
_FIRST_UNPRIVILEGED = 1024
_BUS_OFFSET = 10_000
_SENTINEL_OFFSET = 19_000
"""The customary distances: 7001 has its bus at 17001, and the first Sentinel is at 26001."""
_LAST_PORT = 32_767
"""Below the range from which Linux takes ports for outgoing connections, which would now and then be in the way."""


def free_ports(topology: Topology, avoid: frozenset[int] = frozenset()) -> list[int]:
    """Ports for `layout`: data nodes from 7001 on, Sentinels from 26001, cluster bus from 17001; taken ones skipped.

    A port counts as free when nothing is bound to it on any loopback address, tried by binding to all of them.

    Args:
        topology: How many of each are needed.
        avoid: Ports that count as taken: those of other labs too, whose servers and agent may be down at the moment.

    Raises:
        UsageError: `LABCTL_FIRST_PORT`, which stands in for 7001 and moves the others along, is no such port.
        StartError: There are not as many.
    """
    base = first_port()
    wanted = [(base, topology.data_nodes), (base + _SENTINEL_OFFSET, topology.sentinels)]
    if ports_needed(topology) > topology.nodes:
        wanted.append((base + _BUS_OFFSET, topology.data_nodes))
    return take_ports(wanted, avoid)


def ports_of_other_labs(folder: LabFolder) -> frozenset[int]:
    """Ports of every other lab, of this state folder or of any whose guard runs.

    A server or agent that is down at the moment wants its own back. Somebody else there would be taken for the lab's own:
    its Sentinels and replicas would join a stranger's lab.
    """
    ports: set[int] = set()
    others = {path.parent for path in folder.path.parent.glob("*/plan.json")} | _guarded_folders()
    for other in others - {folder.path}:
        with suppress(OSError, ValueError, KeyError, TypeError):
            plan = json.loads((other / "plan.json").read_bytes())
            nodes = plan["nodes"]
            ports |= {port for node in nodes for port in (node["port"], node["bus_port"]) if port}
            ports |= {node["admin"][1] for node in nodes if node.get("admin")}
            ports |= {port for _, own in plan.get("client_ports", ()) for port in own}
        with suppress(OSError, ValueError, KeyError, TypeError):
            ports.add(int(json.loads(LabFolder(other).web.read_bytes())["port"]))
    return frozenset(ports)


def _guarded_folders() -> set[Path]:
    """Folders of labs whose guard or agent runs on this machine, whatever their state folder."""
    found = set()
    for process in marked_processes():
        with suppress(OSError):
            words = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            if AGENT_MODULE in words[:-1]:
                first, *rest = words[words.index(AGENT_MODULE) + 1 :]
                early = [path.parent for path in Path(rest[0]).glob("*/plan.json")] if first == "--early" else []
                found |= {*early} or {Path(first)}
    return found


def take_ports(wanted: Iterable[tuple[int, int]], avoid: frozenset[int] = frozenset()) -> list[int]:
    """Free ports: for each pair, so many from that port on. Raises StartError when there are not as many."""
    found: list[int] = []
    for first, count in wanted:
        port = first
        for _ in range(count):
            while port in avoid or port in found or not _is_free(port):
                port += 1
                if port > _LAST_PORT:
                    raise StartError(
                        f"No {count} free ports between {first} and {_LAST_PORT}.",
                        "labctl down --all frees those of labs.",
                    )
            found.append(port)
            port += 1
    return found


def first_port() -> int:
    """`LABCTL_FIRST_PORT`, or 7001."""
    stated = os.environ.get(VARIABLE, str(_FIRST_PORT))
    highest = _LAST_PORT - _SENTINEL_OFFSET
    if not stated.isdecimal() or not _FIRST_UNPRIVILEGED <= int(stated) <= highest:
        raise UsageError(
            f"{VARIABLE} is '{stated}'.", f"Set it to a number from {_FIRST_UNPRIVILEGED} to {highest}, or to nothing."
        )
    return int(stated)


def moved_along(port: int) -> int:
    """Where a customary port is when `LABCTL_FIRST_PORT` moves the servers'."""
    return port - _FIRST_PORT + first_port()


def node_host(lab_id: str, index: int) -> str:
    """Loopback address of the 1-based node `index`: 127.L.x.y, L from the lab's id so that labs rarely share one.

    Sharing one does no harm: labs differ in ports, and a link knows its sources only among its own lab's nodes.
    """
    return f"127.{_lab_number(lab_id)}.{index >> 8}.{index & 255}"


def client_hosts(lab_id: str, *, shared: bool = False) -> tuple[tuple[str, str], ...]:
    """Client groups and the addresses that they connect from. Whoever binds nothing comes from 127.0.0.1."""
    if shared:
        return (("clients", ANNOUNCED_HOST),)
    number = _lab_number(lab_id)
    return (("clients", ANNOUNCED_HOST), ("clients-a", f"127.{number}.255.1"), ("clients-b", f"127.{number}.255.2"))


SHARED_VARIABLE = "LABCTL_SHARED_ADDRESS"
"""Set, it makes all nodes share 127.0.0.1 even where they would not have to: how a lab on macOS behaves."""


def nodes_share_address(lab_id: str) -> bool:
    """Whether nodes cannot have loopback addresses of their own: 127.0.0.0/8 is all local on Linux, not on macOS."""
    if os.environ.get(SHARED_VARIABLE):
        return True
    with socket.socket() as probe:
        try:
            probe.bind((node_host(lab_id, 1), 0))
        except OSError:
            return True
    return False


def _lab_number(lab_id: str) -> int:
    return 1 + int(lab_id[:8], 16) % 254


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("", port))  # never listened on
        return True
    return False
