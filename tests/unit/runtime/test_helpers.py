"""What a helper found in a pod's network is held against what was wanted."""

from __future__ import annotations

from typing import Any

import pytest

from labctl.errors import InjectionError
from labctl.model.fault import Packets
from labctl.runtime.docker.helpers import judged

PLAIN: dict[str, Any] = {"up": True, "rules": False, "qdisc": "qdisc noqueue 0: dev eth0 root refcnt 2"}
NETEM = "qdisc netem 8001: dev eth0 root refcnt 2 limit 1000 duplicate 10%"


@pytest.mark.parametrize(
    ("wanted", "found", "words"),
    [
        ({}, {}, ""),
        ({Packets.LOST: 10.0}, {"rules": True, "sent": 200, "lost": 18}, "18 of 200 packets lost"),
        ({Packets.DISCONNECTED: 100.0}, {"up": False}, "its interface is down"),
        ({Packets.DUPLICATED: 10.0}, {"qdisc": NETEM}, NETEM),
        ({Packets.LOST: 1.0, Packets.DISCONNECTED: 100.0}, {"rules": True, "up": False}, "its interface is down"),
    ],
)
def test_as_wanted(wanted: dict[Packets, float], found: dict[str, Any], words: str) -> None:
    assert judged(wanted, {**PLAIN, **found}) == words


@pytest.mark.parametrize(
    ("wanted", "found", "words"),
    [
        ({}, {"rules": True}, "still loses packets"),
        ({}, {"up": False}, "interface is down"),
        ({}, {"qdisc": NETEM}, "its queue is"),
        ({Packets.LOST: 10.0}, {}, "loses no packets"),
        ({Packets.LOST: 10.0}, {"rules": True, "sent": 200, "lost": 0}, "loses no packets"),
        ({Packets.DISCONNECTED: 100.0}, {}, "interface is up"),
        ({Packets.CORRUPTED: 1.0}, {}, "its queue is"),
    ],
)
def test_not_as_wanted(wanted: dict[Packets, float], found: dict[str, Any], words: str) -> None:
    with pytest.raises(InjectionError, match=words):
        judged(wanted, {**PLAIN, **found})
