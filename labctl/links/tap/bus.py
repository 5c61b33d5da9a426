"""What Cluster nodes tell each other on the bus.

A message is a binary header, the same in Redis 4 to 8 and Valkey, and data that depends on its type (`cluster_legacy.h`,
`clusterMsg`). Valkey also sends messages with a short header, for Pub/Sub only; those are passed over.

PING and PONG come all the time. Of them only changes are told: of what their sender says of itself (role, config epoch), and
of whom it holds for failing in its gossip.
"""

from __future__ import annotations

import struct
from typing import Final

from labctl.links.tap.interest import New, Say
from labctl.model.message import Topic

_START: Final = struct.Struct(">4sIHHHH")
_SIGNATURE: Final = b"RCmb"
_EPOCHS: Final = struct.Struct(">QQ")
_HEADER: Final = 2256
_SENDER, _PRIMARY, _FLAGS, _MANUAL = 40, 2128, 2250, 2253
_ID = 40
_GOSSIP, _GOSSIP_FLAGS = 104, 98
_LONGEST = 16 * 1024 * 1024
_LIGHT = 0x8000

_PING, _PONG, _MEET, _FAIL, _AUTH_REQUEST, _AUTH_ACK, _UPDATE, _MFSTART = 0, 1, 2, 3, 5, 6, 7, 8
_IS_PRIMARY, _PFAIL, _HAS_FAILED = 1, 4, 8
_FORCED = 2


class BusEar:
    """Both directions alike: a node answers on a connection in the same form as it speaks on its own."""

    def __init__(self, say: Say, new: New) -> None:
        self._say = say
        self._new = new
        self._buffer = bytearray()

    def read(self, chunk: bytes) -> None:
        """Take the next bytes. Joined in the middle of a message, it waits for one that begins with a chunk."""
        if not self._buffer and chunk[: len(_SIGNATURE)] != _SIGNATURE[: len(chunk)]:
            return
        self._buffer += chunk
        at = 0
        while len(self._buffer) - at >= _START.size:
            signature, length, _, _, kind, count = _START.unpack_from(self._buffer, at)
            if signature != _SIGNATURE or not _START.size <= length <= _LONGEST:
                self._buffer.clear()
                return
            if len(self._buffer) - at < length:
                break
            if length >= _HEADER and not kind & _LIGHT:
                self._message(kind, count, memoryview(self._buffer)[at : at + length].toreadonly())
            at += length
        del self._buffer[:at]

    def _message(self, kind: int, count: int, data: memoryview) -> None:
        current, config = _EPOCHS.unpack_from(data, 16)
        match kind:
            case k if k in (_PING, _PONG, _MEET):
                if k == _MEET:
                    self._say(Topic.CLAIM, "MEET")
                self._of_itself(data, config)
                self._gossip(data, count)
            case k if k == _FAIL:
                self._say(Topic.FAIL, f"FAIL: {_id(data, _HEADER)} has failed")
            case k if k == _AUTH_REQUEST:
                forced = ", forced" if data[_MANUAL] & _FORCED else ""
                self._say(Topic.ELECTION, f"FAILOVER_AUTH_REQUEST: vote for me in epoch {current}{forced}")
            case k if k == _AUTH_ACK:
                self._say(Topic.ELECTION, f"FAILOVER_AUTH_ACK: you have my vote in epoch {current}")
            case k if k == _UPDATE:
                (epoch,) = struct.unpack_from(">Q", data, _HEADER)
                self._say(Topic.CLAIM, f"UPDATE: {_id(data, _HEADER + 8)} has your slots, epoch {epoch}")
            case k if k == _MFSTART:
                self._say(Topic.ELECTION, "MFSTART: pause your clients, I take over")
            case _:
                pass

    def _of_itself(self, data: memoryview, config: int) -> None:
        (flags,) = struct.unpack_from(">H", data, _FLAGS)
        if flags & _IS_PRIMARY:
            if self._new("self", ("primary", config)):
                self._say(Topic.CLAIM, f"I am primary, epoch {config}")
        else:
            primary = _id(data, _PRIMARY)
            if self._new("self", ("replica", primary)):
                self._say(Topic.CLAIM, f"I am a replica of {primary}")

    def _gossip(self, data: memoryview, count: int) -> None:
        for index in range(min(count, (len(data) - _HEADER) // _GOSSIP)):
            at = _HEADER + index * _GOSSIP
            (flags,) = struct.unpack_from(">H", data, at + _GOSSIP_FLAGS)
            state = "failed" if flags & _HAS_FAILED else "suspected" if flags & _PFAIL else "well"
            subject = _id(data, at)
            if self._new(f"gossip {subject}", state, "well", to_anybody=True):
                text = {"failed": "has FAILed", "suspected": "is failing for me (PFAIL)", "well": "is well"}[state]
                self._say(Topic.SUSPECT, f"gossip: {subject} {text}")


def _id(data: memoryview, at: int) -> str:
    return bytes(data[at : at + _ID]).rstrip(b"\0").decode("ascii", "replace")
