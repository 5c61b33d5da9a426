"""labctl itself as an image: this interpreter, its standard library and what the link server imports.

For pods whose links labctl's own link server carries, and for the helpers that do to a pod what Toxiproxy cannot.
"""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path, PurePath

import labctl
from labctl import __version__
from labctl.runtime.docker.build import Image
from labctl.runtime.docker.images import BUILT_LABCTL, VERSION_LABEL
from labctl.runtime.docker.pods import PYTHON

_HOME = str(PurePath(PYTHON).parents[1])
_PACKAGES = f"{_HOME}/site"
_WANTED = ("uvicorn", "uvloop", "httptools", "starlette", "hiredis")
"""What `labctl.links` imports of others; theirs come along."""
_LEFT_OUT = {
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "lib2to3",
    "pydoc_data",
}
_SUFFIXES = {".py", ".pyc", ".so"}
_TOOLS = {"nft": "nftables", "tc": "iproute2", "ip": "iproute2"}
"""Programs of the helpers, and the Debian packages that they are in."""


def labctl_image() -> Image:
    """The image, without the tools that this machine does not have."""
    python = Path(sys.executable).resolve()
    stdlib = Path(sysconfig.get_path("stdlib"))
    inside = f"{_HOME}/{sys.platlibdir}/{stdlib.name}"
    files = {f"{inside}/{path.relative_to(stdlib)}": path for path in _code(stdlib)}
    files |= {f"{_PACKAGES}/{name}": path for name, path in _distributions()}
    own = Path(labctl.__file__).parent
    files |= {f"{_PACKAGES}/labctl/{path.relative_to(own)}": path for path in _code(own)}
    return Image(
        BUILT_LABCTL,
        {PYTHON: python, **{f"/usr/sbin/{name}": Path(path) for name, path in _tools()}},
        (PYTHON, "-m"),
        {VERSION_LABEL: __version__},
        files,
        {"PYTHONHOME": _HOME, "PYTHONPATH": _PACKAGES, "PYTHONDONTWRITEBYTECODE": "1"},
    )


def missing_tools() -> list[str]:
    """Debian packages of tools that this machine does not have, so that the image will not either."""
    here = dict(_tools())
    return sorted({package for name, package in _TOOLS.items() if name not in here})


def _tools() -> Iterator[tuple[str, str]]:
    for name in _TOOLS:
        if path := shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin"):
            yield name, path


def _code(folder: Path) -> Iterator[Path]:
    """Modules below a folder: sources, what was compiled from them, extensions."""
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder).parts[:-1]
        if _is_code(path) and not _LEFT_OUT.intersection(inner) and not path.is_symlink() and path.is_file():
            yield path


def _is_code(path: PurePath) -> bool:
    return path.suffix in _SUFFIXES and ".opt-" not in path.name


def _distributions() -> Iterator[tuple[str, Path]]:
    """Modules of the wanted distributions and of those that they need, by their names below site-packages."""
    for distribution in _closure(_WANTED):
        for file in distribution.files or ():
            path = Path(str(file.locate()))
            if _is_code(file) and ".." not in file.parts and path.is_file():
                yield str(file), path


def _closure(names: Iterable[str]) -> list[metadata.Distribution]:
    found: dict[str, metadata.Distribution] = {}
    pending = list(names)
    while pending:
        name = re.sub(r"[-_.]+", "-", pending.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another Python or platform
        needs = [need for need in found[name].requires or () if "extra ==" not in need]
        pending += [match[0] for need in needs if (match := re.match(r"[A-Za-z0-9._-]+", need))]
    return list(found.values())
