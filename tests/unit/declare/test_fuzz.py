"""Whatever the text, a file is either read or refused with positions; nothing else ever comes out."""

import re

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from labctl.declare.scenario import Known, parse_scenario
from labctl.declare.schema import topology_schema
from labctl.declare.topology import parse_topology
from labctl.declare.yaml import load
from labctl.errors import DeclarationError
from labctl.model.topology import Kind, Topology

KNOWN = Known(frozenset({"kill", "pause"}), frozenset({"recovery"}), frozenset({"set"}))
POSITIONED = re.compile(r"f\.yaml:[1-9][0-9]*:[1-9][0-9]*: .+", re.DOTALL)

WORDS = st.sampled_from(
    [
        "kind",
        "cluster",
        "sentinel",
        "replicas",
        "primaries",
        "sentinels",
        "persistence",
        "rdb",
        "aof",
        "default",
        "directives",
        "all",
        "primary",
        "port",
        "save",
        "quorum",
        "down-after",
        "node-timeout",
        "1s",
        "500ms",
        "no",
        "title",
        "description",
        "topology",
        "name",
        "phases",
        "duration",
        "workloads",
        "steps",
        "checks",
        "run",
        "at",
        "for",
        "with",
        "kill",
        "check",
        "promise",
        "expect",
        "bounds",
        "loses",
        "clients-a",
        "redis-1",
        "slot:1",
        "set",
    ]
)
SCALARS = st.one_of(
    WORDS,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=5),
    max_leaves=25,
)
YAML_SOUP = st.text(alphabet=st.sampled_from("ab:-?[]{},&*!|>'\"%@`#<~0.\\ \n\t\r\x85\u2028\ufeff\x00"), max_size=60)


def read(text: str) -> None:
    """Read the text as both; whatever is refused is refused with positions."""
    for parse in (
        lambda: parse_topology(text, "f.yaml"),
        lambda: parse_scenario(text, "f.yaml", lambda name: Topology(name, Kind.SENTINEL, 1, 2, 3), KNOWN),
    ):
        try:
            parse()
        except DeclarationError as error:
            assert error.problems  # noqa: PT017 - raised or not, both are fine
            for problem in error.problems:
                assert POSITIONED.fullmatch(problem)
                assert "\x1b" not in problem


@given(st.text())
@settings(deadline=None)
@example("a: 1\x85b: [")
@example("? ? ? a")
@example("%YAML 9.9\n--- a")
@example("&a &b c")
@example("!<tag:x> a")
@example('"\\UFFFFFFFF"')
@example("- - - - - -\n   - a")
def test_any_text(text: str) -> None:
    read(text)


@given(YAML_SOUP)
@settings(max_examples=500, deadline=None)
def test_yaml_soup(text: str) -> None:
    read(text)


@given(st.dictionaries(WORDS, VALUES, max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_structure(value: dict[str, object]) -> None:
    read(yaml.safe_dump(value, allow_unicode=True))


@given(
    st.fixed_dictionaries(
        {"kind": st.sampled_from(list(Kind)).map(str)},
        optional={
            "replicas": st.integers(-1, 260) | SCALARS,
            "sentinels": st.integers(-1, 8),
            "tls": st.booleans() | SCALARS,
            "maxmemory": st.sampled_from(["1gb", "1", "x", 7, -7, 1.5]),
            "persistence": st.sampled_from(["none", "rdb", "aof", "both", {"aof": "no"}, {"rdb": [{"after": "60s"}]}]),
            "sentinel": st.dictionaries(st.sampled_from(["quorum", "down-after"]), SCALARS),
            "directives": st.dictionaries(st.sampled_from(["all", "replica"]), VALUES, max_size=2),
        },
    )
)
@settings(max_examples=300, deadline=None)
def test_what_the_parser_takes_fits_the_schema(value: dict[str, object]) -> None:
    text = yaml.safe_dump(value)
    try:
        parse_topology(text, "f.yaml")
    except DeclarationError:
        return
    assert not list(Draft202012Validator(topology_schema()).iter_errors(load(text, "f.yaml").value))
