"""Ctrl-C and SIGTERM, held back while something is done that has to be whole."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


def no_more_interrupts() -> None:
    """Ctrl-C and SIGTERM come too late from here on: what is left of this process takes a moment."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the block is done; then they are as they would have been."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
