"""docs/yaml.md: its examples are read by the parser that they describe, its lists are those of the registries."""

import re
from pathlib import Path

import pytest

from labctl.declare.library import topology
from labctl.declare.scenario import parse_cells, parse_scenario
from labctl.declare.topology import parse_topology
from labctl.drill import known_names
from labctl.timeline.page import filled

PAGE = (Path(__file__).parents[3] / "docs" / "yaml.md").read_text()
EXAMPLES = re.findall(r"```yaml (\w+)\n(.*?)```", PAGE, re.DOTALL)
HEAD = "title: T\ndescription: D\ntopology: sentinel\nduration: 20s\n"
CHECK = "checks: [{check: recovery, promise: P}]\n"


def test_there_is_one_of_each() -> None:
    assert [kind for kind, _ in EXAMPLES] == ["topology", "scenario", "step", "check", "matrix"]


@pytest.mark.parametrize(("kind", "text"), EXAMPLES)
def test_examples_are_right(kind: str, text: str) -> None:
    known = known_names()
    match kind:
        case "topology":
            assert parse_topology(text, "example.yaml").nodes == 8
        case "scenario":
            assert parse_scenario(text, "example.yaml", topology, known).topology.sentinel.down_after_ms == 500
        case "step":
            read = parse_scenario(HEAD + CHECK + f"steps:\n{text}", "example.yaml", topology, known)
            assert len(read.phases[0].steps) == 4
        case "check":
            read = parse_scenario(HEAD + f"checks:\n{text}", "example.yaml", topology, known)
            assert [check.options["field"] for check in read.phases[0].checks] == [
                "sync_full",
                "used_memory",
                "evicted_keys",
            ]
        case _:
            assert len(parse_cells(HEAD + text, "example.yaml", topology, known).cells) == 6


def test_the_lists_are_made_from_the_registries() -> None:
    assert filled(PAGE) == PAGE, "python -m labctl.timeline.page docs/yaml.md writes them"
