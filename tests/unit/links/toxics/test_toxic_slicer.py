"""The slicer toxic."""

import time
from collections.abc import Callable

import pytest

from labctl.links import LinkServer
from labctl.links.toxics.base import Stage
from tests.unit.links.peers import Net
from tests.unit.links.toxics.line import Line

Play = Callable[..., object]


class Recorder(Stage):
    """Notes the pieces that pass."""

    def __init__(self, behind: Stage) -> None:
        super().__init__(behind.pipe, behind.draw)
        self.next = behind.next
        self.pieces: list[bytes] = []

    def feed(self, data: bytes, at: float) -> None:
        self.pieces.append(data)
        self.next.feed(data, at)


def record(line: Line) -> Recorder:
    chain = line.connection.down.chain
    assert chain is not None
    stage = chain.stage_of(chain.keys()[0])
    assert stage is not None
    stage.next = recorder = Recorder(stage)
    return recorder


def test_pieces_have_the_stated_sizes_and_lose_nothing(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("slicer", average_size=64, size_variation=16)
        recorder = record(line)
        payload = bytes(range(256)) * 40
        await behind.send(payload)
        assert await client.recv(len(payload)) == payload
        assert all(48 <= len(piece) <= 80 for piece in recorder.pieces[:-1])
        assert len({len(piece) for piece in recorder.pieces}) > 5

    play(scenario)


def test_pieces_are_at_least_the_delay_apart(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("slicer", average_size=1, delay=10_000)
        began = time.monotonic()
        await behind.send(b"abcdef")
        assert await client.recv(6) == b"abcdef"
        assert time.monotonic() - began >= 0.050

    play(scenario)


@pytest.mark.parametrize(
    ("size", "variation", "delay"), [(0, 0, 0), (-1, -1, -1), (1, 2**63 - 1, 0), (0, 5, 0), (2**63 - 1, 2**63 - 1, 1)]
)
def test_absurd_parameters_still_pass_everything(play: Play, size: int, variation: int, delay: int) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("slicer", average_size=size, size_variation=variation, delay=delay)
        await behind.send(bytes(5000))
        behind.fin()
        assert await client.rest() == (bytes(5000), "fin")

    play(scenario)


def test_removing_it_sends_the_rest_at_once(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("slicer", average_size=1, delay=2**62)
        await behind.send(b"abcdef")
        behind.fin()
        assert await client.recv(1) == b"a"
        assert await client.is_silent()
        line.toxics.remove("slicer")
        assert await client.rest() == (b"bcdef", "fin")

    play(scenario)
