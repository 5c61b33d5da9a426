"""A client of the tests' own, so that what labctl measured is measured again by something else."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, replace
from typing import Any

import hiredis


class ErrorReply(Exception):  # noqa: N818 - what RESP calls it
    """A server's error."""


@dataclass(frozen=True)
class Client:
    """One server as one client reaches it; a connection a command.

    Attributes:
        host: Where it connects to.
        port: Where it connects to.
        source: Address it comes from, which is how a link knows it; None for 127.0.0.1.
        timeout_s: How long silence has to last until it is silence.
        ca_file: Certificate authority; None without TLS.
        user: ACL user and password; None for the default user.
    """

    host: str
    port: int
    source: str | None = None
    timeout_s: float = 5.0
    ca_file: str | None = None
    user: tuple[str, str] | None = None

    def ask(self, *command: str | int) -> Any:
        """The reply, text decoded.

        Raises:
            OSError: It is not reached; TimeoutError for silence.
            ErrorReply: It answered with an error.
        """
        commands = [command] if self.user is None else [("AUTH", *self.user), command]
        reader = hiredis.Reader(encoding="utf-8", errors="replace")
        source = (self.source, 0) if self.source else None
        with socket.create_connection((self.host, self.port), self.timeout_s, source) as plain:
            connection = plain if self.ca_file is None else self._tls(plain, self.ca_file)
            with connection:
                connection.sendall(b"".join(map(_encoded, commands)))
                replies = []
                while len(replies) < len(commands):
                    if (reply := reader.gets()) is not False:
                        replies.append(reply)
                    elif data := connection.recv(65536):
                        reader.feed(data)
                    else:
                        raise ConnectionResetError("closed without a reply")
        errors = [str(reply) for reply in replies if isinstance(reply, hiredis.HiredisError)]
        if errors:
            raise ErrorReply(errors[0])
        return replies[-1]

    def answers(self) -> bool:
        """Whether it is reached at all, whatever it says: at once as a rule, but a busy machine may take its time."""
        return self._answers_within(30.0)

    def gives_no_answer(self) -> bool:
        """Whether nothing comes back for a second, which is as long as a test waits for nothing."""
        return not self._answers_within(1.0)

    def _answers_within(self, patience_s: float) -> bool:
        try:
            replace(self, timeout_s=patience_s).ask("PING")
        except ErrorReply:
            return True
        except OSError:
            return False
        return True

    def _tls(self, plain: socket.socket, ca_file: str) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=ca_file)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")


def _encoded(command: tuple[str | int, ...]) -> bytes:
    words = [str(word).encode() for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def lab_client(plan: Any, node: str, *, group: str | None = None, direct: bool = False) -> Client:
    """A client of a lab without TLS and ACL, from its stored plan.

    Args:
        plan: `Labctl.plan(…)`.
        node: Which server.
        group: Client group to come from; the default one when left out.
        direct: Past the links, at the server's own address.
    """
    one = next(n for n in plan["nodes"] if n["name"] == node)
    source = dict(plan["client_hosts"])[group] if group else None
    if direct:
        return Client(*(one["admin"] or (one["host"], one["port"])), source)
    return Client("127.0.0.1", one["port"], source)
