"""What all toxics have in common: toxicity, order, updates, time to live, and links that are cut meanwhile."""

from collections.abc import Callable

import pytest

from labctl.links import LinkServer, LinkState, ProxySpec, ToxicExistsError, ToxicSpec, UnknownToxicError
from labctl.links.toxics.latency import Latency
from labctl.links.toxics.limit_data import LimitData
from tests.unit.links.peers import ANY, Net, until
from tests.unit.links.toxics.line import Line

Play = Callable[..., object]
HOUR = 3_600_000


def affected(line: Line) -> set[int]:
    """Ordinals of the connections that a downstream toxic is on."""
    return {c.ordinal for c in line.server.get("link").connections if c.down.chain is not None}


def test_toxicity_is_a_share_of_connections_drawn_once_for_each(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> list[set[int]]:
        line = Line(server, net)
        for _ in range(40):
            await line.connect()
        line.add("latency", toxicity=0.5, latency=1)
        half = affected(line)
        assert 5 < len(half) < 35
        line.update("latency", latency=2)
        assert affected(line) == half
        line.toxics.update("latency", toxicity=0.8)
        more = affected(line)
        assert half < more
        line.toxics.update("latency", toxicity=0.5)
        assert affected(line) == half
        line.toxics.update("latency", toxicity=0.0)
        assert affected(line) == set()
        line.toxics.update("latency", toxicity=1.0)
        assert len(affected(line)) == 40
        return [half, more]

    assert play(scenario, seed=1) == play(scenario, seed=1)
    assert play(scenario, seed=1) != play(scenario, seed=2)


def test_toxics_act_in_the_order_in_which_they_were_added(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        before = await line.connect()
        line.add("latency", latency=1)
        line.add("bandwidth", "upstream", rate=1)
        line.add("slicer", average_size=2)
        line.add("limit_data", bytes=3)
        await line.connect()
        for connection in server.get("link").connections:
            assert connection.down.chain is not None
            names = [key.spec.name for key in connection.down.chain.keys()]  # noqa: SIM118 - not a dict
            assert names == ["latency", "slicer", "limit_data"]
        assert [spec.name for spec in line.toxics.specs()] == ["bandwidth", "latency", "slicer", "limit_data"]
        client, behind = before
        await behind.send(b"abcdef")
        assert (await client.rest())[0] == b"abc"

    play(scenario)


def test_a_toxic_that_comes_back_by_toxicity_takes_its_old_place(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        await line.connect()
        line.add("latency", latency=1)
        line.add("slicer", average_size=2)
        line.toxics.update("latency", toxicity=0.0)
        line.toxics.update("latency", toxicity=1.0)
        chain = line.connection.down.chain
        assert chain is not None
        assert [key.spec.name for key in chain.keys()] == ["latency", "slicer"]  # noqa: SIM118 - not a dict

    play(scenario)


def test_removing_the_last_toxic_returns_to_the_direct_path(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("latency", latency=HOUR)
        line.add("bandwidth", rate=0)
        await behind.send(b"one")
        await line.taken(3)
        line.toxics.remove("latency")
        assert await client.is_silent()
        line.toxics.remove("bandwidth")
        assert line.connection.down.chain is None
        await behind.send(b"two")
        assert await client.recv(6) == b"onetwo"

    play(scenario)


def test_a_toxic_goes_when_its_time_to_live_is_over(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.toxics.add(ToxicSpec("brief", "downstream", Latency(HOUR), ttl_ms=30))
        await behind.send(b"x")
        assert await client.recv(1) == b"x"
        assert line.toxics.specs() == []

    play(scenario)


def test_a_toxic_that_is_removed_in_time_takes_its_expiry_along(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        line.toxics.add(ToxicSpec("toxic", "downstream", Latency(1), ttl_ms=20))
        line.toxics.remove("toxic")
        line.toxics.add(ToxicSpec("toxic", "downstream", Latency(2)))
        line.toxics.add(ToxicSpec("later", "downstream", Latency(2), ttl_ms=60))
        await until(lambda: len(line.toxics) == 1)
        assert line.toxics.get("toxic").attributes == Latency(2)

    play(scenario)


def test_a_black_hole_also_stalls_what_toxics_release(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        client, behind = await line.connect()
        line.add("latency", latency=HOUR)
        await behind.send(b"late")
        behind.fin()
        await line.taken(4)
        server.set_state(["link"], LinkState.BLACKHOLE)
        line.toxics.remove("latency")
        assert await client.is_silent()
        server.set_state(["link"], LinkState.OPEN)
        assert await client.rest() == (b"late", "fin")

    play(scenario)


def test_reset_opens_every_link_and_removes_every_toxic(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        server.add(ProxySpec("down", ANY, line.upstream.address, enabled=False))
        line.add("latency", latency=HOUR)
        server.set_state(["link"], LinkState.BLACKHOLE)
        server.reset()
        assert set(server.states().values()) == {LinkState.OPEN}
        assert len(line.toxics) == 0
        client, behind = await line.connect()
        await behind.send(b"x")
        assert await client.recv(1) == b"x"

    play(scenario)


def test_names_are_unique_and_unknown_ones_are_named(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        line = Line(server, net)
        line.add("latency")
        with pytest.raises(ToxicExistsError, match="latency"):
            line.add("latency", "upstream")
        with pytest.raises(UnknownToxicError, match="nothing"):
            line.toxics.update("nothing", attributes=LimitData(1))
        with pytest.raises(UnknownToxicError, match="nothing"):
            line.toxics.remove("nothing")

    play(scenario)
