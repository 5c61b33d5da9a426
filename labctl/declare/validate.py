"""A document against a shape: the value as a model, or every error as a sentence at its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from labctl.declare.yaml import Path, near, nearest, shown

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from labctl.declare.shapes import Shape
    from labctl.declare.yaml import Document

S = TypeVar("S", bound="Shape")

_WANTED = {
    "bool": "true or false",
    "int": "a whole number",
    "int_from": "a whole number",
    "float": "a number",
    "string": "text (in quotes if it looks like a number)",
    "list": "a list",
    "dict": "a mapping (`key: value` lines)",
    "model": "a mapping (`key: value` lines)",
}


def validate(shape: type[S], document: Document) -> S | None:
    """Read the document as `shape`, and note every problem of shape in it.

    Returns:
        The model. Where something is wrong, the model of the rest, so that what does not fit together there is told at
        the same time; None if nothing can be told without the wrong part.
    """
    right_keys: dict[int, list[str]] = {}
    try:
        return shape.model_validate(document.value, context=right_keys)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    for details in problems:
        _note(details, document, right_keys)
    return _rest(shape, document, problems)


def _rest(shape: type[S], document: Document, problems: list[ErrorDetails]) -> S | None:
    """The model of what is right. Leaving out a required key makes its mapping wrong, and so on outwards."""
    wrong: set[Path] = set()
    while True:
        problems = [details for details in problems if not _stands_in(shape, details)]
        wrong.update(document.original(_smallest_part(details)) for details in problems)
        document.lost.update(part for path in wrong for part in path if isinstance(part, str))
        if () in wrong:
            return None
        try:
            rest = _without(wrong, document.value, (), document)
            return shape.model_validate({**shape.stand_ins, **rest} if isinstance(rest, dict) else rest)
        except ValidationError as error:
            problems = error.errors(include_url=False)
            if all(document.original(_smallest_part(details)) in wrong for details in problems):
                return None


def _stands_in(shape: type[Shape], details: ErrorDetails) -> bool:
    """Whether something takes the place of what is missing."""
    return details["type"] == "missing" and len(details["loc"]) == 1 and details["loc"][0] in shape.stand_ins


def _smallest_part(details: ErrorDetails) -> Path:
    """What to leave out so that the rest can be read: a whole list item, or else the value of a key."""
    path: Path = details["loc"][:-1] if details["type"] == "missing" else details["loc"]
    items = [end for end, part in enumerate(path, start=1) if isinstance(part, int)]
    return path[: items[-1]] if items else path


def _without(wrong: set[Path], value: Any, at: Path, document: Document) -> Any:
    if isinstance(value, dict):
        right = {key: child for key, child in value.items() if (*at, key) not in wrong}
        return {key: _without(wrong, child, (*at, key), document) for key, child in right.items()}
    if isinstance(value, list):
        kept = [index for index in range(len(value)) if (*at, index) not in wrong]
        document.renumbered[at] = kept
        return [_without(wrong, value[index], (*at, index), document) for index in kept]
    return value


def _note(details: ErrorDetails, document: Document, right_keys: dict[int, list[str]]) -> None:
    path: Path = details["loc"]
    if details["type"] == "extra_forbidden":
        key, parent = str(path[-1]), _value_at(document.value, path[:-1])
        right = right_keys[id(parent)]
        document.problem(path, f"unknown key {shown(key)}; {near(key, right)}", at_key=True)
        document.lost.update(nearest(key, right))
    elif details["type"] == "missing":
        document.problem(path[:-1], f"key `{path[-1]}` is missing")
    else:
        name = next((f"{shown(part)} " for part in reversed(path) if isinstance(part, str)), "the file ")
        document.problem(path, name + complaint(details))


def _value_at(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


def complaint(details: ErrorDetails) -> str:
    """The rest of a sentence that begins with the key."""
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    wanted = _WANTED.get(kind.rpartition("_")[0]) if kind.endswith(("_type", "_from_float")) else None
    if wanted:
        return f"must be {wanted}, not {shown(value)}"
    match kind:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            allowed = [word.strip("' ") for word in context["expected"].replace(" or ", ", ").split(",")]
            return f"cannot be {shown(value)}; {near(str(value), allowed)}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}, not {shown(value)}"
        case "greater_than":
            return f"must be more than {context['gt']}, not {shown(value)}"
        case "less_than_equal":
            return f"must be at most {context['le']}, not {shown(value)}"
        case "string_pattern_mismatch":
            return f"must match {context['pattern']}, not {shown(value)}"
        case "string_too_short":
            return "must not be empty"
        case "string_too_long":
            return f"must have at most {context['max_length']} characters"
        case _:
            return f"is wrong: {details['msg'].lower()}"
