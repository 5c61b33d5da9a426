"""The preloaded shim of a lab: compiled when the lab comes up, told what to do through one shared page a node.

`labctl/faults/shim/shim.c` says what it does and has the other half of this layout.
"""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from labctl.errors import CapabilityError, StartError
from labctl.model.fault import Knob

_MAGIC = 0x314D494853424C31
_KNOBS = 16
_NOTES = 4096
_SPENT, _DRIFT_SINCE, _KNOB, _HITS, _NOTE = 8, 16, 32, 32 + 8 * _KNOBS, 32 + 16 * _KNOBS
_SIZE = _NOTE + 16 * _NOTES
_INDEX = {knob: index for index, knob in enumerate(Knob)}
_COMPILERS = ("cc", "gcc", "clang")
_PAGE = "shim.page"


def library(lab: Path) -> Path:
    """Where the compiled shim of a lab is, if it has one."""
    return lab / "shim.so"


def build(lab: Path) -> None:
    """Compile the shim into the lab's folder.

    Raises:
        CapabilityError: There is no C compiler here.
        StartError: It did not compile.
    """
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        raise CapabilityError(
            f"Disk, clock and fork faults need a C compiler, and there is none of {', '.join(_COMPILERS)} on PATH.",
            "Install gcc (Debian: apt-get install gcc libc6-dev), or bring the lab up without --with disk-faults.",
        )
    source = Path(__file__).parent.parent / "faults" / "shim" / "shim.c"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library(lab)), str(source), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartError(f"The shim does not compile here:\n{done.stderr.strip()}", " ".join(command))


def environment(lab: Path, node: Path) -> dict[str, str]:
    """What a server's environment needs to load the shim; nothing where the lab has none."""
    if not library(lab).exists():
        return {}
    page = node / _PAGE
    if not page.exists():
        partial = page.with_suffix(".new")
        partial.write_bytes(struct.pack("q", _MAGIC).ljust(_SIZE, b"\0"))
        partial.rename(page)
    preload = " ".join(filter(None, (str(library(lab)), os.environ.get("LD_PRELOAD"))))
    return {"LD_PRELOAD": preload, "LABCTL_SHIM": str(page)}


def loaded(pid: int, node: Path) -> bool:
    """Whether the process has the node's page mapped, that is, loaded the shim and understood the page."""
    try:
        return str(node / _PAGE) in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Lost:
    """What a power loss took: bytes that were written and not fsynced, from how many files."""

    files: int
    bytes: int


class Page:
    """A node's page, mapped. Numbers are 64 bits and aligned, so that each is read and written whole."""

    def __init__(self, node: Path) -> None:
        with (node / _PAGE).open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._map.close()

    def knob(self, knob: Knob) -> int:
        """Where it stands."""
        return self._get(_KNOB + 8 * _INDEX[knob])

    def set(self, knob: Knob, value: int) -> None:
        """Turn a knob; what counts from now is started first."""
        if self.knob(knob) != value:
            if knob is Knob.WRITE_BUDGET:
                self._put(_SPENT, 0)
            if knob is Knob.CLOCK_DRIFT_PPM:
                self._put(_DRIFT_SINCE, time.monotonic_ns())
            self._put(_KNOB + 8 * _INDEX[knob], value)

    def hits(self, knob: Knob) -> int:
        """How many calls it has changed so far."""
        return self._get(_HITS + 8 * _INDEX[knob])

    def synced(self) -> Mapping[int, int]:
        """Inode → size that is durable, of every file that the server opened for writing."""
        notes = struct.unpack_from(f"{2 * _NOTES}q", self._map, _NOTE)
        return {inode: max(0, size) for inode, size in zip(notes[::2], notes[1::2], strict=True) if inode}

    def lose_unsynced(self, data: Path) -> Lost:
        """Cut every file in `data` back to what was fsynced. The server must be gone."""
        synced = self.synced()
        files = lost = 0
        for path in data.rglob("*"):
            found = path.lstat()
            size = synced.get(found.st_ino)
            if path.is_file() and size is not None and found.st_size > size:
                os.truncate(path, size)
                files += 1
                lost += found.st_size - size
        return Lost(files, lost)

    def _get(self, at: int) -> int:
        return int(struct.unpack_from("q", self._map, at)[0])

    def _put(self, at: int, value: int) -> None:
        struct.pack_into("q", self._map, at, value)
