"""Topology → nodes with names, roles, addresses and ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from labctl.model.plan import Containers, Formation, LabPlan, Net, NodePlan, RuntimeName
from labctl.model.slots import SLOTS
from labctl.model.topology import Kind, Role, Topology


def ports_needed(topology: Topology) -> int:
    """How many free ports `layout` wants: one a node, and a second one a node in a Cluster (the bus)."""
    return topology.nodes * (2 if topology.kind is Kind.CLUSTER else 1)


def slot_range(shard: int, primaries: int) -> tuple[int, int]:
    """First and last slot of a 1-based shard: contiguous ranges whose sizes differ by at most one."""
    return (shard - 1) * SLOTS // primaries, shard * SLOTS // primaries - 1


def layout(
    topology: Topology,
    *,
    lab: str,
    lab_id: str,
    engine: str,
    engine_name: str,
    hosts: Callable[[int], str],
    ports: Sequence[int],
    client_hosts: tuple[tuple[str, str], ...],
    rng: Random,
    formation: Formation = Formation.SEEDED,
    runtime: RuntimeName = RuntimeName.PROCESS,
    client_ports: tuple[tuple[str, tuple[int, ...]], ...] = (),
    own_ports: Sequence[int] = (),
    net: Net = Net.LOOPBACK,
    containers: Containers | None = None,
) -> LabPlan:
    """Plan every node of a lab.

    Data nodes come first, all primaries before all replicas; `redis-1` is the first primary. Replicas are dealt out
    to the primaries in turn, so that `redis-(P+1)` replicates `redis-1`.

    Args:
        topology: As declared.
        lab: The lab's name.
        lab_id: 32 hex digits.
        engine: Path of the server binary.
        engine_name: Such as `redis 7.0.15`; decides the few differences between versions (`plan.versions`).
        hosts: 1-based index of a node → the address that it listens on.
        ports: At least `ports_needed(topology)` distinct ports; the client ports first, then the bus ports.
        client_hosts: Client group → source address.
        rng: Source of the node ids of a seeded lab. In a natural one the servers make their own, and `node_id` is
            empty.
        formation: How the lab will be formed.
        runtime: Where the servers will run.
        client_ports: Client group → its own port for each node, where it has ports of its own.
        net: What servers will talk over.
        own_ports: Ports that servers listen on, in the order of `ports`, where those are not the announced ones.
        containers: What the servers' containers will be made of, where they run in some.
    """
    assert len(ports) >= ports_needed(topology), "ports_needed() says how many"
    assert not own_ports or len(own_ports) >= ports_needed(topology), "as many as ports"
    cluster = topology.kind is Kind.CLUSTER

    def own(index: int) -> tuple[int, int] | None:
        return (
            (own_ports[index - 1], own_ports[topology.nodes + index - 1 if cluster else index - 1])
            if own_ports
            else None
        )

    def node(index: int, name: str, role: Role, shard: int) -> NodePlan:
        has_id = formation is Formation.SEEDED and (cluster or role is Role.SENTINEL)
        return NodePlan(
            name=name,
            role=role,
            shard=shard,
            primary=f"redis-{shard}" if role is Role.REPLICA else None,
            port=ports[index - 1],
            bus_port=ports[topology.nodes + index - 1] if cluster else None,
            host=hosts(index),
            node_id=f"{rng.getrandbits(160):040x}" if has_id else "",
            slots=slot_range(shard, topology.primaries) if cluster and role is Role.PRIMARY else None,
            own_ports=own(index),
        )

    nodes = []
    for index in range(1, topology.data_nodes + 1):
        role = Role.PRIMARY if index <= topology.primaries else Role.REPLICA
        nodes.append(node(index, f"redis-{index}", role, (index - 1) % topology.primaries + 1))
    nodes += [
        node(topology.data_nodes + number, f"sentinel-{number}", Role.SENTINEL, 0)
        for number in range(1, topology.sentinels + 1)
    ]
    return LabPlan(
        lab=lab,
        lab_id=lab_id,
        topology=topology,
        engine=engine,
        engine_name=engine_name,
        nodes=tuple(nodes),
        client_hosts=client_hosts,
        formation=formation,
        runtime=runtime,
        client_ports=client_ports,
        net=net,
        containers=containers,
    )
