"""Readiness of thousands of sockets at a price below the event loop's own.

A forwarder's cost is its events. `loop.add_reader` costs a handle, a context switch of `contextvars` and a callback
object per event, on uvloop too; one `epoll` instance nested in the loop (an epoll descriptor is itself readable when
one of its members is ready) hands over a batch in one call. `benchmarks/links.py` has the numbers.
"""

from __future__ import annotations

import logging
import select
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)

_BATCH = 512
"""Events handled before the event loop gets its turn: fairness towards timers and the API."""


class Watcher(Protocol):
    """What is told about readiness. An exception from a method reaches `failed`, never the event loop."""

    def readable(self) -> None:
        """The watched descriptor has bytes, an end of stream or an error to read."""

    def writable(self) -> None:
        """The watched descriptor takes bytes, or its connect has ended."""

    def hung_up(self) -> None:
        """The peer has closed; only told where no reading is wanted."""

    def failed(self, error: Exception) -> None:
        """One of the methods above raised."""


class Poller(Protocol):
    """Level-triggered readiness; each descriptor has at most one reader and one writer."""

    def read_on(self, fd: int, watcher: Watcher) -> None:
        """Call `watcher.readable` while `fd` is readable."""

    def read_off(self, fd: int) -> None:
        """Stop it; harmless when off."""

    def write_on(self, fd: int, watcher: Watcher) -> None:
        """Call `watcher.writable` while `fd` is writable."""

    def write_off(self, fd: int) -> None:
        """Stop it; harmless when off."""

    def hangup_on(self, fd: int, watcher: Watcher) -> None:
        """Call `watcher.hung_up` once the peer has closed, and read nothing. Ended by `read_on` or `forget`."""

    def forget(self, fd: int) -> None:
        """Stop everything for `fd`; to be called before it is closed."""

    def close(self) -> None:
        """Stop everything."""


_IN, _OUT, _BROKEN, _RDHUP = 0x1, 0x4, 0x18, 0x2000
"""EPOLLIN, EPOLLOUT, EPOLLERR | EPOLLHUP, EPOLLRDHUP (epoll_ctl(2)); named here so that the module imports anywhere."""


class EpollPoller:
    """A `select.epoll` whose descriptor the event loop watches."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._readers: dict[int, Watcher] = {}
        self._writers: dict[int, Watcher] = {}
        self._masks: dict[int, int] = {}
        loop.add_reader(self._epoll.fileno(), self._ready)

    def _ready(self) -> None:
        # One batch only: asking again for more costs a system call that mostly finds nothing.
        readers, writers = self._readers, self._writers
        for fd, mask in self._epoll.poll(0, _BATCH):
            watcher = None
            try:
                if mask & ~_OUT and (watcher := readers.get(fd)) is not None:
                    if self._masks[fd] & _IN:
                        watcher.readable()
                    else:
                        watcher.hung_up()
                # A reader may have closed the descriptor, so the writer is looked up only now.
                if mask & (_OUT | _BROKEN) and (writer := writers.get(fd)) is not None:
                    watcher = writer
                    watcher.writable()
            except Exception as error:  # noqa: BLE001 - one connection's bug ends that connection only
                _contain(watcher, error)

    def _want(self, fd: int, mask: int) -> None:
        had = self._masks.get(fd, 0)
        if mask == had:
            return
        if not mask:
            # Unregistered, not silenced: epoll reports hang-ups even for an empty mask, for ever.
            del self._masks[fd]
            self._epoll.unregister(fd)
            return
        self._masks[fd] = mask
        if had:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.register(fd, mask)

    def read_on(self, fd: int, watcher: Watcher) -> None:
        """See `Poller`."""
        self._readers[fd] = watcher
        self._want(fd, self._masks.get(fd, 0) & _OUT | _IN)

    def read_off(self, fd: int) -> None:
        """See `Poller`."""
        if self._readers.pop(fd, None) is not None:
            self._want(fd, self._masks.get(fd, 0) & _OUT)

    def write_on(self, fd: int, watcher: Watcher) -> None:
        """See `Poller`."""
        self._writers[fd] = watcher
        self._want(fd, self._masks.get(fd, 0) | _OUT)

    def write_off(self, fd: int) -> None:
        """See `Poller`."""
        if self._writers.pop(fd, None) is not None:
            self._want(fd, self._masks.get(fd, 0) & ~_OUT)

    def hangup_on(self, fd: int, watcher: Watcher) -> None:
        """See `Poller`."""
        self._readers[fd] = watcher
        self._want(fd, self._masks.get(fd, 0) & _OUT | _RDHUP)

    def forget(self, fd: int) -> None:
        """See `Poller`."""
        self._readers.pop(fd, None)
        self._writers.pop(fd, None)
        self._want(fd, 0)

    def close(self) -> None:
        """See `Poller`."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()


class LoopPoller:
    """The event loop's own readers and writers: for platforms without epoll, no hang-up notice.

    Only for asyncio's own loop: uvloop's stops telling about a descriptor after its first error event, although bytes
    may still have to be read before the error.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._fds: set[int] = set()

    def read_on(self, fd: int, watcher: Watcher) -> None:
        """See `Poller`."""
        self._fds.add(fd)
        self._loop.add_reader(fd, _guarded_read, watcher)

    def read_off(self, fd: int) -> None:
        """See `Poller`."""
        self._loop.remove_reader(fd)

    def write_on(self, fd: int, watcher: Watcher) -> None:
        """See `Poller`."""
        self._fds.add(fd)
        self._loop.add_writer(fd, _guarded_write, watcher)

    def write_off(self, fd: int) -> None:
        """See `Poller`."""
        self._loop.remove_writer(fd)

    def hangup_on(self, fd: int, watcher: Watcher) -> None:
        """Not available here: a held client that gives up is noticed when the link heals."""

    def forget(self, fd: int) -> None:
        """See `Poller`."""
        if fd in self._fds:
            self._fds.remove(fd)
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)

    def close(self) -> None:
        """See `Poller`."""
        for fd in list(self._fds):
            self.forget(fd)


def _guarded_read(watcher: Watcher) -> None:
    try:
        watcher.readable()
    except Exception as error:  # noqa: BLE001 - one connection's bug ends that connection only
        _contain(watcher, error)


def _guarded_write(watcher: Watcher) -> None:
    try:
        watcher.writable()
    except Exception as error:  # noqa: BLE001 - one connection's bug ends that connection only
        _contain(watcher, error)


def _contain(watcher: Watcher | None, error: Exception) -> None:
    """Log `error` and let the watcher close what it stands for."""
    log.error("a connection failed and was closed", exc_info=error)
    if watcher is None:
        return
    try:
        watcher.failed(error)
    except Exception:
        log.exception("closing the failed connection failed too")


def make_poller(loop: asyncio.AbstractEventLoop) -> Poller:
    """Return the fastest poller of this platform."""
    return EpollPoller(loop) if hasattr(select, "epoll") else LoopPoller(loop)
