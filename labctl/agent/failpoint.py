"""Where tests kill the agent: a file `failpoint` in the lab's folder that names a point ends it there by SIGKILL.

The file is removed first, so that the agent's successor gets past the point.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

POINTS = ("journalled", "applied", "proven", "dropped", "undone")
"""In the order in which a fault passes them."""


def failpoint(folder: Path, name: str) -> None:
    """End this process if a test asks for it."""
    path = folder / "failpoint"
    try:
        asked = path.read_text()
    except OSError:
        return
    if asked.strip() == name:
        path.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
