"""The lock that a lab's guard and agent share for as long as one of them lives: without it no agent starts."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from labctl.store.folders import LabFolder


@contextmanager
def held(folder: LabFolder) -> Iterator[bool]:
    """Hold the lock, if nobody else does and the folder is there; whether it is held."""
    try:
        lock = os.open(folder.agent_lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        yield False
        return
    try:
        yield _locked(lock)
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
