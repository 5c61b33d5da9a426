"""Locks between commands of one machine, as files: whoever dies lets go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from labctl.errors import LabError


@contextmanager
def file_lock(path: Path, what: str, within_s: float) -> Iterator[None]:
    """Hold the lock at `path`.

    Args:
        path: Of the lock's file, which is made.
        what: Whoever holds it does that meanwhile, `chooses ports` for example.
        within_s: Seconds of patience.

    Raises:
        LabError: Somebody else holds it for longer.
    """
    lock = FileLock(path, timeout=within_s)
    try:
        lock.acquire()
    except Timeout:
        raise LabError(
            f"Another labctl {what}, and is not done after {within_s:g} s.", f"`fuser {path}` says which process it is."
        ) from None
    try:
        yield
    finally:
        lock.release()
