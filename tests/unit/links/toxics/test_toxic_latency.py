"""The latency toxic."""

import time
from collections.abc import Callable

import pytest

from labctl.links import LinkServer
from tests.unit.links.peers import Net
from tests.unit.links.toxics.line import Line

Play = Callable[..., object]
HOUR = 3_600_000


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_bytes_are_never_early_and_the_other_direction_is_not_delayed(play: Play, stream: str) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("latency", stream, latency=60)
        slow, fast = (client, behind) if stream == "upstream" else (behind, client)
        began = time.monotonic()
        await slow.send(b"late")
        assert await fast.recv(4) == b"late"
        assert time.monotonic() - began >= 0.060
        line.update("latency", latency=HOUR)
        await fast.send(b"prompt")
        assert await slow.recv(6) == b"prompt"

    play(scenario)


def test_chunks_wait_side_by_side_and_are_released_in_order(play: Play) -> None:
    """That is why latency costs no throughput: a chunk does not wait for the one before to arrive."""

    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("latency", latency=HOUR)
        for number in range(500):
            await behind.send(b"%03d" % number)
            await line.taken(3 * number + 3)
        assert await client.is_silent()
        line.toxics.remove("latency")
        assert await client.recv(1500) == b"".join(b"%03d" % number for number in range(500))

    play(scenario)


def test_jitter_never_reorders(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("latency", latency=10, jitter=10)
        for number in range(50):
            await behind.send(b"%02d" % number)
            await line.taken(2 * number + 2)
        assert await client.recv(100) == b"".join(b"%02d" % number for number in range(50))

    play(scenario)


def test_a_seed_gives_the_same_jitter_again(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> list[float]:
        line = Line(server, net)
        await line.connect()
        line.add("latency", latency=1000, jitter=500)
        chain = line.connection.down.chain
        assert chain is not None
        (toxic,) = chain.keys()
        stage = chain.stage_of(toxic)
        assert stage is not None
        return [stage.draw.random.random() for _ in range(5)]

    first, again, other = play(scenario, seed=7), play(scenario, seed=7), play(scenario, seed=8)
    assert first == again
    assert first != other


def test_what_is_held_is_bounded(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("latency", latency=HOUR)
        stage_limit = 32 * 1024 * 1024
        chunk = bytes(1 << 20)
        sent = 0
        behind.sock.setblocking(False)
        try:
            for _ in range(200):
                sent += behind.sock.send(chunk)
                await line.taken(min(sent, stage_limit))
        except BlockingIOError:
            pass
        taken = server.stats("link").downstream_received
        assert stage_limit <= taken < stage_limit + 512 * 1024
        line.toxics.remove("latency")
        assert await client.recv(sent) == bytes(sent)

    play(scenario)


def test_an_end_arrives_after_the_data_before_it(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("latency", latency=30)
        await behind.send(b"bye")
        behind.close()
        assert await client.rest() == (b"bye", "fin")

    play(scenario)


@pytest.mark.parametrize(("latency", "jitter"), [(-5, 0), (0, 0), (0, -3), (2**63 - 1, 2**63 - 1), (-(2**63), 1)])
def test_absurd_parameters_pass_bytes_or_hold_them_for_ever(play: Play, latency: int, jitter: int) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("latency", latency=latency, jitter=jitter)
        await behind.send(b"x")
        await line.taken(1)
        if latency > 0:
            assert await client.is_silent()
            line.toxics.remove("latency")
        assert await client.recv(1) == b"x"

    play(scenario)
