"""The bandwidth toxic."""

import time
from collections.abc import Callable

import pytest

from labctl.links import LinkServer
from tests.unit.links.peers import Net
from tests.unit.links.toxics.line import Line

Play = Callable[..., object]


def test_the_rate_is_never_exceeded(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("bandwidth", rate=1000)
        began = time.monotonic()
        await behind.send(bytes(100_000))
        assert len(await client.recv(100_000)) == 100_000
        assert time.monotonic() - began >= 0.1

    play(scenario)


@pytest.mark.parametrize("rate", [0, -1, -(2**63)])
def test_no_rate_lets_nothing_pass_until_it_is_raised_or_removed(play: Play, rate: int) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("bandwidth", rate=rate)
        await behind.send(b"stuck")
        await line.taken(5)
        assert await client.is_silent()
        line.update("bandwidth", rate=2**63 - 1)
        assert await client.recv(5) == b"stuck"
        line.update("bandwidth", rate=0)
        await behind.send(b"again")
        behind.fin()
        await line.taken(10)
        assert await client.is_silent()
        line.toxics.remove("bandwidth")
        assert await client.rest() == (b"again", "fin")

    play(scenario)


def test_a_full_line_stops_the_sender(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("bandwidth", rate=0)
        try:
            sent = 0
            for _ in range(1000):
                sent += behind.sock.send(bytes(1 << 16))
        except BlockingIOError:
            pass
        await line.taken(256 * 1024)
        assert server.stats("link").downstream_received < 512 * 1024
        line.toxics.remove("bandwidth")
        assert len(await client.recv(sent)) == sent

    play(scenario)


def test_an_end_without_data_passes_at_once(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("bandwidth", rate=0)
        behind.close()
        assert await client.end() == "fin"

    play(scenario)
