"""What an agent has to become before it starts: root in a user namespace, where a user without root asked for wires."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from labctl.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path


def gain(folder: Path) -> dict[str, object] | None:
    """Become it. None, or why not, as the waiting command is told. To be called by a process with one thread."""
    if os.geteuid() == 0:
        return None
    with suppress(OSError, ValueError, KeyError):  # without a request the agent leaves anyway, with a reason
        request = json.loads((folder / "request.json").read_bytes())
        if request.get("net") == "netns":
            from labctl.wires.user import enter  # noqa: PLC0415 - Linux, and only who asks for it

            try:
                enter(str(request["lab_id"]))
            except LabError as error:
                print(error, file=sys.stderr)
                return {"error": error.message, "hint": error.hint, "exit": int(error.exit_code)}
    return None
