"""Hash slots of a Cluster (Redis Cluster specification, "Key distribution model")."""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

SLOTS: Final = 16_384
"""How many there are in every Cluster."""


def key_slot(key: str) -> int:
    """The slot of a key: CRC-16/XMODEM of its hash tag, or of all of it where there is none, modulo 16384."""
    start = key.find("{")
    end = key.find("}", start + 1) if start >= 0 else -1
    tag = key[start + 1 : end] if end > start + 1 else key
    return crc_hqx(tag.encode(), 0) % SLOTS
