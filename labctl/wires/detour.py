"""Packets that a fault is about leave the kernel: a TUN device takes them, the agent sends them on, or not.

In the sender's namespace a route to the receiver's address leads into the device, and nothing else does: packets to anybody
else, and those of the other direction, go by the wire as before. What is to go on goes out at the sender's own interface,
addressed to the receiver's. So `tc netem`, which few kernels of small virtual machines have, is not needed, nor a rule of a
packet filter; and the device, with all its routes, is the kernel's to remove the moment that the agent dies.
"""

from __future__ import annotations

import asyncio
import fcntl
import heapq
import os
import socket
import struct
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from labctl.errors import CapabilityError
from labctl.wires.bridge import INTERFACE, ip, routes
from labctl.wires.impair import Impairments

if TYPE_CHECKING:
    from labctl.wires.bridge import Plug
    from labctl.wires.namespaces import Namespaces

DEVICE = "detour"
_TUN = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_ETH_P_IP = 0x0800
_LONGEST_PACKET = 65_536
_BATCH = 64
"""Packets taken in one turn at most: fairness towards the links, which the same loop carries."""
_MOST_HELD = 20_000
"""Packets under way on one detour; beyond it the youngest are lost, as in a queue that is full."""


class Detour:
    """The packets of one sender that faults are about.

    Args:
        namespaces: Of the lab.
        sender: Whose packets.
        plug: Its own end of the wire.
    """

    def __init__(self, namespaces: Namespaces, sender: str, plug: Plug) -> None:
        self._namespaces = namespaces
        self._sender = sender
        self._plug = plug
        self._ways: dict[bytes, tuple[bytes, Impairments]] = {}
        self._queue: list[tuple[float, int, bytes, bytes]] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._device: int | None = None
        self._out: socket.socket | None = None

    def divert(self, to: Plug, impairments: Impairments) -> None:
        """Take packets to `to` on the detour, or treat those that take it differently; in force when this returns.

        Raises:
            CapabilityError: The kernel does not allow it.
        """
        key = socket.inet_aton(to.address)
        known = key in self._ways
        self._ways[key] = bytes.fromhex(to.mac.replace(":", "")), impairments
        if known:
            return
        try:
            if self._device is None:
                self._open()
            ip(self._namespaces, self._sender, [f"route add {to.address}/32 dev {DEVICE} src {self._plug.address}"])
        except BaseException:
            del self._ways[key]
            self._close_if_idle()
            raise

    def clear(self, to: Plug) -> None:
        """Packets to `to` go by the wire again; those that were held back go on now."""
        key = socket.inet_aton(to.address)
        if self._ways.pop(key, None) is None:
            return
        with suppress(CapabilityError):  # no such route: it is gone already
            ip(self._namespaces, self._sender, [f"route del {to.address}/32 dev {DEVICE}"])
        mac = bytes.fromhex(to.mac.replace(":", ""))
        held = sorted(entry for entry in self._queue if entry[2] == mac)
        self._queue = [entry for entry in self._queue if entry[2] != mac]
        heapq.heapify(self._queue)
        for _, _, _, packet in held:
            self._send(mac, packet)
        self._close_if_idle()

    def impairments(self, to: Plug) -> Impairments | None:
        """What packets to `to` meet."""
        way = self._ways.get(socket.inet_aton(to.address))
        return way[1] if way else None

    def close(self) -> None:
        """Remove the device and every route into it."""
        self._ways.clear()
        self._close_if_idle()

    def _open(self) -> None:
        try:
            self._device, self._out = self._namespaces.run(self._sender, device)
        except OSError as error:
            raise CapabilityError(
                f"{_TUN} cannot be used: {error.strerror}.",
                "Faults on packets need CONFIG_TUN, and a user who may open the device (chmod 666, as most systems have it).",
            ) from error
        ip(self._namespaces, self._sender, [f"link set {DEVICE} up"])
        asyncio.get_running_loop().add_reader(self._device, self._take)

    def _close_if_idle(self) -> None:
        if self._ways or self._device is None or self._out is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._queue.clear()
        asyncio.get_running_loop().remove_reader(self._device)
        os.close(self._device)
        self._out.close()
        self._device = self._out = None

    def _take(self) -> None:
        """Take what the kernel has for the device."""
        if self._device is None:
            return
        now = time.monotonic()
        for _ in range(_BATCH):
            try:
                packet = os.read(self._device, _LONGEST_PACKET)
            except OSError:  # no more for now
                break
            key = packet[16:20]
            way = self._ways.get(key)
            if way is None:  # what the kernel itself says on the device, or the last packet of a way that is no more
                continue
            for at, each in way[1].take(packet, now):
                if at <= now:
                    self._send(way[0], each)
                elif len(self._queue) < _MOST_HELD:
                    self._number += 1
                    heapq.heappush(self._queue, (at, self._number, way[0], each))
        self._schedule()

    def _send_due(self) -> None:
        self._timer = None
        now = time.monotonic()
        while self._queue and self._queue[0][0] <= now:
            _, _, mac, packet = heapq.heappop(self._queue)
            self._send(mac, packet)
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._queue:
            delay = max(0.0, self._queue[0][0] - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._send_due)

    def _send(self, mac: bytes, packet: bytes) -> None:
        assert self._out is not None
        with suppress(BlockingIOError, OSError):  # no room in the interface's queue: lost, as on any wire
            self._out.sendto(packet, (INTERFACE, _ETH_P_IP, 0, 0, mac))


class Detours:
    """All detours of a lab, by sender.

    Args:
        namespaces: Of the lab.
        parties: Every party and its end of a wire.
    """

    def __init__(self, namespaces: Namespaces, parties: Mapping[str, Plug]) -> None:
        self._namespaces = namespaces
        self._parties = parties
        self._of: dict[str, Detour] = {}

    def impair(self, sender: str, receiver: str, impairments: Impairments) -> None:
        """Impair packets from one to the other; without an impairment they go by the wire."""
        detour = self._of.get(sender)
        if detour is None:
            detour = self._of[sender] = Detour(self._namespaces, sender, self._parties[sender])
        if impairments.stages:
            detour.divert(self._parties[receiver], impairments)
        else:
            detour.clear(self._parties[receiver])

    def impairments(self, sender: str, receiver: str) -> Impairments | None:
        """What packets from one to the other meet."""
        detour = self._of.get(sender)
        return detour.impairments(self._parties[receiver]) if detour else None

    def standing(self, senders: Collection[str]) -> set[tuple[str, str]]:
        """Pairs of sender and receiver on a detour, as the kernel's own routes say."""
        names = {plug.address: name for name, plug in self._parties.items()}
        return {
            (sender, names[found])
            for sender in senders
            for found in routes(self._namespaces, sender, DEVICE)
            if found in names
        }

    def close(self) -> None:
        """Remove all."""
        for detour in self._of.values():
            detour.close()
        self._of.clear()


def device() -> tuple[int, socket.socket]:
    """A TUN device, and a socket that sends whole IP packets, of the namespace that the calling thread is in."""
    opened = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(opened, _TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), _IFF_TUN_NO_PI))
        out = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    except BaseException:
        os.close(opened)
        raise
    out.setblocking(False)
    return opened, out
