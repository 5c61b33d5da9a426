"""What a helper container does inside a pod, from labctl's own image: `python -m labctl.runtime.docker.helper JSON`.

It brings the pod's network, or its disk, to a wanted state, says on standard output what it found, and ends; so nothing runs
with NET_ADMIN for longer than a change takes. Standard library only.
"""

from __future__ import annotations

import errno
import json
import math
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_TABLE = "inet labctl"
_DEVICE = "eth0"
_BALLAST = "ballast"
_PARTS = 1_000_000
_SURE = 20
"""Packets expected to be lost of those sent to see whether any is: e^-20 is never."""
_MOST_SENT = 20_000
_DISCARD_PORT = 9
_SECTORS = 512


def main() -> None:
    """Do what the argument says and print what was found, as JSON; an error as text, with exit code 1."""
    wanted = json.loads(sys.argv[1])
    try:
        found = _ACTIONS[wanted["do"]](wanted)
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        print(getattr(error, "stderr", None) or error, file=sys.stderr)
        sys.exit(1)
    print(json.dumps(found))


def network(wanted: dict[str, Any]) -> dict[str, Any]:
    """Bring the pod's network to what is wanted: percentages by what happens to packets; nothing for a plain network."""
    packets: dict[str, float] = wanted["packets"]
    _rules(packets.get("lost", 0), wanted["gateway"])
    _netem(packets)
    _link("down" if "disconnected" in packets else "up", wanted["gateway"])
    found = _network_found()
    if "lost" in packets and "disconnected" not in packets:
        found["sent"], found["lost"] = _send(wanted["peer"], packets["lost"])
    return found


def netem(_: dict[str, Any]) -> dict[str, Any]:
    """Try whether the kernel has netem, in a network of the helper's own. RuntimeError, or a subprocess's, when not."""
    _run("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    return {}


def fill(wanted: dict[str, Any]) -> dict[str, Any]:
    """Leave so many bytes free on the node's volume."""
    ballast = Path(wanted["folder"]) / _BALLAST
    ballast.unlink(missing_ok=True)
    free = _free(wanted["folder"])
    with ballast.open("wb") as file, suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, max(1, free - wanted["left"]))
    while wanted["left"] == 0 and _grow(ballast):
        pass
    return disk(wanted)


def empty(wanted: dict[str, Any]) -> dict[str, Any]:
    """Give back what was taken."""
    (Path(wanted["folder"]) / _BALLAST).unlink(missing_ok=True)
    return disk(wanted)


def disk(wanted: dict[str, Any]) -> dict[str, Any]:
    """How much is free, and how much of the rest is the helper's."""
    ballast = Path(wanted["folder"]) / _BALLAST
    taken = ballast.stat().st_blocks * _SECTORS if ballast.exists() else 0
    return {"free": _free(wanted["folder"]), "taken": taken}


_ACTIONS = {"network": network, "netem": netem, "fill": fill, "empty": empty, "disk": disk}


def _rules(percent: float, gateway: str) -> None:
    """Drop so many packets, but none from or to the host, from where the lab itself looks. All of it in one transaction."""
    text = f"add table {_TABLE}\ndelete table {_TABLE}\n"
    if percent:
        parts = round(percent / 100 * _PARTS)
        lost = "counter drop" if parts == _PARTS else f"numgen random mod {_PARTS} < {parts} counter drop"
        text += (
            f"table {_TABLE} {{\n"
            f"chain sent {{ type filter hook output priority 0; oifname {_DEVICE} ip daddr != {gateway} {lost}; }}\n"
            f"chain received {{ type filter hook input priority 0; iifname {_DEVICE} ip saddr != {gateway} {lost}; }}\n"
            "}\n"
        )
    _run("nft", "-f", "-", text=text)


def _netem(packets: dict[str, float]) -> None:
    words = []
    if percent := packets.get("reordered"):
        words += ["delay", "10ms", "reorder", f"{100 - percent:g}%"]
    if percent := packets.get("duplicated"):
        words += ["duplicate", f"{percent:g}%"]
    if percent := packets.get("corrupted"):
        words += ["corrupt", f"{percent:g}%"]
    if words:
        _run("tc", "qdisc", "replace", "dev", _DEVICE, "root", "netem", *words)
    elif "netem" in _run("tc", "qdisc", "show", "dev", _DEVICE):
        _run("tc", "qdisc", "del", "dev", _DEVICE, "root")


def _link(state: str, gateway: str) -> None:
    """The route to the rest of the world goes with the interface, and has to be made again."""
    _run("ip", "link", "set", _DEVICE, state)
    if state == "up":
        with suppress(subprocess.CalledProcessError):  # a network may have no such route
            _run("ip", "route", "replace", "default", "via", gateway)


def _network_found() -> dict[str, Any]:
    (link,) = json.loads(_run("ip", "-j", "link", "show", "dev", _DEVICE))
    tables = _run("nft", "list", "tables")
    return {
        "up": "UP" in link["flags"],
        "rules": _TABLE in tables,
        "qdisc": _run("tc", "qdisc", "show", "dev", _DEVICE).strip(),
    }


def _send(peer: str, percent: float) -> tuple[int, int]:
    """Send datagrams until about twenty must have been lost; how many, and how many the kernel dropped."""
    count, lost = min(_MOST_SENT, math.ceil(_SURE * 100 / percent)), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            try:
                sender.sendto(b"?", (peer, _DISCARD_PORT))
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ECONNREFUSED):
                    raise
                lost += error.errno == errno.EPERM  # a rule that drops what is sent says so to the sender
    return count, lost


def _free(folder: str) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _grow(ballast: Path) -> bool:
    """Take one block more; whether there was one."""
    with ballast.open("ab") as file:
        try:
            os.posix_fallocate(file.fileno(), file.tell(), 4096)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return False
    return True


def _run(*command: str, text: str | None = None) -> str:
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        raise RuntimeError(f"the image has no {command[0]}") from None


if __name__ == "__main__":
    main()
