"""Ports that are free, and addresses of nodes and client groups."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.agent.ports import VARIABLE, client_hosts, first_port, free_ports, node_host
from labctl.errors import UsageError
from labctl.model.topology import Kind, Topology

SENTINEL = Topology("s", Kind.SENTINEL, replicas=2, sentinels=3)
CLUSTER = Topology("c", Kind.CLUSTER, primaries=3, replicas=1)
LAB_ID = st.text("0123456789abcdef", min_size=32, max_size=32)


def test_they_are_where_people_look_for_them() -> None:
    data, sentinels = free_ports(SENTINEL)[:3], free_ports(SENTINEL)[3:]
    assert all(first_port() <= port < first_port() + 10_000 for port in data)
    assert all(first_port() + 19_000 <= port for port in sentinels)
    assert len({*data, *sentinels}) == 6
    assert len(set(free_ports(CLUSTER))) == 12


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9"])
def test_taken_and_avoided_ones_are_skipped(address: str) -> None:
    """On whatever loopback address they are taken."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for taken, avoided, *_ in iter(lambda: free_ports(CLUSTER), None):
            try:
                held.bind((address, taken))
            except OSError:
                continue  # somebody else was quicker; another one then
            held.listen()
            assert not {taken, avoided} & set(free_ports(CLUSTER, frozenset({avoided})))
            break


def test_the_first_port_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "12000")
    assert all(12_000 <= port < 12_500 for port in free_ports(SENTINEL)[:3])
    for wrong in ("", "80", "65000", "-1", "port"):
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(UsageError, match=VARIABLE):
            free_ports(SENTINEL)


@given(LAB_ID)
def test_every_node_and_group_has_a_loopback_address_of_its_own(lab_id: str) -> None:
    hosts = [node_host(lab_id, index) for index in range(1, 601)]
    groups = dict(client_hosts(lab_id))
    every = [*hosts, *groups.values()]
    assert len(set(every)) == len(every)
    assert all(ip_address(host).is_loopback and ip_address(host) != ip_address("127.255.255.255") for host in every)
    assert groups["clients"] == "127.0.0.1", "whoever binds no address is of this group"
    assert not any(ip_address(host) in (ip_address("127.0.0.0"), ip_address("127.0.0.1")) for host in hosts)
