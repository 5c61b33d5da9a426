"""What tests ask of a blocking socket."""

import socket


def receive(sock: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes, or what came before the end."""
    data = bytearray()
    while len(data) < count and (more := sock.recv(count - len(data))):
        data += more
    return bytes(data)


def rest(sock: socket.socket) -> tuple[bytes, str]:
    """All that comes until the end, and how it ends: "fin" or "rst"."""
    data = bytearray()
    try:
        while more := sock.recv(65536):
            data += more
    except (ConnectionResetError, BrokenPipeError):
        return bytes(data), "rst"
    return bytes(data), "fin"


def is_silent(sock: socket.socket) -> bool:
    """Nothing arrives, not even an end, for long enough that a forwarder would long have forwarded."""
    before = sock.gettimeout()
    sock.settimeout(0.2)
    try:
        sock.recv(1)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(before)
    return False
