"""What binaries said of themselves, kept in the user's cache folder until a file's time or size changes."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import platformdirs

from labctl.engines.probe import Answer
from labctl.model.engine import Flavour

_MOST = 64


class Remembered:
    """Answers by path. Losing any or all of them costs no more than asking again."""

    def __init__(self) -> None:
        self._file = platformdirs.user_cache_path("labctl") / "engines.json"
        self._entries: dict[str, object] = {}
        self._changed = False
        try:
            loaded = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return
        if isinstance(loaded, dict) and len(loaded) <= _MOST:
            self._entries = loaded

    def recall(self, path: str) -> Answer | None:
        """The answer of this very file, if there is one."""
        match self._entries.get(path):
            case {"stamp": str(stamp), "flavour": str(flavour), "version": [int(x), int(y), int(z)], "tls": bool(tls)}:
                if stamp == _stamp(path) and flavour in tuple(Flavour):
                    return Answer(Flavour(flavour), (x, y, z), tls)
            case _:
                pass
        return None

    def remember(self, path: str, answer: Answer) -> None:
        """Note an answer; `save` keeps it."""
        stamp = _stamp(path)
        if stamp:
            self._entries[path] = {
                "stamp": stamp, "flavour": answer.flavour, "version": answer.version, "tls": answer.tls,
            }  # fmt: skip
            self._changed = True

    def save(self) -> None:
        """Write what is new, atomically; where the folder cannot be written to, nothing is kept."""
        if not self._changed:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            descriptor, partial = tempfile.mkstemp(dir=self._file.parent)
            with os.fdopen(descriptor, "w") as stream:
                json.dump(self._entries, stream)
            Path(partial).rename(self._file)
        except OSError:
            return


def _stamp(path: str) -> str:
    try:
        status = Path(path).stat()
    except OSError:
        return ""
    return f"{status.st_mtime_ns}:{status.st_size}"
