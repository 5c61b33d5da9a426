"""Where the link server's sockets come from."""

from __future__ import annotations

import socket
from collections.abc import Callable

Sockets = Callable[[str, socket.AddressFamily], socket.socket]
"""(network namespace, family) → a new TCP socket. The empty namespace is the one that the process is in."""


def own_sockets(namespace: str, family: socket.AddressFamily) -> socket.socket:
    """Sockets of this process's own namespace, the only one that there is without a lab's."""
    assert not namespace, f"nobody here knows the network namespace {namespace!r}"
    return socket.socket(family, socket.SOCK_STREAM)
