"""Ports for servers of the tests' own that have to be told theirs before they start."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from itertools import cycle

from tests.support.command import WORKER

_MANY = 400
_FIRST = 24_000 + _MANY * (WORKER % 5)
"""Between the ports of labs (their own, buses and Sentinels; see `command`) and those that the kernel gives away."""


def _round() -> Iterator[int]:
    """One after another, so that a port is long bound when its turn comes again; another test run begins elsewhere."""
    ports = list(range(_FIRST, _FIRST + _MANY))
    start = random.randrange(_MANY)
    return cycle(ports[start:] + ports[:start])


_ports = _round()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and no other worker of this test run takes."""
    for port in _ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("the ports go round")
