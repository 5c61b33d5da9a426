"""Shipped topologies and scenarios by name, and users' files by path."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from labctl.declare import yaml
from labctl.declare.scenario import Declared, Known, parse_cells
from labctl.declare.topology import apply, check_consistency, parse_topology
from labctl.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labctl.model.scenario import Scenario
    from labctl.model.topology import Topology

Section = Literal["topologies", "scenarios"]
_SUFFIXES = (".yaml", ".yml")
_MAX_BYTES = 1_000_000
_FEW = 20
"""So many names are listed in a hint; of more, only those that are near."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as found: its name in messages, and its text."""

    source: str
    text: str


def names(section: Section) -> list[str]:
    """Names of the shipped files of a section, sorted. A file may stand in a folder, its group, and is found without."""
    return sorted(_files(section))


def group(section: Section, name: str) -> str:
    """The folder that a shipped file stands in; empty for none, and for a path of the user's own."""
    path = None if _is_path(name) else _files(section).get(name)
    return path.parent.name if path is not None and path.parent != _folder(section) else ""


def _files(section: Section) -> dict[str, Path]:
    folder = _folder(section)
    return {path.stem: path for path in sorted(folder.rglob("*")) if path.suffix in _SUFFIXES}


def read(section: Section, name: str) -> Entry:
    """The file that a user means: a path if it ends in .yaml or .yml or has a slash, a shipped name otherwise.

    Raises:
        UsageError: There is no such file or name; the hint lists the near names, and all of them where they are few.
    """
    if _is_path(name):
        return _read_file(Path(name), name)
    path = _files(section).get(name)
    if path is not None:
        return Entry(_short(path), path.read_text(encoding="utf-8"))
    singular = {"topologies": "topology", "scenarios": "scenario"}[section]
    known = names(section)
    listed = f"Known: {', '.join(known)}." if len(known) <= _FEW else f"labctl {section} lists all {len(known)}."
    raise UsageError(
        f"There is no {singular} `{name}`.",
        f"{did_you_mean(name, known)}{listed} A file of your own is a path: ./{name}.yaml",
    )


def topology(name: str, beside: Path | None = None) -> Topology:
    """The topology of that name or path; a relative path counts from the folder `beside`.

    Raises:
        UsageError: There is none.
        DeclarationError: It is wrong.
    """
    entry = read("topologies", str(beside / name) if beside and _is_path(name) else name)
    return parse_topology(entry.text, entry.source)


def changed(base: Topology, changes: Mapping[str, object]) -> Topology:
    """`base` with what `changes` states of it, spelled as in a topology file: `{"sentinel": {"down-after": "500ms"}}`.

    Raises:
        DeclarationError: The changes are wrong; positions are those of their JSON.
    """
    from labctl.declare.shapes import Settings  # noqa: PLC0415 - pydantic
    from labctl.declare.validate import validate  # noqa: PLC0415

    document = yaml.load(json.dumps(changes, indent=1), "changes")
    shape = validate(Settings, document)
    if shape is None:
        document.refuse_if_wrong()
        raise AssertionError("a shape was refused without a reason")
    topology = apply(shape, base)
    check_consistency(topology, shape, document, ())
    document.refuse_if_wrong()
    return topology


def scenario(name: str, known: Known) -> Scenario:
    """The scenario of that name or path, as declared. See `declared`."""
    return declared(name, known).scenario


def declared(name: str, known: Known) -> Declared:
    """The scenario of that name or path, and its cells. A topology stated by path counts from the scenario's own folder.

    Raises:
        UsageError: There is none.
        DeclarationError: It is wrong, or its topology is.
    """
    entry = read("scenarios", name)
    beside = Path(entry.source).parent
    found = parse_cells(entry.text, entry.source, lambda wanted: topology(wanted, beside), known)
    stands_in = group("scenarios", name)
    return Declared(
        replace(found.scenario, group=stands_in), tuple(replace(cell, group=stands_in) for cell in found.cells)
    )


def _is_path(name: str) -> bool:
    return "/" in name or name.endswith(_SUFFIXES)


def _folder(section: Section) -> Path:
    """The section in the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "data" / section
    return installed if installed.is_dir() else package.parent / section


def _short(path: Path) -> str:
    """The path from here if it is below, so that an editor's terminal can follow it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _read_file(path: Path, name: str) -> Entry:
    try:
        if path.is_file() and path.stat().st_size > _MAX_BYTES:
            raise UsageError(f"{name} is larger than 1 MB.", "Topologies and scenarios are a few kilobytes of YAML.")
        return Entry(name, path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}.", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8 text (byte {error.start}).", "Save it as UTF-8.") from error
