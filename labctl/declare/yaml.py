"""YAML text to plain values that know where they stand.

The reader keeps to the part of YAML that a person can check by eye. `true` and `false` are the only booleans, so that
`appendfsync: no` stays the word that redis.conf means (YAML 1.1 would make it False). Duplicate keys, aliases, tags and
documents after the first are refused, each with its line and column.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from labctl.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Plain = Any
"""None, bool, int, float, str, or a list or string-keyed dict of these."""
Path = tuple[str | int, ...]
"""Keys and list positions from the top of the document to a value."""

_MAX_DEPTH = 40


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where something stands in the text, both counted from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Document:
    """A loaded file and the problems found in it so far.

    Attributes:
        source: The file as the user named it; the first part of each problem.
        value: The plain value of the whole document.
        values: Position of each value.
        keys: Position of each key of a mapping, by the path of its value.
        lost: Keys about which nothing can be said any more, since something at or below them is wrong.
        renumbered: Where list items were left out for being wrong: by the list's path, the numbers of those that stay.
    """

    source: str
    value: Plain = None
    values: dict[Path, Position] = field(default_factory=dict)
    keys: dict[Path, Position] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    renumbered: dict[Path, list[int]] = field(default_factory=dict)
    _problems: list[tuple[Position, str]] = field(default_factory=list)

    def problem(self, path: Path, message: str, *, at_key: bool = False) -> None:
        """Note a problem with the value at `path` (or its key); the nearest enclosing value if there is none."""
        path = self.original(path)
        where = self.keys.get(path) if at_key else None
        while where is None and path not in self.values and path:
            path = path[:-1]
        self.problem_at(where or self.values.get(path, Position(1, 1)), message)

    def original(self, path: Path) -> Path:
        """The path in the text of what is at `path` once wrong list items are left out."""
        original: Path = ()
        for part in path:
            kept = self.renumbered.get(original)
            original = (*original, kept[part] if kept and isinstance(part, int) else part)
        return original

    def problem_at(self, position: Position, message: str) -> None:
        """Note a problem at a position."""
        self._problems.append((position, message))

    def refuse_if_wrong(self) -> None:
        """Raise every problem noted so far, in the order of the text.

        Raises:
            DeclarationError: There was at least one.
        """
        if self._problems:
            ordered = sorted(set(self._problems))
            raise DeclarationError([f"{self.source}:{at.line}:{at.column}: {message}" for at, message in ordered])

    @property
    def wrong(self) -> bool:
        """Whether a problem was noted."""
        return bool(self._problems)


def load(text: str, source: str) -> Document:
    """Read one YAML document.

    Args:
        text: The file's text.
        source: The file's name for messages.

    Returns:
        The document; duplicate keys and the like are already noted in it.

    Raises:
        DeclarationError: The text is not YAML at all, or holds nothing.
    """
    document = Document(source)
    try:
        node = _Loader(text, document).single_node()
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        position = Position(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        document.problem_at(position, f"character U+{ord(text[error.position]):04X} is not allowed in YAML")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(part for part in (error.context, error.problem) if part)
        document.problem_at(_position(mark), f"not valid YAML: {said}")
    else:
        if node is None:
            document.problem_at(Position(1, 1), "the file is empty")
        else:
            document.value = _plain(node, (), document)
            return document
    document.refuse_if_wrong()
    return document


def near(word: str, allowed: Iterable[str]) -> str:
    """The end of a message about a wrong word: the nearest right one, and all of them.

    >>> near("standalnoe", ["cluster", "standalone"])
    'did you mean `standalone`? Allowed: cluster, standalone'
    """
    words = list(allowed)
    close = nearest(word, words)
    everything = f"llowed: {', '.join(words)}" if words else "llowed: none"
    return f"did you mean `{close[0]}`? A{everything}" if close else f"a{everything}"


def nearest(word: str, allowed: Iterable[str]) -> list[str]:
    """The word that was probably meant, if there is one."""
    return difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.55)


def shown(value: Plain) -> str:
    """A value as it goes into a message: short and harmless to a terminal, whatever it is."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value) if len(str(value)) <= 40 else str(value)[:37] + "..."
    return f"`{text if text.isprintable() else ascii(text)[1:-1]}`"


class _Loader(yaml.SafeLoader):
    """Composes nodes with the few implicit types of YAML 1.2's core schema, and notes what this format leaves out."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own class attribute

    def __init__(self, text: str, document: Document) -> None:
        super().__init__(text)
        self.document = document
        self.depth = 0

    def single_node(self) -> yaml.Node | None:
        """The document's node; None if there is none."""
        try:
            return self.get_single_node()
        except (ValueError, OverflowError) as error:
            # PyYAML does not catch these itself: an escape beyond Unicode, an absurdly long number in %YAML.
            mark = self.get_mark()
            raise yaml.MarkedYAMLError(problem="a number or an escape is out of range", problem_mark=mark) from error

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            self.document.problem_at(
                _position(event.start_mark), f"alias `*{event.anchor}` is not supported; write the value out"
            )
            return yaml.ScalarNode("tag:yaml.org,2002:null", "")
        if getattr(event, "tag", None) is not None:
            self.document.problem_at(_position(event.start_mark), f"tag `{event.tag}` is not supported; leave it out")
            event.tag = None
        if self.depth >= _MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {_MAX_DEPTH} levels", problem_mark=event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|)$"), ["~", "n", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), ["t", "f"])
# Only spellings that `str()` gives back, so that a directive's value reaches redis.conf as it was written; and short
# enough for any integer type, so that no number of a file can overflow anything.
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^(?:0|-?[1-9][0-9]{0,17})$"), list("-0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^-?(?:0|[1-9][0-9]{0,14})\.[0-9]{1,15}$"), list("-0123456789")
)


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)


def _plain(node: yaml.Node, path: Path, document: Document) -> Plain:
    document.values[path] = _position(node.start_mark)
    if isinstance(node, yaml.MappingNode):
        return _plain_mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*path, index), document) for index, child in enumerate(node.value)]
    match node.tag.rpartition(":")[2]:
        case "null":
            return None
        case "bool":
            return node.value == "true"
        case "int":
            return int(node.value)
        case "float":
            return float(node.value)
        case _:
            return str(node.value)


def _plain_mapping(node: yaml.MappingNode, path: Path, document: Document) -> Mapping[str, Plain]:
    result: dict[str, Plain] = {}
    for key_node, value_node in node.value:
        position = _position(key_node.start_mark)
        if not isinstance(key_node, yaml.ScalarNode):
            document.problem_at(position, "a key must be a single word")
            continue
        key = str(key_node.value)
        if key == "<<":
            document.problem_at(position, "merge key `<<` is not supported; write the keys out")
            continue
        if key in result:
            first = document.keys[*path, key]
            document.problem_at(position, f"key {shown(key)} is stated twice; it was first stated at line {first.line}")
            continue
        document.keys[*path, key] = position
        result[key] = _plain(value_node, (*path, key), document)
    return result
