"""The shipped dashboards: what the generator makes, in Grafana's schema, laid out without gaps in meaning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from labctl.monitoring.boards.pages import all_boards
from labctl.monitoring.grafana import DATA_SOURCE
from labctl.monitoring.shipped import dashboards

NAMES = sorted(path.stem for path in dashboards().glob("*.json"))
NOT_IN_THE_SDK = {"titleFormat", "textFormat", "step"}
"""What Prometheus' annotations have beside the fields of all annotations."""
UNITS = {"short", "s", "bytes", "Bps", "ops", "cps", "percentunit"}


def read(name: str) -> Any:
    return json.loads((dashboards() / f"{name}.json").read_text())


def panels(document: Any) -> list[Any]:
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def test_all_of_them_are_shipped() -> None:
    assert sorted(all_boards()) == NAMES == ["cluster", "memory", "overview", "replication", "workload"]


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_what_the_generator_makes(name: str) -> None:
    assert (dashboards() / f"{name}.json").read_text() == all_boards()[name], "python -m labctl.monitoring.boards"


@pytest.mark.parametrize("name", NAMES)
def test_it_has_grafanas_schema(name: str) -> None:
    """Read into the SDK's types and written again, nothing is missing and nothing is left over."""
    document = read(name)
    for annotation in document["annotations"]["list"]:
        assert annotation.keys() >= NOT_IN_THE_SDK
        for key in NOT_IN_THE_SDK:
            del annotation[key]
    again = json.loads(json.dumps(Dashboard.from_json(document), cls=JSONEncoder))
    assert again == document


@pytest.mark.parametrize("name", NAMES)
def test_panels_have_a_question_an_explanation_and_the_one_source(name: str) -> None:
    document = read(name)
    numbers = [panel["id"] for panel in document["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert len({panel["title"] for panel in panels(document)}) == len(panels(document))
    for panel in panels(document):
        assert panel["description"].endswith(".")
        assert panel["datasource"]["uid"] == DATA_SOURCE
        assert panel["targets"]
        assert panel["fieldConfig"]["defaults"].get("unit", "short") in UNITS
        for target in panel["targets"]:
            assert target["expr"]
            assert target["datasource"]["uid"] == DATA_SOURCE
            assert "$lab" in target["expr"] or "$run" in target["expr"], panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_no_panel_covers_another_or_hangs_over(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in read(name)["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_they_link_to_each_other_and_are_told_apart() -> None:
    documents = [read(name) for name in NAMES]
    assert len({document["uid"] for document in documents}) == len(NAMES)
    assert all(document["links"][0]["tags"] == ["labctl"] and "labctl" in document["tags"] for document in documents)


def test_a_change_by_hand_is_noticed(tmp_path: Path) -> None:
    document = read("overview")
    document["panels"][1]["fieldConfig"]["defaults"]["mystery"] = 1
    again = json.loads(json.dumps(Dashboard.from_json(document), cls=JSONEncoder))
    assert again != document, "the schema test would not notice an unknown field"
