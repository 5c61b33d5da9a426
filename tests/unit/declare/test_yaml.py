"""YAML with positions: the few implicit types, and every refusal at its line and column."""
# ruff: noqa: E501 - a golden message stands in one piece

import pytest

from labctl.declare.yaml import Position, load, near, shown
from labctl.errors import DeclarationError


def problems(text: str) -> list[str]:
    with pytest.raises(DeclarationError) as caught:
        load(text, "f.yaml").refuse_if_wrong()
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("True", "True"),
        ("~", None),
        ("a:", {"a": None}),
        ("0", 0),
        ("-7", -7),
        ("007", "007"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        ("1.5", 1.5),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("2024-01-01", "2024-01-01"),
        ("9" * 18, 10**18 - 1),
        ("9" * 5000, "9" * 5000),
        ("'1'", "1"),
        ("{a: [1, x], 2: ''}", {"a": [1, "x"], "2": ""}),
    ],
)
def test_plain_values(text: str, value: object) -> None:
    loaded = load(text, "f.yaml")
    assert not loaded.wrong
    assert loaded.value == value
    assert type(loaded.value) is type(value)


def test_positions_count_from_one() -> None:
    document = load("a: 1\nb:\n  - x\n  - {c: 2}\n", "f.yaml")
    assert document.keys[("b",)] == Position(2, 1)
    assert document.values[("b", 1)] == Position(4, 5)
    assert document.values[("b", 1, "c")] == Position(4, 9)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["f.yaml:1:1: the file is empty"]),
        ("# only a comment\n", ["f.yaml:1:1: the file is empty"]),
        ("a: 1\nb: 2\na: 3\n", ["f.yaml:3:1: key `a` is stated twice; it was first stated at line 1"]),
        (
            "a: {x: 1, x: 2}\na: 3\n",
            [
                "f.yaml:1:11: key `x` is stated twice; it was first stated at line 1",
                "f.yaml:2:1: key `a` is stated twice; it was first stated at line 1",
            ],
        ),
        ("a: &n 1\nb: *n\n", ["f.yaml:2:4: alias `*n` is not supported; write the value out"]),
        ("a: &n [*n]\n", ["f.yaml:1:8: alias `*n` is not supported; write the value out"]),
        (
            "a: &n {x: 1}\nb:\n  <<: *n\n",
            [
                "f.yaml:3:3: merge key `<<` is not supported; write the keys out",
                "f.yaml:3:7: alias `*n` is not supported; write the value out",
            ],
        ),
        ("a: !!int '3'\n", ["f.yaml:1:4: tag `tag:yaml.org,2002:int` is not supported; leave it out"]),
        ("a: !secret x\n", ["f.yaml:1:4: tag `!secret` is not supported; leave it out"]),
        ("? [a]\n: 1\n", ["f.yaml:1:3: a key must be a single word"]),
        ("a: b: c\n", ["f.yaml:1:5: not valid YAML: mapping values are not allowed here"]),
        ("a: 'x\n", ["f.yaml:2:1: not valid YAML: while scanning a quoted scalar, found unexpected end of stream"]),
        ("a: 1\n\tb: 2\n", ["f.yaml:2:1: not valid YAML: while scanning for the next token, found character '\\t' that cannot start any token"]),
        ("a: 1\n---\nb: 2\n", ["f.yaml:2:1: not valid YAML: expected a single document in the stream, but found another document"]),
        ("a: x\nb: \x00y", ["f.yaml:2:4: character U+0000 is not allowed in YAML"]),
        ("a: \ud800", ["f.yaml:1:4: character U+D800 is not allowed in YAML"]),
    ],
)  # fmt: skip
def test_refusals(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_deep_nesting_is_refused_rather_than_followed() -> None:
    assert problems("[" * 100_000) == ["f.yaml:1:41: not valid YAML: nested deeper than 40 levels"]


def test_problems_come_in_the_order_of_the_text() -> None:
    document = load("a: 1\nb: 2\n", "f.yaml")
    document.problem(("b",), "second")
    document.problem(("a",), "first")
    document.problem(("b", "missing", 3), "nearest enclosing")
    with pytest.raises(DeclarationError) as caught:
        document.refuse_if_wrong()
    assert caught.value.problems == ["f.yaml:1:4: first", "f.yaml:2:4: nearest enclosing", "f.yaml:2:4: second"]


def test_near() -> None:
    assert near("kil", ["kill", "pause"]) == "did you mean `kill`? Allowed: kill, pause"
    assert near("zzz", ["kill", "pause"]) == "allowed: kill, pause"
    assert near("zzz", []) == "allowed: none"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        (True, "`true`"),
        ([1], "a list"),
        ({}, "a mapping"),
        (1.5, "`1.5`"),
        ("x" * 41, "`" + "x" * 37 + "...`"),
        ("\x1b[31mred", "`\\x1b[31mred`"),
        ("Grüße", "`Grüße`"),
    ],
)
def test_shown(value: object, text: str) -> None:
    assert shown(value) == text
