"""`python -m labctl.wires.check`: whether this user can have wires here, tried rather than guessed.

A process of its own, for it may have to become root in a user namespace. Prints one JSON object: what keeps it from laying
wires, and what keeps it from taking packets off them; empty strings where nothing does.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys

from labctl.errors import LabError
from labctl.wires.bridge import SWITCH, Plug, lay
from labctl.wires.detour import device
from labctl.wires.namespaces import Namespaces
from labctl.wires.user import enter

_PATIENCE_S = 20.0
_PARTIES = {"a": Plug("10.77.0.1", "02:00:0a:4d:00:01"), "b": Plug("10.77.0.2", "02:00:0a:4d:00:02")}


def why_not() -> tuple[str, str]:
    """What keeps this user from laying wires, and from taking packets off them; empty for nothing."""
    command = [sys.executable, "-m", __name__]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
        answer = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return str(error), str(error)
    return str(answer["wires"]), str(answer["packets"])


def _try() -> dict[str, str]:
    lab_id = secrets.token_hex(16)
    try:
        enter(lab_id)
        namespaces = Namespaces.create(lab_id, [*_PARTIES, SWITCH])
    except LabError as error:
        return {"wires": error.message, "packets": error.message}
    try:
        lay(namespaces, _PARTIES)
    except LabError as error:
        return {"wires": error.message, "packets": error.message}
    else:
        return {"wires": "", "packets": _try_packets(namespaces)}
    finally:
        namespaces.destroy()


def _try_packets(namespaces: Namespaces) -> str:
    try:
        taken, out = namespaces.run("a", device)
    except OSError as error:
        return f"/dev/net/tun: {error.strerror}"
    os.close(taken)
    out.close()
    return ""


if __name__ == "__main__":
    print(json.dumps(_try()))
