"""The toxics that end connections: slow_close, timeout, reset_peer, limit_data."""

import time
from collections.abc import Callable

import pytest

from labctl.links import LinkServer
from tests.unit.links.peers import Net, until
from tests.unit.links.toxics.line import Line

Play = Callable[..., object]
HOUR = 3_600_000


def test_slow_close_holds_back_the_end_only(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("slow_close", delay=50)
        began = time.monotonic()
        await behind.send(b"bye")
        behind.close()
        assert await client.rest() == (b"bye", "fin")
        assert time.monotonic() - began >= 0.050

    play(scenario)


def test_removing_slow_close_lets_a_waiting_end_go(play: Play) -> None:
    """Toxiproxy loses the end and keeps the connection for ever."""

    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("slow_close", delay=HOUR)
        behind.fin()
        assert await client.is_silent()
        line.toxics.remove("slow_close")
        assert await client.end() == "fin"

    play(scenario)


def test_timeout_drops_data_and_then_closes(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("timeout", timeout=50)
        began = time.monotonic()
        await behind.send(b"lost")
        assert await client.rest() == (b"", "fin")
        assert time.monotonic() - began >= 0.050
        await until(lambda: not server.stats("link").connections)

    play(scenario)


@pytest.mark.parametrize("timeout", [0, -1, 2**63 - 1])
def test_timeout_zero_never_closes_and_removing_it_does(play: Play, timeout: int) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("timeout", timeout=timeout)
        await behind.send(b"lost")
        assert await client.is_silent()
        line.toxics.remove("timeout")
        assert await client.rest() == (b"", "fin")
        await behind.rest()

    play(scenario)


def test_reset_peer_resets_both_ends_of_live_and_new_connections(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("reset_peer", timeout=0)
        assert await client.end() == "rst"
        assert await behind.end() == "rst"
        client, behind = await line.connect()
        assert await client.is_silent()
        await behind.send(b"x")
        assert await client.end() == "rst"
        assert await behind.end() == "rst"

    play(scenario)


def test_reset_peer_waits_for_its_time(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("reset_peer", timeout=HOUR)
        await behind.send(b"held")
        assert await client.is_silent()
        line.update("reset_peer", timeout=50)
        assert await client.rest() == (b"", "rst")
        line.update("reset_peer", timeout=60)
        client, behind = await line.connect()
        began = time.monotonic()
        await behind.send(b"held")
        assert await client.rest() == (b"", "rst")
        assert time.monotonic() - began >= 0.060

    play(scenario)


def test_reset_peer_removed_before_its_time_loses_nothing(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("reset_peer", timeout=HOUR)
        await behind.send(b"held")
        behind.fin()
        assert await client.is_silent()
        line.toxics.remove("reset_peer")
        assert await client.rest() == (b"held", "fin")

    play(scenario)


@pytest.mark.parametrize(("limit", "passes"), [(0, b""), (-9, b""), (1, b"0"), (4, b"0123"), (10, b"0123456789")])
def test_limit_data_passes_so_many_bytes_and_closes(play: Play, limit: int, passes: bytes) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("limit_data", bytes=limit)
        await behind.send(b"0123456789")
        assert await client.rest() == (passes, "fin")
        await until(lambda: not server.stats("link").connections)

    play(scenario)


def test_limit_data_counts_over_chunks_and_from_when_it_was_added(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        await behind.send(b"before")
        assert await client.recv(6) == b"before"
        line.add("limit_data", bytes=3)
        await behind.send(b"a")
        assert await client.recv(1) == b"a"
        line.update("limit_data", bytes=5)
        await behind.send(b"bcdefg")
        assert await client.rest() == (b"bcde", "fin")

    play(scenario)
