"""Views of a phase on disk: a line of JSON each, gzip, readable up to the last whole line after a crash."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from labctl.model.view import View
from labctl.store.codec import from_data

_NOISE = frozenset(
    {"offset", "lag_bytes", "lag_s", "uptime_s", "keys", "memory_bytes", "clients", "ops_per_s", "replicas", "counters"}
)
"""What moves all the time. Views that differ from the one before in nothing else are kept now and then only."""

_KEEP_EVERY_NS = 200_000_000
"""Often enough to say between which replication offsets a lost write was."""

_KEEP_EVERY_LARGE_NS, _LARGE = 1_000_000_000, 20
"""For labs of many nodes: a Cluster's views grow with the square of their number."""


class ViewWriter:
    """Appends views to a new file, leaving out those that say nothing new."""

    def __init__(self, path: Path) -> None:
        self._file = gzip.open(path, "wt", encoding="utf-8")  # noqa: SIM115 - closed by __exit__
        self._last: tuple[int, object] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, view: Mapping[str, Any], *, last: bool = False) -> None:
        """Keep a view, given as the agent's `status` has it; the last one whatever it says."""
        facts = [{name: value for name, value in node.items() if name not in _NOISE} for node in view["nodes"]]
        at_ns = int(view["at_ns"])
        every_ns = _KEEP_EVERY_LARGE_NS if len(view["nodes"]) > _LARGE else _KEEP_EVERY_NS
        if not last and self._last is not None and facts == self._last[1] and at_ns - self._last[0] < every_ns:
            return
        self._last = at_ns, facts
        self._file.write(json.dumps(view) + "\n")


def read_views(path: Path) -> tuple[View, ...]:
    """The views of a phase, in order; none where the file is missing."""
    views = []
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                views.append(from_data(View, json.loads(line)))  # noqa: PERF401 - what came before a torn end counts
    except (FileNotFoundError, EOFError, ValueError, zlib.error):
        return tuple(views)
    return tuple(views)
