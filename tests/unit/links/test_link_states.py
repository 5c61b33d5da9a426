"""Open, refused and black-holed links, and which proxy of a shared listener carries a connection."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from labctl.links import (
    Address,
    AddressError,
    LinkServer,
    LinkState,
    ListenError,
    ProxyExistsError,
    ProxySpec,
    UnknownProxyError,
)
from labctl.links.connection import Connection
from tests.unit.links.peers import ANY, Net, Upstream, until

Play = Callable[..., object]


def link(server: LinkServer, net: Net) -> tuple[Address, Upstream]:
    upstream = net.upstream()
    return server.add(ProxySpec("link", ANY, upstream.address)).listen, upstream


def test_bytes_pass_both_ways_and_are_counted(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        address, upstream = link(server, net)
        client = net.dial(address)
        behind = await upstream.accept()
        await client.send(b"question")
        assert await behind.recv(8) == b"question"
        await behind.send(b"the answer")
        assert await client.recv(10) == b"the answer"
        stats = server.stats("link")
        assert (stats.connections, stats.held, stats.accepted, stats.refused, stats.failed) == (1, 0, 1, 0, 0)
        assert (stats.upstream_received, stats.upstream_sent) == (8, 8)
        assert (stats.downstream_received, stats.downstream_sent) == (10, 10)
        client.close()
        assert await behind.end() == "fin"
        behind.close()
        await until(lambda: not server.stats("link").connections)
        assert server.stats("link").downstream_sent == 10

    play(scenario)


def test_half_close_is_passed_on_in_either_direction(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        address, upstream = link(server, net)
        client = net.dial(address)
        behind = await upstream.accept()
        await client.send(b"last words")
        client.fin()
        assert await behind.rest() == (b"last words", "fin")
        await behind.send(b"still heard")
        behind.fin()
        assert await client.rest() == (b"still heard", "fin")
        await until(lambda: not server.stats("link").connections)

    play(scenario)


def test_a_client_that_asks_and_half_closes_at_once_is_answered(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        address, upstream = link(server, net)
        client = net.dial(address)
        await client.send(b"PING\r\n")
        client.fin()
        behind = await upstream.accept()
        assert await behind.rest() == (b"PING\r\n", "fin")
        await behind.send(b"+PONG\r\n")
        assert await client.recv(7) == b"+PONG\r\n"

    play(scenario)


def test_a_slow_reader_stops_the_sender_and_loses_nothing(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        address, upstream = link(server, net)
        client = net.dial(address)
        behind = await upstream.accept()
        payload = bytes(range(256)) * 4096 * 32  # 32 MiB, far beyond what kernel buffers hold
        sending = asyncio.create_task(behind.send(payload))
        before = -1
        while server.stats("link").downstream_received != before:  # until back-pressure has stopped it
            before = server.stats("link").downstream_received
            await asyncio.sleep(0.1)
        assert before < len(payload)
        pipe = next(iter(server.get("link").connections)).down
        assert 0 < pipe.pending_bytes <= 256 * 1024
        assert await client.recv(len(payload)) == payload
        await sending

    play(scenario)


def test_a_dead_upstream_resets_the_client(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        with socket.socket() as bound:  # bound without listening: connecting to it is refused
            bound.bind(("127.0.0.1", 0))
            dead = Address("127.0.0.1", bound.getsockname()[1])
            client = net.dial(server.add(ProxySpec("link", ANY, dead)).listen)
            assert await client.end() == "rst"
            assert server.stats("link").failed == 1

    play(scenario)


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_a_reset_is_passed_on(play: Play, who: str) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        address, upstream = link(server, net)
        client = net.dial(address)
        behind = await upstream.accept()
        one, other = (client, behind) if who == "client" else (behind, client)
        one.reset()
        assert await other.end() == "rst"
        await until(lambda: not server.stats("link").connections)

    play(scenario)


def test_refused_resets_live_connections_and_the_kernel_refuses_new_ones(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        address, upstream = link(server, net)
        client = net.dial(address)
        behind = await upstream.accept()
        assert server.set_state(["link"], LinkState.REFUSED) == 1
        assert server.stats("link").connections == 0
        assert await client.end() == "rst"
        assert await behind.end() == "rst"
        with pytest.raises(ConnectionRefusedError):
            net.dial(address)
        assert server.set_state(["link"], LinkState.OPEN) == 1
        net.dial(address)
        await upstream.accept()

    play(scenario)


def test_a_refused_port_stays_reserved(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        address, _ = link(server, net)
        server.set_state(["link"], LinkState.REFUSED)
        with socket.socket() as thief, pytest.raises(OSError, match="in use"):
            thief.bind((address.host, address.port))

    play(scenario)


def test_a_black_hole_stalls_what_is_there_and_heals_without_loss(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        address, upstream = link(server, net)
        client = net.dial(address)
        behind = await upstream.accept()
        server.set_state(["link"], LinkState.BLACKHOLE)
        await client.send(b"into the void")
        await behind.send(b"and back")
        assert await behind.is_silent()
        assert await client.is_silent()
        assert server.stats("link").connections == 1
        server.set_state(["link"], LinkState.OPEN)
        assert await behind.recv(13) == b"into the void"
        assert await client.recv(8) == b"and back"

    play(scenario)


def test_a_black_hole_holds_new_connections_until_it_heals(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        address, upstream = link(server, net)
        server.set_state(["link"], LinkState.BLACKHOLE)
        client = net.dial(address)
        await client.send(b"hello?")
        assert await client.is_silent()
        assert await upstream.nobody_comes()
        assert server.stats("link").held == 1
        server.set_state(["link"], LinkState.OPEN)
        behind = await upstream.accept()
        assert await behind.recv(6) == b"hello?"

    play(scenario)


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_an_end_during_a_black_hole_arrives_after_it(play: Play, how: str) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        address, upstream = link(server, net)
        client = net.dial(address)
        behind = await upstream.accept()
        server.set_state(["link"], LinkState.BLACKHOLE)
        await client.send(b"bye")
        client.close() if how == "fin" else client.reset()
        assert await behind.is_silent()
        server.set_state(["link"], LinkState.OPEN)
        data, end = await behind.rest()
        assert end == how
        assert how == "rst" or data == b"bye"

    play(scenario)


def test_a_black_hole_that_becomes_refused_resets_what_it_held(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        address, _ = link(server, net)
        server.set_state(["link"], LinkState.BLACKHOLE)
        client = net.dial(address)
        await until(lambda: server.stats("link").held == 1)
        server.set_state(["link"], LinkState.REFUSED)
        assert await client.end() == "rst"

    play(scenario)


@pytest.mark.parametrize("play", ["uvloop-epoll", "asyncio-epoll"], indirect=True)
def test_what_a_client_sent_before_it_gave_up_on_a_black_hole_is_never_delivered(play: Play) -> None:
    """Its connection would never have come to be. Needs the hang-up notice of epoll."""

    async def scenario(server: LinkServer, net: Net) -> None:
        address, upstream = link(server, net)
        server.set_state(["link"], LinkState.BLACKHOLE)
        client = net.dial(address)
        await client.send(b"SET k v\r\n")
        client.close()
        await until(lambda: server.stats("link").accepted == 1 and not server.stats("link").connections)
        server.set_state(["link"], LinkState.OPEN)
        second = net.dial(address)
        await second.send(b"x")
        behind = await upstream.accept()
        assert await behind.recv(1) == b"x"

    play(scenario)


def test_proxies_of_one_listener_are_told_apart_by_the_peer(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        one, two, rest = net.upstream(), net.upstream(), net.upstream()
        address = server.add(ProxySpec("one", ANY, one.address, source="127.0.0.2")).listen
        server.add_many(
            [ProxySpec("two", address, two.address, source="127.0.0.3"), ProxySpec("rest", address, rest.address)]
        )
        for source, expected in (("127.0.0.2", one), ("127.0.0.3", two), ("127.0.0.1", rest), ("127.0.0.9", rest)):
            client = net.dial(address, source)
            await client.send(source.encode())
            assert await (await expected.accept()).recv(9) == source.encode()
        server.set_state(["two"], LinkState.REFUSED)
        assert await net.dial(address, "127.0.0.3").end() == "rst"
        assert server.stats("two").refused == 1
        net.dial(address, "127.0.0.2")
        await one.accept()

    play(scenario)


def test_a_peer_that_no_proxy_names_is_reset(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        address = server.add(ProxySpec("link", ANY, net.upstream().address, source="127.0.0.2")).listen
        assert await net.dial(address, "127.0.0.4").end() == "rst"

    play(scenario)


def test_states_are_set_by_predicate_and_unknown_names_change_nothing(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        to = net.upstream().address
        server.add_many(ProxySpec(f"{a}.to.{b}", ANY, to) for a in "abc" for b in "abc" if a != b)
        assert server.set_state(lambda spec: spec.name.startswith("a."), LinkState.BLACKHOLE) == 2
        with pytest.raises(UnknownProxyError, match="nobody"):
            server.set_state(["b.to.a", "nobody"], LinkState.REFUSED)
        assert server.states()["b.to.a"] is LinkState.OPEN
        assert server.states()["a.to.c"] is LinkState.BLACKHOLE

    play(scenario)


def test_errors_of_adding_name_the_address_and_leave_nothing_behind(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        taken = net.upstream().address
        good = ProxySpec("good", ANY, ANY)
        with pytest.raises(ListenError, match=f"127.0.0.1:{taken.port}.*in use"):
            server.add_many([good, ProxySpec("bad", taken, ANY)])
        assert len(server) == 0
        # One that starts refused does not need the port yet, as with Toxiproxy.
        server.add(ProxySpec("later", taken, ANY, enabled=False))
        with pytest.raises(ListenError, match=str(taken.port)):
            server.set_state(["later"], LinkState.OPEN)
        kept = server.add(good)
        with pytest.raises(ProxyExistsError, match="good"):
            server.add(good)
        with pytest.raises(ProxyExistsError, match="every other source"):
            server.add(ProxySpec("twin", kept.listen, ANY))
        with pytest.raises(AddressError, match="loopback"):
            server.add(ProxySpec("wide", Address("0.0.0.0", 0), ANY))

    play(scenario)


def test_a_removed_proxy_resets_its_connections_and_frees_its_port(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        address, upstream = link(server, net)
        client = net.dial(address)
        await upstream.accept()
        server.remove("link")
        assert await client.end() == "rst"
        with socket.create_server((address.host, address.port)):
            pass

    play(scenario)


def test_a_moved_proxy_listens_at_the_new_address_only(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        address, _ = link(server, net)
        other = net.upstream()
        moved = server.replace("link", listen=ANY, upstream=other.address)
        assert moved.listen != address
        with pytest.raises(ConnectionRefusedError):
            net.dial(address)
        net.dial(moved.listen)
        await other.accept()
        with pytest.raises(ListenError):
            server.replace("link", listen=other.address)
        net.dial(moved.listen)
        await other.accept()

    play(scenario)


def test_an_upstream_may_be_a_name(play: Play) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        upstream = net.upstream()
        named = server.add(ProxySpec("named", ANY, Address("localhost", upstream.address.port)))
        net.dial(named.listen)
        await upstream.accept()
        bad = server.add(ProxySpec("bad", ANY, Address("no-such-host.invalid", 1)))
        assert await net.dial(bad.listen).end() == "rst"

    play(scenario)


def test_a_bug_in_one_connection_closes_that_connection_only(
    play: Play, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(server: LinkServer, net: Net) -> None:
        address, upstream = link(server, net)
        client = net.dial(address)
        behind = await upstream.accept()
        second = net.dial(address)
        behind_second = await upstream.accept()

        class Broken:
            def feed(self, _: bytes) -> None:
                raise ZeroDivisionError

            def close(self) -> None:
                raise ZeroDivisionError

        first = next(c for c in server.get("link").connections if c.client.getpeername() == client.sock.getsockname())
        monkeypatch.setattr(first.up, "chain", Broken())
        await client.send(b"x")
        assert await client.end() == "rst"
        assert await behind.end() == "rst"
        await second.send(b"y")
        assert await behind_second.recv(1) == b"y"
        assert "ZeroDivisionError" in caplog.text

    play(scenario)


@pytest.mark.parametrize("text", ["", "1", "host", "::1:80", "h:-1", "h:65536", "h:x", "h:٣", "a b:1", "a\n:1"])
def test_what_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        Address.parse(text)


def test_addresses_read_and_print_alike() -> None:
    for text in ("127.0.0.1:80", "[::1]:80", "redis:6379", ":80"):
        assert str(Address.parse(text)) == text


def test_a_connection_that_meets_itself_is_no_upstream(play: Play) -> None:
    """TCP's simultaneous open: connecting to a free port from that very port succeeds, and echoes."""

    async def scenario(server: LinkServer, net: Net) -> None:
        with socket.socket() as own:
            own.bind(("127.0.0.1", 0))
            own.connect(own.getsockname())
            _, upstream = link(server, net)
            client = net.dial(upstream.address)
            held = Connection(server.get("link"), server._poller, (await upstream.accept()).sock, 0)
            held._connected(own)
            assert not held.established
            assert await client.end() == "rst"

    play(scenario)
