"""Toxics that lose nothing, and cuts that heal, change no byte and no order, whatever happens when."""

import asyncio
import hashlib
import random
from collections.abc import Callable

import pytest

from labctl.links import LinkServer, LinkState, ToxicSpec, UnknownToxicError
from labctl.links.toxics import TYPES, Attributes
from tests.unit.links.peers import Net, Peer
from tests.unit.links.toxics.line import Line

Play = Callable[..., object]


def harmless(rng: random.Random) -> Attributes:
    """A toxic that only delays or slices."""
    return rng.choice(
        [
            TYPES["latency"](latency=rng.randint(0, 5), jitter=rng.randint(0, 5)),
            TYPES["bandwidth"](rate=rng.choice([0, 500, 100_000])),
            TYPES["slicer"](
                average_size=rng.randint(1, 5000), size_variation=rng.randint(0, 50), delay=rng.randint(0, 9)
            ),
            TYPES["slow_close"](delay=rng.randint(0, 5)),
            TYPES["reset_peer"](timeout=10**9),
            TYPES["noop"](),
            TYPES["resp_delay"](command="NOTHING"),
        ]
    )


@pytest.mark.parametrize("seed", range(6))
def test_streams_survive_any_sequence_of_changes(play: Play, seed: int) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        rng = random.Random(seed)
        line = Line(server, net)
        pairs = [await line.connect() for _ in range(3)]
        done = asyncio.Event()

        async def send(peer: Peer) -> str:
            digest = hashlib.sha256()
            for _ in range(60):
                data = rng.randbytes(rng.choice([1, 10, 1000, 50_000]))
                digest.update(data)
                await peer.send(data)
                await asyncio.sleep(0)
            peer.fin()
            return digest.hexdigest()

        async def receive(peer: Peer) -> str:
            data, end = await peer.rest()
            assert end == "fin"
            return hashlib.sha256(data).hexdigest()

        async def disturb() -> None:
            while not done.is_set():
                name = f"{rng.randint(0, 4)}"
                stream = rng.choice(["upstream", "downstream"])
                try:
                    line.toxics.remove(name)
                except UnknownToxicError:
                    line.toxics.add(ToxicSpec(name, stream, harmless(rng), rng.choice([0.5, 1.0])))  # type: ignore[arg-type]
                server.set_state(["link"], rng.choice([LinkState.OPEN, LinkState.OPEN, LinkState.BLACKHOLE]))
                await asyncio.sleep(rng.choice([0, 0.001, 0.003]))

        disturbing = asyncio.create_task(disturb())
        sending = [asyncio.create_task(send(peer)) for pair in pairs for peer in pair]
        receiving = [asyncio.create_task(receive(peer)) for near, far in pairs for peer in (far, near)]
        await asyncio.gather(*sending)
        done.set()
        await disturbing
        server.reset()
        sent = await asyncio.gather(*sending)
        assert await asyncio.gather(*receiving) == sent

    play(scenario)
