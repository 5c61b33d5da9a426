"""What was heard on the links during a phase, on disk: JSON, gzip."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from labctl.model.message import Heard
from labctl.store.codec import from_json, to_json


def save_messages(path: Path, heard: Heard) -> None:
    """Keep what was heard."""
    path.write_bytes(gzip.compress(to_json(heard).encode()))


def read_messages(path: Path) -> Heard:
    """What was heard; nothing where the file is missing or damaged."""
    try:
        return from_json(Heard, gzip.decompress(path.read_bytes()))
    except FileNotFoundError:
        return Heard(why_not="This run was made without listening to its links.")
    except (OSError, ValueError, EOFError, zlib.error):
        return Heard(why_not=f"{path.name} is damaged.")
