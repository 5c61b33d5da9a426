"""EDN, as far as histories of Jepsen need it, to and from JSON-like values.

The maintained library for it (edn-format) takes more than twenty times as long for a line of a history, and brings
three packages of its own; a history has hundreds of thousands of lines. The format is https://github.com/edn-format/edn.

Keywords and symbols become strings (without the colon), sets become lists, a tagged element becomes the element, and
map keys become strings: what a checker compares is unchanged by that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from labctl.errors import HistoryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TOKEN: Final = re.compile(
    r"""
    (?:[\s,]|;[^\n]*)*                      # white space, commas and comments
    (?:(?P<open>\#\{|[\[({])
      |(?P<close>[\])}])
      |(?P<discard>\#_)
      |(?P<string>"(?:[^"\\]|\\.)*")
      |(?P<char>\\(?:newline|return|space|tab|u[0-9a-fA-F]{4}|\S))
      |(?P<tag>\#[\w.:/*+!?<>=$&%'-]+)
      |(?P<atom>[^\s,;"\\\[\](){}]+)
      |(?P<end>\Z)
      |(?P<bad>.)
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_INTEGER: Final = re.compile(r"[+-]?\d+N?\Z")
_FLOAT: Final = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?M?\Z")
_CHARS: Final = {"newline": "\n", "return": "\r", "space": " ", "tab": "\t"}
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_CLOSES: Final = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_NAMES: Final[dict[str, object]] = {"nil": None, "true": True, "false": False}

KEYWORD: Final = re.compile(r"[A-Za-z*!_?$%&=<>.+-][\w*!?$%&=<>.+-]*\Z")


def loads(text: str, name: str = "<text>") -> Iterator[tuple[int, object]]:
    """Each top-level form with the line on which it begins.

    Raises:
        HistoryError: The text is not EDN; says `name:line:column`.
    """
    return _Parser(text, name).forms()


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._at = 0

    def forms(self) -> Iterator[tuple[int, object]]:
        line, counted = 1, 0
        while True:
            kind, token, start = self._next()
            line += self._text.count("\n", counted, start)
            counted = start
            if kind == "end":
                return
            if kind == "discard":
                self._form(*self._next())
            else:
                yield line, self._form(kind, token, start)

    def _next(self) -> tuple[str, str, int]:
        match = _TOKEN.match(self._text, self._at)
        assert match is not None  # the last alternatives match anything
        assert match.lastgroup is not None
        self._at = match.end()
        return match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)

    def _form(self, kind: str, token: str, start: int) -> object:
        if kind == "open":
            return self._collection(token, start)
        if kind == "string":
            return _ESCAPE.sub(_unescape, token[1:-1])
        if kind == "atom":
            return self._atom(token)
        if kind == "tag":
            return self._form(*self._next())
        if kind == "discard":
            self._form(*self._next())
            return self._form(*self._next())
        if kind == "char":
            return _CHARS.get(token[1:], _ESCAPE.sub(_unescape, token) if len(token) == 6 else token[1:])
        raise self._error(start, "unexpected end of file" if kind == "end" else f"unexpected {token!r}")

    def _atom(self, token: str) -> object:
        if token in _NAMES:
            return _NAMES[token]
        if token[0] == ":":
            return token[1:]
        if _INTEGER.match(token):
            return int(token.rstrip("N"))
        return float(token.rstrip("M")) if _FLOAT.match(token) else token

    def _collection(self, bracket: str, start: int) -> object:
        items: list[object] = []
        while True:
            kind, token, at = self._next()
            if kind == "close":
                break
            if kind == "end":
                raise self._error(start, f"{bracket!r} is never closed")
            if kind == "discard":
                self._form(*self._next())
            else:
                items.append(self._form(kind, token, at))
        if token != _CLOSES[bracket]:
            raise self._error(at, f"{token!r} closes {bracket!r}")
        if bracket != "{":
            return items
        if len(items) % 2:
            raise self._error(start, "a map with a key and no value")
        return {str(key): value for key, value in zip(items[::2], items[1::2], strict=True)}

    def _error(self, at: int, what: str) -> HistoryError:
        line = self._text.count("\n", 0, at) + 1
        column = at - self._text.rfind("\n", 0, at)
        return HistoryError([f"{self._name}:{line}:{column}: {what}"])


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else _ESCAPES.get(match[2], match[2])


def dumps(value: object) -> str:
    """A JSON-like value as EDN; strings stay strings, see `keyword`."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{dumps(key)} {dumps(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + " ".join(dumps(item) for item in value) + "]"
    return repr(value)


def keyword(name: str) -> str:
    """A name as a keyword where it can be one, as a string where not."""
    return f":{name}" if KEYWORD.match(name) else dumps(name)


def record(fields: Mapping[str, str]) -> str:
    """A map from keywords to values that are EDN already."""
    return "{" + ", ".join(f":{name} {value}" for name, value in fields.items()) + "}"
