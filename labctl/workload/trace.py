"""What became of the requests of one operation: who answered last, and is one of them unanswered.

An exception alone doesn't say whether the command was sent: redis-py raises the same `ConnectionError` for a refused
connection and for one that broke while it waited for the reply. So the connections themselves keep count here.
"""

from __future__ import annotations

from contextvars import ContextVar


class Trace:
    """The requests of the operation in progress of one process.

    Attributes:
        unanswered: Requests that were handed to the kernel and have no reply (an error reply is a reply).
        port: Announced port of the server that a request went to last; None before the first.
    """

    __slots__ = ("port", "unanswered")

    def __init__(self) -> None:
        self.unanswered = 0
        self.port: int | None = None

    def begin(self) -> None:
        """A new operation."""
        self.unanswered = 0
        self.port = None

    def sent(self, port: int, requests: int = 1) -> None:
        """Requests are about to be written to a connection."""
        self.unanswered += requests
        self.port = port

    def answered(self) -> None:
        """One reply arrived."""
        self.unanswered -= 1


CURRENT: ContextVar[Trace | None] = ContextVar("labctl-trace", default=None)
"""The trace of the task that is running, for connections that a library owns. None: the requests are not the workload's
own (Sentinel discovery, a Cluster's slot table)."""
