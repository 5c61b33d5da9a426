"""How single values are spelled in YAML: durations, memory sizes, save rules, directive values.

Each `Annotated` type carries its reader, whose `ValueError` ends a message "`key` …", and its JSON Schema.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from labctl.declare.yaml import near, shown
from labctl.errors import UsageError

_DURATION = re.compile(r"(?P<number>[0-9]{1,9}(?:\.[0-9]{1,6})?)(?P<unit>ms|s|m|h)")
_DURATION_SCHEMA = {
    "type": "string",
    "pattern": r"^[0-9]{1,9}(\.[0-9]{1,6})?(ms|s|m|h)$",
    "description": "A duration with its unit: 500ms, 3s, 1.5s, 2m or 1h.",
}
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_MEMORY = re.compile(r"[0-9]{1,15}(?:b|k|kb|m|mb|g|gb)?", re.IGNORECASE)
_ENGINE = re.compile(r"(?:redis|valkey)(?:-[0-9]{1,2})?|.*/.*")
DEFAULT_RDB = "3600 1 300 100 60 10000"
"""The rules of a redis.conf that states none."""


def _milliseconds(value: Any) -> int:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"must be a duration with its unit, such as 500ms, 3s, 2m or 1h, not {shown(value)}")
    return round(float(match["number"]) * _UNIT_MS[match["unit"]])


def _positive_milliseconds(value: Any) -> int:
    milliseconds = _milliseconds(value)
    if milliseconds < 1:
        raise ValueError(f"must be longer than nothing, not {shown(value)}")
    return milliseconds


def _seconds(value: Any) -> float:
    return 0.0 if value in (0, "0") and not isinstance(value, bool) else _milliseconds(value) / 1000


def duration_s(text: str) -> float:
    """Seconds of a duration as users type it on the command line. Raises UsageError."""
    try:
        return _positive_milliseconds(text) / 1000
    except ValueError as error:
        raise UsageError(f"A duration {error}.", "For example --for 10s.") from None


def _memory(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _MEMORY.fullmatch(text):
        raise ValueError(f"must be bytes as in redis.conf, such as 100mb or 1gb, not {shown(value)}")
    return text.lower()


def _engine(value: Any) -> str:
    if not isinstance(value, str) or not _ENGINE.fullmatch(value):
        raise ValueError(
            f"must be redis, valkey, one of them with its major version (redis-8, redis-7, valkey-9) or a path with a "
            f"slash, not {shown(value)}"
        )
    return value


def save_rules(value: Any) -> Any:
    """RDB rules from `default`, from text as in redis.conf, or as a list already."""
    if value == "default":
        value = DEFAULT_RDB
    if isinstance(value, str):
        words = value.split()
        if not words or len(words) % 2 or not all(re.fullmatch(r"[1-9][0-9]{0,9}", word) for word in words):
            raise ValueError(
                "must be `default`, pairs of seconds and changes as in redis.conf (`3600 1 60 10000`), or a list of "
                f"`{{after: 60s, changes: 1000}}`, not {shown(value)}"
            )
        return [
            {"after": f"{after}s", "changes": int(changes)}
            for after, changes in zip(words[::2], words[1::2], strict=True)
        ]
    return value


def persistence(value: Any) -> Any:
    """The mapping that a short form stands for: `none`, `rdb` or `aof`."""
    if isinstance(value, str):
        short: dict[str, dict[str, str]] = {"none": {}, "rdb": {"rdb": "default"}, "aof": {"aof": "everysec"}}
        if value not in short:
            raise ValueError(
                f"cannot be {shown(value)}; {near(value, short)}, or a mapping with `rdb` and `aof` (both together)"
            )
        return short[value]
    return value


def _arguments(value: Any) -> list[str]:
    return [_argument(item) for item in value] if isinstance(value, list) else [_argument(value)]


def _argument(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return str(value)
        case str():
            return value
        case _:
            raise ValueError(
                "must be text, a number, true or false, or a list of these for a directive stated repeatedly"
            )


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | bool | int | float):
        raise ValueError(f"must be text, a number, true or false, not {shown(value)}")  # noqa: TRY004 - pydantic collects ValueError
    return value


def _target(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    if not isinstance(value, str):
        raise ValueError(f"must be a target such as `primary` or a list of targets, not {shown(value)}")  # noqa: TRY004
    return value


def reference(value: Any) -> Any:
    """A topology stated by its name alone."""
    return {"name": value} if isinstance(value, str) else value


EXPECTATIONS = ("holds", "may lose", "loses")
ELSE = "else"
"""The key of an expectation for every other cell of a matrix."""


def _expectations(value: Any) -> Any:
    """By selector of cells; one for all is that of `else`."""
    stated = {ELSE: value} if isinstance(value, str) else value
    if not isinstance(stated, dict) or not stated:
        raise ValueError(f"must be {', '.join(EXPECTATIONS[:-1])} or {EXPECTATIONS[-1]}, not {shown(value)}")
    for word in stated.values():
        if word not in EXPECTATIONS:
            raise ValueError(f"cannot be {shown(word)}; {near(str(word), EXPECTATIONS)}")
    return stated


def _conditions(value: Any) -> Any:
    """Pairs of name and argument, from a name, `{name: argument}`, or a list of these."""
    pairs: list[tuple[str, str]] = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str):
            pairs.append((item, ""))
        elif isinstance(item, dict) and item and all(isinstance(each, str | int | float) for each in item.values()):
            pairs += [(name, _argument(argument)) for name, argument in item.items()]
        else:
            raise ValueError(f"must be a condition such as `promoted` or `{{primary: redis-2}}`, not {shown(item)}")
    if not pairs:
        raise ValueError("must state a condition such as `promoted`")
    return pairs


_SCALAR_SCHEMA: dict[str, Any] = {"type": ["string", "number", "boolean"]}

Scalar = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema(_SCALAR_SCHEMA)]
Milliseconds = Annotated[int, BeforeValidator(_positive_milliseconds), WithJsonSchema(_DURATION_SCHEMA)]
"""A duration above zero, in ms."""
Seconds = Annotated[
    float,
    BeforeValidator(_seconds),
    WithJsonSchema({"anyOf": [_DURATION_SCHEMA, {"const": 0}], "description": "A duration with its unit, or 0."}),
]
"""A duration or zero, in seconds."""
Memory = Annotated[
    str,
    BeforeValidator(_memory),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": "^[0-9]{1,15}([bB]|[kKmMgG][bB]?)?$"},
            ],
            "description": "Bytes as in redis.conf: 100mb, 1gb.",
        }
    ),
]
Engine = Annotated[
    str,
    BeforeValidator(_engine),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^((redis|valkey)(-[0-9]{1,2})?|.*/.*)$",
            "description": "redis-8, redis-7, valkey-9, redis, valkey, or the path of a server.",
        }
    ),
]
Arguments = Annotated[
    list[str],
    BeforeValidator(_arguments),
    WithJsonSchema(
        {
            "anyOf": [_SCALAR_SCHEMA, {"type": "array", "items": _SCALAR_SCHEMA}],
            "description": "The directive's arguments; a list states the directive once per item.",
        }
    ),
]
Target = Annotated[
    str,
    BeforeValidator(_target),
    WithJsonSchema(
        {
            "anyOf": [{"type": ["string", "null"]}, {"type": "array", "items": {"type": "string"}}],
            "description": "A target such as primary, or several: primary,clients-a.",
        }
    ),
]
_CONDITION_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": _SCALAR_SCHEMA, "minProperties": 1}]
}
Conditions = Annotated[
    Any,
    BeforeValidator(_conditions),
    WithJsonSchema(
        {
            "anyOf": [*_CONDITION_SCHEMA["anyOf"], {"type": "array", "items": _CONDITION_SCHEMA, "minItems": 1}],
            "description": "When this is observed: promoted, healthy, {primary: redis-2}, {writes: 5000} …",
        }
    ),
]
Expectations = Annotated[
    Any,
    BeforeValidator(_expectations),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(EXPECTATIONS)},
                {"type": "object", "additionalProperties": {"enum": list(EXPECTATIONS)}, "minProperties": 1},
            ]
        }
    ),
]
